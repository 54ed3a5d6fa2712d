"""Conjugate gradients for a quadratic function."""

import numpy as np
from scipy.linalg.blas import daxpy

CONJUGATE_STEPS = 30  # an epoch, at most
DECREASE_WINDOW = 10  # steps, whose decrease tells how much is left, if nothing else does


def conjugate_gradient(
    times,
    gradient,
    enough,
    solve=None,
    most=CONJUGATE_STEPS,
    *,
    least=None,
    before=(),
    patient=True,
    excess=None,
    split=False,
):
    """Conjugate gradients from a point with this gradient (Hestenes & Stiefel, 1952).

    Parameters
    ----------
    times : callable
        Multiplies with the Hessian, a direction or each column of several.
    gradient : ndarray of shape (n_coordinates,)
    enough : float
        They end where the objective is no more than this above the least: as `solve` or `least`
        tell, or else as the latest steps have lowered it.
    solve : callable or None
        Multiplies with about the inverse of the Hessian.
    most : int
        Steps.
    least : SmallestEigenvalueBound or None
        Brought on with each step as long as it is open.
    before : sequence of float
        How much lower each step of earlier epochs has made it.
    patient : bool
        Whether to go on where eigenvalues are far apart.
    excess : callable or None
        Tells from the step so far and the residual, minus the gradient there, what is compared
        with `enough` instead of such estimates.
    split : bool
        Whether `times` leaves out the inverse of `solve`, with which it would add up to the
        Hessian. Products with that follow from the residuals.

    Returns
    -------
    step, change : ndarray of shape (n_coordinates,)
        All the way, and by how much the gradient changes.
    direction, image : ndarray of shape (n_coordinates,)
        The last direction d, and H d: a search that has it and the gradient goes on as if
        there had been no end.
    decreases : list of float
        How much lower each step has made the objective.
    left : float
        How much lower it may become.
    """
    step, direction, image = np.zeros((3, len(gradient)))
    residual, last_square, decreases = -gradient, np.inf, []
    preconditioned = np.zeros(len(gradient)) if split else None
    for n_steps in range(most + 1):
        towards = residual if solve is None else solve(residual)
        square = residual @ towards
        left = square / 2
        if excess is not None:
            left = excess(step, residual)
        elif least is not None and least.value is not None:
            left /= least.value
        elif solve is None and square > 0:
            left = (
                extrapolate_remaining_decrease([*before, *decreases])
                if n_steps >= DECREASE_WINDOW
                else np.inf
            )
        if left <= enough or n_steps == most or (least and least.far and not patient):
            break
        direction *= square / last_square
        direction += towards
        if least is not None and least.open:
            image, probed = times(np.column_stack([direction, least.vector])).T
            least.add(probed)
        elif split:
            preconditioned *= square / last_square
            preconditioned += residual  # the inverse of `solve` times direction
            image = preconditioned + times(direction)
        else:
            image = times(direction)
        length = square / (direction @ image)
        daxpy(direction, step, a=length)  # step += length * direction, in one pass
        daxpy(image, residual, a=-length)
        last_square = square
        decreases.append(length * square / 2)
    return step, -gradient - residual, direction, image, decreases, left


def extrapolate_remaining_decrease(decreases):
    """What is left if decreases go on to fall as they did: a geometric series of their sums.

    It is at least the last sum, for the steps of conjugate gradients are uneven.
    """
    last, sum_before = (
        sum(decreases[-DECREASE_WINDOW:]),
        sum(decreases[-2 * DECREASE_WINDOW : -DECREASE_WINDOW]),
    )
    if len(decreases) < 2 * DECREASE_WINDOW or last <= sum_before / 2:
        return last
    return last**2 / (sum_before - last) if last < sum_before else np.inf

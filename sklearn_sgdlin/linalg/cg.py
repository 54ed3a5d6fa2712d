"""Conjugate gradients for a quadratic function (Hestenes & Stiefel, 1952)."""

from typing import NamedTuple

import numpy as np
from scipy.linalg.blas import daxpy

from .factorization import RANK_TOLERANCE

# Iterations whose decrease of the objective tells how much is left, where no bound does.
DECREASE_WINDOW = 10


class CGResult(NamedTuple):
    """What conjugate gradients found."""

    # `step` and `change`, of shape (n_coordinates,), the whole step from the start, and by how much
    # it changes the gradient.
    step: np.ndarray
    change: np.ndarray
    # `direction` and `image`, of shape (n_coordinates,), the last direction d, and H d. A search
    # over the span of these and the gradient goes on as if the iterations had not been interrupted.
    direction: np.ndarray
    image: np.ndarray
    decreases: list[float]  # how much lower each iteration has made the objective
    remaining: float  # how much lower the objective may become, as far as is known


def conjugate_gradient(
    hessian_product,
    gradient,
    target_decrease,
    *,
    preconditioner=None,
    max_iter,
    eigenvalue_bound=None,
    earlier_decreases=(),
    continue_if_ill_conditioned=True,
    excess=None,
    product_is_split=False,
):
    """Minimise a quadratic function from a point with this gradient; return a `CGResult`.

    The iterations end where the function is at most `target_decrease` above its minimum. How far
    it is above is known from the preconditioner, as if that were the inverse of the Hessian; from
    the bound of the smallest eigenvalue; or else estimated from the latest decreases, or bounded as
    eigenvalues below `RANK_TOLERANCE` times the largest count as zero. They also end where the next
    direction has no more curvature than that: nothing but rounding errors is left of the residual.

    `hessian_product` (callable): multiplies the Hessian with a direction, or with each column of
    several.
    `preconditioner` (callable or None): multiplies with about the inverse of the Hessian.
    `eigenvalue_bound`: gets one more Lanczos step with each iteration, as long as it is undecided.
    `earlier_decreases` (sequence of float): the decreases of earlier calls.
    `continue_if_ill_conditioned`: whether to go on where `eigenvalue_bound` finds eigenvalues far
    apart.
    `excess` (callable or None): returns how far the function is above its minimum, from the step so
    far and minus the gradient there; instead of the estimates above.
    `product_is_split`: whether `hessian_product` leaves out the inverse of the preconditioner, with
    which it would add up to the Hessian. Products with that inverse follow from the residuals.
    """
    step, direction, image = np.zeros((3, len(gradient)))
    residual, last_square, decreases = -gradient, np.inf, []
    bound, largest = eigenvalue_bound, 0.0  # the largest curvature, at most the largest eigenvalue
    preconditioned = np.zeros(len(gradient)) if product_is_split else None
    for iteration in range(max_iter + 1):
        towards = residual if preconditioner is None else preconditioner(residual)
        square = residual @ towards
        remaining = square / 2
        if excess is not None:
            remaining = excess(step, residual)
        elif bound is not None and bound.lower_bound is not None:
            remaining /= bound.lower_bound
        elif preconditioner is None and square > 0:
            remaining = np.inf
            if iteration >= DECREASE_WINDOW:
                remaining = extrapolate_remaining_decrease([*earlier_decreases, *decreases])
            if largest > 0:
                remaining = min(remaining, square / 2 / (RANK_TOLERANCE * largest))
        give_up = bound is not None and bound.ill_conditioned and not continue_if_ill_conditioned
        if remaining <= target_decrease or iteration == max_iter or give_up:
            break
        direction *= square / last_square
        direction += towards
        if bound is not None and bound.undecided:
            image, probed = hessian_product(np.column_stack([direction, bound.vector])).T
            bound.add(probed)
        elif product_is_split:
            preconditioned *= square / last_square
            preconditioned += residual  # the inverse of the preconditioner times direction
            image = preconditioned + hessian_product(direction)
        else:
            image = hessian_product(direction)
        curvature = (direction @ image) / square  # a pivot of the tridiagonal matrix of Lanczos
        if not curvature > RANK_TOLERANCE * largest:
            break
        length, largest = 1 / curvature, max(largest, curvature)
        daxpy(direction, step, a=length)  # step += length * direction, in one pass over memory
        daxpy(image, residual, a=-length)
        last_square = square
        decreases.append(length * square / 2)
    return CGResult(step, -gradient - residual, direction, image, decreases, remaining)


def extrapolate_remaining_decrease(decreases):
    """Return the decrease still to come if decreases go on to fall as they did.

    The sums over two windows are taken for terms of a geometric series. Where eigenvalues are far
    apart many small decreases follow each other, of which short windows tell nothing. So windows
    of 10, 20, 40 ... iterations are tried, and the largest estimate counts. It is at least the sum
    over the last 10, for the iterations of conjugate gradients are uneven.
    """
    remaining, window = sum(decreases[-DECREASE_WINDOW:]), DECREASE_WINDOW
    while 2 * window <= len(decreases):
        last, before = sum(decreases[-window:]), sum(decreases[-2 * window : -window])
        remaining = max(remaining, last**2 / (before - last) if last < before else np.inf)
        window *= 2
    return remaining

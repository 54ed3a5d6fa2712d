"""The Newton system of an interior-point step, and two ways to solve it."""

from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs

from ..linalg.cg import conjugate_gradient
from ..linalg.factorization import corrected_solution

# What is added to the diagonal of a Hessian, relative to it: about the rounding error of sums over
# rows. Less would let Cholesky fail on dependent columns; more would bend the step.
DAMPING = 1e-13

# The same where Cholesky has failed with less, at most. A Hessian that needs more is nothing but
# rounding errors.
MAX_DAMPING = 1e-3

# Steps of conjugate gradients for one Newton step, at most.
INNER_STEPS = 400

# Error that conjugate gradients may leave, relative to the size of the Newton step in the norm of
# the Hessian's diagonal. A larger one costs interior-point steps, a smaller one inner steps.
INNER_TOL = 1e-3


class RoundingError(ArithmeticError):
    """Numbers are beyond all bounds: a step would only make the model worse."""


class NewtonSystem(NamedTuple):
    """The Newton system at a model, and what the model costs; adds up over rows."""

    # `value` and `gap`: cost, and how far it is above what the multipliers prove.
    value: float
    gap: float
    # Of shape (N_EXPONENTS,), weight of the rows by the power of two above the size of their
    # residuals.
    residual_histogram: np.ndarray
    complementarity: float  # sum of the products of slacks and gaps
    # Of shape (n_coordinates,), sum of rows times their multipliers: minus the gradient, as the
    # multipliers have it.
    slope: np.ndarray
    # Of shape (n_coordinates,), what the step of the multipliers adds to the slope before the model
    # moves.
    multiplier_residual: np.ndarray
    hessian: np.ndarray  # of shape (n_coordinates, n_coordinates), or its diagonal


def require_finite(array):
    """Return the array, or raise RoundingError."""
    if not np.isfinite(array).all():
        raise RoundingError
    return array


def factorize_damped(hessian, diagonal):
    """Return a function that solves with a Hessian, given as a matrix and a diagonal to be added.

    What is added besides is relative to each entry: the curvature of columns whose multipliers are
    at a bound may be many orders of magnitude below that of others. A second solve, with the
    residual of the first, mends what that changes.
    """
    total = hessian.diagonal() + diagonal
    total[total <= 0] = 1.0  # of a coordinate without curvature, which stays where it is
    damping = DAMPING
    while damping <= MAX_DAMPING:
        damped = hessian.copy(order="F")
        damped.flat[:: len(damped) + 1] = (1 + damping) * total
        factor, failed = dpotrf(damped, clean=False, overwrite_a=True)
        if not failed:
            break
        damping *= 100
    else:
        raise RoundingError

    def product(step):
        return hessian @ step + diagonal * step

    def solve(rhs, start=None):
        return corrected_solution(lambda values: dpotrs(factor, values)[0], product, rhs)[0]

    return solve


def solve_by_products(hessian_product, diagonal, rhs, start=None):
    """Solve by conjugate gradients with the diagonal as preconditioner, from a start or from zero.

    The last coordinate, that of the intercept, gets a step of its own at the end: no penalty takes
    up what is left of its slope.
    """
    diagonal = np.where(diagonal > 0, diagonal, 1.0)
    gradient = -rhs if start is None else hessian_product(start) - rhs
    enough = INNER_TOL**2 * (rhs @ (rhs / diagonal)) / 2
    result = conjugate_gradient(
        hessian_product,
        gradient,
        enough,
        preconditioner=lambda residual: residual / diagonal,
        max_iter=INNER_STEPS,
    )
    step, change = result.step, result.change
    step[-1] -= (gradient[-1] + change[-1]) / diagonal[-1]
    return step if start is None else start + step

"""Squared error from products of columns: the normal equations, for all targets at once.

The products are brought into the coordinates of the scaling, the Hessian H is factorised by
Cholesky, and one correction makes each solution exact to rounding. Where H is ill-conditioned, the
products have lost digits that the rows still have, and there is no solution here.
"""

from dataclasses import dataclass

import numpy as np

from ..linalg.factorization import cholesky_solver, corrected_solution
from ..linalg.triangular import WELL_CONDITIONED
from ..model.scaling import Scaling


@dataclass(frozen=True)
class NormalEquationsSolution:
    """The optimum of each target."""

    coef: np.ndarray  # of shape (n_targets, n_features)
    intercept: np.ndarray  # of shape (n_targets,)
    # Of shape (n_targets,), the objective at the optimum, a difference from that of a constant
    # prediction.
    loss: np.ndarray
    constant_loss: np.ndarray  # of shape (n_targets,), the objective of a constant prediction
    # Of shape (n_targets,), what rounding errors may have left of the decrease of the objective.
    remaining: np.ndarray


def solve_normal_equations(products, fit_intercept, l2):
    """Return the `NormalEquationsSolution`, or None where the Hessian is ill-conditioned.

    `l2`: weight of ``coef**2 / 2`` in the objective.
    """
    moments, n_features = products.moments, products.n_features
    scale, hessian, slope, squares = scaled_products(products, fit_intercept, l2)
    scale = scale[:, np.newaxis]
    hessian.flat[:: n_features + 1] += l2 * scale[:, 0] ** 2
    solve, well_conditioned = cholesky_solver(hessian.copy(), n_features, WELL_CONDITIONED)
    if not well_conditioned:
        return None
    theta, residual, correction = corrected_solution(solve, hessian.__matmul__, slope)
    coef = (scale * theta).T
    intercept = np.zeros(len(coef))
    if fit_intercept:
        intercept = moments.mean[n_features:] - coef @ moments.mean[:n_features]
    constant_loss = squares / (2 * moments.weight)
    return NormalEquationsSolution(
        np.ascontiguousarray(coef),
        intercept,
        loss=constant_loss - (slope * theta).sum(axis=0) / 2,
        constant_loss=constant_loss,
        remaining=(residual * correction).sum(axis=0) / 2,
    )


def scaled_products(products, fit_intercept, l2):
    """Return products of columns in the coordinates of the scaling.

    Returns
    -------
    scale : ndarray of shape (n_features,)
    hessian : ndarray of shape (n_features, n_features)
        That of the loss: mean products of the columns.
    slope : ndarray of shape (n_features, n_targets)
        Mean products of the columns and the targets.
    squares : ndarray of shape (n_targets,)
        Sums of squares of the targets.
    """
    moments, n_features = products.moments, products.n_features
    scaling = Scaling.from_moments(moments.of_columns(slice(n_features)), fit_intercept, l2)
    scale = scaling.scale[:-1]
    sums, squares = products.sums, moments.sum_of_squares[n_features:]
    if not fit_intercept:
        mean = moments.weight * moments.mean
        sums = sums + np.multiply.outer(mean[:n_features], moments.mean)
        squares = squares + mean[n_features:] * moments.mean[n_features:]
    sums = sums / moments.weight * scale[:, np.newaxis]
    return scale, sums[:, :n_features] * scale, sums[:, n_features:], squares

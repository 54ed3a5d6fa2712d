"""Grids of alphas for the data at hand."""

import numpy as np

from .data.row_ranges import moments_of
from .model.loss import SQUARED_ERROR

# Largest alpha of an l2 penalty, in units of the sum of the second derivatives of the loss: no
# direction then keeps a tenth of its coefficient of least squares.
RIDGE_START = 10.0

# Grids that would reach down to zero consist of this number, as in scikit-learn. There the largest
# alpha is compared with it, but that has the units of the data, in which 1e-15 may be much.
SMALLEST = np.finfo(np.float64).resolution

# Distance from the best constant, in residual standard deviations.
CONSTANT_TOL = 1e-6


def alpha_grid(slope, curvature, l1_ratio, n_alphas, eps):
    """Return alphas in falling order, evenly spaced in their logarithms.

    Parameters
    ----------
    slope : ndarray of shape (n_features, n_targets)
        Minus the gradient of the loss at the best constant model, or 0 where a bound forbids to
        follow it.
    curvature : float
        Sum of the second derivatives of the loss by the coefficients.
    l1_ratio : float
        Above 0 the first alpha is the least at which all coefficients are zero, and the last one
        `eps` times it. With 0 the first one is a multiple of the curvature, and the last one
        ``eps**2`` times it.
    n_alphas : int
    eps : float
    """
    if l1_ratio > 0:
        first, ratio = np.abs(slope).max() / l1_ratio, eps
    else:
        first, ratio = RIDGE_START * curvature, eps**2
    if not first * ratio >= np.finfo(np.float64).tiny:
        return np.full(n_alphas, SMALLEST)
    return np.geomspace(first, first * ratio, n_alphas)


def slope_and_curvature(model, settings, data):
    """Return the slope and the curvature that `alpha_grid` takes, from the rows.

    The curvature of a loss is that of the squared error of multipliers that vary as much.

    Parameters
    ----------
    model : SGDLinearRegressor
    settings : Settings
        Of the model.
    data : Data
    """
    X, targets, weight = data.X, data.targets, data.sample_weight
    moments = moments_of(X, weight, settings.tuning)
    residuals = targets - [_best_constant(model, settings, y, weight) for y in targets.T]
    multipliers = settings.loss.multiplier(residuals)
    if settings.fit_intercept:  # of rows at a kink only the sum of multipliers is known
        multipliers -= np.average(multipliers, axis=0, weights=weight)
    weighted = multipliers if weight is None else weight[:, np.newaxis] * multipliers
    slope = X.T @ weighted
    if settings.fit_intercept:
        slope -= np.multiply.outer(moments.mean, weighted.sum(axis=0))
    variances = [
        np.average(values**2, axis=0, weights=weight).mean() for values in (multipliers, residuals)
    ]
    steepness = np.sqrt(variances[0] / (variances[1] or 1.0))
    return slope / moments.weight, steepness * moments.variance(settings.fit_intercept).sum()


def _best_constant(model, settings, y, weight):
    """Return the best constant prediction of a target."""
    if not settings.fit_intercept:
        return 0.0
    if settings.loss == SQUARED_ERROR:
        return np.average(y, weights=weight)
    constant = type(model)(
        model.loss, epsilon=model.epsilon, quantile=model.quantile, tol=CONSTANT_TOL, random_state=0
    )
    return constant.fit(np.zeros((len(y), 1)), y, sample_weight=weight).intercept_

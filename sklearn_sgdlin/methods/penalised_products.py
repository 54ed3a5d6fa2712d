"""Penalised least squares from cross products of columns, with l1 or positive coefficients."""

import numpy as np

from .face import minimise_in_set


def penalised_least_squares(cross_products, settings, ridge, coef):
    """Return coef and intercept of the minimum of the penalised squared error, for one target.

    Parameters
    ----------
    cross_products : CrossProducts
        With products; of the columns of X and of the target.
    settings : Settings
        Penalty, lower bound, and whether there is an intercept.
    ridge : ndarray of shape (n_features,)
        Times the mean square of the column, it is added to l2.
    coef : ndarray of shape (n_features,)
        Coefficients to start from; the closer to the optimum, the fewer steps.
    """
    moments, n_features = cross_products.moments, len(coef)
    mean, products = moments.mean, cross_products.products[:n_features] / moments.weight
    if not settings.fit_intercept:
        products += np.multiply.outer(mean[:n_features], mean)
    hessian, slope = products[:, :n_features], products[:, n_features]
    hessian.flat[:: n_features + 1] *= 1 + ridge
    varies = moments.of_columns(slice(n_features)).variance(settings.fit_intercept) > 0
    hessian, slope = hessian[np.ix_(varies, varies)], slope[varies]
    # Coordinates x = scale * coef have a Hessian with ones on its diagonal.
    scale = np.sqrt(hessian.diagonal())
    hessian /= np.multiply.outer(scale, scale)
    floor = np.full(len(scale), 0.0 if settings.positive else -np.inf)
    penalty = settings.l1 / scale, settings.l2 / scale**2, floor
    start, slope = np.maximum(coef[varies] * scale, floor), slope / scale
    constant_loss = moments.of_columns(slice(-1, None)).variance(settings.fit_intercept)[0] / 2
    x = minimise_in_set(hessian, slope - hessian @ start, start, penalty, constant_loss)
    coef = np.zeros(n_features)
    coef[varies] = x / scale
    if not settings.fit_intercept:
        return coef, 0.0
    return coef, float(mean[n_features] - mean[:n_features] @ coef)

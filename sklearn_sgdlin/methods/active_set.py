"""Squared error with a penalty that has kinks, from sums of products: an active-set method.

The coefficients are zero but for an active set, in which they have known signs, so that a linear
system tells the optimum. Coefficients join where the gradient says so, and leave where they
would change sign (Lawson & Hanson, 1974; Lee, Battle, Raina & Ng, 2007).
"""

import numpy as np

from ..linalg.factorization import factorize_hessian

ENOUGH = 1e-10  # of the largest gradient: what is no reason to join
ACTIVE_SET_STEPS = 10  # for each coefficient, at most; every step lowers the objective


def penalised_optimum(scatter, settings, ridge, coef):
    """Return coef and intercept of the least penalised mean squared error of the first target.

    Parameters
    ----------
    scatter : CrossProducts
        With products.
    settings : Settings
        The penalty, its bounds, and whether there is an intercept.
    ridge : ndarray of shape (n_features,)
        Share of the curvature of each column that is added to it.
    coef : ndarray of shape (n_features,)
        Coefficients to begin with: the nearer, the fewer steps.
    """
    moments, n_features = scatter.moments, len(coef)
    mean, product = moments.mean, scatter.products[:n_features] / moments.weight
    if not settings.fit_intercept:
        product += np.multiply.outer(mean[:n_features], mean)
    hessian, slope = product[:, :n_features], product[:, n_features]
    hessian.flat[:: n_features + 1] *= 1 + ridge
    hessian.flat[:: n_features + 1] += settings.l2
    varies = moments.of_columns(slice(n_features)).variance(settings.fit_intercept) > 0
    hessian, slope = hessian[np.ix_(varies, varies)], slope[varies]
    unit = np.sqrt(hessian.diagonal())
    hessian /= np.multiply.outer(unit, unit)
    lower = 0.0 if settings.positive else -np.inf
    known, coef = coef[varies] * unit, np.zeros(n_features)
    coef[varies] = least(hessian, slope / unit, settings.l1 / unit, lower, known) / unit
    if not settings.fit_intercept:
        return coef, 0.0
    return coef, float(mean[n_features] - mean[:n_features] @ coef)


def least(hessian, slope, weight, lower, start):
    """Return x with the least ``x' hessian x / 2 - slope' x + weight' |x|``, x >= lower.

    Parameters
    ----------
    hessian : ndarray of shape (n, n)
    slope, weight : ndarray of shape (n,)
    lower : float
        0.0 or -inf.
    start : ndarray of shape (n,)
    """
    x = np.maximum(start, lower)
    sign, barred = np.sign(x), np.zeros(len(x), dtype=bool)
    enough = ENOUGH * np.abs(slope).max(initial=0.0)
    for _ in range(ACTIVE_SET_STEPS * len(x)):
        active = np.flatnonzero(sign)
        goal = np.zeros_like(x)
        if len(active):
            solve, _ = factorize_hessian(hessian[np.ix_(active, active)], len(active))
            goal[active] = solve((slope - weight * sign)[active])
        leaves = active[goal[active] * sign[active] <= 0]
        if len(leaves):  # go as far as to the first zero
            way = np.abs(x[leaves] - goal[leaves])
            share = np.divide(np.abs(x[leaves]), way, out=np.zeros_like(way), where=way > 0)
            x += share.min() * (goal - x)
            zero = leaves[share <= share.min()]
            x[zero] = sign[zero] = 0.0
            barred[zero] |= share.min() == 0  # it had just joined: rounding errors
            continue
        x = goal
        gradient = slope - hessian @ x
        pull = gradient if lower == 0 else np.abs(gradient)
        excess = np.where((sign != 0) | barred, -np.inf, pull - weight)
        joins = int(excess.argmax())
        if excess[joins] <= enough:
            break
        sign[joins] = np.sign(gradient[joins])
    return x

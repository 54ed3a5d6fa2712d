"""Active-set method: penalised least squares from cross products, with l1 or positive coefficients.

Coefficients outside the active set are zero. Those in it have known signs, so a linear system gives
the optimum for this set. A coefficient joins where the gradient exceeds its l1 penalty, and leaves
where it would change its sign (Lawson & Hanson, 1974; Lee, Battle, Raina & Ng, 2007).
"""

import numpy as np

from ..linalg.factorization import factorize_hessian

# Excess of a gradient over its penalty, relative to the largest gradient at zero, up to which it is
# a rounding error: the coefficient does not join the active set, and the method ends.
JOIN_TOLERANCE = 1e-10

# Steps per coefficient after which the method ends anyway. Each step lowers the objective, so it
# ends long before; only rounding errors could make it cycle.
ACTIVE_SET_STEPS = 10


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
    hessian.flat[:: n_features + 1] += settings.l2
    varies = moments.of_columns(slice(n_features)).variance(settings.fit_intercept) > 0
    hessian, slope = hessian[np.ix_(varies, varies)], slope[varies]
    # Coordinates x = scale * coef have a Hessian with ones on its diagonal.
    scale = np.sqrt(hessian.diagonal())
    hessian /= np.multiply.outer(scale, scale)
    lower = 0.0 if settings.positive else -np.inf
    start, coef = coef[varies] * scale, np.zeros(n_features)
    x = minimise_l1_quadratic(hessian, slope / scale, settings.l1 / scale, lower, start)
    coef[varies] = x / scale
    if not settings.fit_intercept:
        return coef, 0.0
    return coef, float(mean[n_features] - mean[:n_features] @ coef)


def minimise_l1_quadratic(hessian, slope, l1, lower, start):
    """Return the minimum x of ``x' hessian x / 2 - slope' x + l1' |x|`` with x >= lower.

    Parameters
    ----------
    hessian : ndarray of shape (n, n)
    slope, l1 : ndarray of shape (n,)
    lower : float
        0.0 or -inf.
    start : ndarray of shape (n,)
        Point to start from; its signs are the first active set.
    """
    x = np.maximum(start, lower)
    sign, barred = np.sign(x), np.zeros(len(x), dtype=bool)
    tolerance = JOIN_TOLERANCE * np.abs(slope).max(initial=0.0)
    for _ in range(ACTIVE_SET_STEPS * len(x)):
        # 1. The optimum for this active set and these signs.
        optimum = _optimum_of_signs(hessian, slope, l1, sign)

        # 2. Coefficients that would change their sign: step to the first zero, and take it out.
        active = np.flatnonzero(sign)
        leaving = active[optimum[active] * sign[active] <= 0]
        if len(leaving):
            distance = np.abs(x[leaving] - optimum[leaving])
            fraction = np.zeros_like(distance)
            np.divide(np.abs(x[leaving]), distance, out=fraction, where=distance > 0)
            step = fraction.min()
            x += step * (optimum - x)
            zero = leaving[fraction <= step]
            x[zero] = sign[zero] = 0.0
            # A coefficient that leaves without a step has just joined by a rounding error.
            barred[zero] |= step == 0
            continue
        x = optimum

        # 3. The coefficient whose gradient exceeds its penalty most joins; if none does, x is it.
        gradient = slope - hessian @ x
        size = gradient if lower == 0 else np.abs(gradient)
        excess = np.where((sign != 0) | barred, -np.inf, size - l1)
        joining = int(excess.argmax())
        if excess[joining] <= tolerance:
            break
        sign[joining] = np.sign(gradient[joining])
    return x


def _optimum_of_signs(hessian, slope, l1, sign):
    """Return the minimum over the coefficients with a sign, whose penalty is ``l1 * sign * x``."""
    active = np.flatnonzero(sign)
    optimum = np.zeros(len(sign))
    if len(active):
        solve = factorize_hessian(hessian[np.ix_(active, active)], len(active))
        optimum[active] = solve((slope - l1 * sign)[active])
    return optimum

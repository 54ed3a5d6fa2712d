"""The covariance of the coefficients of one target, under the assumptions of a `cov_type`."""

from dataclasses import replace
from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dtrtrs

from ..linalg.triangular import WELL_CONDITIONED, append_rows
from ..model.loss import SQUARED_ERROR
from .design import factor_of_gram, inverse_factor
from .sandwich import Score, quantile_bandwidth, residuals_of_range

# Distance of a model from the optimum, in standard errors, up to which it counts as the optimum. At
# a tenth the coverage of a 95% interval is 0.1 percentage points lower.
MAX_DISTANCE = 0.1

# Distance from the optimum, relative to the size of y, that is a rounding error.
ROUNDING = 1e-10

# Sum of squared residuals, relative to that of y, above which the difference of two sums of squares
# has at least 9 digits.
MIN_RESIDUAL_SHARE = 1e-6


class Covariance(NamedTuple):
    """Covariance of the coefficients of one target."""

    matrix: np.ndarray  # in the coordinates of the design
    df: float  # degrees of freedom of Student's t
    residual_variance: float | None  # of the rows about the model, where it is the same for all


class LeastSquaresProducts(NamedTuple):
    """What products of columns say of a least-squares problem, in the coordinates of `Design`."""

    upper: np.ndarray  # triangular factor of the design, times the roots of the weights
    response: np.ndarray  # transposed inverse of it, times the products of the design with y
    residual_square: float | None  # weighted sum; None where too few digits of it are known

    @classmethod
    def of(cls, state, design):
        """Return them from a `State`, or None without products that have enough digits."""
        products = state.cross_products
        triangle = products.triangle
        if products.sums is not None:
            triangle = _factor_of_sums(products, design.fit_intercept)
        elif triangle is not None and not design.fit_intercept:
            mean = sqrt(products.moments.weight) * products.moments.mean[np.newaxis]
            triangle = append_rows(triangle.copy(order="F"), np.asfortranarray(mean))
        if triangle is None:
            return None
        upper, response = triangle[:-1, :-1], triangle[:-1, -1]
        square = _residual_square(state, design.fit_intercept, triangle)
        if design.fit_intercept:
            moments = products.moments
            root, size = sqrt(moments.weight), design.size
            upper = np.zeros((size, size))
            upper[0, 0], upper[1:, 1:] = root, triangle[:-1, :-1]
            response = np.append(root * moments.mean[-1], response)
        return cls(upper, response, square)


def _factor_of_sums(products, fit_intercept):
    """Return the triangular factor, but for its last pivot, from sums of products."""
    sums, moments = products.sums, products.moments
    n_features = len(sums)
    if not fit_intercept:
        mean = moments.mean
        sums = sums + moments.weight * np.multiply.outer(mean[:n_features], mean)
    upper = factor_of_gram(sums[:, :n_features])
    if upper is None:
        return None
    triangle = np.zeros((n_features + 1, n_features + 1))
    triangle[:-1, :-1] = upper
    triangle[:-1, -1] = dtrtrs(upper, sums[:, -1], trans=1)[0]
    return triangle


def _residual_square(state, fit_intercept, triangle):
    """Return the sum of squared residuals, or None where too few digits of it are known."""
    moments = state.moments
    if not state.fitted:
        return float(triangle[-1, -1] ** 2)  # a stream has factorised y with the columns of X
    total = moments.sum_of_squares[-1]
    if not fit_intercept:
        total += moments.weight * moments.mean[-1] ** 2
    square = float(total - triangle[:-1, -1] @ triangle[:-1, -1])
    return square if square > MIN_RESIDUAL_SHARE * total else None


def covariance_from_products(products, square, theta, n_observations, names):
    """Return the `Covariance` of least squares, for errors of one variance.

    It follows from the products and from `square`, the weighted sum of squared residuals.
    """
    df = degrees_of_freedom(n_observations, len(theta))
    inverse = inverse_factor(products.upper, names)
    variance = square / df
    gradient = products.response - products.upper @ theta
    rounding = ROUNDING * np.linalg.norm(products.response)
    _check_optimum(np.linalg.norm(gradient) - rounding, sqrt(variance))
    return Covariance(variance * np.dot(inverse, inverse.T), df, variance)


def covariance_from_rows(estimator, cov_type, groups, products):
    """Return the `Covariance` of an M-estimator.

    `groups` are those of `codes_of`, and `products` those of the same rows, if they are known.
    """
    size, n = estimator.design.size, estimator.n_observations
    df = degrees_of_freedom(n, size)
    estimator, gram = with_bandwidth(estimator), None
    if products is None:
        gram = "plain" if cov_type == "nonrobust" else "curved"
    simple = cov_type in ("HC0", "HC1")
    sums = estimator.sums(gram, meat="plain" if simple else None)
    check_curvature(sums)
    upper = estimator.factor(sums, gram) if products is None else products.upper
    inverse = inverse_factor(upper, estimator.names)
    distance = np.linalg.norm(inverse.T @ sums.gradient)
    check_distance(estimator, sums, distance, gram)
    if cov_type == "nonrobust":
        factor, variance = nonrobust_factor(estimator, sums, df)
        return Covariance(factor * np.dot(inverse, inverse.T), df, variance)
    if cov_type == "cluster":
        scores = np.dot(estimator.sums_of_groups(groups[0]), inverse)
        meat = np.dot(scores.T, scores)
    elif simple and (upper.diagonal() ** 2 > WELL_CONDITIONED * (upper**2).sum(axis=0)).all():
        meat = inverse.T @ sums.meat @ inverse
    else:  # products with the rows themselves would lose digits
        meat = estimator.sums(meat="plain" if simple else "jackknife", inverse=inverse).meat
    correction, df = small_sample_correction(cov_type, groups, n, df)
    return Covariance(correction * (inverse @ meat @ inverse.T), df, None)


def small_sample_correction(cov_type, groups, n_observations, df):
    """Return what a sandwich is multiplied by, and the degrees of freedom of Student's t."""
    if cov_type == "cluster":
        _, n_groups = groups
        return n_groups / (n_groups - 1) * (n_observations - 1) / df, float(n_groups - 1)
    return (n_observations / df if cov_type == "HC1" else 1.0), df


def check_curvature(sums):
    """Raise where the loss has no curvature at any row."""
    if sums.curvature == 0:
        raise ValueError(
            "No residual lies where the loss is curved, or near the quantile, so that standard "
            "errors are not known. Take more rows, or with 'huber' a larger epsilon."
        )


def degrees_of_freedom(n_observations, size):
    """Return the number of observations less that of coefficients; raise if it is not positive."""
    df = n_observations - size
    if df <= 0:
        raise ValueError(
            f"{n_observations:g} observations leave no degrees of freedom for {size} coefficients. "
            "Take more rows, or fewer columns; where weights are not frequencies of rows, "
            'weights="analytic" counts the rows.'
        )
    return float(df)


def nonrobust_factor(estimator, sums, df):
    """Return what times the inverse products of the design is the covariance, and the variance.

    For quantiles it is the variance of the score over the squared density; else that of
    proposition (6.5) of Huber (1981), with his correction for the number of coefficients.
    """
    loss, n = estimator.score.loss, estimator.n_observations
    weight = estimator.rows.weight
    mean = sums.curvature / weight
    if loss.compliance == 0:
        return loss.level * (1 - loss.level) / mean**2, None
    relative_variance = max(sums.squared_curvature / weight / mean**2 - 1, 0.0)
    correction = 1 + estimator.design.size / n * relative_variance
    factor = correction**2 * sums.squares / df / mean**2
    return factor, factor if loss == SQUARED_ERROR else None


def with_bandwidth(estimator):
    """Return an `MEstimator` whose score has the bandwidth for its residuals, if it needs one."""
    if estimator.score.loss.compliance > 0:
        return estimator
    parts = estimator.rows.each(
        residuals_of_range, estimator.design, estimator.target, estimator.theta
    )
    residual, weight = np.hstack(list(parts))
    loss, of_y = estimator.score.loss, estimator.of_y
    deviation = sqrt(of_y.sum_of_squares[0] / of_y.weight)
    bandwidth = quantile_bandwidth(residual, weight, deviation, loss.level)
    return replace(estimator, score=Score(loss, bandwidth))


def check_distance(estimator, sums, distance, gram):
    """Raise unless the model is the optimum on the rows, up to a part of a standard error.

    The metric is the covariance for errors of one distribution. The optimum of a loss without
    curvature goes through as many rows as there are coefficients. Their multipliers are any
    numbers between its bounds, not the slopes that the sums have.
    """
    n, size, weight = estimator.n_observations, estimator.design.size, estimator.rows.weight
    variance = sums.squares / (n - size)
    if gram == "curved":
        variance /= sums.curvature / weight
    allowance = 0.0
    loss = estimator.score.loss
    if loss.compliance == 0:
        allowance = size * sqrt(size / (n * loss.level * (1 - loss.level)))
    of_y = estimator.of_y
    rounding = ROUNDING * sqrt(of_y.sum_of_squares[0] + of_y.weight * of_y.mean[0] ** 2)
    _check_optimum(distance - rounding, sqrt(variance), allowance)


def _check_optimum(distance, deviation, allowance=0.0):
    """Raise if a distance in units of a deviation is too far for standard errors to mean much."""
    if distance <= (MAX_DISTANCE + allowance) * deviation:
        return
    far = f"{distance / deviation:.2g}" if deviation > 0 else "many"
    raise ValueError(
        f"The model is {far} standard errors from the optimum on the rows, so that intervals about "
        "its coefficients would not cover as they say. Pass the rows that the model was fitted to. "
        "If they are: fit with a lower tol, and without early_stopping; a stream of SGD does not "
        "come near enough, and one that keeps the optimum adds a ridge until it has seen "
        "2 * (n_features + 1) rows."
    )

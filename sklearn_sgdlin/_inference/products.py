"""Least squares without the rows, from the products of columns that training keeps."""

from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dtrtrs

from ..linalg.triangular import append_rows
from .design import factor_of_gram

# Sum of squared residuals, relative to that of y, above which the difference of two sums of squares
# has at least 9 digits.
MIN_RESIDUAL_SHARE = 1e-6


class LeastSquaresProducts(NamedTuple):
    """What products of columns say of a least-squares problem, in the coordinates of `Design`."""

    upper: np.ndarray  # triangular factor of the design, times the roots of the weights
    response: np.ndarray  # transposed inverse of it, times the products of the design with y
    residual_square: float | None  # weighted sum; None where too few digits of it are known

    @classmethod
    def of(cls, state, design):
        """Return them from a `State`, or None without products that have enough digits."""
        products = state.cross_products
        if products.sums is not None:
            triangle = _factor_of_sums(products, design.fit_intercept)
        elif products.triangle is not None:
            triangle = _centred_or_not(products, design.fit_intercept)
        else:
            return None
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


def _centred_or_not(products, fit_intercept):
    """Return the triangular factor of the columns of X and y, centred if there is an intercept."""
    if fit_intercept:
        return products.triangle
    moments = products.moments
    mean = sqrt(moments.weight) * moments.mean[np.newaxis]
    return append_rows(products.triangle.copy(order="F"), np.asfortranarray(mean))


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

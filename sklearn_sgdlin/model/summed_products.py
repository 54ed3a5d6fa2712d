"""Sums of products of the columns of a stream, for columns that are far from dependent.

To add rows to sums takes a third of the time of adding them to a triangular factor, but sums lose
digits of nearly dependent columns. No column of a sum of squares falls, and no pivot of its
Cholesky factor does. So as long as no diagonal entry has grown much, pivots relative to them are
known to be large, and are computed anew only when one has.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dpotrf, dpotrs

from ..linalg.blocks import chunk_rows, divided, slices
from .cross_products import CrossProducts, centred_rows
from .moments import Moments

# Squared pivot relative to the diagonal entry from which on a column of X, and the target, are
# summed up: the sums lose 2 of 16 digits there. A target that is nearly a combination of columns
# needs fewer digits, because its pivot is nothing but the sum of squared residuals.
MIN_PIVOT, MIN_TARGET_PIVOT = 1e-2, 1e-5

# Growth of a diagonal entry after which pivots are computed anew. Until then they may have fallen
# by the same factor.
MAX_GROWTH = 10.0


@dataclass(frozen=True)
class SummedProducts:
    """Moments of the columns of X and of one target, and the products of all columns.

    It has the methods of `CrossProducts`, and returns one where columns become nearly dependent.
    """

    moments: Moments  # of the columns of X, then of the target
    gram: np.ndarray  # products of the centred columns, F-ordered; nothing below the diagonal
    checked: np.ndarray  # its diagonal when pivots were last found to be large enough

    has_products, sums = True, None

    @cached_property
    def triangle(self):
        """Triangular factor of the centred columns."""
        return _cholesky(self.gram)

    @property
    def factor(self):
        """The same as `triangle`, under the name that `CrossProducts` has for it."""
        return self.triangle

    @property
    def products(self):
        """Weighted sums of the products of all centred columns with each other."""
        return self.gram + np.triu(self.gram, 1).T

    def with_rows(self, X, targets, sample_weight, tuning):
        """Return the products of these rows and more, given as in `CrossProducts.of`."""
        moments, gram = self.moments, self.gram
        for part in slices(len(targets[0]), chunk_rows(len(gram))):
            weight = None if sample_weight is None else sample_weight[part]
            rows, moments = centred_rows(moments, X[part], targets[:, part], weight)
            gram = dsyrk(1.0, rows, beta=1.0, c=gram, trans=1, overwrite_c=gram is not self.gram)
        diagonal = gram.diagonal().copy()
        if (diagonal <= MAX_GROWTH * self.checked).all():
            return SummedProducts(moments, gram, self.checked)
        factor = _cholesky(gram)
        if factor is None or not _are_large(factor.diagonal() ** 2, diagonal):
            return self.factorised().with_rows(X, targets, sample_weight, tuning)
        return SummedProducts(moments, gram, diagonal)

    def factorised(self):
        """Return the `CrossProducts` with the same sums."""
        return CrossProducts(self.moments, self.triangle)

    def merge(self, other):
        """Return the `CrossProducts` of both sets of rows."""
        return self.factorised().merge(other)

    def with_weights_scaled(self, factor, n_rows):
        """Return the products with weights times a factor, and another number of rows."""
        moments = replace(self.moments.with_weights_scaled(factor), rows=n_rows)
        return SummedProducts(moments, factor * self.gram, factor * self.checked)

    def solve_least_squares(self, n_features, fit_intercept, l2, ridge=0.0):
        """Return coef and intercept of ridge regression; see `CrossProducts`."""
        moments = self.moments
        mean = moments.mean[:-1]
        hessian, slope = (self.gram[:-1, part] / moments.weight for part in (slice(-1), -1))
        if not fit_intercept:
            hessian += np.multiply.outer(mean, mean)
            slope += moments.mean[-1] * mean
        hessian.flat[:: n_features + 1] *= 1 + ridge
        hessian.flat[:: n_features + 1] += l2
        constant = moments.of_columns(slice(-1)).variance(fit_intercept) == 0
        hessian[constant], hessian[:, constant], slope[constant] = 0.0, 0.0, 0.0
        hessian[constant, constant] = 1.0
        factor, failed = dpotrf(hessian, clean=False, overwrite_a=True)
        if failed:
            return self.factorised().solve_least_squares(n_features, fit_intercept, l2, ridge)
        coef = dpotrs(factor, slope)[0]
        return coef, float(moments.mean[-1] - mean @ coef) if fit_intercept else 0.0


def in_sums(products):
    """Return the `SummedProducts` of a `CrossProducts`, or itself where sums would lose digits."""
    if isinstance(products, SummedProducts):
        return products
    factor = products.factor
    if not _are_large(factor.diagonal() ** 2, products.moments.sum_of_squares):
        return products
    gram = dsyrk(1.0, factor, trans=1)
    return SummedProducts(products.moments, gram, gram.diagonal().copy())


def _cholesky(gram):
    """Return the triangular factor of products, or None where there is none.

    Columns without deviations have rows and columns of zeros.
    """
    norm = np.sqrt(gram.diagonal())
    inverse_norm = divided(1.0, norm)
    normalised = gram * np.multiply.outer(inverse_norm, inverse_norm)
    normalised.flat[:: len(gram) + 1] = 1.0
    factor, failed = dpotrf(np.asfortranarray(normalised), overwrite_a=True)
    return None if failed else factor * norm


def _are_large(squares, diagonal):
    """Return whether squared pivots are large enough relative to the diagonal entries."""
    least = np.append(np.full(len(diagonal) - 1, MIN_PIVOT), MIN_TARGET_PIVOT)
    large = (squares > least * diagonal) | (diagonal == 0)
    return bool(np.isfinite(diagonal).all() and large.all())

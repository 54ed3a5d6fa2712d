"""Cross products: the sufficient statistics of least squares, mergeable over sets of rows.

Kept are the mean of every column of X and y, and a triangular factor R of the centred columns,
with R'R their cross products. A factor has twice as many digits of nearly dependent columns as
the products. Factors of parts of the rows merge into that of all, so the least-squares model of a
stream is found without its rows.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite, sqrt

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite

from ..kernels.dense import standardise
from ..linalg.blocks import chunk_rows, csr_row_slice, divided, slices, with_last
from ..linalg.least_squares import LeastSquares, ridge_least_squares
from ..linalg.triangular import (
    append_factor,
    append_rows,
    factor_by_products,
    factor_of_products,
)
from .moments import MOMENT_ROWS, Moments, joint_moments


@dataclass(frozen=True)
class CrossProducts:
    """Moments of the columns of X and of the targets, and a factor of their cross products."""

    moments: Moments  # of the columns of X, then of the targets
    # Triangular factor of all centred columns, times the square roots of the weights. None where
    # `sums` has the products, or where nothing but moments was summed up.
    triangle: np.ndarray | None
    # Weighted sums of the products of the centred columns of X with all centred columns, where
    # these are given instead of a factor.
    sums: np.ndarray | None = None

    @property
    def has_products(self):
        """Whether there are cross products, not only moments."""
        return self.triangle is not None or self.sums is not None

    @cached_property
    def factor(self):
        """Triangular factor of the centred columns, or None without products.

        That of `sums` is found on demand, as it takes longer than all else of a small fit.
        """
        return self.triangle if self.sums is None else factor_of_products(self.sums)

    @property
    def products(self):
        """Weighted sums of the products of all centred columns with each other, or None."""
        return None if self.factor is None else self.factor.T @ self.factor

    @classmethod
    def of(cls, X, targets, sample_weight, with_products, tuning):
        """Return the cross products of rows, or only their moments, in one pass.

        Targets are of shape (n_targets, n_rows). Raise ValueError where values are not finite, or
        their squares are not.
        """
        n_columns = X.shape[1] + len(targets)
        single_row = len(targets[0]) == 1 and sample_weight is None
        if with_products and not single_row and (sample_weight is None or sample_weight.any()):
            return cls._with_products(X, targets, sample_weight, tuning)
        zeros = np.zeros((n_columns, n_columns), order="F") if with_products else None
        return cls(joint_moments(X, targets, sample_weight), zeros)

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # Moments.check raises the error.
    def _with_products(cls, X, targets, sample_weight, tuning):
        """Factorise a column of ones and all columns; the part along the ones gives the means.

        An approximate mean is subtracted first, so that few digits cancel.
        """
        n_rows, n_features = X.shape
        shift = _approximate_mean(X, targets, sample_weight)
        n_columns = 1 + len(shift)
        factor = np.zeros((n_columns, n_columns), order="F")
        step = min(chunk_rows(n_columns), n_rows)
        buffer, by_products = np.empty((step, n_features + 1)), True
        for part in slices(n_rows, step):
            n = part.stop - part.start
            shifted, responses = buffer[:n], targets[:, part] - shift[n_features:, np.newaxis]
            _write_shifted(X, part, shift[:n_features], shifted)
            if sample_weight is not None:
                root = np.sqrt(sample_weight[part])
                shifted *= root[:, np.newaxis]
                responses *= root
            by_products = by_products and n >= tuning.min_product_rows_per_column * n_columns
            chunk_factor = None
            if by_products:
                chunk_factor = factor_by_products(shifted, responses)
            # Where the columns of one chunk are nearly dependent, those of the next ones are, too.
            by_products = chunk_factor is not None
            factor = append_rows(factor, chunk_factor if by_products else _rows(shifted, responses))
        weight = float(n_rows if sample_weight is None else sample_weight.sum())
        n_rows = n_rows if sample_weight is None else np.count_nonzero(sample_weight)
        triangle = np.asfortranarray(factor[1:, 1:])
        mean = shift + factor[0, 1:] / factor[0, 0]
        moments = Moments(n_rows, weight, mean, (triangle**2).sum(axis=0))
        moments.of_columns(slice(n_features)).check([X])
        return cls(moments, triangle)

    @classmethod
    @np.errstate(over="ignore")  # Whoever uses the products checks that they are finite.
    def from_hessian(cls, hessian, slope, scaling, moments):
        """Return the cross products for one target that belong to a Hessian in a scaling.

        With rows z in the scaling, the Hessian is the mean of z z', and the slope that of z y.
        """
        inverse_scale = divided(1.0, scaling.scale[:-1])
        products = np.empty((len(inverse_scale), len(inverse_scale) + 1))
        products[:, :-1] = hessian[:-1, :-1] * np.multiply.outer(inverse_scale, inverse_scale)
        products[:, -1] = slope[:-1] * inverse_scale
        shift = moments.mean - with_last(scaling.centre, 0.0)
        products -= np.multiply.outer(shift[:-1], shift)
        return cls(moments, None, moments.weight * products)

    @classmethod
    def from_factor(cls, factor, theta, scaling, moments):
        """Return the cross products that belong to a factor in a scaling and its optimum.

        The products of the rows of the factor add up to the mean of z z', with rows z in the
        scaling; theta is the least-squares solution with an intercept and without a penalty.
        """
        inverse_scale = divided(1.0, scaling.scale[:-1])
        columns = [factor[:, -1], factor[:, :-1] * inverse_scale, factor @ theta]
        rows = sqrt(moments.weight) * np.column_stack(columns)
        triangle = np.zeros((rows.shape[1], rows.shape[1]), order="F")
        triangle = append_rows(triangle, np.asfortranarray(rows))
        return cls(moments, np.asfortranarray(triangle[1:, 1:]))

    def merge(self, other):
        """Return the cross products of both sets of rows (Chan, Golub & LeVeque, 1983)."""
        moments = self.moments.merge(other.moments)
        if self.factor is None or other.factor is None:
            return CrossProducts(moments, None)
        if self.moments.weight == 0 or other.moments.weight == 0:
            return CrossProducts(moments, (other if self.moments.weight == 0 else self).factor)
        row = np.asfortranarray(self.moments.between(other.moments)[np.newaxis])
        factor = append_rows(self.factor.copy(order="F"), row)
        if other.factor.any():
            factor = append_factor(factor, other.factor.copy(order="F"))
        return CrossProducts(moments, factor)

    def with_rows(self, X, targets, sample_weight, tuning):
        """Return the cross products of these rows and more, given as in `of`.

        Many rows are factorised on their own. Few are appended to the factor, which costs less.
        """
        n_rows, n_columns = len(targets[0]), len(self.moments.mean)
        many = n_rows >= tuning.min_product_rows_per_column * n_columns
        if many or not self.has_products or self.moments.weight == 0:
            return self.merge(
                CrossProducts.of(X, targets, sample_weight, self.has_products, tuning)
            )
        rows, moments = centred_rows(self.moments, X, targets, sample_weight)
        return CrossProducts(moments, append_rows(self.factor.copy(order="F"), rows))

    def with_weights_scaled(self, factor, n_rows):
        """Return the cross products with weights times a factor, and another number of rows."""
        moments = replace(self.moments.with_weights_scaled(factor), rows=n_rows)
        if self.sums is not None:
            return CrossProducts(moments, None, factor * self.sums)
        triangle = None if self.triangle is None else sqrt(factor) * self.triangle
        return CrossProducts(moments, triangle)

    def solve_least_squares(self, n_features, fit_intercept, l2, ridge=0.0):
        """Return coef and intercept of ridge regression of the first target.

        They minimise the mean of (y - prediction)**2 / 2 + l2 coef**2 / 2. Where columns are
        combinations of others and nothing is penalised, coef has the smallest norm in columns
        of equal norm. A ridge times the mean square of each column is added to l2.
        """
        moments = self.moments
        mean, factor = moments.mean[:n_features], self.factor
        if not fit_intercept:
            row = sqrt(moments.weight) * moments.mean[np.newaxis]
            factor = append_rows(factor.copy(order="F"), np.asfortranarray(row))
        rows = factor[:n_features, :n_features] / sqrt(moments.weight)
        values = factor[:n_features, n_features] / sqrt(moments.weight)
        constant = moments.of_columns(slice(n_features)).variance(fit_intercept) == 0
        rows[:, constant] = 0.0
        if l2 or np.any(ridge):
            coef = ridge_least_squares(rows, values, l2 + ridge * (rows**2).sum(axis=0))
        else:
            coef = LeastSquares(rows).solve(values)
        return coef, float(moments.mean[n_features] - mean @ coef) if fit_intercept else 0.0


def centred_rows(before, X, targets, sample_weight):
    """Return rows whose products are to be added for more rows, and the moments of all rows.

    The moments of the rows before are given. The rows are an array in Fortran order.
    """
    n_rows = len(targets[0])
    moments = joint_moments(X, targets, sample_weight)
    rows = np.empty((n_rows + 1, len(moments.mean)), order="F")
    rows[:-1, : X.shape[1]] = X.toarray() if issparse(X) else X
    rows[:-1, X.shape[1] :] = targets.T
    rows[:-1] -= moments.mean
    if sample_weight is not None:
        rows[:-1] *= np.sqrt(sample_weight)[:, np.newaxis]
    rows[-1] = before.between(moments)
    if not isfinite(rows.sum()):  # in a row of weight 0, which has no moments
        assert_all_finite(X, input_name="X")
    if n_rows == 1:  # it is its own mean
        rows = rows[1:].copy(order="F")
    return rows, before.merge(moments)


def _approximate_mean(X, targets, sample_weight):
    """Return the mean of some consecutive rows, from the one with the largest weight on."""
    first = 0 if sample_weight is None else int(sample_weight.argmax())
    part = slice(first, min(first + MOMENT_ROWS, X.shape[0]))
    weight = None if sample_weight is None else sample_weight[part]
    X = csr_row_slice(X, part) if issparse(X) else X[part]
    return joint_moments(X, targets[:, part], weight).mean


def _rows(shifted, responses):
    """Return the columns in the order of `factor_by_products` as one array in Fortran order."""
    columns = [shifted[:, -1:], shifted[:, :-1], responses.T]
    rows = np.empty((len(shifted), sum(part.shape[1] for part in columns)), order="F")
    return np.concatenate(columns, axis=1, out=rows)


def _write_shifted(X, part, shift, out):
    """Write rows of X minus a shift, followed by a one, into a dense array."""
    if issparse(X):
        np.subtract(csr_row_slice(X, part).toarray(), shift, out=out[:, :-1])
        out[:, -1] = 1.0
    else:
        standardise(X, part.start, part.stop, shift, np.ones(len(shift) + 1), out)

"""Moments: mean and variance of every column, mergeable over sets of rows."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.sparse import issparse
from sklearn import config_context
from sklearn.utils import assert_all_finite
from sklearn.utils.sparsefuncs import mean_variance_axis

from ..kernels.csc import column_moments
from ..kernels.dense import moments

# Rows whose squared deviations are summed up from one mean before they are merged. With more rows
# a variance would lose more digits: its relative rounding error is about that many units in the
# last place at most.
MOMENT_ROWS = 4096

# Standard deviation relative to the mean up to which a column is constant. Entries that are all
# the same number have a mean that differs from it by rounding errors of this size.
CONSTANT_TOLERANCE = 4 * np.finfo(np.float64).eps

# Variance below which a column is constant, because the squares of its entries are subnormal
# numbers, or near them, and have lost digits: about 1e-292, entries of 1e-146.
MIN_VARIANCE = np.finfo(np.float64).tiny / np.finfo(np.float64).eps


def refuse_not_finite(array, name):
    """Raise scikit-learn's error for NaN and infinity, also with its option `assume_finite`."""
    with config_context(assume_finite=False):
        assert_all_finite(array, input_name=name, estimator_name="SGDLinearRegressor")


@dataclass(frozen=True)
class Moments:
    """Weighted mean and sum of squared deviations of every column, mergeable."""

    rows: int  # of positive weight; those of a stream that forgets count by their age
    weight: float  # sum of their weights
    mean: np.ndarray  # of shape (n_features,)
    sum_of_squares: np.ndarray  # weighted squared deviations from the mean, of the same shape

    @classmethod
    def of(cls, X, sample_weight=None, name="X"):
        """Return the moments of the columns of an array, a CSR or a CSC matrix.

        Raise ValueError, which calls X by its name, if they are not finite.
        """
        if issparse(X):
            return cls._of_sparse(X, sample_weight)
        buffer, (mean, sum_of_squares) = np.empty((2, X.shape[1])), np.zeros((2, X.shape[1]))
        rows, weight = moments(X, sample_weight, MOMENT_ROWS, buffer, mean, sum_of_squares)
        result = cls(rows, weight, mean, sum_of_squares)
        result.check([X], name)
        return result

    @classmethod
    def of_row(cls, x):
        """Return the moments of one row of weight 1: the row itself, and no deviation."""
        result = cls(1, 1.0, x, np.zeros(len(x)))
        result.check([x])
        return result

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # Moments.check raises the error.
    def _of_sparse(cls, X, sample_weight):
        """Return the moments of a CSR or CSC matrix, from its stored entries and their number."""
        rows, weight = X.shape[0], float(X.shape[0])
        if sample_weight is not None:
            rows, weight = np.count_nonzero(sample_weight), float(sample_weight.sum())
        if X.format == "csc" and weight > 0:
            mean, sum_of_squares = np.empty((2, X.shape[1]))
            column_moments(X.data, X.indices, X.indptr, sample_weight, weight, mean, sum_of_squares)
        else:
            weights = None
            if sample_weight is not None:
                data = X.data.astype(np.float64, copy=False)
                X = type(X)((data, X.indices, X.indptr), shape=X.shape)
                # In units of the largest weight no product overflows.
                weights = sample_weight / (sample_weight.max() or 1.0)
            mean, variance = mean_variance_axis(X, axis=0, weights=weights)
            mean, sum_of_squares = mean.astype(np.float64), variance.astype(np.float64) * weight
        result = cls(rows, weight, mean, sum_of_squares)
        result.check([X])
        return result

    @np.errstate(over="ignore", invalid="ignore")
    def check(self, blocks, name="X"):
        """Raise ValueError if moments are not finite, with what is wrong in the blocks of rows."""
        square = self.sum_of_squares + self.weight * self.mean**2
        if not np.isfinite(square).all():
            for X in blocks:
                refuse_not_finite(X, name)
            column = int(np.flatnonzero(~np.isfinite(square))[0])
            where = f"in column {column} " if len(square) > 1 else ""
            raise ValueError(
                f"Input {name} contains values {where}whose squares, times sample_weight, are too "
                "large for dtype('float64'). Rescale them."
            )

    def merge(self, other):
        """Return the moments of both sets of rows (Chan, Golub & LeVeque, 1983)."""
        if self.weight == 0:
            return other
        weight = self.weight + other.weight
        fraction = other.weight / weight
        with np.errstate(over="ignore", invalid="ignore"):  # Moments.of has checked each set.
            difference = other.mean - self.mean
            mean = self.mean + difference * fraction
            between = difference * difference * (self.weight * fraction)
            sum_of_squares = self.sum_of_squares + other.sum_of_squares + between
        return Moments(self.rows + other.rows, weight, mean, sum_of_squares)

    def between(self, other):
        """Return the row whose square the sums of squares of both sets lack in that of all rows."""
        weight = self.weight * (other.weight / (self.weight + other.weight))
        return sqrt(weight) * (other.mean - self.mean)

    @np.errstate(over="ignore")  # Whoever uses the moments checks that they are finite.
    def with_weights_scaled(self, factor):
        """Return the moments of the same rows with all weights multiplied by a factor."""
        if factor == 1:
            return self
        return Moments(self.rows, self.weight * factor, self.mean, self.sum_of_squares * factor)

    def with_columns(self, other):
        """Return the moments of these columns followed by other columns of the same rows."""
        mean = np.concatenate([self.mean, other.mean])
        sum_of_squares = np.concatenate([self.sum_of_squares, other.sum_of_squares])
        return Moments(self.rows, self.weight, mean, sum_of_squares)

    def of_columns(self, columns):
        """Return the moments of some columns, given by a slice or a list of their numbers."""
        return Moments(self.rows, self.weight, self.mean[columns], self.sum_of_squares[columns])

    def variance(self, fit_intercept):
        """Return the variance of every column, 0 where it is constant.

        Without an intercept it is the mean square. A column is constant where its entries differ
        from its mean by no more than their own rounding errors, whether the moments come from one
        pass or were merged row by row; or by so little, below 1e-146, that their squares lose
        digits.
        """
        variance = self.sum_of_squares / self.weight
        variance[variance <= (CONSTANT_TOLERANCE * self.mean) ** 2] = 0.0
        variance = variance if fit_intercept else variance + self.mean**2
        variance[variance < MIN_VARIANCE] = 0.0
        return variance


def joint_moments(X, targets, sample_weight):
    """Return the moments of the columns of X followed by targets, of shape (n_targets, n_rows)."""
    if len(targets[0]) == 1 and sample_weight is None:
        row = X.toarray()[0] if issparse(X) else X[0]
        return Moments.of_row(np.append(row, targets))
    result = Moments.of(X, sample_weight)
    for y in targets:
        result = result.with_columns(Moments.of(y[:, np.newaxis], sample_weight, "y"))
    return result

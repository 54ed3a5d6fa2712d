"""Mean and variance of every column, mergeable over sets of rows."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite
from sklearn.utils.sparsefuncs import mean_variance_axis

from ..kernels.csc import column_moments
from ..kernels.dense import moments

MOMENT_ROWS = 4096  # summed up at a time: variances are exact to about as many roundings
CONSTANT = 4 * np.finfo(np.float64).eps  # of the mean: a standard deviation of rounding errors
LEAST_SQUARE = np.finfo(np.float64).tiny / np.finfo(np.float64).eps  # with all its digits


@dataclass(frozen=True)
class Moments:
    """Weighted mean and squared deviation of every column, mergeable.

    Attributes
    ----------
    rows : int
        Rows of positive weight.
    weight : float
        Sum of their weights.
    mean, sum_of_squares : ndarray of shape (n_features,)
        Mean, and weighted sum of squared deviations from it.
    """

    rows: int
    weight: float
    mean: np.ndarray
    sum_of_squares: np.ndarray

    @classmethod
    def of(cls, X, sample_weight=None, name="X"):
        """Moments of the rows of X; an error if they are not finite."""
        if issparse(X):
            return cls._of_sparse(X, sample_weight)
        sums, (mean, deviation) = np.empty((2, X.shape[1])), np.zeros((2, X.shape[1]))
        rows, weight = moments(X, sample_weight, MOMENT_ROWS, sums, mean, deviation)
        total = cls(rows, weight, mean, deviation)
        total.check(X, name)
        return total

    @classmethod
    def of_row(cls, x):
        """Moments of one row of weight 1: the row, and no deviation."""
        row = cls(1, 1.0, x, np.zeros(len(x)))
        row.check(x)
        return row

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # the check at the end tells the user
    def _of_sparse(cls, X, sample_weight):
        """From the stored entries of a CSR or CSC matrix, and their number."""
        rows, weight = X.shape[0], float(X.shape[0])
        if sample_weight is not None:
            rows, weight = np.count_nonzero(sample_weight), float(sample_weight.sum())
        if X.format == "csc" and weight > 0:
            mean, deviation = np.empty((2, X.shape[1]))
            column_moments(X.data, X.indices, X.indptr, sample_weight, weight, mean, deviation)
        else:
            weights = None
            if sample_weight is not None:  # in units of the largest, so that no product overflows
                data = X.data.astype(np.float64, copy=False)
                X = type(X)((data, X.indices, X.indptr), shape=X.shape)
                weights = sample_weight / (sample_weight.max() or 1.0)
            mean, variance = mean_variance_axis(X, axis=0, weights=weights)
            mean, deviation = mean.astype(np.float64), variance.astype(np.float64) * weight
        total = cls(rows, weight, mean, deviation)
        total.check(X)
        return total

    @np.errstate(over="ignore", invalid="ignore")
    def check(self, X, name="X"):
        """Raise an error if moments are not finite, with what in X is not."""
        square = self.sum_of_squares + self.weight * self.mean**2
        if not np.isfinite(square).all():
            assert_all_finite(X, input_name=name)
            column = int(np.flatnonzero(~np.isfinite(square))[0])
            where = f"in column {column} " if len(square) > 1 else ""
            raise ValueError(
                f"Input {name} contains values {where}whose squares, times sample_weight, are too "
                "large for dtype('float64'). Rescale them."
            )

    def merge(self, other):
        """Moments of both sets of rows (Chan, Golub & LeVeque, 1983)."""
        if self.weight == 0:
            return other
        weight = self.weight + other.weight
        share = other.weight / weight
        with np.errstate(over="ignore", invalid="ignore"):  # Moments.of tells the user
            gap = other.mean - self.mean
            mean = self.mean + gap * share
            deviation = (
                self.sum_of_squares + other.sum_of_squares + gap * gap * (self.weight * share)
            )
        return Moments(self.rows + other.rows, weight, mean, deviation)

    @np.errstate(over="ignore")  # who goes on with them finds out
    def with_weights_scaled(self, factor):
        """Moments of the same rows with weights so many times as large."""
        return Moments(self.rows, self.weight * factor, self.mean, self.sum_of_squares * factor)

    def with_columns(self, other):
        """Moments of both sets of columns of the same rows."""
        mean = np.concatenate([self.mean, other.mean])
        deviation = np.concatenate([self.sum_of_squares, other.sum_of_squares])
        return Moments(self.rows, self.weight, mean, deviation)

    def of_columns(self, part):
        """Moments of a slice of the columns."""
        return Moments(self.rows, self.weight, self.mean[part], self.sum_of_squares[part])

    def variance(self, fit_intercept):
        """Variance of every column (mean square without intercept); 0 where constant.

        A column is constant where its entries differ from its mean by no more than their own
        rounding errors, whether the moments come from one pass or were merged row by row; or so
        little that their squares lose digits, below 1e-146.
        """
        variance = self.sum_of_squares / self.weight
        variance[variance <= (CONSTANT * self.mean) ** 2] = 0.0
        spread = variance if fit_intercept else variance + self.mean**2
        spread[spread < LEAST_SQUARE] = 0.0
        return spread

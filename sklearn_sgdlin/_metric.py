"""The coordinates the steps are taken in: centred columns of equal scale.

Plain SGD has one step size for all features, so it needs scaled data. Here the data stay
as they are, and the metric says how long a step is in each direction::

    z = (scale * (x - centre), scale_intercept)       a row in the metric
    prediction = z . theta                             the same model, other coordinates

with ``scale_j = 1 / sqrt(Q * (variance_j + l2))``, ``scale_intercept = 1 / sqrt(Q)`` and
``Q = 1 + sum(variance_j / (variance_j + l2))``, l2 the curvature of a penalty as one of so many
columns feels it, so that the mean of ``||z||**2`` is 1 on any data. Hence `learning_rate` has no
unit, and 1 is its natural scale.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.utils import assert_all_finite
from sklearn.utils.sparsefuncs import mean_variance_axis

from ._columns import column_moments
from ._sweep import moments

MOMENT_ROWS = 4096  # summed up at a time: variances are exact to about as many roundings
CONSTANT = 4 * np.finfo(np.float64).eps  # of the mean: a standard deviation of rounding errors
LEAST_SQUARE = np.finfo(np.float64).tiny / np.finfo(np.float64).eps  # with all its digits
NEAR = 0.9  # of the last step: near enough for a scale
CHUNK_BYTES = 1 << 20  # of X at a time: stays in the second-level cache, and is worth a thread


def chunk_rows(n_columns, itemsize=8):
    """Rows of a chunk that fits the cache."""
    return max(1, CHUNK_BYTES // (itemsize * max(n_columns, 1)))


def slices(n_rows, step):
    """Slices of so many consecutive rows."""
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def consecutive(X, part):
    """Rows of a CSR matrix that shares its entries, where indexing would copy them."""
    start, stop = X.indptr[part.start], X.indptr[part.stop]
    pointers = X.indptr[part.start : part.stop + 1] - start
    shape = part.stop - part.start, X.shape[1]
    return csr_array((X.data[start:stop], X.indices[start:stop], pointers), shape=shape)


def with_last(numbers, last, size=None):
    """Vector of numbers, one for each column or one for all, and a last one."""
    vector = np.empty(len(numbers) + 1 if size is None else size)
    vector[:-1], vector[-1] = numbers, last
    return vector


def effective_l2(variance, l2, n_rows):
    """The penalty that one of many independent columns feels beside the others.

    It solves ``l2 = effective * (1 - sum(variance / (variance + effective)) / n_rows)``: what the
    others explain is not left for a column to explain. The diagonal of the inverse of the Hessian
    is about ``effective / l2 / (variance + effective)`` (Silverstein, 1995; Bach, High-dimensional
    analysis of double descent, 2024). Few columns feel l2 itself.
    """
    if l2 == 0:
        return l2
    effective, last = l2 + variance.sum() / n_rows, np.inf  # from above Newton steps only fall
    while effective < NEAR * last:
        share = variance / (variance + effective)
        square = share @ share / n_rows
        last, effective = effective, l2 + effective * (share.sum() / n_rows - square)
        effective /= 1 - square
    return effective


@dataclass(frozen=True)
class Moments:
    """Weighted mean and squared deviation of every column, mergeable.

    Attributes
    ----------
    rows : int
        Rows of positive weight.
    weight : float
        Sum of their weights.
    mean, deviation : ndarray of shape (n_features,)
        Mean, and weighted sum of squared deviations from it.
    """

    rows: int
    weight: float
    mean: np.ndarray
    deviation: np.ndarray

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
        square = self.deviation + self.weight * self.mean**2
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
            deviation = self.deviation + other.deviation + gap * gap * (self.weight * share)
        return Moments(self.rows + other.rows, weight, mean, deviation)

    @np.errstate(over="ignore")  # who goes on with them finds out
    def times(self, factor):
        """Moments of the same rows with weights so many times as large."""
        return Moments(self.rows, self.weight * factor, self.mean, self.deviation * factor)

    def beside(self, other):
        """Moments of both sets of columns of the same rows."""
        mean = np.concatenate([self.mean, other.mean])
        deviation = np.concatenate([self.deviation, other.deviation])
        return Moments(self.rows, self.weight, mean, deviation)

    def of_columns(self, part):
        """Moments of a slice of the columns."""
        return Moments(self.rows, self.weight, self.mean[part], self.deviation[part])

    def spread(self, fit_intercept):
        """Variance of every column (mean square without intercept); 0 where constant.

        A column is constant where its entries differ from its mean by no more than their own
        rounding errors, whether the moments come from one pass or were merged row by row; or so
        little that their squares lose digits, below 1e-146.
        """
        variance = self.deviation / self.weight
        variance[variance <= (CONSTANT * self.mean) ** 2] = 0.0
        spread = variance if fit_intercept else variance + self.mean**2
        spread[spread < LEAST_SQUARE] = 0.0
        return spread


@dataclass(frozen=True)
class Metric:
    """Centre and scale of the coordinates, and the way there and back.

    Attributes
    ----------
    centre : ndarray of shape (n_features,)
    scale : ndarray of shape (n_features + 1,)
        Last the scale of the intercept; 0 for what is not learned.
    """

    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def standard(cls, moments, fit_intercept, l2=0.0):
        """The metric of the module's formula; a constant column has scale 0."""
        spread = with_last(moments.spread(fit_intercept), fit_intercept)
        varies = spread > 0
        l2 = effective_l2(spread[:-1], l2, moments.rows)
        curvature = spread + with_last(l2, 0.0, len(spread))
        scale = np.zeros(len(spread))
        n_effective = np.divide(spread, curvature, out=scale, where=varies).sum() or 1.0
        np.divide(1.0, np.sqrt(n_effective * curvature), out=scale, where=varies)
        centre = moments.mean if fit_intercept else np.zeros(len(moments.mean))
        return cls(centre, scale)

    @classmethod
    def textbook(cls, n_features, fit_intercept):
        """Steps in the units of the data, as in a textbook."""
        return cls(np.zeros(n_features), np.append(np.ones(n_features), float(fit_intercept)))

    def mean_square(self, moments):
        """Mean of ||z||**2, without the intercept, of rows with these moments."""
        with np.errstate(over="ignore"):  # in the units of the data
            distance = self.scale[:-1] * (moments.mean - self.centre)
            deviation = self.scale[:-1] * np.sqrt(moments.spread(True))
            return float(distance @ distance + deviation @ deviation)

    def theta(self, coef, intercept):
        """Coordinates of a model."""
        model = with_last(coef, intercept + self.centre @ coef)
        return np.divide(model, self.scale, out=np.zeros(len(model)), where=self.scale > 0)

    def model(self, theta):
        """Coefficients and intercept, in the units of the data."""
        model = self.scale * theta
        return model[:-1], float(model[-1] - self.centre @ model[:-1])

"""The scatter of few columns: all that least squares needs of rows that are gone.

With the moments it tells the gradient and the Hessian of squared error over every row seen, so
the optimum of a stream is known without its rows.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import issparse

from ._curvature import inverse_of
from ._metric import chunk_rows, consecutive, slices, with_last
from ._sweep import standardise

FEATURES = 64  # beyond, a matrix a row costs more than all the rest
LEAST_ROWS = 2  # per coordinate: with fewer, the optimum is that of their noise
LOOKS = 2  # where rounding errors of a step matter: the second mends those of the first


@dataclass(frozen=True)
class Scatter:
    """Weighted sums of products of deviations from the mean, of each column with each.

    Attributes
    ----------
    matrix : ndarray of shape (n_features + 1, n_features + 1)
        Of the columns of X, and of y, last.
    """

    matrix: np.ndarray

    @classmethod
    def empty(cls, n_features):
        """Return that of no rows, or None where columns are too many."""
        return cls(np.zeros((n_features + 1,) * 2)) if n_features <= FEATURES else None

    @classmethod
    def of_hessian(cls, hessian, slope, metric, moments):
        """Return it as a fit knows it, or None where columns are too many.

        Parameters
        ----------
        hessian : ndarray of shape (n_coordinates, n_coordinates)
            Mean of z z'.
        slope : ndarray of shape (n_coordinates,)
            Mean of z y.
        metric : Metric
            Of z.
        moments : Moments
            Of X and y.
        """
        varies = metric.scale[:-1] > 0
        if len(varies) > FEATURES:
            return None
        unit = np.divide(1.0, metric.scale[:-1], out=np.zeros(len(varies)), where=varies)
        matrix = np.empty((len(varies) + 1,) * 2)
        matrix[:-1, :-1] = hessian[:-1, :-1] * np.multiply.outer(unit, unit)
        matrix[:-1, -1] = matrix[-1, :-1] = slope[:-1] * unit
        centre, mean = with_last(metric.centre, 0.0), moments.mean
        matrix[:-1] -= np.multiply.outer((mean - centre)[:-1], mean - centre)
        matrix[-1, :-1] = matrix[:-1, -1]
        matrix *= moments.weight
        matrix[-1, -1] = moments.deviation[-1]
        return cls(matrix)

    def with_rows(self, before, chunk, X, y, sample_weight):
        """Return that of more rows (Chan, Golub & LeVeque, 1983).

        Parameters
        ----------
        before, chunk : Moments
            Of the rows so far, and of the new ones.
        X, y, sample_weight
            The new ones.
        """
        if chunk.weight == 0:
            return self
        gap = chunk.mean - before.mean
        weight = before.weight * (chunk.weight / (before.weight + chunk.weight))
        matrix = self.matrix + np.multiply.outer(gap, weight * gap)
        if len(y) > 1:  # one row has no deviation from its mean
            for part in slices(len(y), chunk_rows(len(gap))):
                rows = _deviations(X, y, part, chunk.mean)
                weighted = rows if sample_weight is None else rows * sample_weight[part, None]
                matrix += weighted.T @ rows
        return Scatter(matrix)

    def optimum(self, moments, fit_intercept, l2, coef, intercept):
        """Return coef and intercept of the least mean of error**2 / 2 + l2 coef**2 / 2.

        Where the rows do not tell, or are too few, as they are given.

        Parameters
        ----------
        moments : Moments
            Of the same rows.
        fit_intercept : bool
        l2 : float
        coef, intercept
            Near the optimum.
        """
        spread = moments.spread(fit_intercept)[:-1]
        if moments.rows < LEAST_ROWS * (len(spread) + fit_intercept):
            return coef, intercept
        product = self.matrix / moments.weight
        if not fit_intercept:
            product += np.multiply.outer(moments.mean, moments.mean)
        hessian, slope = product[:-1, :-1], product[:-1, -1]
        if l2:
            hessian.flat[:: len(spread) + 1] += l2
        constant = spread == 0  # but for rounding errors
        if constant.any():
            hessian[constant], hessian[:, constant], slope[constant] = 0.0, 0.0, 0.0
        solve, sure = inverse_of(hessian.copy(), len(spread))
        for _ in range(1 if sure else LOOKS):
            coef = coef + solve(slope - hessian @ coef)
        return coef, float(moments.mean[-1] - moments.mean[:-1] @ coef) if fit_intercept else 0.0


def _deviations(X, y, part, mean):
    """Rows of X and their y, less their mean, in a dense array."""
    rows = np.empty((part.stop - part.start, len(mean)))
    if issparse(X):
        np.subtract(consecutive(X, part).toarray(), mean[:-1], out=rows[:, :-1])
    else:
        standardise(X, part.start, part.stop, mean[:-1], np.ones(len(mean)), rows)
    np.subtract(y[part], mean[-1], out=rows[:, -1])
    return rows

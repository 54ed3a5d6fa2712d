"""How columns vary together: all that squared error needs to know of the rows."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import issparse

from ._curvature import CurvatureSketch
from ._metric import MOMENT_ROWS, Metric, Moments, with_last
from ._rows import Rows
from ._sparse import SparseRows


def rows_of(X, y, sample_weight, metric):
    """Return the `Rows` of X, dense or sparse."""
    return (SparseRows if issparse(X) else Rows)(X, y, sample_weight, metric)


@dataclass(frozen=True)
class Scatter:
    """Moments of the columns of X and of the targets, and sums of their products; mergeable.

    Attributes
    ----------
    moments : Moments
        Of the columns of X, then of the targets.
    products : ndarray of shape (n_features, n_features + n_targets) or None
        Weighted sums of the deviations of the columns of X times those of all columns.
    """

    moments: Moments
    products: np.ndarray | None

    @classmethod
    def of(cls, X, targets, sample_weight, with_products):
        """Sum up the rows in one pass; an error if they are not finite."""
        weightless = sample_weight is not None and not sample_weight.any()
        if with_products and not weightless:
            return cls._with_products(X, targets, sample_weight)
        n_features = X.shape[1]
        nothing = np.zeros((n_features, n_features + len(targets))) if with_products else None
        return cls(_moments(X, targets, sample_weight), nothing)

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # the check at the end tells the user
    def _with_products(cls, X, targets, sample_weight):
        """Take distances from the mean of some rows, so that few digits of squares cancel."""
        n_rows, n_features = X.shape
        near = _near_mean(X, targets, sample_weight)
        metric = Metric(near[:n_features], np.ones(n_features + 1))
        gram = CurvatureSketch(n_rows, n_features + 1, seed=0)
        cross, square, start = np.zeros((n_features + 1, len(targets))), 0.0, 0
        for z, y, weight in rows_of(X, targets[0], sample_weight, metric).chunks():
            distance = targets[:, start : start + len(y)].T - near[n_features:]
            weighted = distance if weight is None else distance * weight[:, np.newaxis]
            start += len(y)
            gram.add(z, weight)
            cross += z.transposed_times(weighted)
            square += np.einsum("ij,ij->j", distance, weighted)
        sums, weight = np.append(gram.total[-1, :-1], cross[-1]), gram.total[-1, -1]
        products = np.hstack([gram.total[:-1, :-1], cross[:-1]])
        products -= np.outer(sums[:n_features] / weight, sums)
        deviation = np.append(products.diagonal(), square - sums[n_features:] ** 2 / weight)
        n_rows = n_rows if sample_weight is None else np.count_nonzero(sample_weight)
        moments = Moments(n_rows, weight, near + sums / weight, np.maximum(deviation, 0.0))
        moments.of_columns(slice(n_features)).check(X)
        return cls(moments, products)

    def merge(self, other):
        """Scatter of both sets of rows; see `Moments.merge`."""
        moments = self.moments.merge(other.moments)
        if self.products is None:
            return Scatter(moments, None)
        if self.moments.weight == 0:
            return other
        gap = other.moments.mean - self.moments.mean
        share = other.moments.weight / moments.weight
        between = np.outer(gap[: len(self.products)], gap) * (self.moments.weight * share)
        return Scatter(moments, self.products + other.products + between)

    def sums(self, target, metric, theta):
        """Sums over rows z in a metric, with the residuals r = y - z . theta of a target.

        Returns
        -------
        square : float
            Sum of h r**2.
        slope : ndarray of shape (n_coordinates, 1)
            Sum of h r z.
        hessian : ndarray of shape (n_coordinates, n_coordinates)
            Sum of h z z'.
        """
        n_features, scale = len(self.products), metric.scale
        weight, mean = self.moments.weight, self.moments.mean
        of_X, of_y = self.products[:, :n_features], self.products[:, n_features + target]
        mean_z = scale * with_last(mean[:n_features] - metric.centre, 1.0)
        mean_residual = mean[n_features + target] - mean_z @ theta
        coef = scale[:-1] * theta[:-1]
        slope = of_y - of_X @ coef
        square = self.moments.deviation[n_features + target] - coef @ (of_y + slope)
        square += weight * mean_residual**2
        slope = scale * with_last(slope, 0.0) + weight * mean_residual * mean_z
        hessian = weight * np.outer(mean_z, mean_z)
        hessian[:-1, :-1] += scale[:-1, np.newaxis] * of_X * scale[:-1]
        return square, slope[:, np.newaxis], hessian


def _moments(X, targets, sample_weight):
    moments = Moments.of(X, sample_weight)
    for y in targets:
        moments = moments.beside(Moments.of(y[:, np.newaxis], sample_weight, "y"))
    return moments


def _near_mean(X, targets, sample_weight):
    """Mean of some neighbours, the heaviest row among them."""
    first = 0 if sample_weight is None else int(sample_weight.argmax())
    part = slice(first, first + MOMENT_ROWS)
    weight = None if sample_weight is None else sample_weight[part]
    return _moments(X[part], targets[:, part], weight).mean

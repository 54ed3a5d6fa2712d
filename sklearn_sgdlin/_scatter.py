"""How few columns vary together: all that squared error needs to know of the rows.

Scatters of parts of the rows add up, so the optimum of a stream is known without its rows.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import issparse

from ._curvature import inverse_of
from ._metric import MOMENT_ROWS, Moments, chunk_rows, consecutive, slices, with_last
from ._sweep import standardise
from ._threads import transposed_product

FEATURES = 64  # up to which a stream sums up products: more cost more than all the rest
LOOKS = 2  # where rounding errors of a step matter: the second mends those of the first


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
        """Sum up the rows in one pass; an error if they are not finite.

        Parameters
        ----------
        X : ndarray or CSR matrix of shape (n_rows, n_features)
        targets : ndarray of shape (n_targets, n_rows)
        sample_weight : ndarray of shape (n_rows,) or None
        with_products : bool
        """
        n_features = X.shape[1]
        alone = len(targets[0]) == 1 and sample_weight is None
        if with_products and not alone and (sample_weight is None or sample_weight.any()):
            return cls._with_products(X, targets, sample_weight)
        nothing = np.zeros((n_features, n_features + len(targets))) if with_products else None
        return cls(moments_of(X, targets, sample_weight), nothing)

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # the check at the end tells the user
    def _with_products(cls, X, targets, sample_weight):
        """Take distances from the mean of some rows, so that few digits of squares cancel."""
        n_rows, n_features = X.shape
        near = _near_mean(X, targets, sample_weight)
        gram = np.zeros((n_features + 1, n_features + 1))
        cross, square = np.zeros((n_features + 1, len(targets))), 0.0
        step = min(chunk_rows(n_features + 1), n_rows)
        buffer = np.ones((step, n_features + 1))
        for part in slices(n_rows, step):
            z, distance = buffer[: part.stop - part.start], targets[:, part].T - near[n_features:]
            _write_distances(X, part, near[:n_features], z)
            weighted = z if sample_weight is None else z * sample_weight[part, np.newaxis]
            gram += transposed_product(weighted, z)
            cross += transposed_product(weighted, distance)
            square += weighted[:, -1] @ distance**2
        sums, weight = np.append(gram[-1, :-1], cross[-1]), float(gram[-1, -1])
        products = np.hstack([gram[:-1, :-1], cross[:-1]])
        products -= np.multiply.outer(sums[:n_features] / weight, sums)
        deviation = np.append(products.diagonal(), square - sums[n_features:] ** 2 / weight)
        n_rows = n_rows if sample_weight is None else np.count_nonzero(sample_weight)
        moments = Moments(n_rows, weight, near + sums / weight, np.maximum(deviation, 0.0))
        moments.of_columns(slice(n_features)).check(X)
        return cls(moments, products)

    @classmethod
    def of_hessian(cls, hessian, slope, metric, moments):
        """Return it as a fit on one target knows it.

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
        scale = metric.scale[:-1]
        unit = np.divide(1.0, scale, out=np.zeros(len(scale)), where=scale > 0)
        products = np.empty((len(scale), len(scale) + 1))
        products[:, :-1] = hessian[:-1, :-1] * np.multiply.outer(unit, unit)
        products[:, -1] = slope[:-1] * unit
        gap = moments.mean - with_last(metric.centre, 0.0)
        products -= np.multiply.outer(gap[:-1], gap)
        return cls(moments, moments.weight * products)

    def merge(self, other):
        """Scatter of both sets of rows (Chan, Golub & LeVeque, 1983); see `Moments.merge`."""
        moments = self.moments.merge(other.moments)
        if self.products is None or other.products is None:
            return Scatter(moments, None)
        if self.moments.weight == 0:
            return other
        gap = other.moments.mean - self.moments.mean
        weight = self.moments.weight * (other.moments.weight / moments.weight)
        between = np.multiply.outer(gap[: len(self.products)], weight * gap)
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
        hessian = weight * np.multiply.outer(mean_z, mean_z)
        hessian[:-1, :-1] += scale[:-1, np.newaxis] * of_X * scale[:-1]
        return square, slope[:, np.newaxis], hessian

    def optimum(self, fit_intercept, l2, ridge, coef, intercept):
        """Return coef and intercept of the least mean of error**2 / 2 + l2 coef**2 / 2.

        Of the first target. Every column has `ridge` times its own curvature on top of l2. Where
        the rows do not tell, as they are given.
        """
        moments, n_features = self.moments, len(self.products)
        mean = moments.mean[:n_features]
        spread = moments.of_columns(slice(n_features)).spread(fit_intercept)
        product = self.products / moments.weight
        if not fit_intercept:
            product += np.multiply.outer(mean, moments.mean)
        hessian, slope = product[:, :n_features], product[:, n_features]
        hessian.flat[:: n_features + 1] *= 1 + ridge
        if l2:
            hessian.flat[:: n_features + 1] += l2
        constant = spread == 0  # but for rounding errors
        if constant.any():
            hessian[constant], hessian[:, constant], slope[constant] = 0.0, 0.0, 0.0
        solve, sure = inverse_of(hessian.copy(), n_features)
        for _ in range(1 if sure else LOOKS):
            coef = coef + solve(slope - hessian @ coef)
        return coef, float(moments.mean[n_features] - mean @ coef) if fit_intercept else 0.0


def moments_of(X, targets, sample_weight):
    """Moments of the columns of X, then of the targets."""
    if len(targets[0]) == 1 and sample_weight is None:
        row = X.toarray()[0] if issparse(X) else X[0]
        return Moments.of_row(np.append(row, targets))
    moments = Moments.of(X, sample_weight)
    for y in targets:
        moments = moments.beside(Moments.of(y[:, np.newaxis], sample_weight, "y"))
    return moments


def _near_mean(X, targets, sample_weight):
    """Mean of some neighbours, the heaviest row among them."""
    first = 0 if sample_weight is None else int(sample_weight.argmax())
    part = slice(first, min(first + MOMENT_ROWS, X.shape[0]))
    weight = None if sample_weight is None else sample_weight[part]
    X = consecutive(X, part) if issparse(X) else X[part]
    return moments_of(X, targets[:, part], weight).mean


def _write_distances(X, part, point, z):
    """Write rows of X, less a point, into a dense array; it ends with a column of ones."""
    if issparse(X):
        np.subtract(consecutive(X, part).toarray(), point, out=z[:, :-1])
    else:
        standardise(X, part.start, part.stop, point, np.ones(len(point) + 1), z)

"""How few columns vary together: all that squared error needs to know of the rows.

The triangular factor of rows has all their products, and twice as many digits of what columns
have in common. Factors of parts of the rows merge into that of all, so the optimum of a stream is
known without its rows.
"""

from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np
from scipy.sparse import issparse

from ..kernels.dense import standardise
from ..linalg.blocks import chunk_rows, consecutive, slices, with_last
from ..linalg.factorization import RANK_TOLERANCE, cholesky_solver
from ..linalg.least_squares import (
    WELL_CONDITIONED,
    LeastSquares,
    append_rows,
    factor_by_products,
    triangular_factor,
)
from .moments import MOMENT_ROWS, Moments

STREAM_GRAM_FEATURES = 64  # up to which a stream sums up products: more cost more than all the rest
PRODUCT_ROWS = 4  # per column, from which their products cost less than to transform them


@dataclass(frozen=True)
class CrossProducts:
    """Moments of the columns of X and of the targets, and a factor of their products; mergeable.

    Attributes
    ----------
    moments : Moments
        Of the columns of X, then of the targets.
    triangle : ndarray of shape (n_features + n_targets,) * 2 or None
        Triangular factor of the deviations of the columns of X, then of the targets, from their
        means, times the roots of the weights.
    sums : ndarray of shape (n_features, n_features + n_targets) or None
        Products of these deviations, where just these are known.
    """

    moments: Moments
    triangle: np.ndarray | None
    sums: np.ndarray | None = None

    @cached_property
    def factor(self):
        """The triangular factor, or None; that of sums takes more time than a small fit has."""
        return self.triangle if self.sums is None else _factor_of(self.sums)

    @property
    def products(self):
        """Weighted sums of the deviations of all columns times those of all columns, or None."""
        return None if self.factor is None else self.factor.T @ self.factor

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
        n_columns = X.shape[1] + len(targets)
        alone = len(targets[0]) == 1 and sample_weight is None
        if with_products and not alone and (sample_weight is None or sample_weight.any()):
            return cls._with_products(X, targets, sample_weight)
        nothing = np.zeros((n_columns, n_columns), order="F") if with_products else None
        return cls(moments_of(X, targets, sample_weight), nothing)

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # the check at the end tells the user
    def _with_products(cls, X, targets, sample_weight):
        """Factorise the rows beside a column of ones, whose part in the others are their means.

        Distances are from the mean of some rows, so that few digits cancel.
        """
        n_rows, n_features = X.shape
        near = _near_mean(X, targets, sample_weight)
        n_columns = 1 + len(near)
        factor = np.zeros((n_columns, n_columns), order="F")
        step = min(chunk_rows(n_columns), n_rows)
        distances, by_products = np.ones((step, n_features + 1)), True
        for part in slices(n_rows, step):
            n = part.stop - part.start
            _write_distances(X, part, near[:n_features], distances[:n])
            rows = np.ones((n, n_columns), order="F")
            rows[:, 1 : n_features + 1] = distances[:n, :-1]
            rows[:, n_features + 1 :] = targets[:, part].T - near[n_features:]
            if sample_weight is not None:
                rows *= np.sqrt(sample_weight[part])[:, np.newaxis]
            by_products = by_products and n >= PRODUCT_ROWS * n_columns
            tile = factor_by_products(rows, n_features + 1) if by_products else None
            by_products = tile is not None  # the next rows are like these
            factor = append_rows(factor, tile if by_products else rows)
        weight = float(n_rows if sample_weight is None else sample_weight.sum())
        n_rows = n_rows if sample_weight is None else np.count_nonzero(sample_weight)
        deviations = np.asfortranarray(factor[1:, 1:])
        mean = near + factor[0, 1:] / factor[0, 0]
        moments = Moments(n_rows, weight, mean, (deviations**2).sum(axis=0))
        moments.of_columns(slice(n_features)).check(X)
        return cls(moments, deviations)

    @classmethod
    @np.errstate(over="ignore")  # who goes on with them finds out
    def of_hessian(cls, hessian, slope, scaling, moments):
        """Return it as a fit on one target knows it.

        Parameters
        ----------
        hessian : ndarray of shape (n_coordinates, n_coordinates)
            Mean of z z'.
        slope : ndarray of shape (n_coordinates,)
            Mean of z y.
        scaling : Scaling
            Of z.
        moments : Moments
            Of X and y.
        """
        unit = _inverse_scale(scaling)
        products = np.empty((len(unit), len(unit) + 1))
        products[:, :-1] = hessian[:-1, :-1] * np.multiply.outer(unit, unit)
        products[:, -1] = slope[:-1] * unit
        gap = moments.mean - with_last(scaling.centre, 0.0)
        products -= np.multiply.outer(gap[:-1], gap)
        return cls(moments, None, moments.weight * products)

    @classmethod
    def of_factor(cls, factor, theta, scaling, moments):
        """Return it as a fit knows it that ended at the optimum theta, with an intercept.

        Parameters
        ----------
        factor : ndarray of shape (n_rows, n_coordinates)
            Rows with the mean products of z.
        theta : ndarray of shape (n_coordinates,)
        scaling : Scaling
            Of z.
        moments : Moments
            Of X and y.
        """
        columns = [factor[:, -1], factor[:, :-1] * _inverse_scale(scaling), factor @ theta]
        rows = sqrt(moments.weight) * np.column_stack(columns)
        whole = np.zeros((rows.shape[1], rows.shape[1]), order="F")
        whole = append_rows(whole, np.asfortranarray(rows))
        return cls(moments, np.asfortranarray(whole[1:, 1:]))

    def merge(self, other):
        """CrossProducts of both sets of rows (Chan, Golub & LeVeque, 1983); see `Moments.merge`."""
        moments = self.moments.merge(other.moments)
        if self.factor is None or other.factor is None:
            return CrossProducts(moments, None)
        if self.moments.weight == 0 or other.moments.weight == 0:
            return CrossProducts(moments, (other if self.moments.weight == 0 else self).factor)
        gap = other.moments.mean - self.moments.mean
        between = sqrt(self.moments.weight * (other.moments.weight / moments.weight)) * gap
        rows = [between[np.newaxis], other.factor] if other.factor.any() else [between[np.newaxis]]
        rows = np.asfortranarray(np.concatenate(rows))
        return CrossProducts(moments, append_rows(self.factor.copy(order="F"), rows))

    def rows(self, scaling):
        """Return rows of X in a scaling that have the same products."""
        n_features, scale = len(scaling.centre), scaling.scale
        mean = scale * with_last(self.moments.mean[:n_features] - scaling.centre, 1.0)
        rows = np.zeros((n_features + 1, n_features + 1))
        rows[:-1, :-1] = self.factor[:n_features, :n_features] * scale[:-1]
        rows[-1] = sqrt(self.moments.weight) * mean
        return [rows]

    def residual_sums(self, target, scaling, theta):
        """Sums over rows z in a scaling, with the residuals r = y - z . theta of a target.

        Returns
        -------
        square : float
            Sum of h r**2.
        slope : ndarray of shape (n_coordinates, 1)
            Sum of h r z.
        hessian : ndarray of shape (n_coordinates, n_coordinates)
            Sum of h z z'.
        """
        n_features, scale = len(scaling.centre), scaling.scale
        weight, mean = self.moments.weight, self.moments.mean
        products = self.products
        of_X, of_y = products[:n_features, :n_features], products[:n_features, n_features + target]
        mean_z = scale * with_last(mean[:n_features] - scaling.centre, 1.0)
        mean_residual = mean[n_features + target] - mean_z @ theta
        coef = scale[:-1] * theta[:-1]
        slope = of_y - of_X @ coef
        square = self.moments.sum_of_squares[n_features + target] - coef @ (of_y + slope)
        square += weight * mean_residual**2
        slope = scale * with_last(slope, 0.0) + weight * mean_residual * mean_z
        hessian = weight * np.multiply.outer(mean_z, mean_z)
        hessian[:-1, :-1] += scale[:-1, np.newaxis] * of_X * scale[:-1]
        return square, slope[:, np.newaxis], hessian

    @property
    def known(self):
        """Whether the factor, or sums of products, are known."""
        return self.triangle is not None or self.sums is not None

    def optimum(self, n_features, fit_intercept, l2, ridge=0.0):
        """Return coef and intercept of the least mean of error**2 / 2 + l2 coef**2 / 2.

        Of the first target. Every column has `ridge` times its own curvature on top of l2. Where
        columns are combinations of others, it is the shortest one in columns of equal length.
        """
        moments = self.moments
        mean, factor = moments.mean[:n_features], self.factor
        if not fit_intercept:
            row = sqrt(moments.weight) * moments.mean[np.newaxis]
            factor = append_rows(factor.copy(order="F"), np.asfortranarray(row))
        rows = factor[:n_features, :n_features] / sqrt(moments.weight)
        values = factor[:n_features, n_features] / sqrt(moments.weight)
        constant = moments.of_columns(slice(n_features)).variance(fit_intercept) == 0
        rows[:, constant] = 0.0  # but for rounding errors
        if l2 or np.any(ridge):
            coef = _least_squares(rows, values, l2 + ridge * (rows**2).sum(axis=0))
        else:
            coef = LeastSquares(rows).solve(values)
        return coef, float(moments.mean[n_features] - mean @ coef) if fit_intercept else 0.0


def _least_squares(rows, values, l2):
    """Return the least of |values - rows . coef|**2 + l2 . coef**2, l2 of each coefficient."""
    n_features = len(values)
    hessian = rows.T @ rows
    hessian.flat[:: n_features + 1] += l2
    solve, sure = cholesky_solver(hessian, n_features, WELL_CONDITIONED)
    if sure:
        return solve(rows.T @ values)
    penalty = np.diag(np.sqrt(with_last(l2, 0.0)))[:-1]
    both = triangular_factor([np.column_stack([rows, values]), penalty])
    return LeastSquares(both[:n_features, :-1]).solve(both[:n_features, -1])


def _inverse_scale(scaling):
    """Return the lengths that the scaling gives to columns; 0 where they are constant."""
    scale = scaling.scale[:-1]
    return np.divide(1.0, scale, out=np.zeros(len(scale)), where=scale > 0)


def _factor_of(products):
    """Return a factor of products that were summed up, of the columns of X with all columns."""
    n_features = len(products)
    length = np.sqrt(np.maximum(products.diagonal(), 0.0))
    unit = np.divide(1.0, length, out=np.zeros(n_features), where=length > 0)
    values, vectors = np.linalg.eigh(unit[:, np.newaxis] * products[:, :n_features] * unit)
    seen = values > RANK_TOLERANCE * values.max(initial=0.0)
    root = np.sqrt(values[seen])
    rows = np.zeros((seen.sum(), products.shape[1]))
    rows[:, :n_features] = (vectors[:, seen] * root).T * length
    rows[:, n_features:] = (vectors[:, seen] / root).T @ (
        unit[:, np.newaxis] * products[:, n_features:]
    )
    factor = np.zeros((products.shape[1], products.shape[1]), order="F")
    return append_rows(factor, np.asfortranarray(rows)) if len(rows) else factor


def moments_of(X, targets, sample_weight):
    """Moments of the columns of X, then of the targets."""
    if len(targets[0]) == 1 and sample_weight is None:
        row = X.toarray()[0] if issparse(X) else X[0]
        return Moments.of_row(np.append(row, targets))
    moments = Moments.of(X, sample_weight)
    for y in targets:
        moments = moments.with_columns(Moments.of(y[:, np.newaxis], sample_weight, "y"))
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

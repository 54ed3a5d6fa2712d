"""Covariance of the coefficients of some columns, by conjugate gradients.

With the bread A and the unit vector e of a coefficient, the solution v of ``A v = e`` is all that
the covariance takes: no matrix of all columns is formed.
"""

import numpy as np
from scipy.sparse import issparse

from .._validation import as_c_ordered
from ..linalg.blocks import chunk_rows, divided, slices
from .covariance import (
    Covariance,
    check_curvature,
    check_distance,
    degrees_of_freedom,
    nonrobust_factor,
    with_bandwidth,
)
from .rows import RowsInMemory
from .sandwich import RowSums

# Residual of the equations, relative to their right-hand side, at which iterations end, and up to
# which their solution counts.
TOL = 1e-12
MAX_RESIDUAL = 1e-9

# Starts of the iterations at most; each takes up the residual that the last one has left.
MAX_STARTS = 3


class CentredRows:
    """The rows z of a design, whose products with matrices are taken without a dense copy of X.

    Parameters
    ----------
    X : array or sparse matrix of shape (n_rows, n_features)
    design : Design
    """

    def __init__(self, X, design):
        self.X, self.centre, self.first = X, design.centre, int(design.fit_intercept)

    def _chunks(self):
        for part in slices(self.X.shape[0], chunk_rows(len(self.centre))):
            yield part, self.X[part] - self.centre

    def matmat(self, points):
        """Return z times the columns of points, for all rows."""
        slopes = points[self.first :]
        if issparse(self.X):
            images = self.X @ slopes - self.centre @ slopes
        else:
            images = np.concatenate([x @ slopes for _, x in self._chunks()])
        return images + points[0] if self.first else images

    def rmatmat(self, values):
        """Return the sums over the rows of z times the columns of values."""
        total = values.sum(axis=0)
        if issparse(self.X):
            sums = self.X.T @ values - np.multiply.outer(self.centre, total)
        else:
            sums = sum(x.T @ values[part] for part, x in self._chunks())
        return np.concatenate([total[np.newaxis], sums]) if self.first else sums

    def squares(self, weight):
        """Return the sums of weight times the squared entries of z; rough for sparse X."""
        if issparse(self.X):
            squares = self.X.multiply(self.X).T @ weight
            sums = squares - self.centre * (2 * (self.X.T @ weight) - self.centre * weight.sum())
            sums = np.maximum(sums, 1e-3 * squares)
        else:
            sums = sum(weight[part] @ x**2 for part, x in self._chunks())
        return np.append(weight.sum(), sums) if self.first else sums


def covariance_of_some(estimator, cov_type, groups, chosen):
    """Return the `Covariance` of some coefficients, in units of the data.

    Parameters
    ----------
    estimator, cov_type, groups : see `covariance_from_rows`
        All but "HC3", which takes the leverages of the rows.
    chosen : ndarray of int
        Numbers of the coefficients.
    """
    if not isinstance(estimator.rows, RowsInMemory):
        raise ValueError("columns need X, y and sample_weight in memory.")
    estimator = with_bandwidth(estimator)
    design, rows, n = estimator.design, estimator.rows, estimator.n_observations
    df = degrees_of_freedom(n, design.size)
    z = CentredRows(as_c_ordered(rows.X), design)
    weight = np.ones(len(rows.y)) if rows.sample_weight is None else rows.sample_weight
    residual = rows.y[:, estimator.target] - z.matmat(estimator.theta[:, np.newaxis])[:, 0]
    psi, squares, curvature = estimator.score.of(residual)
    gradient = z.rmatmat((weight * psi)[:, np.newaxis])
    products = weight @ squares, weight @ curvature, weight @ curvature**2
    sums = RowSums(gradient[:, 0], *products, 0.0, 0.0)
    rows.check_finite(sums.gradient)
    check_curvature(sums)
    bread = "plain" if cov_type == "nonrobust" else "curved"
    h = weight if bread == "plain" else weight * curvature
    right = np.column_stack([gradient, _unit_vectors(design, chosen)])
    unit = np.append(sums.squares / n, np.zeros(len(chosen)))  # the gradient may be nothing
    solution, left = _solutions(z, h, right, unit)
    check_distance(estimator, sums, np.sqrt(max(gradient[:, 0] @ solution[:, 0], 0.0)), bread)
    right, solution, left = right[:, 1:], solution[:, 1:], left[:, 1:]
    if cov_type == "nonrobust":
        factor, variance = nonrobust_factor(estimator, sums, df)
        inverse = right.T @ solution + solution.T @ left  # exact to the square of what is left
        return Covariance(factor * (inverse + inverse.T) / 2, df, variance)
    scores = z.matmat(solution)
    if cov_type == "cluster":
        codes, n_groups = groups
        of_groups = np.zeros((codes.max() + 1, len(chosen)))
        np.add.at(of_groups, codes, (weight * psi)[:, np.newaxis] * scores)
        meat = n_groups / (n_groups - 1) * (n - 1) / df * (of_groups.T @ of_groups)
        return Covariance(meat, float(n_groups - 1), None)
    h = squares * (weight**2 if estimator.analytic else weight)
    meat = scores.T @ (h[:, np.newaxis] * scores)
    return Covariance(n / df * meat if cov_type == "HC1" else meat, df, None)


def _unit_vectors(design, chosen):
    """Return what times `theta` is each of some coefficients, in units of the data."""
    vectors = np.zeros((design.size, len(chosen)))
    vectors[chosen, np.arange(len(chosen))] = 1.0
    if design.fit_intercept:
        vectors[1:, chosen == 0] -= design.centre[:, np.newaxis]
    return vectors


def _solutions(z, weight, right, unit):
    """Return the solutions of equations with the sum of weight z z', and the residuals.

    Each column of `right` has iterations of its own, and passes over the rows serve all of them.
    What is left is small beside its squared norm, or beside the unit of the column if that is more.
    """
    curvature = z.squares(weight)
    scale = divided(1.0, curvature)[:, np.newaxis]

    def product(points):
        return z.rmatmat(weight[:, np.newaxis] * z.matmat(points))

    solution, left = np.zeros(right.shape), right
    size = np.maximum((scale * right**2).sum(axis=0), unit)
    for _ in range(MAX_STARTS):
        solution = solution + _conjugate_gradients(product, scale, left, TOL**2 * size)
        left = right - product(solution)
        square = (scale * left**2).sum(axis=0)
        if (square <= TOL**2 * size).all():
            break
    if not (square <= MAX_RESIDUAL**2 * size).all() or (right[curvature <= 0, 1:] != 0).any():
        raise ValueError(
            "Conjugate gradients do not solve the equations of the standard errors: columns are "
            "constant, or nearly combinations of others. Leave such columns out."
        )
    return solution, left


def _conjugate_gradients(product, scale, right, enough):
    """Return approximate solutions, the inverse of whose matrix is about a diagonal one."""
    solution, residual = np.zeros(right.shape), right.copy()
    direction = scale * residual
    square = (residual * direction).sum(axis=0)
    for _ in range(len(right)):
        image = product(direction)
        curvature = (direction * image).sum(axis=0)
        running = (square > enough) & (curvature > 0)
        if not running.any():
            break
        length = np.divide(square, curvature, out=np.zeros(len(square)), where=running)
        solution += length * direction
        residual -= length * image
        towards = scale * residual
        after = (residual * towards).sum(axis=0)
        direction *= np.divide(after, square, out=np.zeros(len(square)), where=running)
        direction += towards
        square = after
    return solution

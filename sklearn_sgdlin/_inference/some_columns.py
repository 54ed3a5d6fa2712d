"""Covariance of the coefficients of some columns, by conjugate gradients.

With the bread A and the unit vector e of a coefficient, the solution v of ``A v = e`` is all that
the covariance takes: no matrix of all columns is formed.
"""

import numpy as np

from .._validation import as_c_ordered
from ..data.csr import make_rows
from ..data.row_ranges import moments_of, rows_in_memory
from ..linalg.blas import weighted_products
from ..linalg.cg import conjugate_gradient
from ..model.scaling import Scaling
from .covariance import (
    Covariance,
    check_curvature,
    check_distance,
    degrees_of_freedom,
    nonrobust_factor,
    small_sample_correction,
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


def covariance_of_some(estimator, cov_type, groups, chosen):
    """Return the `Covariance` of coefficients with these numbers, in units of the data.

    For all types but "HC3", which takes the leverages of the rows; see `covariance_from_rows`.
    """
    given = estimator.rows
    if not isinstance(given, RowsInMemory):
        raise ValueError("columns need X, y and sample_weight in memory.")
    estimator = with_bandwidth(estimator)
    n, size = estimator.n_observations, estimator.design.size
    df = degrees_of_freedom(n, size)
    X, weight = as_c_ordered(given.X), given.weights(slice(None))
    y = np.ascontiguousarray(given.y[:, estimator.target])
    moments = moments_of(X, weight, given.tuning)
    scaling = Scaling.from_moments(moments, estimator.design.fit_intercept)
    rows = make_rows(X, y, weight, scaling)
    residual = np.concatenate([part for part, _ in rows.residuals(_theta(estimator, scaling))])
    psi, squares, curvature = estimator.score.of(residual)
    gradient = _times_rows(rows, weight * psi)
    products = weight @ squares, weight @ curvature, weight @ curvature**2
    sums = RowSums(gradient, *products, 0.0, 0.0)
    check_curvature(sums)
    bread = "plain" if cov_type == "nonrobust" else "curved"
    h = weight if bread == "plain" else weight * curvature
    rows_of_bread = rows_in_memory(X, y, h, scaling, tuning=given.tuning, one_path=False)

    def product(point):
        return rows_of_bread.sum(_products, point)

    # The gradient may be nothing beside the products of the residuals with a coordinate.
    step, _ = _solved(product, gradient, sums.squares / n * h.sum() / size)
    check_distance(estimator, sums, np.sqrt(max(gradient @ step, 0.0)), bread)
    right = _unit_vectors(estimator.design, scaling, chosen)
    solution, left = np.stack([_solved(product, vector) for vector in right.T], axis=-1)
    if cov_type == "nonrobust":
        factor, variance = nonrobust_factor(estimator, sums, df)
        inverse = right.T @ solution + solution.T @ left  # exact to the square of what is left
        return Covariance(factor * (inverse + inverse.T) / 2, df, variance)
    scores = np.concatenate([z @ solution for z, _, _ in rows.chunks()])
    if cov_type == "cluster":
        codes, _ = groups
        of_groups = np.zeros((codes.max() + 1, len(chosen)))
        np.add.at(of_groups, codes, (weight * psi)[:, np.newaxis] * scores)
        sandwich = of_groups.T @ of_groups
    else:
        h = squares * (weight**2 if estimator.analytic else weight)
        sandwich = weighted_products(scores, h)
    correction, df = small_sample_correction(cov_type, groups, n, df)
    return Covariance(correction * sandwich, df, None)


def _theta(estimator, scaling):
    """Return the model in the coordinates of a scaling."""
    first, centre = estimator.design.fit_intercept, estimator.design.centre
    coef = estimator.theta[first:]
    intercept = estimator.theta[0] - centre @ coef if first else 0.0
    return scaling.to_scaled(coef, intercept)


def _times_rows(rows, values):
    """Return the sum of the rows, in their coordinates, times values."""
    total, start = 0.0, 0
    for z, y, _ in rows.chunks():
        total = total + z.rmatvec(values[start : start + len(y)])
        start += len(y)
    return total


def _products(rows, point):
    return rows.products(point)[1]


def _unit_vectors(design, scaling, chosen):
    """Return what times a model, in its coordinates, is each of some coefficients of the data."""
    first = int(design.fit_intercept)
    if not scaling.scale[chosen - first].all():
        _raise_for_dependent_columns()
    vectors = np.zeros((len(scaling.scale), len(chosen)))
    vectors[chosen - first, np.arange(len(chosen))] = 1.0  # the intercept is the last coordinate
    if first:
        vectors[:-1, chosen == 0] -= scaling.centre[:, np.newaxis]
    return vectors * scaling.scale[:, np.newaxis]


def _solved(product, right, unit=0.0):
    """Return the solution of equations with a matrix, by its products, and what is left.

    That is small beside the squared norm of the right-hand side, or beside a unit if that is more.
    """

    def excess(step, residual):
        return residual @ residual / 2

    solution, left, size = np.zeros(len(right)), right, max(right @ right, unit)
    for _ in range(MAX_STARTS):
        options = {"max_iter": len(right), "excess": excess}
        solution += conjugate_gradient(product, -left, TOL**2 * size / 2, **options).step
        left = right - product(solution)
        if left @ left <= TOL**2 * size:
            break
    if not left @ left <= MAX_RESIDUAL**2 * size:
        _raise_for_dependent_columns()
    return solution, left


def _raise_for_dependent_columns():
    raise ValueError(
        "Conjugate gradients do not solve the equations of the standard errors: columns are "
        "constant, or nearly combinations of others. Leave such columns out."
    )

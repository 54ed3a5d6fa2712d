"""Paths of squared error along penalties, from products of columns alone."""

from functools import cached_property
from math import sqrt

import numpy as np

from ..kernels.coordinate_descent import descend
from ..linalg.factorization import cholesky_solver
from ..linalg.triangular import WELL_CONDITIONED
from .face import excess_slope, minimise_in_set, slope_rounding
from .normal_equations import solve_normal_equations
from .ridge_path import shifted_solutions

# Epochs of coordinate descent for an alpha at most, and the decrease of an epoch, relative to the
# loss, that is the last. The distance from the optimum is about its root.
EPOCHS = 100
DESCENT_ROUNDING = 1e-26

# Times that the set of a model grows, at most.
MAX_GROWTHS = 30

# Slope that the optimality conditions leave, relative to the largest possible one, that counts as a
# rounding error.
MAX_SLOPE_ERROR = 1e-12


class GramPath:
    """Models of squared error for many penalties, from the products of the columns.

    Parameters
    ----------
    products : ColumnProducts
    fit_intercept : bool
    positive : bool
        Whether coefficients must not be negative.

    Attributes
    ----------
    centre : ndarray of shape (n_features + n_targets,)
        Row, and its targets, that all models go through.
    slope : ndarray of shape (n_features, n_targets)
        Of the mean loss at zero coefficients: mean products of the columns with the targets, both
        about the centre.
    """

    def __init__(self, products, fit_intercept, positive):
        self.products, self.fit_intercept, self.positive = products, fit_intercept, positive
        moments, n_features = products.moments, products.n_features
        self.centre = moments.mean if fit_intercept else np.zeros(len(moments.mean))
        means = products.sums / moments.weight
        self.square = moments.sum_of_squares[n_features:] / moments.weight
        if not fit_intercept:
            means += np.multiply.outer(moments.mean[:n_features], moments.mean)
            self.square = self.square + moments.mean[n_features:] ** 2
        constant = moments.of_columns(slice(n_features)).variance(fit_intercept) == 0
        means[constant], means[:, :n_features][:, constant] = 0.0, 0.0
        self.hessian, self.slope = means[:, :n_features], means[:, n_features:]

    def solutions(self, alphas, l1_ratio):
        """Return the coefficients for each alpha; NaN where the products have too few digits.

        Parameters
        ----------
        alphas : ndarray of shape (n_alphas,)
            Falling.
        l1_ratio : float

        Returns
        -------
        coef : ndarray of shape (n_alphas, n_targets, n_features)
        """
        if l1_ratio == 0 and not self.positive:
            return self._ridge(alphas)
        targets = range(self.slope.shape[1])
        return np.stack([self._of_target(target, alphas, l1_ratio) for target in targets], axis=1)

    @cached_property
    def well_conditioned(self):
        """Whether no column is so near a combination of others that products lose digits."""
        scale = self._scale()
        gram = self.hessian * np.multiply.outer(scale, scale)
        return cholesky_solver(gram, len(gram), WELL_CONDITIONED)[1]

    def _scale(self):
        """Return one over the root mean square of each column, 0 for constant ones."""
        curvature = self.hessian.diagonal()
        scale = np.zeros(len(curvature))
        return np.divide(1.0, np.sqrt(curvature), out=scale, where=curvature > 0)

    def _ridge(self, alphas):
        coef = np.full((len(alphas), *self.slope.T.shape), np.nan)
        if len(alphas) > 1:
            coef = shifted_solutions(self.hessian, self.slope, alphas)
        for i in np.flatnonzero(np.isnan(coef).any(axis=(1, 2))):
            solution = solve_normal_equations(self.products, self.fit_intercept, alphas[i])
            if solution is not None:
                coef[i] = solution.coef
        return coef

    def _of_target(self, target, alphas, l1_ratio):
        """Return the coefficients of a target for each alpha, each found from those before.

        Coordinate descent mostly ends at the optimum, but for rounding errors. Where columns are
        so nearly dependent that it does not, Newton steps do.
        """
        scale = self._scale()
        gram = self.hessian * np.multiply.outer(scale, scale)
        first, value = self.slope[:, target] * scale, self.square[target] / 2
        penalties = [penalty_of(alpha, l1_ratio, scale, self.positive) for alpha in alphas]
        points, curvature = np.empty((len(alphas), len(scale))), gram.diagonal().copy()
        theta, slope = np.zeros(len(scale)), first.copy()
        for i, penalty in enumerate(penalties):
            descend(gram, curvature, penalty, theta, slope, EPOCHS, DESCENT_ROUNDING * value)
            points[i] = theta
        tolerance = MAX_SLOPE_ERROR * sqrt(2 * value)
        slopes = first - points @ gram
        for i, penalty in enumerate(penalties):
            if slope_error(points[i], slopes[i], penalty) > tolerance:
                points[i], slope = minimise(gram, first, points[i], slopes[i], penalty, value)
                if slope_error(points[i], slope, penalty) > tolerance:
                    points[i] = np.nan
        return scale * points


def penalty_of(alpha, l1_ratio, scale, positive):
    """Return l1, l2 and floor of each coordinate."""
    l1, l2 = alpha * l1_ratio * scale, alpha * (1 - l1_ratio) * scale**2
    return l1, l2, np.full(len(scale), 0.0 if positive else -np.inf)


def minimise(gram, first, theta, slope, penalty, value):
    """Return the optimum and its slope, from a model near it.

    Newton steps take the columns that are not zero, or violate the optimality conditions there.

    Parameters
    ----------
    gram : ndarray of shape (n, n)
    first : ndarray of shape (n,)
        Slope at zero.
    theta, slope : ndarray of shape (n,)
    penalty : tuple of l1, l2, floor, ndarrays of shape (n,)
    value : float
        The loss at a model that is worse, as the unit of rounding errors.
    """
    l1, _, floor = penalty
    curvature = gram.diagonal()
    rounding = slope_rounding(curvature, value, l1)
    columns = (theta != 0) | ((l1 == 0) & (floor < 0))
    for _ in range(MAX_GROWTHS):
        joining = (excess_slope(theta, slope, penalty) > rounding) & ~columns
        columns |= joining
        chosen = np.flatnonzero(columns & (curvature > 0))
        part, theta = tuple(p[chosen] for p in penalty), theta.copy()
        matrix = gram[np.ix_(chosen, chosen)]
        theta[chosen] = minimise_in_set(matrix, slope[chosen], theta[chosen], part, value)
        slope = first - theta @ gram
        if not ((excess_slope(theta, slope, penalty) > rounding) & ~columns).any():
            break
    return theta, slope


def slope_error(theta, slope, penalty):
    """Return by how much the slope of a coordinate fails the optimality conditions at most."""
    l1, l2, floor = penalty
    slope = slope - l2 * theta
    kept = np.where(theta == 0, np.clip(slope, -l1, l1), l1 * np.sign(theta))
    kept = np.where((theta == 0) & (floor == 0), np.minimum(slope, l1), kept)
    return np.abs(slope - kept).max(initial=0.0)

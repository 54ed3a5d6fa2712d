"""Squared error with any penalty from products of columns, for one penalty after the other.

With few columns their products are all there is to know of the rows. Coordinate descent begins at
the optimum for the last penalty, and mostly ends at the next one; where columns are so nearly
dependent that it does not, Newton steps do.
"""

from functools import cached_property
from math import sqrt

import numpy as np

from ..kernels.coordinate_descent import descend, squared_error_gap
from ..linalg.blocks import divided
from ..linalg.factorization import cholesky_solver
from ..linalg.triangular import WELL_CONDITIONED
from ..model.column_products import ColumnProducts
from .base import CANCELLED
from .face import excess_slope, minimise_in_set
from .normal_equations import NormalEquationsSolution, scaled_products, solve_normal_equations
from .ridge_path import shifted_solutions

# Epochs of descent, at most, after which Newton steps take part, and the decrease of one, relative
# to the loss at the start, with which the last digits have settled.
EPOCHS = 100
STEP_ROUNDING = 1e-28

# What proves an optimum: its duality gap, relative to the objective, and what the optimality
# conditions leave of the slope along a path, relative to the largest possible one.
GAP_ROUNDING = 1e-12
MAX_SLOPE_ERROR = 1e-12

# Rounding error of a product of columns, relative to their sizes.
PRODUCT_ROUNDING = np.finfo(np.float64).eps


class ProductPath:
    """Optima of squared error for some targets and many penalties.

    Parameters
    ----------
    products : ColumnProducts
    fit_intercept : bool

    Attributes
    ----------
    centre : ndarray of shape (n_features + n_targets,)
        Row, and its targets, that all models go through.
    theta : ndarray of shape (n_targets, n_features)
        The last optima of `solve`, from which the descent for the next penalty begins.
    """

    def __init__(self, products, fit_intercept):
        self.products, self.fit_intercept = products, fit_intercept
        moments = products.moments
        self.centre = moments.mean if fit_intercept else np.zeros(len(moments.mean))
        self.scale, gram, slope, squares = scaled_products(products, fit_intercept, 0.0)
        self.gram, self.curvature = np.ascontiguousarray(gram), gram.diagonal().copy()
        self.slope, self.square = np.ascontiguousarray(slope.T), squares / moments.weight
        self.theta = np.zeros(self.slope.shape)

    @cached_property
    def independent(self):
        """Whether no column is so near a combination of others that products lose digits."""
        return cholesky_solver(self.gram.copy(), len(self.gram), WELL_CONDITIONED)[1]

    @property
    def slope_of_loss(self):
        """Slope at zero coefficients, of shape (n_features, n_targets), in the data's units."""
        return (self.slope * divided(1.0, self.scale)).T

    @property
    def hessian(self):
        """Hessian of the loss by the coefficients, in the units of the data."""
        inverse = divided(1.0, self.scale)
        return self.gram * inverse * inverse[:, np.newaxis]

    def begin_at(self, coef):
        """Begin with models in the units of the data, of shape (n_targets, n_features)."""
        self.theta = coef * divided(1.0, self.scale)

    def solve(self, settings):
        """Return the `NormalEquationsSolution`, or None where products have lost too many digits.

        Without a penalty there is none either where columns are nearly dependent: then there may be
        many optima, and rounding errors would choose among them.
        """
        if not settings.l1 and not settings.l2 and not self.independent:
            return None
        loss, remaining = np.empty((2, len(self.slope)))
        penalty = scaled_penalty(settings.l1, settings.l2, self.scale, settings.positive)
        for k in range(len(self.slope)):
            self.theta[k] = self.optimum(k, penalty, self.theta[k])
            proof = self._proof(k, penalty)
            if proof is None:
                return None
            loss[k], remaining[k] = proof
        coef, n_features = self.theta * self.scale, len(self.scale)
        intercept = self.centre[n_features:] - coef @ self.centre[:n_features]
        return NormalEquationsSolution(coef, intercept, loss, self.square / 2, remaining)

    def solutions(self, alphas, l1_ratio, positive):
        """Return the coefficients for each alpha; NaN where the products have too few digits.

        Parameters
        ----------
        alphas : ndarray of shape (n_alphas,)
            Falling.
        l1_ratio : float
        positive : bool
            Whether coefficients must not be negative.

        Returns
        -------
        coef : ndarray of shape (n_alphas, n_targets, n_features)
        """
        if l1_ratio == 0 and not positive:
            return self._ridge(alphas)
        l1, l2 = alphas[:, np.newaxis] * l1_ratio, alphas[:, np.newaxis] * (1 - l1_ratio)
        l1, l2, floor = scaled_penalty(l1, l2, self.scale, positive)
        points = np.zeros((len(alphas), *self.slope.shape))
        for target, first in enumerate(self.slope):
            path, theta = points[:, target], np.zeros(len(self.scale))
            for i in range(len(alphas)):
                path[i] = theta = self.optimum(target, (l1[i], l2[i], floor), theta)
            error = slope_error(path, first - path @ self.gram, (l1, l2, floor))
            path[error > MAX_SLOPE_ERROR * sqrt(self.square[target])] = np.nan
        return self.scale * points

    def optimum(self, target, penalty, theta):
        """Return the optimum of a target, from a model near it."""
        gram, first, square = self.gram, self.slope[target], self.square[target]
        theta = np.maximum(theta, penalty[2])
        slope, enough = first - gram @ theta, STEP_ROUNDING * square
        if descend(gram, self.curvature, penalty, theta, slope, EPOCHS, enough) == EPOCHS:
            theta = minimise_in_set(gram, first - gram @ theta, theta, penalty, square / 2)
        return theta

    def _proof(self, target, penalty):
        """Return the objective and the duality gap, or None where digits are lost."""
        theta, slope, square = self.theta[target], self.slope[target], self.square[target]
        change = self.gram @ theta
        left = square + (change - 2 * slope) @ theta
        size = np.abs(theta) @ np.sqrt(self.curvature)
        if left < CANCELLED * square or PRODUCT_ROUNDING * size**2 > CANCELLED * left:
            return None
        l1, l2, _ = penalty
        value = left / 2 + l1 @ np.abs(theta) + l2 @ theta**2 / 2
        gap = squared_error_gap(theta, slope - change, left, penalty, self.curvature)
        return (value, gap) if gap <= GAP_ROUNDING * value else None

    def _ridge(self, alphas):
        coef = np.full((len(alphas), *self.slope.shape), np.nan)
        if len(alphas) > 1:
            coef = shifted_solutions(self.hessian, self.slope_of_loss, alphas)
        for i in np.flatnonzero(np.isnan(coef).any(axis=(1, 2))):
            solution = solve_normal_equations(self.products, self.fit_intercept, alphas[i])
            if solution is not None:
                coef[i] = solution.coef
        return coef


def penalised_least_squares(cross_products, settings, ridge, coef):
    """Return coef and intercept of the minimum of the penalised squared error, for one target.

    Parameters
    ----------
    cross_products : CrossProducts
        With products; of the columns of X and of the target.
    settings : Settings
        Penalty, lower bound, and whether there is an intercept.
    ridge : ndarray of shape (n_features,)
        Times the mean square of the column, it is added to l2.
    coef : ndarray of shape (n_features,)
        Coefficients to start from; the closer to the optimum, the fewer steps.
    """
    sums = cross_products.products[: len(coef)]
    path = ProductPath(ColumnProducts(cross_products.moments, sums), settings.fit_intercept)
    path.begin_at(coef[np.newaxis])
    l1, l2, floor = scaled_penalty(settings.l1, settings.l2, path.scale, settings.positive)
    coef = path.scale * path.optimum(0, (l1, l2 + ridge * path.curvature, floor), path.theta[0])
    return coef, float(path.centre[-1] - path.centre[:-1] @ coef)


def scaled_penalty(l1, l2, scale, positive):
    """Return l1, l2 and floor of each coordinate of a scaling."""
    return l1 * scale, l2 * scale**2, np.full(len(scale), 0.0 if positive else -np.inf)


def slope_error(theta, slope, penalty):
    """Return by how much the slope of a coordinate fails the optimality conditions at most."""
    l1, l2, _ = penalty
    slope = slope - l2 * theta
    excess = excess_slope(theta, slope, penalty)
    fails = np.where(np.isneginf(excess), np.abs(slope - l1 * np.sign(theta)), excess)
    return fails.max(axis=-1, initial=0.0)

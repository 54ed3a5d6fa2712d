"""Coordinate descent from products of columns: squared error with l1, elastic net or bounds.

With few columns their products are all there is to know of the rows. One target after the other,
and one penalty after the other, `minimise_in_set` ends at the optimum, and the duality gap proves
it. Where the products have lost digits that the rows still have, there is no solution here.
"""

import numpy as np

from ..kernels.coordinate_descent import descend, squared_error_gap
from ..linalg.factorization import cholesky_solver
from ..linalg.triangular import WELL_CONDITIONED
from .base import CANCELLED
from .face import minimise_in_set
from .normal_equations import NormalEquationsSolution, scaled_products

# Duality gap, relative to the objective, up to which the optimum is proved.
GAP_ROUNDING = 1e-12

# Epochs of descent, at most, after which Newton steps take part, and the decrease of one, relative
# to the loss at the start, with which the last digits have settled.
EPOCHS = 100
STEP_ROUNDING = 1e-28

# Rounding error of a product of columns, relative to their sizes.
PRODUCT_ROUNDING = np.finfo(np.float64).eps


class ProductDescent:
    """Optima for some targets, for one penalty after the other.

    Attributes
    ----------
    theta : ndarray of shape (n_targets, n_features)
        The last optima, from which the descent for the next penalty begins.
    """

    def __init__(self, products, fit_intercept):
        self.moments, self.fit_intercept = products.moments, fit_intercept
        self.scale, gram, slope, squares = scaled_products(products, fit_intercept, 0.0)
        self.gram = np.ascontiguousarray(gram)
        self.slope, self.square = np.ascontiguousarray(slope.T), squares / self.moments.weight
        self.curvature = self.gram.diagonal().copy()
        self.theta = np.zeros(self.slope.shape)

    def begin_at(self, coef):
        """Begin with models in the units of the data, of shape (n_targets, n_features)."""
        theta = np.zeros(self.theta.shape)
        self.theta = np.divide(coef, self.scale, out=theta, where=self.scale > 0)

    def solve(self, settings):
        """Return the `NormalEquationsSolution`, or None where products have lost too many digits.

        Without a penalty there is none either where columns are nearly dependent: then there may be
        many optima, and rounding errors would choose among them.
        """
        if not settings.l1 and not settings.l2 and not self._independent:
            return None
        n_targets, scale = len(self.slope), self.scale
        l1, l2 = settings.l1 * scale, settings.l2 * scale**2
        penalty = l1, l2, np.full(len(scale), 0.0 if settings.positive else -np.inf)
        loss, remaining = np.empty((2, n_targets))
        for k in range(n_targets):
            optimum = self._optimum(k, penalty)
            if optimum is None:
                return None
            self.theta[k], loss[k], remaining[k] = optimum
        coef, intercept = self.theta * scale, np.zeros(n_targets)
        if self.fit_intercept:
            mean = self.moments.mean
            intercept = mean[len(scale) :] - coef @ mean[: len(scale)]
        return NormalEquationsSolution(coef, intercept, loss, self.square / 2, remaining)

    @property
    def _independent(self):
        """Whether the columns are far from dependent."""
        return cholesky_solver(self.gram.copy(), len(self.gram), WELL_CONDITIONED)[1]

    def _optimum(self, target, penalty):
        """Return theta, the objective and the duality gap, or None where digits are lost."""
        gram, slope, square = self.gram, self.slope[target], self.square[target]
        theta = np.maximum(self.theta[target], penalty[2])
        left = slope - gram @ theta
        enough = STEP_ROUNDING * square
        if descend(gram, self.curvature, penalty, theta, left, EPOCHS, enough) == EPOCHS:
            theta = minimise_in_set(gram, slope - gram @ theta, theta, penalty, square / 2)
        change = gram @ theta
        left = square + (change - 2 * slope) @ theta
        size = np.abs(theta) @ np.sqrt(self.curvature)
        if left < CANCELLED * square or PRODUCT_ROUNDING * size**2 > CANCELLED * left:
            return None
        l1, l2, _ = penalty
        value = left / 2 + l1 @ np.abs(theta) + l2 @ theta**2 / 2
        gap = squared_error_gap(theta, slope - change, left, penalty, self.curvature)
        return (theta, value, gap) if gap <= GAP_ROUNDING * value else None

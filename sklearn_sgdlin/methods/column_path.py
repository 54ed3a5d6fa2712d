"""Paths of squared error with kinks and many dense columns: products of a set of columns only.

The set grows from penalty to penalty, and so do its products. Each model takes one pass over all
columns, which shows whether one outside the set violates the optimality conditions.
"""

from math import sqrt

import numpy as np

from ..kernels.coordinate_descent import descend, subtract_products
from ..linalg.factorization import cholesky_solver
from ..model.moments import Moments
from .face import excess_slope, slope_rounding
from .gram_path import DESCENT_ROUNDING, MAX_GROWTHS, minimise, penalty_of, slope_error

# Slope that the optimality conditions leave, relative to the largest possible one, up to which a
# model is the optimum.
MAX_SLOPE_ERROR = 1e-11

# Epochs of coordinate descent for an alpha; Newton steps follow where they are not enough.
EPOCHS = 30

# Steps of the active-set method for an alpha, and alphas after whose failure it is given up.
MAX_SIGN_STEPS = 10
MAX_FAILURES = 5

# Squared pivot, relative to the diagonal entry, from which its solutions have enough digits.
MIN_PIVOT = 1e-6


class ColumnPath:
    """Models of squared error for many penalties, from the rows; see `GramPath`."""

    def __init__(self, X, targets, sample_weight, *, fit_intercept, positive):
        self.positive, n_features = positive, X.shape[1]
        variance = Moments.of(X, sample_weight).variance(fit_intercept)
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        share = weight / weight.sum()
        self.centre = np.zeros(n_features + targets.shape[1])
        if fit_intercept:
            self.centre = np.concatenate([share @ X, share @ targets])
        self.scale = np.zeros(n_features)
        np.divide(1.0, np.sqrt(variance), out=self.scale, where=variance > 0)
        root = np.sqrt(share)[:, np.newaxis]
        self.Z = X - self.centre[:n_features]
        self.Z *= self.scale
        self.Z *= root
        self.targets = root * (targets - self.centre[n_features:])

    def solutions(self, alphas, l1_ratio):
        """Return the coefficients for each alpha; NaN where none is known to be the optimum.

        `alphas` of shape (n_alphas,): falling.

        Returns
        -------
        coef : ndarray of shape (n_alphas, n_targets, n_features)
        """
        targets = self.targets.T
        return np.stack([self._of_target(y, alphas, l1_ratio) for y in targets], axis=1)

    def _of_target(self, y, alphas, l1_ratio):
        columns = ColumnSet(self.Z, y)
        theta, slope, value = np.zeros(len(self.scale)), y @ self.Z, y @ y / 2
        coef, before, l1_before = np.full((len(alphas), len(theta)), np.nan), theta, np.inf
        for i, alpha in enumerate(alphas):
            penalty = penalty_of(alpha, l1_ratio, self.scale, self.positive)
            # Sequential strong rule (Tibshirani et al., 2012): of the columns that it leaves out
            # hardly any will be needed. Where alphas are far apart, it would leave out none.
            l1 = alpha * l1_ratio
            likely = (2 * l1 - l1_before if 2 * l1 > l1_before else l1) * self.scale
            start = _extrapolated(before, theta, alphas[max(i - 2, 0) : i + 1])
            before, l1_before = theta, l1
            theta, slope = self._grow(columns, start, slope, penalty, likely, value)
            if slope_error(theta, slope, penalty) <= MAX_SLOPE_ERROR * sqrt(2 * value):
                coef[i] = self.scale * theta
        return coef

    def _grow(self, columns, theta, slope, penalty, likely, value):
        """Return the optimum and its slope, letting columns join as long as any is needed."""
        l1, l2, floor = penalty
        varies = self.scale > 0
        needed = excess_slope(theta, slope, (likely, l2, floor)) >= 0
        needed |= (l1 == 0) & (floor < 0)
        for _ in range(MAX_GROWTHS):
            columns.add(np.flatnonzero(needed & varies & ~columns.contains))
            theta = columns.minimise(theta, penalty, value)
            nonzero = np.flatnonzero(theta)
            slope = (columns.y - self.Z[:, nonzero] @ theta[nonzero]) @ self.Z
            needed = excess_slope(theta, slope, penalty) > slope_rounding(varies, value, l1)
            if not (needed & ~columns.contains).any():
                break
        return theta, slope


def _extrapolated(before, theta, alphas):
    """Return where the line through the models of two alphas is at the next one.

    Coefficients that would change their signs are zero. The path of the lasso is linear in pieces.
    """
    if len(alphas) < 3 or alphas[1] == alphas[0]:
        return theta
    start = theta + (alphas[2] - alphas[1]) / (alphas[1] - alphas[0]) * (theta - before)
    start[np.sign(start) != np.sign(theta)] = 0.0
    return start


class ColumnSet:
    """A growing set of columns, their products with each other and with the target.

    `Z` of shape (n_rows, n_features): columns in units that make their mean products plain ones.
    """

    def __init__(self, Z, y):
        self.Z, self.y, self.contains = Z, y, np.zeros(Z.shape[1], dtype=bool)
        self.numbers, self.gram = np.empty(0, dtype=np.intp), np.zeros((0, 0))
        self.first, self.taken, self.failures = np.empty(0), [], 0

    def add(self, new):
        """Let some columns join."""
        if not len(new):
            return
        n, z = len(self.numbers), self.Z[:, new]
        self.taken.append(z)
        products = np.concatenate([part.T @ z for part in self.taken])
        gram = np.empty((n + len(new),) * 2)
        gram[:n, :n], gram[:, n:], gram[n:, :n] = self.gram, products, products[:n].T
        self.gram, self.numbers = gram, np.append(self.numbers, new)
        self.first, self.contains[new] = np.append(self.first, self.y @ z), True

    def minimise(self, theta, penalty, value):
        """Return the optimum over the set, from a model that is zero elsewhere."""
        result, part = np.zeros(len(theta)), tuple(p[self.numbers] for p in penalty)
        if not len(self.numbers):
            return result
        theta = theta[self.numbers]
        if self.failures < MAX_FAILURES:
            after = optimum_of_signs(self.gram, self.first, theta, part, value)
            if after is not None:
                result[self.numbers] = after
                return result
            self.failures += 1
        slope = self.first - theta @ self.gram
        curvature = self.gram.diagonal().copy()
        descend(self.gram, curvature, part, theta, slope, EPOCHS, DESCENT_ROUNDING * value)
        slope = self.first - theta @ self.gram
        if slope_error(theta, slope, part) > MAX_SLOPE_ERROR * sqrt(2 * value):
            theta, _ = minimise(self.gram, self.first, theta, slope, part, value)
        result[self.numbers] = theta
        return result


def optimum_of_signs(gram, first, theta, penalty, value):
    """Return the optimum, found from a model that has nearly its signs, or None.

    Each step solves for the coordinates that are not zero as if their signs were right. Then those
    whose sign was not right become zero, and others join whose slope is too large: a primal-dual
    active-set method (Hintermueller, Ito & Kunisch, 2002). Near the optimum few steps are enough;
    far from it, or with more columns than rows tell apart, it may fail.

    `gram`, `first`, `theta`, `penalty`, `value` (see `minimise`)
    """
    l1, l2, floor = penalty
    rounding = slope_rounding(gram.diagonal(), value, l1)
    free = (l1 == 0) & (floor < 0)
    slope = first.copy()
    subtract_products(gram, theta, slope)
    for _ in range(MAX_SIGN_STEPS):
        joining = excess_slope(theta, slope, penalty) > rounding
        active = np.flatnonzero((theta != 0) | joining | free)
        sign = np.where(joining, np.sign(slope), np.sign(theta))[active]
        sign[free[active]] = 0.0
        matrix = gram[np.ix_(active, active)]
        matrix.flat[:: len(matrix) + 1] += l2[active]
        solve, well_conditioned = cholesky_solver(matrix, len(matrix), MIN_PIVOT)
        if not well_conditioned:
            return None
        theta, slope, part = np.zeros(len(first)), first.copy(), np.zeros(len(active))
        for _ in range(2):  # the second solution corrects the rounding errors of the first
            gradient = slope[active] - l2[active] * part - l1[active] * sign
            part += solve(gradient) if len(active) else 0.0
            theta[active], slope = part, first.copy()
            subtract_products(gram, theta, slope)
        crossing = active[part * sign < 0]
        theta[crossing] = 0.0
        if not (len(crossing) or (excess_slope(theta, slope, penalty) > rounding).any()):
            return theta
    return None

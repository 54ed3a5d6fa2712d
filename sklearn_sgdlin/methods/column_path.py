"""Paths of squared error with kinks and many dense columns: products of a set of columns only.

The set grows from penalty to penalty, and so do its products. Each model takes one pass over all
columns, which shows whether one outside the set violates the optimality conditions.
"""

from math import sqrt

import numpy as np

from ..linalg.blocks import divided
from ..model.moments import Moments
from .face import excess_slope, minimise_in_set, slope_rounding
from .product_path import scaled_penalty, slope_error

# Slope that the optimality conditions leave, relative to the largest possible one, up to which a
# model is the optimum.
MAX_SLOPE_ERROR = 1e-11

# Times that the set grows for an alpha, at most.
MAX_GROWTHS = 30


class ColumnPath:
    """Models of squared error for many penalties, from the rows; see `ProductPath`."""

    def __init__(self, X, targets, sample_weight, fit_intercept):
        n_features = X.shape[1]
        variance = Moments.of(X, sample_weight).variance(fit_intercept)
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        share = weight / weight.sum()
        self.centre = np.zeros(n_features + targets.shape[1])
        if fit_intercept:
            self.centre = np.concatenate([share @ X, share @ targets])
        self.scale = divided(1.0, np.sqrt(variance))
        root = np.sqrt(share)[:, np.newaxis]
        self.Z = X - self.centre[:n_features]
        self.Z *= self.scale
        self.Z *= root
        self.targets = root * (targets - self.centre[n_features:])

    def solutions(self, alphas, l1_ratio, positive):
        """Return the coefficients for each alpha; NaN where none is known to be the optimum.

        `alphas` of shape (n_alphas,): falling.

        Returns
        -------
        coef : ndarray of shape (n_alphas, n_targets, n_features)
        """
        targets = self.targets.T
        return np.stack([self._of_target(y, alphas, l1_ratio, positive) for y in targets], axis=1)

    def _of_target(self, y, alphas, l1_ratio, positive):
        columns = ColumnSet(self.Z, y)
        theta, slope, value = np.zeros(len(self.scale)), y @ self.Z, y @ y / 2
        coef, before, l1_before = np.full((len(alphas), len(theta)), np.nan), theta, np.inf
        for i, alpha in enumerate(alphas):
            l1 = alpha * l1_ratio
            penalty = scaled_penalty(l1, alpha * (1 - l1_ratio), self.scale, positive)
            # Sequential strong rule (Tibshirani et al., 2012): of the columns that it leaves out
            # hardly any will be needed. Where alphas are far apart, it would leave out none.
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
        self.first, self.taken = np.empty(0), []

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
        theta = theta[self.numbers]
        slope = self.first - theta @ self.gram
        result[self.numbers] = minimise_in_set(self.gram, slope, theta, part, value)
        return result

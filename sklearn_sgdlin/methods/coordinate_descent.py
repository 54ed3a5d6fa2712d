"""The solver "coordinate-descent": squared error with l1, elastic net or non-negative coefficients.

Few columns are multiplied with each other in one pass, and nothing but these products is needed.
Of many columns only a set matters. It begins with those of the largest slopes, and grows by those
that violate the optimality conditions, until none of all columns does (Massias, Gramfort & Salmon,
2018). In the set, coordinate descent finds out which coefficients are zero, and a Newton step ends
at the optimum exactly; see `face.py`.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from ..model.cross_products import CrossProducts
from .base import CANCELLED, EpochResult, Solver
from .column_set import GramSet
from .face import excess_slope, slope_rounding
from .interior_point import InteriorPoint
from .newton_cholesky import quadratic_slope
from .sparse_columns import SparseSet

# Times that the set grows in an epoch, at most.
MAX_GROWTHS = 30

# Duality gap, relative to the objective, that counts as none.
GAP_ROUNDING = 1e-13

# Excess of a slope, relative to the largest possible slope, that may be a rounding error: see
# `DualityGap`.
SLOPE_ROUNDING = 1e-8


@dataclass(frozen=True)
class Evaluation:
    """A model, the mean squared error and its slope there.

    Attributes
    ----------
    theta : ndarray of shape (n_coordinates,)
    square : float
        Mean squared residual.
    slope : ndarray of shape (n_coordinates,)
        Minus the gradient of half of it.
    """

    theta: np.ndarray
    square: float
    slope: np.ndarray

    def value(self, objective):
        """Return the objective."""
        return self.square / 2 + float(objective.penalty(self.theta))


def duality_gap(point, objective, curvature):
    """Return an upper bound of what the objective is above the least.

    The multipliers of rows are t times their residuals; a t below 1 may leave no slope above its
    l1 (Fercoq, Gramfort & Salmon, 2015). The multiplier of l1 or of a bound takes up of the slope
    what it may, and what is left costs as in `DualityGap`: nothing, by l2, or as a rounding error
    times how far the optimum may be.

    Parameters
    ----------
    point : Evaluation
    objective : Objective
    curvature : ndarray of shape (n_coordinates,)
        Mean square of each coordinate of the rows.
    """
    l1, rounding = objective.l1, SLOPE_ROUNDING * np.sqrt(point.square * curvature)
    slope = point.slope - objective.l2 * point.theta
    size = np.where(objective.floor == 0, slope, np.abs(slope))
    lengths = {1.0}
    for slack in (0.0, rounding):
        exceeds = (l1 > 0) & (size > l1 + slack)
        lengths.add(1 / (size[exceeds] / l1[exceeds]).max(initial=1.0))
    return min(_gap_at(point, objective, curvature, rounding, t) for t in lengths)


def _gap_at(point, objective, curvature, rounding, t):
    """Return the duality gap with multipliers that are t times the residuals."""
    theta, l1, l2, floor = point.theta, objective.l1, objective.l2, objective.floor
    slope = t * point.slope - l2 * theta
    kept = np.clip(slope, np.where(floor == 0, -np.inf, -l1), l1)
    left = np.abs(slope - kept)
    left[left <= 4 * np.finfo(float).eps * l1] = 0.0  # t is rounded, too
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        cost = np.where(left > 0, left**2 / (2 * l2), 0.0)
        farthest = np.abs(theta) + np.sqrt(point.square / curvature) * sqrt(len(theta))
        small = (left > 0) & (left <= rounding)
        cost[small] = np.minimum(cost, left * farthest)[small]
        if curvature[-1] > 0:  # the intercept: other columns are centred, so nothing else matters
            cost[-1] = left[-1] ** 2 / curvature[-1]
        gap = (cost + l1 * np.abs(theta) - kept * theta).sum()
    total = point.square * (1 - t) ** 2 / 2 + gap
    return max(float(total), 0.0) if np.isfinite(total) else np.inf


class CoordinateDescent(Solver):
    """Working sets of columns, coordinate descent and Newton steps in them.

    Parameters
    ----------
    rows : Partitions
    objective : Objective
        Of squared error.
    tol : float
        The distance to be reached.
    tuning : Tuning
    products : Gram
        Several targets share them where they are of all columns.
    sparse : bool
        Whether X is sparse.
    """

    def __init__(self, rows, objective, tol, tuning, products, sparse):
        super().__init__(rows, objective)
        self.tol, self.tuning, self.products, self.sparse = tol, tuning, products, sparse
        self.all_columns = rows.n_coordinates - 1 <= tuning.cheap_hessian_features
        self.set, self.first, self.lower_bound, self.fallback = None, None, -np.inf, None

    def run(self, theta, sweep=None):
        """Return the optimum, as far as rounding errors allow, its objective, and the distance."""
        if self.fallback is not None:
            return self.fallback.run(theta, sweep)
        point = self._start(np.maximum(theta, self.objective.floor))
        for _ in range(MAX_GROWTHS):
            if self._proved(point):
                break
            joining = self._joining(point)
            if len(self.set.columns) + len(joining) > self.set.limit:
                self.fallback = InteriorPoint(self.rows, self.objective, self.tol, self.tuning)
                return self.fallback.run(point.theta, sweep)
            self.set.add(joining)
            theta = self.set.minimise(point, self.first_value)
            before, following = point, self._evaluate(theta)
            if following.value(self.objective) <= point.value(self.objective):
                point = following
            lower = before.value(self.objective) - point.value(self.objective)
            if not len(joining) and lower <= GAP_ROUNDING * before.value(self.objective):
                if self._proved(point) or self.first is point:
                    break
                # Products may have lost digits that the rows still have: begin anew from here.
                point = self.first = self._mean(
                    point.theta, *self.rows.sum(quadratic_slope, point.theta)
                )
        value = point.value(self.objective)
        gap = max(value - self.lower_bound, 0.0)
        distance = 0.0 if gap <= 0 else sqrt(gap / value) if value > 0 else np.inf
        return EpochResult(point.theta, value, distance)

    def _start(self, theta):
        """Return the `Evaluation` at the model to begin with."""
        if self.set is None:
            if self.all_columns:
                square, slope = self.products.add_all(self.rows, theta)
            else:
                square, slope = self.rows.sum(quadratic_slope, theta)
            point = self.first = self._mean(theta, square, slope)
            self.first_value = point.square / 2
            kind = SparseSet if self.sparse and not self.all_columns else GramSet
            self.set = kind(self.rows, self.objective, self.tuning, self.products)
            return point
        return self._evaluate(theta)

    def _mean(self, theta, square, slope):
        return Evaluation(theta, float(square) / self.rows.weight, slope / self.rows.weight)

    def _evaluate(self, theta):
        """Return the `Evaluation` at a model: from products, or where these lose digits, rows."""
        first, square = self.first, 0.0
        if self.products.complete:
            step = theta - first.theta
            change = self.products.gram @ step
            square = first.square + (change - 2 * first.slope) @ step
            if square > CANCELLED * first.square:
                return Evaluation(theta, float(square), first.slope - change)
        return self._mean(theta, *self.rows.sum(quadratic_slope, theta))

    def _proved(self, point):
        """Whether the duality gap is nothing but rounding errors, or no column may join."""
        value = point.value(self.objective)
        gap = duality_gap(point, self.objective, self.set.curvature)
        self.lower_bound = max(self.lower_bound, value - gap)
        return value - self.lower_bound <= GAP_ROUNDING * value

    def _joining(self, point):
        """Return the columns that join the set: those of the largest excess of their slopes."""
        penalty = self.objective.l1, self.objective.l2, self.objective.floor
        outside = np.ones(len(point.theta), dtype=bool)
        outside[self.set.columns] = False
        excess = excess_slope(point.theta, point.slope, penalty)
        curvature = self.set.curvature
        excess -= slope_rounding(curvature, self.first_value, self.objective.l1)
        needed = outside & (curvature > 0) & ((point.theta != 0) | ~self.objective.kinked)
        wanted = np.flatnonzero(outside & (excess > 0) & (curvature > 0) & ~needed)
        n_joining = max(self.set.first_size, len(self.set.columns))
        n_joining = max(n_joining - np.count_nonzero(needed), 0)
        if len(wanted) > n_joining:
            order = np.argpartition(-excess[wanted], n_joining)[:n_joining]
            wanted = np.sort(wanted[order])
        return np.append(np.flatnonzero(needed), wanted)

    def cross_products(self, theta, moments):
        """Return the cross products of the rows; see `Solver`."""
        if not self.products.complete:
            return CrossProducts(moments, None)
        gram, first = self.products.gram, self.first
        slope = first.slope + gram @ first.theta
        return CrossProducts.from_hessian(gram, slope, self.rows.scaling, moments)

"""The solver "coordinate-descent": squared error with l1, elastic net or non-negative coefficients.

Of many columns only a set matters. It begins with those of the largest slopes, and grows by those
that violate the optimality conditions, until none of all columns does (Massias, Gramfort & Salmon,
2018). In the set, coordinate descent finds out which coefficients are zero, and a Newton step ends
at the optimum exactly; see `face.py`. With few columns there is no set: see `product_descent.py`.
"""

from dataclasses import dataclass, replace
from math import ceil, log, sqrt

import numpy as np

from ..kernels.coordinate_descent import squared_error_gap
from ..model.cross_products import CrossProducts
from .base import EpochResult, Solver
from .face import excess_slope, penalty_of, slope_rounding
from .interior_point import InteriorPoint
from .newton_cholesky import quadratic_slope
from .subspace import quadratic_sums

# Times that the set grows in an epoch, at most.
MAX_GROWTHS = 30

# Ratio of the weights of l1 in consecutive stages. With a smaller one the stages take longer; with
# a larger one the columns of the next stage show less well.
STAGE_RATIO = 5.0

# Duality gap, relative to the objective, that counts as none; and one that is enough, relative to
# the square of the distance to be reached: so small that hardly a zero is not told yet.
GAP_ROUNDING, GAP_SHARE = 1e-13, 1e-8


@dataclass(frozen=True)
class Evaluation:
    """A model, the mean squared error and its slope there."""

    theta: np.ndarray  # of shape (n_coordinates,)
    square: float  # mean squared residual
    slope: np.ndarray  # of shape (n_coordinates,), minus the gradient of half of it

    def value(self, objective):
        """Return the objective."""
        return self.square / 2 + float(objective.penalty(self.theta))


class CoordinateDescent(Solver):
    """Working sets of columns, coordinate descent and Newton steps in them.

    `objective`: of squared error; another may take its place between runs.
    `columns`: the working set, which stays when the objective changes.
    """

    def __init__(self, rows, objective, tol, tuning, columns):
        super().__init__(rows, objective)
        self.tol, self.tuning, self.set = tol, tuning, columns
        self.first_value, self.fallback = None, None

    def run(self, theta, sweep=None):
        """Return the optimum, as far as rounding errors allow, its objective, and the distance."""
        if self.fallback is not None:
            return self.fallback.run(theta, sweep)
        point, lower_bound = self._evaluate(np.maximum(theta, self.objective.floor)), -np.inf
        if self.first_value is None:
            self.first_value = point.square / 2
        for objective in self._stages(point):
            joining = self._joining(point, objective)
            if not self._fits(joining):
                break
            self.set.add(joining)
            rough = self.set.minimise(point, objective, self.first_value, rough=True)
            point = self._evaluate(rough)
        for _ in range(MAX_GROWTHS):
            value = point.value(self.objective)
            lower_bound = max(lower_bound, value - self._gap(point))
            if value - lower_bound <= max(GAP_ROUNDING, GAP_SHARE * self.tol**2) * value:
                break
            joining = self._joining(point, self.objective)
            if not self._fits(joining):
                return self._fall_back(point, sweep)
            self.set.add(joining)
            following = self._evaluate(self.set.minimise(point, self.objective, self.first_value))
            decrease = value - following.value(self.objective)
            if decrease >= -GAP_ROUNDING * value:  # its slopes have more digits
                point = following
            if not len(joining) and decrease <= GAP_ROUNDING * value:
                break
        value = point.value(self.objective)
        gap = max(value - max(lower_bound, value - self._gap(point)), 0.0)
        distance = 0.0 if gap <= 0 else sqrt(gap / value) if value > 0 else np.inf
        return EpochResult(point.theta, value, distance)

    def _stages(self, point):
        """Yield objectives with more l1, down to less than `STAGE_RATIO` times that of the own.

        Near the optimum of the last one, the columns that matter for the next one show. Without
        them, columns join that the model of a small set needs to make up for those it lacks.
        """
        objective = self.objective
        kinked = objective.l1 > 0
        largest = (np.abs(point.slope[kinked]) / objective.l1[kinked]).max(initial=1.0)
        n_stages = ceil(log(largest) / log(STAGE_RATIO)) - 1
        for number in range(n_stages, 0, -1):
            yield replace(objective, l1=STAGE_RATIO**number * objective.l1)

    def _fits(self, joining):
        return len(self.set.columns) + len(joining) <= self.set.limit

    def _fall_back(self, point, sweep):
        """Leave the problem to interior-point steps, as the set has become too large."""
        self.substitute = "interior-point"
        self.note = f" The optimum takes more than {self.set.limit - 1} columns."
        self.fallback = InteriorPoint(self.rows, self.objective, self.tol, self.tuning)
        return self.fallback.run(point.theta, sweep)

    def _evaluate(self, theta):
        """Return the `Evaluation` at a model, from all rows and columns."""
        square, slope = self.rows.sum(quadratic_slope, theta)
        return Evaluation(theta, float(square) / self.rows.weight, slope / self.rows.weight)

    def _gap(self, point):
        """Return the duality gap."""
        penalty = penalty_of(self.objective)
        return squared_error_gap(
            point.theta, point.slope, point.square, penalty, self.set.curvature
        )

    def _joining(self, point, objective):
        """Return the columns that join the set: those of the largest excess of their slopes."""
        curvature = self.set.curvature
        outside = curvature > 0
        outside[self.set.columns] = False
        excess = excess_slope(point.theta, point.slope, penalty_of(objective))
        excess -= slope_rounding(curvature, self.first_value, objective.l1)
        needed = outside & ((point.theta != 0) | ~objective.kinked)
        wanted = np.flatnonzero(outside & (excess > 0) & ~needed)
        n_joining = max(self.set.first_size, np.count_nonzero(point.theta))
        n_joining = max(n_joining - np.count_nonzero(needed), 0)
        if len(wanted) > n_joining:
            order = np.argpartition(-excess[wanted], n_joining)[:n_joining]
            wanted = np.sort(wanted[order])
        return np.append(np.flatnonzero(needed), wanted)

    def cross_products(self, theta, moments):
        """Return the cross products of the rows, which take another pass; see `Solver`."""
        _, sums = self.rows.sum(quadratic_sums, theta, np.eye(len(theta)))
        slope, gram = sums[:, 0] / self.rows.weight, sums[:, 1:] / self.rows.weight
        return CrossProducts.from_hessian(gram, slope + gram @ theta, self.rows.scaling, moments)

"""The certificate of an interior-point step: how far a model may be above the least objective."""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from ..model.objective import Objective
from .kkt import row_chunks
from .multipliers import N_EXPONENTS
from .newton_system import RoundingError

# How far above the largest possible slope of the loss the weight of l1 is kept, as a factor. Any
# weight above that slope keeps its coordinate at zero; far larger ones only cost digits.
L1_MARGIN = 2.0

# Loss of a row of typical size, relative to the mean loss, at least. Below, the typical row is met
# but for rounding errors of the rows that make up the mean.
MIN_TYPICAL_LOSS = 1e-14


@dataclass(frozen=True)
class DualityGap:
    """How far the objective at a model may be above the least, as the multipliers of rows prove.

    With the slope g, the sum of rows times their multipliers, ``F(theta) - F(best)`` is at most the
    gap of the rows themselves and the sum of ``P(theta) - P(best) - g (theta - best)`` over
    coordinates, P being the penalty of each. The multiplier of l1 or a lower bound takes up of g
    what it may. What is left is the dual residual, of which

    - l2 takes up all, at a cost of ``residual**2 / (2 l2)``;
    - l1 bounds ``residual * best``, for the sum of ``l1 |best|`` is at most F;
    - else nothing is proved, unless it is so little that how far a coordinate may be from the best
      one hardly matters.
    """

    objective: Objective
    residual_size: float  # of a typical row
    # Of a coordinate without a penalty: up to which it is a rounding error.
    max_dual_residual: float

    def bound(self, theta, newton_step, system, value):
        """Return an upper bound of what the objective at theta, `value`, is above the least.

        `theta`, `newton_step` of shape (n_coordinates,)
        `system`: of the rows.
        """
        l1, l2, floor = self.objective.l1, self.objective.l2, self.objective.floor
        slope = system.slope - l2 * theta
        penalty_multiplier = np.clip(slope, np.where(np.isfinite(floor), -np.inf, -l1), l1)
        residual = np.abs(slope - penalty_multiplier)
        inside = np.maximum(theta, floor)
        gap = system.gap + l1 @ np.abs(inside) - penalty_multiplier @ theta
        farthest = np.abs(theta) + np.abs(newton_step) + self.residual_size * sqrt(len(theta))
        cost = self._cost_of(residual, farthest)
        kinked = l1 > 0
        if kinked.any():
            relative = (residual[kinked] / l1[kinked]).max()
            by_l1 = residual[kinked] @ np.abs(theta[kinked]) + value * relative
            gap += min(cost[kinked].sum(), by_l1)
        gap += cost[~kinked].sum()
        if np.isnan(gap):
            raise RoundingError
        return max(float(gap), 0.0)

    def _cost_of(self, residual, farthest):
        """Return what dual residuals may cost: by l2, or by the distance where they are small."""
        with np.errstate(divide="ignore", invalid="ignore"):  # of what has no l2, or no residual
            by_l2 = residual**2 / (2 * self.objective.l2)
        cost = np.where(residual > 0, by_l2, 0.0)
        small = residual <= self.max_dual_residual
        cost[small] = np.minimum(cost, residual * farthest)[small]
        return cost


def typical_objective(loss, met, system, penalty):
    """Return the objective without what gross outliers add to it.

    A better model hardly changes that, so a tolerance relative to it would mean nothing. Rows count
    as much as one of typical size: the median of those that the model does not meet exactly, which
    as many as there are coordinates may be.

    `met`: share of the rows that a model may meet exactly.
    `system`: of the rows.
    """
    if not np.isfinite(loss.bound):
        return system.value + penalty
    below = np.cumsum(system.residual_histogram)
    exponent = int(np.searchsorted(below, below[-1] * (1 + met) / 2))
    typical = np.ldexp(0.75, min(exponent, N_EXPONENTS - 1) - N_EXPONENTS // 2)
    typical = loss.largest_value(float(typical))
    return max(min(system.value, typical) + penalty, MIN_TYPICAL_LOSS * system.value)


def with_bounded_l1(rows, objective, theta):
    """Return the objective with no more l1 than keeps a coordinate at 0.

    No slope of a model that is as good as theta is larger than the root mean squares of its
    multipliers and of the coordinate, multiplied. Any l1 beyond that has the same optimum, but
    numbers far apart.
    """
    loss, largest = objective.loss, objective.loss.bound
    if not np.isfinite(largest):
        largest = sqrt(2 * objective.value(rows, theta) / loss.compliance)
    squares = rows.sum(square_sums)
    largest = largest * np.sqrt(squares / rows.weight)
    if rows.linear is not None:
        largest += np.abs(rows.linear.sums.slope)
    return replace(objective, l1=np.minimum(objective.l1, L1_MARGIN * largest))


def square_sums(rows):
    """Return the weighted sum over rows of the square of each coordinate; a task."""
    return sum(z.column_squares(weight) for _, z, _, weight in row_chunks(rows))


def absolute_residual_sum(rows, theta):
    """Return the weighted sum of absolute residuals; a task."""
    total = 0.0
    for residual, weight in rows.residuals(theta):
        total += np.abs(residual).sum() if weight is None else weight @ np.abs(residual)
    return total

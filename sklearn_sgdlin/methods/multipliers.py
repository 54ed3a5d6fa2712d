"""Multipliers of piecewise linear-quadratic costs, and the conditions that tie them to residuals.

A loss of the table, an absolute value and a bound all are, by convex duality, a cost

    l(s) = max of m s - compliance m**2 / 2  over  lower <= m <= upper

of a residual s outside the dead zone. The maximiser m is the multiplier of the row. At the optimum
there are slacks ``u, v >= 0`` with the Karush-Kuhn-Tucker (KKT) conditions

    s = compliance m + u - v,    u (upper - m) = 0,    v (m - lower) = 0.

An interior-point step keeps all four factors positive. Both products, the complementarity, are held
near a common target, which falls to zero (Nocedal & Wright, 2006, chapters 14 and 16).
"""

from typing import NamedTuple

import numpy as np

# Share of the way to the nearest bound that a step may go, at most. All of the way would leave no
# room for the next step; much less would take more steps.
FRACTION_TO_BOUNDARY = 0.95

# Number of the powers of two that a float64 may have, and some more: sizes of residuals are counted
# by the power of two above them.
N_EXPONENTS = 2200


# Distance of a central multiplier from its bounds, relative to that of the bounds, at least: below,
# rounding errors would put it on a bound.
CENTRAL_MARGIN = 1e-8


class MultiplierBounds(NamedTuple):
    """Bounds of the multipliers of rows; a dead zone makes two of each row, one for either side."""

    # `offset`, `lower` and `upper`: what is taken off a residual, and the bounds of its
    # multiplier.
    offset: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    compliance: float

    @classmethod
    def from_loss(cls, loss):
        """Return the bounds of a row of the table of losses."""
        if loss.dead_zone == 0:
            sides = [0.0], [loss.lower], [loss.upper]
        else:
            sides = [loss.dead_zone, -loss.dead_zone], [0.0, loss.lower], [loss.upper, 0.0]
        return cls(*map(np.array, sides), loss.compliance)

    def n_pairs(self):
        """Return the mean number of complementary pairs of a row: one for each finite bound."""
        finite = np.isfinite(self.lower) + np.isfinite(self.upper) * 1.0
        return float(finite.reshape(-1, self.offset.size).sum(axis=1).mean())

    def nearest_feasible(self, outside):
        """Return the nearest residual of finite cost."""
        if self.compliance > 0:
            return outside
        return np.where(np.isinf(self.upper), np.minimum(outside, 0.0), outside)

    def initial_point(self, outside, complementarity, initial_gap):
        """Return multipliers inside their bounds and positive slacks, stacked as m, u, v.

        The multipliers of a row add up to 0, so their sums over rows, which the optimum wants to be
        the slopes of the penalty, are feasible from the start, and stay so. The slacks carry all of
        a residual, ``s = compliance m + u - v``, and are at least about as large as the target of
        complementarity asks for. Where a bound of the multiplier is missing, `initial_gap` stands
        for its distance.
        """
        outside, none = self.nearest_feasible(outside), np.zeros_like(outside)
        upper = np.where(np.isfinite(self.upper), self.upper, initial_gap) + none
        lower = np.where(np.isfinite(self.lower), self.lower, -initial_gap) + none
        farthest = np.stack([upper.max(axis=1), -lower.min(axis=1)])[..., np.newaxis]
        nearest = farthest.min(axis=0)
        one_sided = np.where(nearest > 0, nearest, farthest.max(axis=0)) / 2
        m = np.where(lower == 0, one_sided, np.where(upper == 0, -one_sided, 0.0))
        carried, least = outside - self.compliance * m, 2 * complementarity / (upper - lower)
        large = (np.abs(carried) + np.hypot(carried, 2 * least)) / 2
        u, v = np.where(carried > 0, [large, least**2 / large], [least**2 / large, large])
        u, v = u * np.isfinite(self.upper), v * np.isfinite(self.lower)
        return np.stack(np.broadcast_arrays(m, u, v))

    def central_point(self, outside, complementarity):
        """Return the point on the central path for residuals at a kink, stacked as m, u, v.

        That is ``s = u - v`` with both products equal to the complementarity, without compliance
        and with finite bounds; the multipliers of all rows need not add up to a feasible slope.
        """
        width = self.upper - self.lower
        size = width * np.abs(outside)
        larger = (size + 2 * complementarity + np.hypot(size, 2 * complementarity)) / (2 * width)
        smaller = complementarity * larger / (width * larger - complementarity)
        u, v = np.where(outside > 0, [larger, smaller], [smaller, larger])
        m = np.where(
            outside > 0, self.upper - complementarity / u, self.lower + complementarity / v
        )
        margin = CENTRAL_MARGIN * width
        return np.stack([np.clip(m, self.lower + margin, self.upper - margin), u, v])


def complementary_products(slack, gap):
    """Return the products of slacks and gaps; 0 where there is no bound."""
    return np.multiply(slack, gap, where=np.isfinite(gap), out=np.zeros_like(slack))

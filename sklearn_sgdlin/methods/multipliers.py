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
    """Bounds of the multipliers of rows; a dead zone makes two of each row, one for either side.

    Attributes
    ----------
    offset, lower, upper : ndarray, broadcast to (n_rows, n_sides)
        What is taken off a residual, and the bounds of its multiplier.
    compliance : float
    """

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

    def optimal_multiplier(self, outside):
        """Return the multiplier that attains the cost of each residual."""
        if self.compliance > 0:
            return np.clip(outside / self.compliance, self.lower, self.upper)
        return np.where(outside > 0, self.upper, np.where(outside < 0, self.lower, 0.0))

    def cost(self, outside):
        """Return the cost of each residual."""
        multiplier = self.optimal_multiplier(outside)
        linear = np.multiply(multiplier, outside, where=outside != 0, out=np.zeros_like(outside))
        return linear - self.compliance * multiplier**2 / 2

    def duality_gap(self, outside, multiplier):
        """Return how far the cost of residuals is above what a multiplier proves of it.

        That is ``cost - (m s - compliance m**2 / 2)``, written as a product so that large costs do
        not cancel.
        """
        best = self.optimal_multiplier(outside)
        return (best - multiplier) * (outside - self.compliance * (best + multiplier) / 2)

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


class LinearizedKKT:
    """The KKT conditions of some rows at a point, linear in a step.

    A step (dm, du, dv) of multipliers and slacks follows the response of each row, by which the
    step of the model lowers its residual.

    Parameters
    ----------
    bounds : MultiplierBounds
    outside : ndarray of shape (n_rows, n_sides)
        Residuals less the offset of the dead zone.
    point : ndarray of shape (3, n_rows, n_sides)
        Multipliers m, upper slacks u, and lower slacks v.

    Attributes
    ----------
    upper_gap, lower_gap : ndarray of shape (n_rows, n_sides)
        Distances of the multipliers from their bounds.
    curvature : ndarray of shape (n_rows, n_sides)
        Derivative of the multiplier by the residual.
    multiplier_residual : ndarray of shape (n_rows, n_sides)
        ``s - compliance m``, which is u - v where the conditions hold.
    """

    def __init__(self, bounds, outside, point):
        self.bounds, self.outside = bounds, outside
        self.multiplier, self.upper_slack, self.lower_slack = point
        self.upper_gap = bounds.upper - self.multiplier
        self.lower_gap = self.multiplier - bounds.lower
        with np.errstate(divide="ignore"):  # a bound at infinity is never near: 1 / inf = 0
            self.inverse_upper_gap, self.inverse_lower_gap = 1 / self.upper_gap, 1 / self.lower_gap
        self.curvature = 1 / (
            bounds.compliance
            + self.upper_slack * self.inverse_upper_gap
            + self.lower_slack * self.inverse_lower_gap
        )
        self.multiplier_residual = outside - bounds.compliance * self.multiplier

    def cost_and_gap(self):
        """Return the cost of each row, and how far that is above what the multipliers prove."""
        outside = self.bounds.nearest_feasible(self.outside)
        gap = self.bounds.duality_gap(outside, self.multiplier)
        return self.bounds.cost(outside).sum(axis=1), gap.sum(axis=1)

    def residual_exponent(self):
        """Return the index of the power of two above the size of each residual, from 0 on."""
        return residual_exponent(self.outside[:, 0] + self.bounds.offset[0])

    def complementarity(self):
        """Return the sum of the products of slacks and gaps of each row."""
        upper = complementary_products(self.upper_slack, self.upper_gap)
        return (upper + complementary_products(self.lower_slack, self.lower_gap)).sum(axis=1)

    def affine_step(self, response):
        """Return the step of m, u, v towards no complementarity at all (affine scaling)."""
        return self._step(response, 0.0, 0.0)

    def corrector_step(self, response, affine, complementarity):
        """Return the step of m, u, v towards a common complementarity of all pairs.

        It makes up for the product of the changes in an affine step, which linear conditions leave
        out (Mehrotra, 1992).
        """
        dm, du, dv = affine
        upper = (complementarity + du * dm) * self.inverse_upper_gap
        lower = (complementarity - dv * dm) * self.inverse_lower_gap
        return self._step(response, upper, lower)

    def _step(self, response, upper, lower):
        """Return the step of m, u, v that leaves slacks so large but for what m's step changes."""
        dm = self.multiplier_residual - upper + lower - response[:, np.newaxis]
        dm *= self.curvature
        du = upper + self.upper_slack * (dm * self.inverse_upper_gap - 1)
        dv = lower - self.lower_slack * (dm * self.inverse_lower_gap + 1)
        return np.stack([dm, du, dv])

    def corrector_terms(self, affine):
        """Return what a corrector step adds to the multiplier of each row before any response.

        The first is that of the second-order terms of the affine step; the second that of each
        unit of complementarity, which centres.
        """
        dm, du, dv = affine
        second_order = -dm * (du * self.inverse_upper_gap + dv * self.inverse_lower_gap)
        centring = self.inverse_lower_gap - self.inverse_upper_gap
        return (self.curvature * np.stack([second_order, centring])).sum(axis=2).T

    def max_step_lengths(self, step):
        """Return the largest lengths of a step that keep slacks, and multipliers, feasible.

        Neither is more than ``1 / FRACTION_TO_BOUNDARY``.
        """
        _, du, dv = step
        u, v = self.upper_slack, self.lower_slack
        slack = max(
            np.max(np.divide(-du, u, where=u > 0, out=np.zeros_like(u))),
            np.max(np.divide(-dv, v, where=v > 0, out=np.zeros_like(v))),
        )
        upper, lower = step[0] * self.inverse_upper_gap, -step[0] * self.inverse_lower_gap
        multiplier = np.max(np.maximum(upper, lower))
        return 1 / np.maximum([slack, multiplier], FRACTION_TO_BOUNDARY)

    def complementarity_after(self, step):
        """Return coefficients of each row's complementarity after (d dm, p du, p dv).

        They are those of 1, p, d and p d.
        """
        dm, du, dv = step
        by_slacks = complementary_products(du, self.upper_gap)
        by_slacks += complementary_products(dv, self.lower_gap)
        changes = by_slacks, dm * (self.lower_slack - self.upper_slack), dm * (dv - du)
        return np.stack([self.complementarity(), *(change.sum(axis=1) for change in changes)])


def residual_exponent(residual):
    """Return the index of the power of two above the size of each residual, from 0 on."""
    return np.where(residual != 0, np.frexp(residual)[1] + N_EXPONENTS // 2, 0)


def complementary_products(slack, gap):
    """Return the products of slacks and gaps; 0 where there is no bound."""
    return np.multiply(slack, gap, where=np.isfinite(gap), out=np.zeros_like(slack))

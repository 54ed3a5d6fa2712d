"""The conditions of rows and their steps in NumPy, which the compiled loops are compared with."""

import numpy as np

from sklearn_sgdlin.methods.multipliers import (
    FRACTION_TO_BOUNDARY,
    N_EXPONENTS,
    complementary_products,
)


def residual_exponent(residual):
    """Return the index of the power of two above the size of each residual, from 0 on."""
    return np.where(residual != 0, np.frexp(residual)[1] + N_EXPONENTS // 2, 0)


def optimal_multiplier(bounds, outside):
    """Return the multiplier that attains the cost of each residual."""
    if bounds.compliance > 0:
        return np.clip(outside / bounds.compliance, bounds.lower, bounds.upper)
    return np.where(outside > 0, bounds.upper, np.where(outside < 0, bounds.lower, 0.0))


def cost(bounds, outside):
    """Return the cost of each residual."""
    multiplier = optimal_multiplier(bounds, outside)
    linear = np.multiply(multiplier, outside, where=outside != 0, out=np.zeros_like(outside))
    return linear - bounds.compliance * multiplier**2 / 2


def duality_gap(bounds, outside, multiplier):
    """Return how far the cost of residuals is above what a multiplier proves of it.

    That is ``cost - (m s - compliance m**2 / 2)``, written as a product so that large costs do
    not cancel.
    """
    best = optimal_multiplier(bounds, outside)
    return (best - multiplier) * (outside - bounds.compliance * (best + multiplier) / 2)


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
        gap = duality_gap(self.bounds, outside, self.multiplier)
        return cost(self.bounds, outside).sum(axis=1), gap.sum(axis=1)

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

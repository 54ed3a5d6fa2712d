"""Losses: convex, piecewise linear-quadratic functions of the residual, four numbers each.

A loss of the residual ``e = y - prediction`` is described by a dead zone, a compliance and two
bounds of its multiplier::

    s(e) = sign(e) * max(|e| - dead_zone, 0)            residual outside the dead zone
    m(e) = clip(s / compliance, lower, upper)           multiplier, -d loss / d prediction
    l(e) = m * s - compliance * m**2 / 2                value, by convex duality

The compiled sweep gets the four numbers and knows no loss by name, so a new loss is one more row
of `LOSSES`.
"""

from math import inf
from typing import NamedTuple

import numpy as np


class Loss(NamedTuple):
    """Convex, piecewise linear-quadratic loss of the residual.

    Examples
    --------
    >>> from sklearn_sgdlin.model.loss import SQUARED_ERROR
    >>> float(SQUARED_ERROR.value(3.0)), float(SQUARED_ERROR.multiplier(3.0))
    (4.5, 3.0)
    """

    dead_zone: float  # size of residuals up to which the loss is 0, in units of y
    compliance: float  # inverse curvature of the quadratic part; 0 if there is none
    lower: float  # bounds of the multiplier, lower <= 0 <= upper
    upper: float

    def outside(self, residual):
        """Return the part of each residual outside the dead zone, 0 within."""
        if self.dead_zone == 0:
            return residual
        return residual - np.clip(residual, -self.dead_zone, self.dead_zone)

    def multiplier(self, residual):
        """Return minus the derivative of the loss by the prediction, of each residual."""
        return self._multiplier(self.outside(np.asarray(residual, dtype=np.float64)))

    def _multiplier(self, outside):
        """Return the multiplier from the part of each residual outside the dead zone."""
        if self.compliance == 0:
            return self.upper * (outside > 0) + self.lower * (outside < 0)
        if min(-self.lower, self.upper) == np.inf:
            return outside / self.compliance
        return np.clip(outside / self.compliance, self.lower, self.upper)

    def curvature(self, residual):
        """Return the second derivative by the prediction, of each residual; kinks count as 0."""
        if self.compliance == 0:
            return np.zeros(np.shape(residual))
        multiplier = self.outside(np.asarray(residual, dtype=np.float64)) / self.compliance
        curved = (self.lower <= multiplier) & (multiplier <= self.upper)
        if self.dead_zone > 0:
            curved &= multiplier != 0
        return curved / self.compliance

    def value(self, residual):
        """Return the loss of each residual."""
        outside = self.outside(np.asarray(residual, dtype=np.float64))
        multiplier = self._multiplier(outside)
        return multiplier * outside - self.compliance * multiplier**2 / 2

    def largest_value(self, outside):
        """Return the loss of a residual so far outside the dead zone, on the costlier side."""
        multiplier = min(outside / self.compliance if self.compliance else inf, self.bound)
        return multiplier * outside - self.compliance * multiplier**2 / 2

    @property
    def bound(self):
        """Largest absolute value of the multiplier; inf where it is unbounded."""
        return max(-self.lower, self.upper)

    @property
    def level(self):
        """Level of the quantile that the loss estimates, 0.5 if it is symmetric."""
        if self.upper == -self.lower:
            return 0.5
        return self.upper / (self.upper - self.lower)

    def with_level_clipped(self, margin):
        """Return the loss with its level clipped to the interval [margin, 1 - margin]."""
        width = self.upper - self.lower
        upper = width * min(max(self.level, margin), 1 - margin)
        return self._replace(lower=upper - width, upper=upper)


# Half the squared residual: no dead zone, curvature 1, no bounds.
SQUARED_ERROR = Loss(dead_zone=0.0, compliance=1.0, lower=-np.inf, upper=np.inf)

# Losses by name, as functions of the estimator's parameters epsilon (in units of y) and quantile.
LOSSES = {
    "squared_error": lambda epsilon, quantile: SQUARED_ERROR,
    "huber": lambda epsilon, quantile: Loss(0.0, 1.0, -epsilon, epsilon),
    "epsilon_insensitive": lambda epsilon, quantile: Loss(epsilon, 0.0, -1.0, 1.0),
    "squared_epsilon_insensitive": lambda epsilon, quantile: Loss(epsilon, 0.5, -np.inf, np.inf),
    "quantile": lambda epsilon, quantile: Loss(0.0, 0.0, quantile - 1.0, quantile),
}


def make_loss(name, epsilon=0.1, quantile=0.5):
    """Return the loss of a name in `LOSSES`."""
    return LOSSES[name](float(epsilon), float(quantile))

"""Losses as rows of one table of four numbers.

Every piecewise linear-quadratic loss of the residual ``e = y - prediction`` is
described by a dead zone, a compliance and two bounds on its multiplier::

    s(e) = sign(e) * max(|e| - dead_zone, 0)            residual outside the dead zone
    m(e) = clip(s / compliance, lower, upper)           multiplier, -d loss / d prediction
    l(e) = m * s - compliance * m**2 / 2                value, by convex duality

The compiled sweep gets the four numbers and knows no loss by name.
"""

from typing import NamedTuple

import numpy as np


class Loss(NamedTuple):
    """A convex, piecewise linear-quadratic loss of the residual.

    Attributes
    ----------
    dead_zone : float
        Residuals up to this size cost nothing; in units of y.
    compliance : float
        Inverse curvature of the quadratic part; 0 where there is none.
    lower, upper : float
        Bounds of the multiplier, ``lower <= 0 <= upper``.

    Examples
    --------
    >>> from sklearn_sgdlin.model.loss import SQUARED_ERROR
    >>> float(SQUARED_ERROR.value(3.0)), float(SQUARED_ERROR.multiplier(3.0))
    (4.5, 3.0)
    """

    dead_zone: float
    compliance: float
    lower: float
    upper: float

    def _outside(self, residual):
        if self.dead_zone == 0:
            return residual
        return residual - np.clip(residual, -self.dead_zone, self.dead_zone)

    def multiplier(self, residual):
        """Minus the derivative of the value by the prediction."""
        return self._multiplier(self._outside(np.asarray(residual, dtype=np.float64)))

    def _multiplier(self, outside):
        if self.compliance == 0:
            return np.select([outside > 0, outside < 0], [self.upper, self.lower], 0.0)
        if min(-self.lower, self.upper) == np.inf:
            return outside / self.compliance
        return np.clip(outside / self.compliance, self.lower, self.upper)

    def value(self, residual):
        """Cost of each residual."""
        outside = self._outside(np.asarray(residual, dtype=np.float64))
        multiplier = self._multiplier(outside)
        return multiplier * outside - self.compliance * multiplier**2 / 2

    @property
    def bound(self):
        """Largest size of the multiplier."""
        return max(-self.lower, self.upper)

    @property
    def level(self):
        """Share of targets above which the prediction of the least loss lies."""
        return self.upper / (self.upper - self.lower)

    def at_level(self, tail):
        """The loss with the level no nearer to 0 or 1 than that."""
        span = self.upper - self.lower
        upper = span * min(max(self.level, tail), 1 - tail)
        return self._replace(lower=upper - span, upper=upper)


SQUARED_ERROR = Loss(dead_zone=0.0, compliance=1.0, lower=-np.inf, upper=np.inf)

LOSSES = {
    "squared_error": lambda epsilon, quantile: SQUARED_ERROR,
    "huber": lambda epsilon, quantile: Loss(0.0, 1.0, -epsilon, epsilon),
    "epsilon_insensitive": lambda epsilon, quantile: Loss(epsilon, 0.0, -1.0, 1.0),
    "squared_epsilon_insensitive": lambda epsilon, quantile: Loss(epsilon, 0.5, -np.inf, np.inf),
    "quantile": lambda epsilon, quantile: Loss(0.0, 0.0, quantile - 1.0, quantile),
}


def make_loss(name, epsilon=0.1, quantile=0.5):
    """Return the row of the table: the loss of this name with these parameters."""
    return LOSSES[name](float(epsilon), float(quantile))

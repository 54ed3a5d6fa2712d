"""The objective: a loss and a penalty, in the coordinates of a scaling.

    F(theta) = sum(h * l(y - z . theta)) / sum(h) + sum(l1 |theta| + l2 theta**2 / 2)

with theta >= floor. The penalty of the user is on ``coef = scale * theta``, so each coordinate
has weights of its own, and the intercept has none.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..linalg.blocks import with_last
from .loss import Loss


@dataclass(frozen=True)
class Objective:
    """Loss and penalty of each coordinate.

    Attributes
    ----------
    loss : Loss
    l1, l2 : ndarray of shape (n_coordinates,)
        Weights of the absolute value and of half the square.
    floor : ndarray of shape (n_coordinates,)
        Lower bounds: 0 where a coefficient must not be negative, else -inf.
    """

    loss: Loss
    l1: np.ndarray
    l2: np.ndarray
    floor: np.ndarray

    @classmethod
    def of(cls, loss, l1, l2, positive, scale):
        """Build from weights on the coefficients, ``l1 |coef| + l2 coef**2 / 2``."""
        size = with_last(scale[:-1], 0.0)
        floor = with_last(0.0 if positive else -np.inf, -np.inf, len(scale))
        return cls(loss, l1 * size, l2 * size * size, floor)

    @cached_property
    def smooth(self):
        """Whether the penalty has no kink and no bound."""
        return not (self.l1.any() or np.isfinite(self.floor).any())

    @cached_property
    def penalised(self):
        """Whether there is a penalty, or a bound."""
        return bool(self.l2.any()) or not self.smooth

    def penalty(self, theta):
        """Value of the penalty at one theta, or at each column of several."""
        with np.errstate(over="ignore", invalid="ignore"):  # the caller judges what is finite
            return self.l1 @ np.abs(theta) + self.l2 @ theta**2 / 2

    def proximal(self, theta, length):
        """Return the minimum of ``length * (l1 |x| + bound) + (x - theta)**2 / 2``, x >= floor."""
        shrunk = np.sign(theta) * np.maximum(np.abs(theta) - length * self.l1, 0.0)
        return np.maximum(shrunk, self.floor)

    def value(self, rows, theta):
        """The objective."""
        return float(rows.mean_loss(theta, self.loss) + self.penalty(theta))

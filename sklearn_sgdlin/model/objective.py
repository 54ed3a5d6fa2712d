"""The objective: mean loss plus elastic-net penalty, in the coordinates of a scaling.

    F(theta) = sum(h * l(y - z . theta)) / sum(h) + sum(l1 |theta| + l2 theta**2 / 2)

with weights h of the rows and theta >= floor. The user's penalty is on ``coef = scale * theta``, so
each coordinate has its own l1 and l2, and the intercept has none.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..linalg.blocks import with_last
from .loss import Loss


@dataclass(frozen=True)
class Objective:
    """Loss, and penalty of each coordinate, as arrays of shape (n_coordinates,)."""

    loss: Loss
    l1: np.ndarray  # weights of the absolute value
    l2: np.ndarray  # weights of half the square
    floor: np.ndarray  # lower bounds: 0 where a coefficient must not be negative, else -inf

    @classmethod
    def of(cls, loss, l1, l2, positive, scale):
        """Return the objective with the penalty ``l1 |coef| + l2 coef**2 / 2`` of coefficients.

        The scale is that of the scaling, the intercept last.
        """
        coef_scale = with_last(scale[:-1], 0.0)
        floor = with_last(0.0 if positive else -np.inf, -np.inf, len(scale))
        return cls(loss, l1 * coef_scale, l2 * coef_scale * coef_scale, floor)

    @cached_property
    def smooth(self):
        """Whether the penalty is differentiable and without bounds."""
        return not self.kinked.any()

    @cached_property
    def kinked(self):
        """Which coordinates have an absolute value or a bound in the penalty."""
        return (self.l1 > 0) | np.isfinite(self.floor)

    @cached_property
    def penalised(self):
        """Whether there is a penalty or a bound."""
        return self.has_penalty or not self.smooth

    @cached_property
    def has_penalty(self):
        """Whether the penalty of any coordinate is not 0 everywhere."""
        return bool(self.l1.any() or self.l2.any())

    def penalty(self, theta):
        """Return the penalty at one theta, or at each column of several."""
        if not self.has_penalty:
            return 0.0
        # An overflow gives an infinite objective, which the caller handles.
        with np.errstate(over="ignore", invalid="ignore"):
            return self.l1 @ np.abs(theta) + self.l2 @ theta**2 / 2

    def proximal(self, theta, length):
        """Return the minimum of ``length * (l1 |x| + bound) + (x - theta)**2 / 2``, x >= floor."""
        shrunk = np.sign(theta) * np.maximum(np.abs(theta) - length * self.l1, 0.0)
        return np.maximum(shrunk, self.floor)

    def value(self, rows, theta):
        """Return the objective at theta, in the units of the loss."""
        return float(rows.mean_loss(theta, self.loss) + self.penalty(theta))

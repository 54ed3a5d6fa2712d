"""The epochs of a fit, when it stops, and how the rate of the "adaptive" schedule falls."""

from dataclasses import dataclass
from math import isfinite

import numpy as np

from ._choose import Choice
from .model.state import MultiTargetState, State
from .model.states_after_fit import StatesAfterFit

# Of several targets, the reason why their fit stopped is the last of these among theirs.
STOP_REASONS = ["converged", "stalled", "max_iter"]

# What the "adaptive" schedule divides the rate by after an epoch without progress, and the fraction
# of the first rate at which that ends.
RATE_DIVISOR = 10.0
MIN_RATE = 1e-6

# A distance to the optimum below this one is a rounding error: its square is one of the loss.
ROUNDING_DISTANCE = 1e-6

# Size of residuals, relative to y, below which there is nothing to learn.
RESIDUAL_ROUNDING = 1024 * np.finfo(np.float64).eps


@dataclass(frozen=True)
class Epoch:
    """A model after an epoch, as it would be returned."""

    number: int  # counted from 1
    rate: float | None  # of its steps of SGD, if there were any
    loss: float  # the objective
    distance: float | None  # from the optimum, if it is known; see `EpochResult`
    state: State | MultiTargetState | StatesAfterFit
    stop_reason: str | None  # None to go on
    choice: Choice  # the solver that runs, and why


class StopRule:
    """Decides after each epoch whether to go on, and at which rate.

    A fit has converged where the distance of the model from the optimum is known to be at most
    `tol`, or where residuals are rounding errors of y. It has stalled where `n_iter_no_change`
    epochs in a row did not lower the loss by the factor ``1 - tol**2``, and the distance is larger
    or not known. Last iterates of SGD have no known distance: they have converged where that many
    epochs did not lower the loss by the factor ``1 - tol``. An epoch whose loss is not finite only
    divides the rate. Up to the smallest loss, see `rounding_loss`, a fit has converged. `rate` is
    that of the next epoch.
    """

    def __init__(self, settings, smallest_loss):
        self.settings, self.rate = settings, settings.learning_rate
        self.smallest_loss = smallest_loss
        self.best_loss, self.n_without_progress = np.inf, 0

    def update(self, number, loss, distance):
        """Return the reason to stop after this epoch, or None to go on."""
        settings, tol = self.settings, self.settings.tol
        least = tol or 0.0  # the relative decrease of the loss that counts as progress
        if settings.average:
            least = least**2 if distance is None else least**2 / 10
        improved = loss < self.best_loss * (1 - least)
        if isfinite(loss):
            self.best_loss = min(loss, self.best_loss)
            self.n_without_progress = 0 if improved else self.n_without_progress + 1
        if not improved and settings.schedule == "adaptive":
            self.rate = max(self.rate / RATE_DIVISOR, MIN_RATE * settings.learning_rate)
        if tol is not None and isfinite(loss):
            if (distance is not None and distance <= tol) or loss <= self.smallest_loss:
                return "converged"
            if self.n_without_progress >= settings.n_iter_no_change:
                at_rounding = distance is not None and distance <= ROUNDING_DISTANCE
                return "converged" if at_rounding or not settings.average else "stalled"
        return "max_iter" if number == settings.max_iter else None


def rounding_loss(loss, moments):
    """Return the loss of residuals that are rounding errors of y, from the moments of targets."""
    size = RESIDUAL_ROUNDING * np.hypot(
        moments.mean, np.sqrt(moments.sum_of_squares / moments.weight)
    )
    return loss._replace(dead_zone=0.0).value(np.stack([-size, size])).min(axis=0)


def combined_reason(reasons):
    """Return why the fit of several targets has stopped; None as long as one has not."""
    return None if None in reasons else max(reasons, key=STOP_REASONS.index)

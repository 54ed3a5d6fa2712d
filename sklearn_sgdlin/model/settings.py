"""The user's choices in numbers, and what follows from them alone."""

from dataclasses import dataclass

import numpy as np

from .._tuning import Tuning
from .loss import SQUARED_ERROR, Loss

DIVERGENCE_FACTOR = 10.0  # times the loss of a constant prediction


@dataclass(frozen=True)
class Settings:
    """What the user chose, as the training needs it."""

    loss: Loss
    l1: float
    l2: float
    positive: bool
    fit_intercept: bool
    learning_rate: float
    schedule: str
    power_t: float
    implicit: bool
    precondition: bool
    average: bool
    max_iter: int
    tol: float | None
    n_iter_no_change: int
    shuffle: bool
    solver: str
    sgd_setting: str
    tuning: Tuning

    @property
    def quadratic(self):
        """Whether the objective is a quadratic function: squared error without kinks."""
        return self.loss == SQUARED_ERROR and self.l1 == 0 and not self.positive


def target_variance(settings, moments):
    """Variance of y, the last column of the moments; its mean square without intercept."""
    return moments.of_columns(slice(-1, None)).variance(settings.fit_intercept)[0]


def constant_model(settings, moments):
    """Zero coefficients and the mean of y; zeros in a textbook."""
    centred = settings.precondition and settings.fit_intercept
    return np.zeros(len(moments.mean) - 1), float(moments.mean[-1]) if centred else 0.0


def sweep_rng(settings, seed, rows_seen):
    """Random numbers of a sweep after so many steps; None where rows stay in their order."""
    return np.random.default_rng((seed, rows_seen)) if settings.shuffle else None


class DivergedError(ArithmeticError):
    """Explicit steps with too high a rate; says where."""


def raise_if_diverged(loss, bound, where):
    """Raise DivergedError where a loss is far above a bound, or NaN."""
    if not loss <= DIVERGENCE_FACTOR * bound:
        raise DivergedError(where)

"""Settings: the user's parameters in numbers, and what follows from them alone."""

from dataclasses import dataclass

import numpy as np

from .._tuning import Tuning
from .loss import SQUARED_ERROR, Loss

# Ratio of the loss to that of a constant prediction above which explicit steps have diverged.
# Below it noisy steps may still recover; a diverging fit exceeds any such ratio in a few rows.
DIVERGENCE_FACTOR = 10.0


@dataclass(frozen=True)
class Settings:
    """Parameters of the estimator, as the solvers need them."""

    loss: Loss
    l1: float  # weight of ``|coef|`` in the objective
    l2: float  # weight of ``coef**2 / 2``
    positive: bool
    fit_intercept: bool
    learning_rate: float  # without a unit if `precondition`
    schedule: str
    power_t: float
    implicit: bool  # whether steps are implicit (proximal), not explicit
    precondition: bool  # whether steps are taken in a scaling, not in the units of the data
    average: bool  # whether the model is the optimum or an average, not the last iterate
    max_iter: int
    tol: float | None
    n_iter_no_change: int
    shuffle: bool
    solver: str
    sgd_setting: str  # the parameter that selects SGD, as the user would write it, or ""
    tuning: Tuning
    half_life: float | None

    @property
    def quadratic(self):
        """Whether the objective is a quadratic function: squared error without kinks or bounds."""
        return self.loss == SQUARED_ERROR and self.l1 == 0 and not self.positive

    @property
    def one_path(self):
        """Whether a sweep is the path of a textbook, which visits rows one after the other."""
        return not (self.average and self.implicit and self.precondition)


def target_variance(settings, moments):
    """Return the variance of y, the last column of the moments; its mean square if uncentred."""
    return moments.of_columns(slice(-1, None)).variance(settings.fit_intercept)[0]


def constant_model(settings, moments):
    """Return coef and intercept of the model to begin with: zeros, and the mean of y.

    Without an intercept, or in textbook SGD, the intercept is 0 as well.
    """
    centred = settings.precondition and settings.fit_intercept
    return np.zeros(len(moments.mean) - 1), float(moments.mean[-1]) if centred else 0.0


def sweep_rng(settings, seed, rows_seen):
    """Return the random generator of the sweep after `rows_seen` steps; None without shuffling."""
    return np.random.default_rng((seed, int(rows_seen))) if settings.shuffle else None


class DivergedError(ArithmeticError):
    """Explicit steps have diverged, because the learning rate is too high; the text says where."""


def raise_if_diverged(loss, constant_loss, where):
    """Raise DivergedError if a loss is far above that of a constant prediction, or NaN."""
    if not loss <= DIVERGENCE_FACTOR * constant_loss:
        raise DivergedError(where)

"""The problem as the user poses it: settings, rows in their metric, the objective on them."""

from dataclasses import dataclass
from functools import partial
from math import inf, sqrt

import numpy as np

from ._loss import SQUARED_ERROR, Loss
from ._metric import Metric, Moments
from ._objective import Objective
from ._rows import Rows
from ._sparse import rows_of

DIVERGED = 10.0  # times the loss of a constant prediction


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

    @property
    def quadratic(self):
        """Whether the objective is a quadratic function: squared error without kinks."""
        return self.loss == SQUARED_ERROR and self.l1 == 0 and not self.positive

    @property
    def unique_path(self):
        """Whether the model found may not depend on how the data are written."""
        return not self.precondition or self.quadratic


@dataclass(frozen=True)
class Problem:
    """Rows in their metric, the objective on them, and the length of a step of rate 1.

    With a metric the rate has no unit: a step moves the prediction by about the spread of y
    also where the loss bounds its multiplier, and weights count relative to their mean. `norm` is
    the mean of ||z||**2 without the intercept, 1 if that is 0.
    """

    rows: Rows
    moments: Moments
    objective: Objective
    unit: float
    norm: float

    @classmethod
    def of(cls, settings, X, y, sample_weight, moments, size=None):
        """Pose the problem with the moments of the columns of X, and of y, last.

        `size` is that of residuals, where it is known to be less than the spread of y.
        """
        return cls.on(partial(rows_of, X, y, sample_weight), settings, moments, size)

    @classmethod
    def on(cls, rows_in, settings, moments, size=None):
        """Pose it on ``rows_in(metric)``, wherever they are."""
        columns = moments.of_columns(slice(-1))
        if settings.precondition:
            unit, bound = settings.loss.compliance, settings.loss.bound
            if bound < inf:
                spread = sqrt(target_variance(settings, moments))
                if size is not None:
                    spread = min(spread, size)
                unit = max(unit, spread / bound) or 1.0
            metric = Metric.standard(columns, settings.fit_intercept, unit * settings.l2)
            unit *= moments.rows / moments.weight
        else:
            unit = 1.0
            metric = Metric.textbook(len(moments.mean) - 1, settings.fit_intercept)
        objective = Objective.of(
            settings.loss, settings.l1, settings.l2, settings.positive, metric.scale
        )
        norm = metric.mean_square(columns) or 1.0
        return cls(rows_in(metric), moments, objective, unit, norm)

    def searched_in(self, standard):
        """Return the problem with the steps of this one, and all else in those coordinates.

        Units of the data decide how far SGD gets, but not which model is the optimum: to find that
        takes coordinates which are centred and scaled.
        """
        rows = standard.rows
        rows.sweep = partial(_sweep_in, self.rows, self.objective, rows.metric)
        return Problem(rows, self.moments, standard.objective, self.unit, self.norm)

    def step_rule(self, settings, rate):
        """learning_rate, power_t, implicit of one sweep, and the mean of ||z||**2 below."""
        power_t = settings.power_t if settings.schedule == "invscaling" else 0.0
        return rate * self.unit, power_t, settings.implicit, self.norm


def _sweep_in(rows, objective, metric, order, _, step_rule, rows_seen, theta):
    """Sweep rows in their own coordinates, from a point of a metric; return points of it."""
    start = rows.metric.theta(*metric.model(theta))
    end, average, average_rows = rows.sweep(order, objective, step_rule, rows_seen, start)
    end, average = (metric.theta(*rows.metric.model(point)) for point in (end, average))
    return end, average, average_rows


def target_variance(settings, moments):
    """Variance of y, the last column of the moments; its mean square without intercept."""
    return moments.of_columns(slice(-1, None)).spread(settings.fit_intercept)[0]


def constant_model(settings, moments):
    """Zero coefficients and the mean of y; zeros in a textbook."""
    centred = settings.precondition and settings.fit_intercept
    return np.zeros(len(moments.mean) - 1), float(moments.mean[-1]) if centred else 0.0


def generator(settings, seed, rows_seen):
    """Random numbers of a sweep after so many steps; None where rows stay in their order."""
    return np.random.default_rng((seed, rows_seen)) if settings.shuffle else None


class DivergedError(ArithmeticError):
    """Explicit steps with too high a rate; says where."""


def check_growth(loss, bound, where):
    """Raise DivergedError where a loss is far above a bound, or NaN."""
    if not loss <= DIVERGED * bound:
        raise DivergedError(where)

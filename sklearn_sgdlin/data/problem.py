"""The optimisation problem: rows in their scaling and the objective on them."""

from dataclasses import dataclass
from functools import cached_property, partial
from math import inf, sqrt

from ..model.moments import Moments
from ..model.objective import Objective
from ..model.scaling import Scaling
from ..model.settings import target_variance
from .partitions import InMemory, Partitions


@dataclass(frozen=True)
class Problem:
    """Rows in their scaling, the objective on them, and the length of a step of rate 1.

    With a scaling the rate has no unit: a step moves the prediction by about the spread of y
    also where the loss bounds its multiplier, and weights count relative to their mean.
    """

    rows: Partitions
    moments: Moments
    objective: Objective
    unit: float

    @classmethod
    def of(cls, settings, X, y, sample_weight, moments, size=None):
        """Pose the problem with the moments of the columns of X, and of y, last.

        `size` is that of residuals, where it is known to be less than the spread of y.
        """
        return cls.on(partial(InMemory.of, X, y, sample_weight), settings, moments, size)

    @classmethod
    def on(cls, rows_in, settings, moments, size=None):
        """Return the problem of the rows in the scaling of these moments.

        `rows_in` returns the `Partitions` in a scaling, wherever they lie.
        """
        columns = moments.of_columns(slice(-1))
        if settings.precondition:
            unit, bound = settings.loss.compliance, settings.loss.bound
            if bound < inf:
                spread = sqrt(target_variance(settings, moments))
                if size is not None:
                    spread = min(spread, size)
                unit = max(unit, spread / bound) or 1.0
            scaling = Scaling.from_moments(columns, settings.fit_intercept, unit * settings.l2)
            unit *= moments.rows / moments.weight
        else:
            unit = 1.0
            scaling = Scaling.identity(len(moments.mean) - 1, settings.fit_intercept)
        objective = Objective.of(
            settings.loss, settings.l1, settings.l2, settings.positive, scaling.scale
        )
        return cls(rows_in(scaling), moments, objective, unit)

    @cached_property
    def norm(self):
        """Mean of ||z||**2 without the intercept, 1 if that is 0."""
        return self.rows.scaling.mean_square(self.moments.of_columns(slice(-1))) or 1.0

    def step_rule(self, settings, rate):
        """Return the step rule of a sweep: rate, power_t, whether implicit, and `norm`."""
        power_t = settings.power_t if settings.schedule == "invscaling" else 0.0
        return rate * self.unit, power_t, settings.implicit, self.norm

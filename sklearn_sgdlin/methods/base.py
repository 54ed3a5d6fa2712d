"""What all solvers share: the result of an epoch, and the sweep they may ask for.

A solver has ``run(theta, sweep)``, which returns the `EpochResult` of one epoch that begins with
the model theta. ``sweep(theta)`` is one pass of SGD from a model; it returns the last iterate and
the average of the path. A solver that needs no steps of SGD never calls it.
"""

from typing import NamedTuple

import numpy as np

from ..model.settings import constant_model, raise_if_diverged, sweep_rng


class EpochResult(NamedTuple):
    """The model at the end of an epoch, and what is known of it.

    Attributes
    ----------
    theta : ndarray of shape (n_coordinates,)
    loss : float
        The objective at theta.
    distance : float or None
        Root mean square distance of the predictions from those of the optimum, in residual
        standard deviations; None where it is not known.
    """

    theta: np.ndarray
    loss: float
    distance: float | None


class Sweeps:
    """Passes of SGD over the rows of a problem, in a new order each.

    Attributes
    ----------
    rate : float
        Learning rate of the next sweep.
    rows_seen : int
        Steps taken so far.
    """

    def __init__(self, settings, problem, seed):
        self.settings, self.problem, self.seed = settings, problem, seed
        self.rate, self.rows_seen = settings.learning_rate, 0

    def __call__(self, theta):
        """Return the last iterate and the average of the path of a sweep that begins at theta.

        Raises
        ------
        DivergedError
            Where explicit steps have led to a loss far above that of a constant prediction.
        """
        problem, rows = self.problem, self.problem.rows
        end, average = map(rows.mean_of, rows.sweep_places(*self.begin(), theta))
        if not self.settings.implicit:
            _, intercept = constant_model(self.settings, problem.moments)
            bound = rows.constant_loss(self.settings.loss, intercept)
            epoch = self.rows_seen // rows.n_rows
            raise_if_diverged(problem.objective.value(rows, end), bound, f"epoch {epoch}")
        return end, average

    def begin(self):
        """Return the generator of the order of rows, objective, step rule and steps before."""
        settings, problem, before = self.settings, self.problem, self.rows_seen
        rng = sweep_rng(settings, self.seed, before)
        self.rows_seen += problem.rows.n_rows
        return rng, problem.objective, problem.step_rule(settings, self.rate), before


class LastIterate:
    """SGD without averaging: the model is the last iterate of each sweep."""

    def __init__(self, rows, objective):
        self.rows, self.objective = rows, objective

    def run(self, theta, sweep):
        """Return the last iterate of a sweep and its objective."""
        theta, _ = sweep(theta)
        return EpochResult(theta, self.objective.value(self.rows, theta), None)

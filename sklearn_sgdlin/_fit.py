"""Epochs: sweep, search, measure, decide. Reads like the method itself."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite, sqrt

import numpy as np
from scipy.sparse import csr_array, issparse

from ._choose import Choice
from ._solvers import Solvers, facts_of
from .data.problem import Problem
from .linalg.blas import blas_threads
from .methods.sgd import Sweeps
from .model.cross_products import CrossProducts
from .model.moments import Moments, joint_moments
from .model.settings import constant_model
from .model.state import MultiTargetState, State

STOP_REASONS = ["converged", "stalled", "max_iter"]  # that of several targets is the last of theirs
RATE_DIVISOR = 10.0  # of the "adaptive" schedule
LEAST_RATE = 1e-6  # of the first: where it ends
ROUNDING_DISTANCE = 1e-6  # its square, relative to the loss, is a rounding error of that
LOSS_ROUNDING = 1024 * np.finfo(np.float64).eps  # of the size of y: residuals with nothing to learn


@dataclass(frozen=True)
class Epoch:
    """A model after an epoch, as it would be returned."""

    number: int
    rate: float | None
    loss: float
    distance: float | None
    state: State | MultiTargetState
    stop_reason: str | None
    choice: Choice


def merge_equal_rows(X, y, sample_weight):
    """Sort the rows, make one of equal ones with the sum of their weights, drop weight 0.

    Where many models are optimal (a dead zone, a bound), which one is found depends on the
    path; so data that differ only in how often a row is written must become the same data.
    """
    weight = np.ones(len(y)) if sample_weight is None else sample_weight
    both = np.column_stack([X.toarray() if issparse(X) else X, y]).astype(np.float64, copy=False)[
        weight > 0
    ]
    both, row = np.unique(both, axis=0, return_inverse=True)
    weight = np.bincount(row.ravel(), weights=weight[weight > 0])
    X_merged = np.ascontiguousarray(both[:, :-1], dtype=X.dtype)
    X = csr_array(X_merged) if issparse(X) else X_merged
    return X, np.ascontiguousarray(both[:, -1]), weight / weight.max()


class StopRule:
    """Decides after each epoch whether to go on, and at which rate.

    Stop where the model is within `tol` of the optimum, measured by the distance of their
    predictions in residual standard deviations, if the search can tell it; or where for
    `n_iter_no_change` epochs none lowered the loss by the factor ``1 - tol``; or where the
    loss is rounding error. Where the search can tell the distance, and it is above `tol` when no
    epoch lowers the loss any more, the fit has stalled. The adaptive schedule divides the rate
    after each such epoch. An epoch whose loss is not finite tells nothing: it divides the rate, and
    training goes on.
    """

    def __init__(self, settings, smallest_loss):
        self.settings = settings
        self.smallest_loss = smallest_loss
        self.rate = settings.learning_rate
        self.best_loss = np.inf
        self.stalled = 0

    def after(self, number, loss, distance):
        """Return the word for the stop, or None to go on."""
        tol = self.settings.tol
        least = (tol or 0.0) ** (2 if self.settings.average else 1)
        if distance is not None:  # known, and not near enough yet: be patient
            least /= 10
        known = isfinite(loss)
        improved = loss < self.best_loss * (1 - least)
        if known:
            self.best_loss = min(loss, self.best_loss)
            self.stalled = 0 if improved else self.stalled + 1
        if not improved and self.settings.schedule == "adaptive":
            self.rate = max(self.rate / RATE_DIVISOR, LEAST_RATE * self.settings.learning_rate)
        if tol is not None and known:
            if loss <= self.smallest_loss or (distance is not None and distance <= tol):
                return "converged"
            if self.stalled >= self.settings.n_iter_no_change:
                near = distance is not None and distance <= ROUNDING_DISTANCE
                return "converged" if near or not self.settings.average else "stalled"
        return "max_iter" if number == self.settings.max_iter else None


def epochs(settings, X, y, sample_weight, seed, start=None) -> Iterator[Epoch]:
    """Train on all rows, epoch after epoch; the last one says why it stopped.

    A y of shape (n_rows, n_targets) gives as many models, each as if it were alone: one that
    has stopped waits for the others. `start` is the coef and intercept to begin with.
    """
    unit = 1.0
    if settings.precondition and sample_weight is not None:
        unit = float(sample_weight.max())
        sample_weight = sample_weight / unit  # so that no product underflows
    facts = facts_of(
        settings,
        n_rows=X.shape[0],
        n_features=X.shape[1],
        n_entries=X.nnz if issparse(X) else X.size,
        sparse=issparse(X),
    )
    solvers = Solvers(settings, facts, seed, X, sample_weight)
    if y.ndim == 1:
        yield from _train_target(settings, solvers, unit, y, seed, start)
        return
    starts = zip(*start, strict=True) if start is not None else (None,) * y.shape[1]
    yield from run_targets_together(
        [
            _train_target(settings, solvers, unit, column, seed, one)
            for column, one in zip(np.ascontiguousarray(y.T), starts, strict=True)
        ]
    )


def run_targets_together(training):
    """Run the epochs of several targets together."""
    current = [next(target) for target in training]
    while True:
        yield _combine_targets(current)
        if all(epoch.stop_reason for epoch in current):
            return
        current = [
            epoch if epoch.stop_reason else next(target)
            for epoch, target in zip(current, training, strict=True)
        ]


def _combine_targets(current):
    """One epoch of several targets: the mean of their losses, the largest distance."""
    last = max(current, key=lambda epoch: epoch.number)
    distances = [epoch.distance for epoch in current]
    reasons = {epoch.stop_reason for epoch in current}
    return Epoch(
        last.number,
        last.rate,
        float(np.mean([epoch.loss for epoch in current])),
        None if None in distances else max(distances),
        MultiTargetState(tuple(epoch.state for epoch in current)),
        None if None in reasons else max(reasons, key=STOP_REASONS.index),
        last.choice,
    )


def _train_target(settings, solvers, unit, y, seed, start):
    """Train on rows in memory with one target.

    Weights are in units of the largest one, `unit`.
    """
    X, sample_weight = solvers.X, solvers.sample_weight
    moments = solvers.moments.with_columns(Moments.of(y[:, np.newaxis], sample_weight, "y"))
    seen = moments.with_weights_scaled(unit)
    if X.shape[0] * X.shape[1] <= settings.tuning.max_merged_entries and _path_matters(
        settings, solvers.choice.solver
    ):
        X, y, sample_weight = merge_equal_rows(X, y, sample_weight)
        moments = joint_moments(X, y[np.newaxis], sample_weight)
    problem = steps = Problem.of(settings, X, y, sample_weight, moments)
    if settings.average and not settings.precondition:
        problem = Problem.of(replace(settings, precondition=True), X, y, sample_weight, moments)
    yield from train(settings, solvers, problem, steps, seen, seed, start)


def _path_matters(settings, solver):
    """Whether the model depends on how the data are written: on the order of rows, or repetitions.

    Textbook settings walk the path that is written. The last iterate of smooth objectives is what
    the order of rows makes of it.
    """
    if not settings.precondition:
        return False
    return not settings.quadratic or (solver == "sgd" and settings.average)


def train(settings, solvers, problem, steps, seen, seed, start) -> Iterator[Epoch]:
    """Run epochs of the chosen solver until the stop rule ends them.

    Parameters
    ----------
    settings : Settings
    solvers : Solvers
    problem : Problem
        In the coordinates of the solver.
    steps : Problem
        In the coordinates of the steps of SGD; most often the same.
    seen : Moments
        Of all rows as the user wrote and weighed them; the states get these.
    seed : int
    start : tuple of coef and intercept, or None
    """
    rows, scaling = problem.rows, problem.rows.scaling
    constant = constant_model(settings, problem.moments)
    theta = scaling.to_scaled(*(constant if start is None else start))
    solver = solvers.of(rows, problem.objective)
    sweeps = Sweeps(settings, steps, seed, scaling)
    stop = StopRule(settings, _rounding_loss(settings.loss, problem.moments))
    for number in range(1, settings.max_iter + 1):
        sweeps.rate, before = stop.rate, sweeps.rows_seen
        with blas_threads(rows.n_rows, rows.n_coordinates):
            theta, loss, distance = solver.run(theta, sweeps)
        model = scaling.to_original(theta)
        reason = stop.after(number, loss, distance)
        known = rows.n_coordinates <= settings.tuning.max_stream_features + 1
        products = solver.cross_products(theta, seen) if known else CrossProducts(seen, None)
        no_residuals, grown_at = np.empty((2, 0)), np.zeros(len(model[0]))
        seen_rows = number * rows.n_rows, sweeps.rows_seen, float(number * rows.n_rows)
        state = State(products, *model, *model, *seen_rows, no_residuals, True, grown_at, seed)
        rate = sweeps.rate if sweeps.rows_seen > before else None
        yield Epoch(number, rate, float(loss), distance, state, reason, solvers.choice)
        if reason is not None:
            return


def _rounding_loss(loss, moments):
    """Return the loss of residuals that are rounding errors of y, relative to its mean square."""
    mean, variance = float(moments.mean[-1]), float(moments.sum_of_squares[-1]) / moments.weight
    size = LOSS_ROUNDING * sqrt(mean * mean + variance)
    return float(loss._replace(dead_zone=0.0).value(np.array([-size, size])).min())

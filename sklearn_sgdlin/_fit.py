"""Epochs: sweep, search, measure, decide. Reads like the method itself."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite, sqrt

import numpy as np
from scipy.sparse import csr_array, issparse

from .data.problem import Problem
from .data.sorted_csc import SortedColumns
from .linalg.blas import blas_threads
from .linalg.hessian_estimate import HessianEstimate
from .methods.base import LastIterate, Sweeps
from .methods.dual import DualEpoch, SparseSystem, kind_of_system
from .methods.interior_point import InteriorPoint
from .methods.min_norm import NearestEpoch, NearestSystem
from .methods.search import LEAST_TOL, SearchingEpoch
from .model.cross_products import STREAM_GRAM_FEATURES, CrossProducts, moments_of
from .model.moments import Moments
from .model.settings import constant_model
from .model.state import MultiTargetState, State

STOP_REASONS = ["converged", "stalled", "max_iter"]  # that of several targets is the last of theirs
RATE_DIVISOR = 10.0  # of the "adaptive" schedule
LEAST_RATE = 1e-6  # of the first: where it ends
MERGE_SIZE = 1 << 15  # entries of X up to which equal rows are merged, where it matters
ROUNDING_DISTANCE = 1e-6  # its square, relative to the loss, is a rounding error of that
LOSS_ROUNDING = 1024 * np.finfo(np.float64).eps  # of the size of y: residuals with nothing to learn


@dataclass(frozen=True)
class Epoch:
    """A model after an epoch, as it would be returned."""

    number: int
    rate: float
    loss: float
    distance: float | None
    state: State | MultiTargetState
    stop_reason: str | None


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


def _method(settings, rows, objective, shared=None):
    """Choose what an epoch does with its sweep."""
    if not settings.average:
        return LastIterate(rows, objective)
    if settings.quadratic:
        tol = settings.tol or 0.0
        if shared.dual is not None:
            return DualEpoch(rows.parts[0], shared.dual, tol)
        if NearestSystem.serves(rows.parts[0].X, settings):
            return NearestEpoch(rows.parts[0], shared.nearest(rows.parts[0]))
        return SearchingEpoch(rows, objective, tol, shared.sketch, shared.seed)
    return InteriorPoint(rows, objective, settings.tol or LEAST_TOL)


def epochs(settings, X, y, sample_weight, seed, start=None) -> Iterator[Epoch]:
    """Train on all rows, epoch after epoch; the last one says why it stopped.

    A y of shape (n_rows, n_targets) gives as many models, each as if it were alone: one that
    has stopped waits for the others. `start` is the coef and intercept to begin with.
    """
    unit = 1.0
    if settings.precondition and sample_weight is not None:
        unit = float(sample_weight.max())
        sample_weight = sample_weight / unit  # so that no product underflows
    shared = Shared(settings, X, sample_weight, unit, seed)
    if y.ndim == 1:
        yield from _epochs(settings, X, y, sample_weight, seed, start, shared)
        return
    starts = zip(*start, strict=True) if start is not None else (None,) * y.shape[1]
    yield from run_targets_together(
        [
            _epochs(settings, X, column, sample_weight, seed, one, shared)
            for column, one in zip(np.ascontiguousarray(y.T), starts, strict=True)
        ]
    )


class Shared:
    """What several targets learn of X alone, read once: its moments, and its curvature.

    Weights are in units of the largest.
    """

    def __init__(self, settings, X, sample_weight, unit, seed):
        self.settings, self.sample_weight = settings, sample_weight
        self.kind = kind_of_system(X, settings)
        self.X, self.unit, self.seed = X, unit, seed
        self._nearest = None

    @cached_property
    def sketch(self):
        """Of the curvature of squared error: the target has no say in it."""
        n_rows, n_features = self.X.shape
        n_entries = self.X.nnz if issparse(self.X) else self.X.size
        return HessianEstimate.affordable(n_rows, n_features + 1, n_entries, self.seed)

    @cached_property
    def columns(self):
        """Sparse columns as their system takes them, which has their sums in no time."""
        return SortedColumns(self.X, self.sample_weight) if self.kind is SparseSystem else None

    @cached_property
    def dual(self):
        """The system of rows that are fewer than columns."""
        if self.kind is None:
            return None
        X = self.X if self.columns is None else self.columns
        return self.kind.of(X, self.sample_weight, self.moments, self.settings)

    def nearest(self, rows):
        """Z Z' of the rows, which are the same for all targets."""
        if self._nearest is None:
            self._nearest = NearestSystem(rows)
        return self._nearest

    @cached_property
    def moments(self):
        """Moments of the columns of X."""
        if self.columns is not None:
            return self.columns.moments
        return Moments.of(self.X, self.sample_weight)


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
    )


def _epochs(settings, X, y, sample_weight, seed, start, shared):
    """Train on all rows with one target."""
    moments = shared.moments.with_columns(Moments.of(y[:, np.newaxis], sample_weight, "y"))
    seen = moments.with_weights_scaled(shared.unit)
    if X.shape[0] * X.shape[1] <= MERGE_SIZE and not settings.model_is_unique:
        X, y, sample_weight = merge_equal_rows(X, y, sample_weight)
        moments = moments_of(X, y[np.newaxis], sample_weight)
    problem = Problem.of(settings, X, y, sample_weight, moments)
    if settings.average and not settings.precondition:
        standard = replace(settings, precondition=True)
        problem = problem.searched_in(Problem.of(standard, X, y, sample_weight, moments))
    method = _method(settings, problem.rows, problem.objective, shared)
    yield from train(settings, problem, method, seen, seed, start)


def train(settings, problem, method, seen, seed, start) -> Iterator[Epoch]:
    """Run epochs of a method on a problem until the stop rule ends it.

    The states get the moments of all rows as the user wrote and weighed them, `seen`.
    """
    rows, scaling = problem.rows, problem.rows.scaling
    constant = constant_model(settings, problem.moments)
    theta = scaling.to_scaled(*(constant if start is None else start))
    sweeps = Sweeps(settings, problem, seed)
    stop = StopRule(settings, _rounding_loss(settings.loss, problem.moments))
    for number in range(1, settings.max_iter + 1):
        sweeps.rate = stop.rate
        with blas_threads(rows.n_rows, rows.n_coordinates):
            theta, loss, distance = method.run(theta, sweeps)
        model = scaling.to_original(theta)
        reason = stop.after(number, loss, distance)
        known = len(theta) <= STREAM_GRAM_FEATURES + 1 and isinstance(
            method, (SearchingEpoch, InteriorPoint)
        )
        scatter = method.scatter(theta, seen) if known else CrossProducts(seen, None)
        no_residuals, grown_at = np.empty((2, 0)), np.zeros(len(model[0]))
        steps = sweeps.rows_seen, float(sweeps.rows_seen)
        state = State(scatter, *model, *model, *steps, no_residuals, True, grown_at, seed)
        yield Epoch(number, sweeps.rate, loss, distance, state, reason)
        if reason is not None:
            return


def _rounding_loss(loss, moments):
    """Return the loss of residuals that are rounding errors of y, relative to its mean square."""
    mean, variance = float(moments.mean[-1]), float(moments.sum_of_squares[-1]) / moments.weight
    size = LOSS_ROUNDING * sqrt(mean * mean + variance)
    return float(loss._replace(dead_zone=0.0).value(np.array([-size, size])).min())

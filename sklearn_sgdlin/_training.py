"""Epochs: sweep, search, measure, decide. Reads like the method itself."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite, sqrt

import numpy as np
from scipy.sparse import csr_array, issparse

from ._curvature import CurvatureSketch
from ._interior import InteriorEpoch
from ._loss import SQUARED_ERROR, Loss
from ._metric import Metric, Moments, with_last
from ._objective import Objective
from ._rows import Rows
from ._search import LEAST_TOL, SearchingEpoch
from ._sparse import SparseRows

RATE_DIVISOR = 10.0  # of the "adaptive" schedule
LEAST_RATE = 1e-6  # of the first: where it ends
FORGET = 2.0  # of a stream's average: row t counts as t**2, mostly the last 1 / (1 + 2) of them
STREAM_POWER = 0.25  # of t, by which the "adaptive" rate of a stream falls where it is averaged
STREAM_ROWS = 10  # per coordinate, after which it is what it is without
DIVERGED = 10.0  # times the loss of a constant prediction
MERGE_SIZE = 1 << 15  # entries of X up to which equal rows are merged, where it matters
ROUNDING = (32 * np.finfo(np.float64).eps) ** 2  # of the mean of y**2: nothing left to learn


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
    def unique_path(self):
        """Whether the model found may not depend on how the data are written."""
        return not self.precondition or (
            self.loss == SQUARED_ERROR and self.l1 == 0 and not self.positive
        )


@dataclass(frozen=True)
class State:
    """All that training carries from one call to the next; replaced, never changed.

    Attributes
    ----------
    moments : Moments
        Of the columns of X, and of y, last, in all rows seen.
    coef, intercept
        The last iterate of SGD, in the units of the data.
    mean_coef, mean_intercept
        The average of the path, or the best model: what is returned.
    rows_seen : int
        Steps taken, all epochs.
    average_rows : float
        Steps in the average.
    seed : int
        Of all random numbers: those of a sweep come from (seed, rows_seen), so a copy of
        the state in mid-stream goes on exactly as the original.
    """

    moments: Moments
    coef: np.ndarray
    intercept: float
    mean_coef: np.ndarray
    mean_intercept: float
    rows_seen: int
    average_rows: float
    seed: int

    @property
    def finite(self):
        """Whether all coefficients and intercepts are."""
        return (
            isfinite(self.intercept)
            and isfinite(self.mean_intercept)
            and bool(np.isfinite(self.coef).all() and np.isfinite(self.mean_coef).all())
        )

    def after(self, rows_seen):
        """The same models after so many steps."""
        return replace(self, rows_seen=rows_seen)


@dataclass(frozen=True)
class Epoch:
    """A model after an epoch, as it would be returned."""

    number: int
    rate: float
    loss: float
    distance: float | None
    state: "State | Targets"
    stop_reason: str | None


class DivergedError(ArithmeticError):
    """Explicit steps with too high a rate; says where."""


def _check_growth(loss, bound, where):
    if not loss <= DIVERGED * bound:  # NaN, too
        raise DivergedError(where)


@dataclass(frozen=True)
class Problem:
    """Rows in their metric, the objective on them, and the length of a step of rate 1.

    With a metric the rate has no unit: a step moves the prediction by about the spread of y
    also where the loss bounds its multiplier, and weights count relative to their mean.
    """

    rows: Rows
    objective: Objective
    unit: float

    @classmethod
    def of(cls, settings, X, y, sample_weight, moments):
        """Pose the problem with the moments of the columns of X, and of y, last."""
        kind = SparseRows if issparse(X) else Rows
        return cls.on(lambda metric: kind(X, y, sample_weight, metric), settings, moments)

    @classmethod
    def on(cls, rows_in, settings, moments):
        """Pose it on ``rows_in(metric)``, wherever they are."""
        if settings.precondition:
            spread = sqrt(target_variance(settings, moments))
            unit = max(settings.loss.compliance, spread / settings.loss.bound) or 1.0
            columns = moments.of_columns(slice(-1))
            metric = Metric.standard(columns, settings.fit_intercept, unit * settings.l2)
            unit *= moments.rows / moments.weight
        else:
            unit = 1.0
            metric = Metric.textbook(len(moments.mean) - 1, settings.fit_intercept)
        objective = Objective.of(
            settings.loss, settings.l1, settings.l2, settings.positive, metric.scale
        )
        return cls(rows_in(metric), objective, unit)

    def stream_rule(self, settings):
        """`step_rule` of a stream: where it is averaged, a falling rate leaves less noise."""
        rate, power_t, implicit = self.step_rule(settings, settings.learning_rate)
        if settings.schedule == "adaptive" and settings.average:
            power_t = STREAM_POWER
            rate *= (STREAM_ROWS * self.rows.n_coordinates) ** power_t
        return rate, power_t, implicit

    def step_rule(self, settings, rate):
        """learning_rate, power_t, implicit of one sweep."""
        power_t = settings.power_t if settings.schedule == "invscaling" else 0.0
        return rate * self.unit, power_t, settings.implicit


@dataclass(frozen=True)
class Targets:
    """States of several targets, each as if it were alone, read as one."""

    states: tuple[State, ...]

    @property
    def coef(self):
        """Last iterates, of shape (n_targets, n_features)."""
        return np.stack([state.coef for state in self.states])

    @property
    def intercept(self):
        """Their intercepts, of shape (n_targets,)."""
        return np.array([state.intercept for state in self.states])

    @property
    def mean_coef(self):
        """Averages or best models, of shape (n_targets, n_features)."""
        return np.stack([state.mean_coef for state in self.states])

    @property
    def mean_intercept(self):
        """Their intercepts, of shape (n_targets,)."""
        return np.array([state.mean_intercept for state in self.states])

    @property
    def rows_seen(self):
        """Steps taken by the target that took most."""
        return max(state.rows_seen for state in self.states)

    @property
    def finite(self):
        """Whether all coefficients and intercepts are."""
        return all(state.finite for state in self.states)

    def after(self, rows_seen):
        """The same models after so many steps."""
        return Targets(tuple(state.after(rows_seen) for state in self.states))

    @property
    def seed(self):
        """The seed, one for all: so each target is the model it would be alone."""
        return self.states[0].seed


def _moments(X, y, sample_weight):
    """Moments of the columns of X, and of y, last."""
    if len(y) == 1 and sample_weight is None:
        return Moments.of_row(with_last(X.toarray()[0] if issparse(X) else X[0], y[0]))
    return _beside(Moments.of(X, sample_weight), y, sample_weight)


def _beside(moments, y, sample_weight):
    return moments.beside(Moments.of(y[:, np.newaxis], sample_weight, "y"))


def target_variance(settings, moments):
    """Variance of y, the last column of the moments; its mean square without intercept."""
    return moments.of_columns(slice(-1, None)).spread(settings.fit_intercept)[0]


def _typical_loss(loss, moments):
    """Loss of y as a residual: at the root of its mean square."""
    mean, variance = float(moments.mean[-1]), float(moments.deviation[-1]) / moments.weight
    return float(loss.value(sqrt(mean * mean + variance)))


def _start(settings, moments):
    """Zero coefficients and the mean of y; zeros in a textbook."""
    centred = settings.precondition and settings.fit_intercept
    return np.zeros(len(moments.mean) - 1), float(moments.mean[-1]) if centred else 0.0


def _rng(settings, seed, rows_seen):
    return np.random.default_rng((seed, rows_seen)) if settings.shuffle else None


def stream(settings, X, y, sample_weight, state, seed) -> State | Targets:
    """One sweep over a chunk, going on from a state (None: from the start).

    A y of shape (n_rows, n_targets) gives as many models.
    """
    if y.ndim == 1:
        return _stream(settings, X, y, sample_weight, state, seed)
    states = (None,) * y.shape[1] if state is None else state.states
    columns = np.ascontiguousarray(y.T)
    return Targets(
        tuple(
            _stream(settings, X, column, sample_weight, one, seed)
            for column, one in zip(columns, states, strict=True)
        )
    )


def _stream(settings, X, y, sample_weight, state, seed):
    """One sweep over a chunk with one target.

    The moments, and with them the metric, are brought up to date first; the models are
    carried over in the units of the data. The returned model is an average of the path
    with polynomially decaying memory (Shamir & Zhang, 2013).
    """
    moments = _moments(X, y, sample_weight)
    if state is None:
        coef, intercept = _start(settings, moments)
        state = State(moments, coef, intercept, coef, intercept, 0, 0.0, seed)
    else:
        moments = state.moments.merge(moments)
    problem = Problem.of(settings, X, y, sample_weight, moments)
    rows, objective, metric = problem.rows, problem.objective, problem.rows.metric
    start = metric.theta(state.coef, state.intercept)
    theta, mean, average_rows = rows.sweep(
        rows.order(_rng(settings, state.seed, state.rows_seen) if len(y) > 1 else None),
        objective,
        problem.stream_rule(settings),
        state.rows_seen,
        start,
        metric.theta(state.mean_coef, state.mean_intercept),
        state.average_rows,
        FORGET,
    )
    if not settings.implicit:
        typical = float(settings.loss.value(sqrt(target_variance(settings, moments))))
        constant_loss = rows.constant_loss(settings.loss, _start(settings, moments)[1])
        where = f"epoch 1 of this call, after {state.rows_seen} rows"
        _check_growth(objective.value(rows, theta), max(typical, constant_loss), where)
    return State(
        moments,
        *metric.model(theta),
        *metric.model(mean),
        state.rows_seen + len(y),
        average_rows,
        state.seed,
    )


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
    loss is rounding error. The adaptive schedule divides the rate after each such epoch.
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
        improved = loss < self.best_loss * (1 - least)
        self.best_loss = min(loss, self.best_loss)
        self.stalled = 0 if improved else self.stalled + 1
        if not improved and self.settings.schedule == "adaptive":
            self.rate = max(self.rate / RATE_DIVISOR, LEAST_RATE * self.settings.learning_rate)
        if tol is not None:
            if loss <= self.smallest_loss or (distance is not None and distance <= tol):
                return "converged"
            if self.stalled >= self.settings.n_iter_no_change:
                return "converged"
        return "max_iter" if number == self.settings.max_iter else None


class PlainEpoch:
    """Sweep and take the last iterate."""

    def __init__(self, rows, objective):
        self.rows, self.objective = rows, objective

    def run(self, theta, order, step_rule, rows_seen):
        """Return the new model, its loss twice, and no distance."""
        theta, _, _ = self.rows.sweep(order, self.objective, step_rule, rows_seen, theta)
        loss = self.objective.value(self.rows, theta)
        return theta, loss, loss, None


def _method(settings, rows, objective, shared=None):
    """Choose what an epoch does with its sweep."""
    if not settings.average:
        return PlainEpoch(rows, objective)
    if objective.quadratic:
        return SearchingEpoch(rows, objective, settings.tol or 0.0, shared.sketch, shared.seed)
    return InteriorEpoch(rows, objective, settings.tol or LEAST_TOL)


def epochs(settings, X, y, sample_weight, seed, start=None) -> Iterator[Epoch]:
    """Train on all rows, epoch after epoch; the last one says why it stopped.

    A y of shape (n_rows, n_targets) gives as many models, each as if it were alone: one that
    has stopped waits for the others. `start` is the coef and intercept to begin with.
    """
    if settings.precondition and sample_weight is not None:
        sample_weight = sample_weight / sample_weight.max()  # so that no product underflows
    shared = Shared(X, sample_weight, seed)
    if y.ndim == 1:
        yield from _epochs(settings, X, y, sample_weight, seed, start, shared)
        return
    starts = zip(*start, strict=True) if start is not None else (None,) * y.shape[1]
    yield from side_by_side(
        [
            _epochs(settings, X, column, sample_weight, seed, one, shared)
            for column, one in zip(np.ascontiguousarray(y.T), starts, strict=True)
        ]
    )


class Shared:
    """What several targets learn of X alone, read once: its moments, and its curvature."""

    def __init__(self, X, sample_weight, seed):
        self.X, self.sample_weight, self.seed = X, sample_weight, seed

    @cached_property
    def sketch(self):
        """Of the curvature of squared error: the target has no say in it."""
        n_rows, n_features = self.X.shape
        n_entries = self.X.nnz if issparse(self.X) else self.X.size
        return CurvatureSketch.affordable(n_rows, n_features + 1, n_entries, self.seed)

    @cached_property
    def moments(self):
        """Moments of the columns of X."""
        return Moments.of(self.X, self.sample_weight)


def side_by_side(training):
    """Run the epochs of several targets together."""
    current = [next(target) for target in training]
    while True:
        yield _together(current)
        if all(epoch.stop_reason for epoch in current):
            return
        current = [
            epoch if epoch.stop_reason else next(target)
            for epoch, target in zip(current, training, strict=True)
        ]


def _together(current):
    """One epoch of several targets: the mean of their losses, the largest distance."""
    last = max(current, key=lambda epoch: epoch.number)
    distances = [epoch.distance for epoch in current]
    reasons = {epoch.stop_reason for epoch in current}
    return Epoch(
        last.number,
        last.rate,
        float(np.mean([epoch.loss for epoch in current])),
        None if None in distances else max(distances),
        Targets(tuple(epoch.state for epoch in current)),
        None if None in reasons else "max_iter" if "max_iter" in reasons else "converged",
    )


def _epochs(settings, X, y, sample_weight, seed, start, shared):
    """Train on all rows with one target."""
    if X.shape[0] * X.shape[1] <= MERGE_SIZE and not settings.unique_path:
        X, y, sample_weight = merge_equal_rows(X, y, sample_weight)
        moments = _moments(X, y, sample_weight)
    else:
        moments = _beside(shared.moments, y, sample_weight)
    problem = Problem.of(settings, X, y, sample_weight, moments)
    method = _method(settings, problem.rows, problem.objective, shared)
    yield from train(settings, problem, method, moments, seed, start)


def train(settings, problem, method, moments, seed, start) -> Iterator[Epoch]:
    """Run epochs of a method on a problem until the stop rule ends it."""
    rows, metric = problem.rows, problem.rows.metric
    constant = _start(settings, moments)
    theta = metric.theta(*(constant if start is None else start))
    start_loss = None if settings.implicit else rows.constant_loss(settings.loss, constant[1])
    stop = StopRule(settings, ROUNDING * _typical_loss(settings.loss, moments))
    rows_seen = 0
    for number in range(1, settings.max_iter + 1):
        order = rows.order(_rng(settings, seed, rows_seen))
        rate = stop.rate
        theta, loss, end_loss, distance = method.run(
            theta, order, problem.step_rule(settings, rate), rows_seen
        )
        rows_seen += rows.n_rows
        if not settings.implicit:
            _check_growth(end_loss, start_loss, f"epoch {number}")
        coef, intercept = metric.model(theta)
        reason = stop.after(number, loss, distance)
        state = State(moments, coef, intercept, coef, intercept, rows_seen, float(rows_seen), seed)
        yield Epoch(number, rate, loss, distance, state, reason)
        if reason is not None:
            return

"""Epochs: sweep, search, measure, decide. Reads like the method itself."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ._loss import SQUARED_ERROR
from ._metric import Metric, Moments
from ._rows import Rows
from ._search import SKETCH_COORDINATES, CurvatureSketch, Span, survey

SEGMENTS = 16  # averages a sweep leaves, while they can span a good part of the space
SEGMENTS_WIDE = 8  # where they can't
RATE_DIVISOR = 10.0  # of the "adaptive" schedule
FORGET = 3.0  # of a stream's average: row t counts as t**3, mostly the last 1 / (1 + 3) of them
DIVERGED = 1e3  # times the loss of predicting 0
ROUNDING = (32 * np.finfo(np.float64).eps) ** 2  # of the mean of y**2: nothing left to learn


@dataclass(frozen=True)
class Settings:
    """What the user chose, as the training needs it."""

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

    def step_rule(self, rate, mean_weight):
        """learning_rate, power_t, implicit of one sweep."""
        power_t = self.power_t if self.schedule == "invscaling" else 0.0
        return rate / mean_weight, power_t, self.implicit


@dataclass(frozen=True)
class State:
    """All that training carries from one call to the next; replaced, never changed.

    Attributes
    ----------
    moments : Moments
        Of all rows seen.
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


@dataclass(frozen=True)
class Epoch:
    """A model after an epoch, as it would be returned."""

    number: int
    rate: float
    loss: float
    distance: float | None
    state: State
    stop_reason: str | None


class DivergedError(ArithmeticError):
    """Explicit steps with too high a rate; says where."""


def _check_growth(loss, bound, where):
    if not loss <= DIVERGED * bound:  # NaN, too
        raise DivergedError(where)


def _metric(settings, moments):
    if settings.precondition:
        return Metric.standard(moments, settings.fit_intercept)
    return Metric.textbook(len(moments.mean), settings.fit_intercept)


def _mean_weight(settings, moments):
    """Weights act relative to their mean in the metric, as they are in a textbook."""
    return moments.weight / moments.rows if settings.precondition else 1.0


def _start(settings, X, y, sample_weight):
    """Zero coefficients and the mean of y, the best constant; zeros in a textbook."""
    intercept = 0.0
    if settings.precondition and settings.fit_intercept:
        intercept = float(np.average(y, weights=sample_weight))
    return np.zeros(X.shape[1]), intercept


def _rng(settings, seed, rows_seen):
    return np.random.default_rng((seed, rows_seen)) if settings.shuffle else None


def stream(settings, X, y, sample_weight, state, seed) -> State:
    """One sweep over a chunk, going on from a state (None: from the start).

    The moments, and with them the metric, are brought up to date first; the models are
    carried over in the units of the data. The returned model is an average of the path
    with polynomially decaying memory (Shamir & Zhang, 2013).
    """
    moments = Moments.of(X, sample_weight)
    if state is None:
        coef, intercept = _start(settings, X, y, sample_weight)
        state = State(moments, coef, intercept, coef, intercept, 0, 0.0, seed)
    else:
        moments = state.moments.merge(moments)
    rows = Rows(X, y, sample_weight, _metric(settings, moments))
    start = rows.metric.theta(state.coef, state.intercept)
    theta, mean, average_rows = rows.sweep(
        rows.order(_rng(settings, state.seed, state.rows_seen)),
        SQUARED_ERROR,
        settings.step_rule(settings.learning_rate, _mean_weight(settings, moments)),
        state.rows_seen,
        start,
        rows.metric.theta(state.mean_coef, state.mean_intercept),
        state.average_rows,
        FORGET,
    )
    if not settings.implicit:
        _check_growth(
            rows.objective(theta, SQUARED_ERROR),
            max(rows.objective(start, SQUARED_ERROR), rows.zero_loss(SQUARED_ERROR)),
            f"epoch 1 of this call, after {state.rows_seen} rows",
        )
    coef, intercept = rows.metric.model(theta)
    mean_coef, mean_intercept = rows.metric.model(mean)
    return State(
        moments,
        coef,
        intercept,
        mean_coef,
        mean_intercept,
        state.rows_seen + len(y),
        average_rows,
        state.seed,
    )


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
        improved = loss < self.best_loss * (1 - (tol or 0.0))
        self.best_loss = min(loss, self.best_loss)
        self.stalled = 0 if improved else self.stalled + 1
        if not improved and self.settings.schedule == "adaptive":
            self.rate /= RATE_DIVISOR
        if tol is not None:
            if loss <= self.smallest_loss or (distance is not None and distance <= tol):
                return "converged"
            if self.stalled >= self.settings.n_iter_no_change:
                return "converged"
        return "max_iter" if number == self.settings.max_iter else None


class SearchingEpoch:
    """Sweep in stretches, then take the best model in the span of their averages."""

    def __init__(self, settings, rows, rng):
        self.span = Span(rows.n_coordinates)
        self.gradient = None
        self.solve = None
        self.sketch = None
        if rows.n_coordinates <= SKETCH_COORDINATES:
            self.sketch = CurvatureSketch(rows.n_rows, rows.n_coordinates, rng)
        self.n_segments = SEGMENTS if rows.n_coordinates <= self.span.memory else SEGMENTS_WIDE
        self.n_segments = min(self.n_segments, rows.n_coordinates)

    def directions(self, rows, theta, order, step_rule, rows_seen):
        """The end of the sweep, the averages of its stretches, and the gradient steps."""
        blocks, within = order
        averages, iterate = [], theta
        for stretch in np.array_split(blocks, min(self.n_segments, len(blocks))):
            iterate, average, n_averaged = rows.sweep(
                (stretch, within), SQUARED_ERROR, step_rule, rows_seen, iterate
            )
            rows_seen += int(n_averaged)
            averages.append(average - theta)
        directions = [iterate - theta, *averages]
        if self.gradient is not None:
            directions.append(self.gradient)
            if self.solve is not None:
                directions.append(self.solve(self.gradient))
        return np.column_stack(directions)

    def run(self, rows, theta, order, step_rule, rows_seen):
        """Return the new model, its loss, that of the last iterate, and the distance."""
        directions = self.directions(rows, theta, order, step_rule, rows_seen)
        with np.errstate(over="ignore", invalid="ignore"):
            length = np.linalg.norm(directions, axis=0)
        if not np.isfinite(length).all():
            return theta, np.nan, np.nan, None
        directions /= np.where(length > 0, length, 1.0)
        old_loss, gradient, images = survey(rows, theta, directions, self.sketch)
        end_loss = old_loss + length[0] * (
            gradient @ directions[:, 0] + length[0] * (directions[:, 0] @ images[:, 0]) / 2
        )
        if self.sketch is not None:
            self.solve, self.sketch = self.sketch.factorise(rows.weight), None
        step, change, decrease = self.span.search(gradient, directions, images)
        theta, self.gradient = theta + step, gradient + change
        loss = old_loss - decrease
        if loss < 1e-6 * old_loss:  # the difference of two numbers that agree in all digits
            loss = rows.objective(theta, SQUARED_ERROR)
        return theta, loss, end_loss, self._distance(loss)

    def _distance(self, loss):
        """sqrt(g' H^-1 g / mean squared residual): root mean square, in its units."""
        if self.solve is None or loss <= 0:
            return None
        return float(np.sqrt(max(self.gradient @ self.solve(self.gradient), 0) / (2 * loss)))


class PlainEpoch:
    """Sweep and take the last iterate."""

    def run(self, rows, theta, order, step_rule, rows_seen):
        theta, _, _ = rows.sweep(order, SQUARED_ERROR, step_rule, rows_seen, theta)
        loss = rows.objective(theta, SQUARED_ERROR)
        return theta, loss, loss, None


def epochs(settings, X, y, sample_weight, seed) -> Iterator[Epoch]:
    """Train on all rows, epoch after epoch, from the start; the last one says why it stopped."""
    moments = Moments.of(X, sample_weight)
    rows = Rows(X, y, sample_weight, _metric(settings, moments))
    theta = rows.metric.theta(*_start(settings, X, y, sample_weight))
    zero_loss = rows.zero_loss(SQUARED_ERROR)
    stop = StopRule(settings, ROUNDING * zero_loss)
    rows_seen = 0
    method = (
        SearchingEpoch(settings, rows, np.random.default_rng(seed))
        if settings.average
        else PlainEpoch()
    )
    for number in range(1, settings.max_iter + 1):
        order = rows.order(_rng(settings, seed, rows_seen))
        rate = stop.rate
        step_rule = settings.step_rule(rate, _mean_weight(settings, moments))
        theta, loss, end_loss, distance = method.run(rows, theta, order, step_rule, rows_seen)
        rows_seen += rows.n_rows
        if not settings.implicit:
            _check_growth(end_loss, zero_loss, f"epoch {number}")
        coef, intercept = rows.metric.model(theta)
        reason = stop.after(number, loss, distance)
        state = State(moments, coef, intercept, coef, intercept, rows_seen, float(rows_seen), seed)
        yield Epoch(number, rate, loss, distance, state, reason)
        if reason is not None:
            return

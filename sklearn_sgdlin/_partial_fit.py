"""Streams: each row is seen once, and after each chunk the model is the best that is known."""

from dataclasses import replace
from math import inf, sqrt

import numpy as np

from .data.problem import Problem
from .linalg.blas import blas_threads
from .methods.active_set import penalised_optimum
from .model.cross_products import STREAM_GRAM_FEATURES, CrossProducts
from .model.loss import SQUARED_ERROR
from .model.moments import Moments
from .model.settings import constant_model, raise_if_diverged, sweep_rng, target_variance
from .model.state import MultiTargetState, State

AVERAGE_DECAY = 2.0  # of the average: row t counts as t**2, mostly the last 1 / (1 + 2) of them
RATE_POWER = 0.33  # power of t, by which the "adaptive" rate falls where the path is averaged
PENALISED_RATE_POWER = (
    0.75  # with a penalty: noise that is cut off at its kinks does not average out
)
CONSTANT_RATE_ROWS = 10  # per coordinate, after which it is what it is without
FIRST_ROWS = 2  # that tell no slope: two values may be as near to each other as any
RIDGE_ROWS = 2  # per coordinate, up to which a ridge keeps sums of products from following noise
PIECE_ROWS = 32  # at least, of a chunk, that are swept at one rate
PIECE_SHARE = 0.25  # of the rows seen before, that are
RECENT_ROWS = 100  # whose residuals tell the rate
STEP = 0.8  # of a step, in units of the spread of the residuals, where the loss bounds it
RESTART_ROWS = 30  # recent ones, at least, that tell whether
RESTART = 2.0  # times the spread of the residuals of the last iterate is that of the average
LEVEL = 0.2  # nearest to 0 or 1 that a quantile is learned at, in the beginning
LEVEL_ROWS = 70  # per coordinate, after which the level goes to that of the user


def stream(settings, X, y, sample_weight, state, seed) -> State | MultiTargetState:
    """One sweep over a chunk, going on from a state (None: from the start).

    A y of shape (n_rows, n_targets) gives as many models.
    """
    with blas_threads(*X.shape):
        if y.ndim == 1:
            return _stream(settings, X, y, sample_weight, state, seed)
        states = (None,) * y.shape[1] if state is None else state.states
        columns = np.ascontiguousarray(y.T)
        return MultiTargetState(
            tuple(
                _stream(settings, X, column, sample_weight, one, seed)
                for column, one in zip(columns, states, strict=True)
            )
        )


def _stream(settings, X, y, sample_weight, state, seed):
    """One chunk with one target.

    Where sums of products are kept they tell the optimum of all rows seen, and steps which cannot
    diverge need not be taken. Else the model is where a sweep leads. Products are kept from the
    first chunk on or not at all, and whatever the settings of the chunks between.
    """
    few = X.shape[1] <= STREAM_GRAM_FEATURES and settings.average and settings.loss == SQUARED_ERROR
    with_products = few if state is None else state.scatter.known
    scatter = CrossProducts.of(X, y[np.newaxis], sample_weight, with_products)
    if state is None:
        model = _first_model(settings, y, sample_weight, scatter.moments)
        no_residuals, grown_at = np.empty((2, 0)), np.zeros(X.shape[1])
        state = State(scatter, *model, *model, 0, 0.0, no_residuals, False, grown_at, seed)
    else:
        scatter = state.scatter.merge(scatter)
        if state.moments.rows > FIRST_ROWS:
            state = state.with_growth(scatter.moments, settings.fit_intercept)
    first = scatter.moments.rows <= FIRST_ROWS
    known = few and with_products and not first
    if first and settings.implicit and settings.precondition:
        coef, intercept = constant_model(settings, scatter.moments)
        state = state.walked(coef, intercept, len(y))
        return replace(state, scatter=scatter, returned_coef=coef, returned_intercept=intercept)
    if not (known and settings.implicit):
        state = _sweep(settings, X, y, sample_weight, state, scatter.moments)
    if known:
        returned_coef, returned_intercept = _optimum(settings, scatter, state)
        state = replace(state, returned_coef=returned_coef, returned_intercept=returned_intercept)
        if settings.implicit:
            state = state.walked(returned_coef, returned_intercept, len(y))
    return replace(state, scatter=scatter)


def _optimum(settings, scatter, state):
    """Return the model of least penalised squared error on all rows seen, with a ridge if few."""
    n_features = len(state.returned_coef)
    ridge = _ridge(scatter.moments.rows - state.grown_at, n_features + settings.fit_intercept)
    if settings.quadratic:
        return scatter.optimum(n_features, settings.fit_intercept, settings.l2, ridge)
    return penalised_optimum(scatter, settings, ridge, state.returned_coef)


def _first_model(settings, y, sample_weight, moments):
    """Zero coefficients and the mean of y; its quantile if robust, for an outlier moves a mean."""
    coef, intercept = constant_model(settings, moments)
    if settings.precondition and settings.fit_intercept and settings.loss.bound < inf:
        counted = y if sample_weight is None or not sample_weight.any() else y[sample_weight > 0]
        intercept = float(np.quantile(counted, settings.loss.level))
    return coef, intercept


def _ridge(n_rows, n_coordinates):
    """Share of the curvature of each column that is added to it where rows that tell it are few."""
    n_told = np.maximum(n_rows - FIRST_ROWS, 1)
    ridge = (1 + n_coordinates**2 / (4 * n_told)) / n_told
    return np.where(n_rows < RIDGE_ROWS * n_coordinates, ridge, 0.0)


def _sweep(settings, X, y, sample_weight, state, moments):
    """One step for each row, in the scaling of all rows seen; return the state with the models.

    Besides the last iterate that is the average of the path with polynomially decaying memory
    (Shamir & Zhang, 2013). Models are carried over in the units of the data. Rows are taken in
    pieces: where the loss bounds its multiplier, each at the rate that residuals tell.
    """
    if settings.precondition and moments.weight != moments.rows:
        mean = moments.weight / moments.rows  # in units of it no rate overflows
        sample_weight = (np.ones(len(y)) if sample_weight is None else sample_weight) / mean
        moments = Moments(moments.rows, moments.rows, moments.mean, moments.sum_of_squares / mean)
    before = state.rows_seen
    if settings.precondition:
        state = state.carried_over(moments, settings.fit_intercept)
    rows = Problem.of(settings, X, y, sample_weight, moments).rows
    (part,) = rows.parts
    blocks, within = part.order(sweep_rng(settings, state.seed, before) if len(y) > 1 else None)
    for piece in _pieces(
        blocks, len(y) / len(blocks), before, CONSTANT_RATE_ROWS * rows.n_coordinates
    ):
        if settings.precondition and settings.loss.bound < inf:
            state = _with_residuals(settings, part, piece[:RECENT_ROWS], state)
        n_rows = len(piece) * len(y) / len(blocks)
        problem, step_rule = _problem(settings, X, y, sample_weight, state, moments, n_rows)
        scaling = problem.rows.scaling
        theta, mean, average_rows = problem.rows.parts[0].sweep(
            (piece, within),
            problem.objective,
            step_rule,
            state.rows_seen,
            scaling.to_scaled(state.coef, state.intercept),
            scaling.to_scaled(state.returned_coef, state.returned_intercept),
            state.average_rows,
            AVERAGE_DECAY,
        )
        returned_coef, returned_intercept = scaling.to_original(mean)
        state = state.walked(*scaling.to_original(theta), round(average_rows - state.average_rows))
        state = replace(state, returned_coef=returned_coef, returned_intercept=returned_intercept)
    if not settings.implicit:
        spread = sqrt(target_variance(settings, moments))
        typical = float(settings.loss._replace(dead_zone=0.0).value(spread))
        constant_loss = rows.constant_loss(settings.loss, constant_model(settings, moments)[1])
        where = f"epoch 1 of this call, after {before} rows"
        loss = problem.objective.value(problem.rows, theta)
        raise_if_diverged(loss, max(typical, constant_loss), where)
    return state


def _pieces(blocks, block_rows, rows_seen, first_rows):
    """Cut the blocks into pieces, of few rows in the beginning, none across `first_rows`."""
    while len(blocks):
        n_rows = max(PIECE_ROWS, PIECE_SHARE * rows_seen)
        if rows_seen < first_rows:
            n_rows = min(n_rows, first_rows - rows_seen)
        n_blocks = max(round(n_rows / block_rows), 1)
        yield blocks[:n_blocks]
        blocks, rows_seen = blocks[n_blocks:], rows_seen + n_blocks * block_rows


def _with_residuals(settings, rows, blocks, state):
    """Note the residuals of both models in some rows before they are learned.

    Where those of the last iterate are much the smaller ones, the average starts afresh: it still
    remembers what the path came from.
    """
    models = (state.coef, state.intercept), (state.returned_coef, state.returned_intercept)
    new = [rows.residuals_of(blocks, *model) for model in models]
    residuals = np.hstack([state.residuals, new])[:, -RECENT_ROWS:]
    state = replace(state, residuals=residuals)
    last, average = _spreads(residuals, settings.loss.level)
    if residuals.shape[1] < RESTART_ROWS or average <= RESTART * last:
        return state
    return replace(
        state,
        returned_coef=state.coef,
        returned_intercept=state.intercept,
        average_rows=0.0,
        residuals=residuals[[0, 0]],
    )


def _spreads(residuals, level):
    """Median absolute deviation of each row of residuals, or how far its quantile is from 0."""
    n = residuals.shape[1]
    ordered = np.sort(residuals, axis=1)
    deviation = np.sort(np.abs(ordered - ordered[:, n // 2, np.newaxis]), axis=1)[:, n // 2]
    return np.maximum(deviation, np.abs(ordered[:, int(level * (n - 1))]))


def _problem(settings, X, y, sample_weight, state, moments, n_rows):
    """Pose the problem of the next rows; return it with its step rule.

    Where the loss bounds its multiplier, steps are in units of the spread of the residuals: were
    they longer, most would end on their row, and the model at the median of all quantiles. The
    implicit step to a row still is shorter on the steep side; targets are moved by what that makes
    on average. A quantile in a tail has next to no rows to tell slopes, so in the beginning a level
    is learned where they are denser.
    """
    if not state.residuals.size or settings.loss.bound == inf:
        problem = Problem.of(settings, X, y, sample_weight, moments)
        return problem, _step_rule(settings, problem, state.rows_seen)
    if not state.fitted:
        rows_at_level = LEVEL_ROWS * (X.shape[1] + 1)
        tail = LEVEL * min(1.0, (rows_at_level / (state.rows_seen + 1)) ** 2)
        settings = replace(settings, loss=settings.loss.at_level(tail))
    size = STEP * float(_spreads(state.residuals, settings.loss.level)[0])
    problem = Problem.of(settings, X, y, sample_weight, moments, size)
    step_rule = rate, power_t, implicit, _ = _step_rule(settings, problem, state.rows_seen)
    shift = (settings.loss.lower + settings.loss.upper) / 2
    if shift and implicit:
        shift *= rate * (state.rows_seen + 1 + n_rows / 2) ** -power_t
        moved = y + (shift if sample_weight is None else shift * sample_weight)
        problem = Problem.of(settings, X, moved, sample_weight, moments, size)
    return problem, step_rule


def _step_rule(settings, problem, rows_seen):
    """That of the problem; where the path is averaged, a rate that falls leaves less noise."""
    rate, power_t, *others = problem.step_rule(settings, settings.learning_rate)
    first_rows = CONSTANT_RATE_ROWS * problem.rows.n_coordinates
    if settings.schedule == "adaptive" and settings.average and rows_seen >= first_rows:
        power_t = PENALISED_RATE_POWER if problem.objective.penalised else RATE_POWER
        rate *= first_rows**power_t
    return rate, power_t, *others

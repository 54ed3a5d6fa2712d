"""Streams: each row is seen once, and after each chunk the model is the best that is known."""

from functools import partial
from math import sqrt

import numpy as np

from ._active_set import penalised_optimum
from ._loss import SQUARED_ERROR
from ._metric import Moments
from ._problem import Problem, check_growth, constant_model, generator, target_variance
from ._scatter import FEATURES, Scatter
from ._state import State, Targets
from ._threads import blas_threads

FORGET = 2.0  # of the average: row t counts as t**2, mostly the last 1 / (1 + 2) of them
FALL = 0.25  # power of t, by which the "adaptive" rate falls where the path is averaged
PENALISED_FALL = 0.75  # with a penalty: noise that is cut off at its kinks does not average out
FALL_ROWS = 10  # per coordinate, after which it is what it is without


def stream(settings, X, y, sample_weight, state, seed) -> State | Targets:
    """One sweep over a chunk, going on from a state (None: from the start).

    A y of shape (n_rows, n_targets) gives as many models.
    """
    with blas_threads(*X.shape):
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
    """One chunk with one target.

    Where the scatter of all rows seen tells their optimum, that is the model, and steps which
    cannot diverge need not be taken. Else it is where a sweep leads.
    """
    few = X.shape[1] <= FEATURES and settings.average and settings.loss == SQUARED_ERROR
    scatter = Scatter.of(X, y[np.newaxis], sample_weight, with_products=few)
    if state is None:
        model = constant_model(settings, scatter.moments)
        state = State(scatter, *model, *model, 0, 0.0, seed)
    else:
        scatter = state.scatter.merge(scatter)
    known = scatter.tells_optimum(X.shape[1], settings.fit_intercept)
    optimum = partial(scatter.optimum, X.shape[1], settings.fit_intercept, settings.l2)
    if not settings.quadratic:
        start = state.mean_coef, state.mean_intercept
        optimum = partial(penalised_optimum, scatter, settings, *start)
    if known and settings.implicit:
        last = mean = optimum()
        average_rows = state.average_rows + len(y)
    else:
        last, mean, average_rows = _sweep(settings, X, y, sample_weight, state, scatter.moments)
        mean = optimum() if known else mean
    return State(scatter, *last, *mean, state.rows_seen + len(y), average_rows, state.seed)


def _sweep(settings, X, y, sample_weight, state, moments):
    """One step for each row, in the metric of all rows seen.

    The models are carried over in the units of the data.

    Returns
    -------
    last, mean : coef and intercept
        The last iterate, and the average of the path with polynomially decaying memory (Shamir
        & Zhang, 2013).
    average_rows : float
        Steps in the average.
    """
    if settings.precondition and moments.weight != moments.rows:
        mean = moments.weight / moments.rows  # in units of it no rate overflows
        sample_weight = (np.ones(len(y)) if sample_weight is None else sample_weight) / mean
        moments = Moments(moments.rows, moments.rows, moments.mean, moments.deviation / mean)
    problem = Problem.of(settings, X, y, sample_weight, moments)
    rows, objective, metric = problem.rows, problem.objective, problem.rows.metric
    theta, mean, average_rows = rows.sweep(
        rows.order(generator(settings, state.seed, state.rows_seen) if len(y) > 1 else None),
        objective,
        _step_rule(settings, problem),
        state.rows_seen,
        metric.theta(state.coef, state.intercept),
        metric.theta(state.mean_coef, state.mean_intercept),
        state.average_rows,
        FORGET,
    )
    if not settings.implicit:
        typical = float(settings.loss.value(sqrt(target_variance(settings, moments))))
        constant_loss = rows.constant_loss(settings.loss, constant_model(settings, moments)[1])
        where = f"epoch 1 of this call, after {state.rows_seen} rows"
        check_growth(objective.value(rows, theta), max(typical, constant_loss), where)
    return metric.model(theta), metric.model(mean), average_rows


def _step_rule(settings, problem):
    """That of the problem; where the path is averaged, a falling rate leaves less noise."""
    rate, power_t, *others = problem.step_rule(settings, settings.learning_rate)
    if settings.schedule == "adaptive" and settings.average:
        power_t = PENALISED_FALL if problem.objective.penalised else FALL
        rate *= (FALL_ROWS * problem.rows.n_coordinates) ** power_t
    return rate, power_t, *others

"""Averaged SGD over a chunk of a stream: one step per row, and a weighted average of the iterates.

Most of this file is about the length of the steps. That of a loss with a bounded multiplier follows
the spread of the latest residuals, and the "adaptive" rate falls where iterates are averaged.
"""

from dataclasses import replace
from math import inf, sqrt

import numpy as np

from ..data.problem import Problem
from ..model.moments import Moments
from ..model.settings import constant_model, raise_if_diverged, sweep_rng, target_variance

# Power p of the weights t**p of the iterates in the average (polynomial decay). The variance of
# such an average is (1 + p)**2 / (1 + 2 p) times that of the mean: 4/3 with 1, 9/5 with 2. A
# smaller power would keep more of the first iterates, which are far from the optimum.
AVERAGE_DECAY = 1.0

# Rows per coordinate from which on that power falls as 1 / t where the multiplier is unbounded.
# Then the weights are nearly equal, and the variance is that of the mean. In 100 columns with
# eigenvalues 1 to 1000 times the least, the first iterates cost 1.4 times the excess.
DECAY_ROWS = 40

# Power of t by which the "adaptive" learning rate falls where iterates are averaged. The average
# removes most of the noise, so the rate may fall slowly, and iterates can still follow the data. A
# loss with a bounded multiplier has a bias in proportion to the rate, which a smaller power leaves.
AVERAGED_RATE_POWER = 0.4

# The same power where the multiplier is unbounded. There the rate leaves no bias but noise in each
# step, which a larger power lessens: with 460 rows per column, 0.5 has 0.8 times the excess of 0.4.
SQUARED_RATE_POWER = 0.5

# The same power with a penalty. Coefficients at a kink or a bound are cut off on one side, so that
# their noise does not average out; a rate that falls faster leaves less of it.
PENALISED_RATE_POWER = 0.75

# Rows per coordinate up to which the "adaptive" learning rate is constant, and from which on it
# falls. An earlier fall would leave iterates close to the starting point.
CONSTANT_RATE_ROWS = 10

# Rows of a chunk that are swept at one step length: at least the minimum, and this fraction of the
# rows seen before if that is more. Residuals shrink fast at the beginning of a stream, where pieces
# must be short, and slowly later, where each piece costs a pass over its residuals.
MIN_PIECE_ROWS = 32
PIECE_FRACTION = 0.25

# Number of latest rows whose residuals determine the step length of a loss with a bounded
# multiplier. Fewer give a noisy estimate of the spread, more would delay it.
RESIDUAL_WINDOW = 100

# Length of a step at learning rate 1 where the loss has a bounded multiplier, in units of the
# spread of the residuals. Longer steps would end with a residual of zero in most rows, whatever the
# quantile level; shorter ones take more rows to reach the optimum.
ROBUST_STEP = 0.8

# Ratio of the spread of the residuals of the average to that of the last iterate above which the
# average restarts at the last iterate, and the least number of residuals that this is judged by.
# Such an average still has much weight on the first iterates.
RESTART_SPREAD_RATIO = 2.0
RESTART_MIN_ROWS = 30

# Smallest distance of a quantile level from 0 and 1 at the beginning of a stream, and the number of
# rows per coordinate after which a more extreme level of the user is approached. In a tail there
# are too few rows to learn slopes from.
INITIAL_LEVEL_MARGIN = 0.2
LEVEL_ROWS = 40


def sweep_chunk(settings, chunk, state, moments, sample=None):
    """Return the state after one SGD step per row of a chunk, with the average of the iterates.

    Steps are taken in the scaling of all rows seen, and models are passed on in the units of the
    data. The average has polynomially decaying weights (Shamir & Zhang, 2013). The step length is
    updated between pieces of the chunk.

    Parameters
    ----------
    settings : Settings
    chunk : Chunk
    state : State
        After the chunks before; its models are the start.
    moments : Moments
        Of the columns of X and of y in all rows seen, including the chunk.
    sample : ColumnSample, default=None
        Of the columns of the stream, where the chunk has only some of them.
    """
    if settings.precondition and moments.weight != moments.rows:
        chunk, moments = _with_mean_weight_one(chunk, moments)
    before = state.rows_seen
    if settings.precondition:
        state = state.rescaled_to(moments, settings.fit_intercept)
    rows, n_rows = Problem.of(settings, *chunk, moments).rows, len(chunk.y)
    n_coordinates = rows.n_coordinates if sample is None else sample.n_columns + 1
    averaged = None if sample is None else sample.average_rows
    (part,) = rows.parts
    blocks, within = part.order(sweep_rng(settings, state.seed, before) if n_rows > 1 else None)
    block_rows = n_rows / len(blocks)
    for piece in _pieces(blocks, block_rows, before, CONSTANT_RATE_ROWS * n_coordinates):
        if settings.precondition and settings.loss.bound < inf:
            state = _with_residuals(settings, part, piece[:RESIDUAL_WINDOW], state)
        n_piece = len(piece) * block_rows
        problem, step_rule = _problem(settings, chunk, state, moments, n_piece, sample)
        scaling = problem.rows.scaling
        returned = scaling.to_scaled(state.returned_coef, state.returned_intercept)
        average_rows = state.average_rows if sample is None else 0.0
        decay = _average_decay(settings, state.rows_seen, n_coordinates)
        theta, average, n_averaged = problem.rows.parts[0].sweep(
            (piece, within),
            problem.objective,
            step_rule,
            state.rows_seen,
            scaling.to_scaled(state.coef, state.intercept),
            returned,
            average_rows=average_rows,
            forget=decay,
        )
        n_steps = round(n_averaged - average_rows)
        if sample is not None:
            averaged = averaged if state.average_rows else np.zeros(len(averaged))
            average, averaged = sample.averaged(average, returned, n_steps, averaged, decay)
        models = [_original(scaling, model, state.given_coef) for model in (theta, average)]
        state = state.with_last_iterate(*models[0], n_steps, n_steps).with_returned(*models[1])
    if not settings.implicit:
        _check_divergence(settings, problem, rows, moments, theta, before)
    return state


def _original(scaling, theta, given_coef):
    """Return a model in the units of the data; constant columns have the given coefficients."""
    coef, intercept = scaling.to_original(theta)
    kept = np.where(scaling.scale[:-1] == 0, given_coef, 0.0)
    return coef + kept, intercept - float(scaling.centre @ kept)


def _with_mean_weight_one(chunk, moments):
    """Return chunk and moments with weights relative to their mean, so that no rate overflows."""
    mean = moments.weight / moments.rows
    weight = np.ones(len(chunk.y)) if chunk.sample_weight is None else chunk.sample_weight
    chunk = chunk._replace(sample_weight=weight / mean)
    return chunk, Moments(moments.rows, moments.rows, moments.mean, moments.sum_of_squares / mean)


def _check_divergence(settings, problem, rows, moments, theta, rows_before):
    """Raise DivergedError if the objective at theta is far above the loss of a constant model."""
    spread = sqrt(target_variance(settings, moments))
    typical = float(settings.loss._replace(dead_zone=0.0).value(spread))
    constant_loss = rows.constant_loss(settings.loss, constant_model(settings, moments)[1])
    loss = problem.objective.value(problem.rows, theta)
    where = f"epoch 1 of this call, after {rows_before} rows"
    raise_if_diverged(loss, max(typical, constant_loss), where)


def _pieces(blocks, block_rows, rows_seen, boundary):
    """Yield pieces of the blocks, which grow with the rows seen.

    Parameters
    ----------
    blocks : ndarray of shape (n_blocks,)
        Numbers of the blocks of the chunk, in the order of the sweep.
    block_rows : float
        Mean number of rows of a block.
    rows_seen : int
        Rows before the chunk.
    boundary : int
        Number of rows seen, across which no piece goes: there the learning rate begins to fall.
    """
    while len(blocks):
        n_rows = max(MIN_PIECE_ROWS, PIECE_FRACTION * rows_seen)
        if rows_seen < boundary:
            n_rows = min(n_rows, boundary - rows_seen)
        n_blocks = max(round(n_rows / block_rows), 1)
        yield blocks[:n_blocks]
        blocks, rows_seen = blocks[n_blocks:], rows_seen + n_blocks * block_rows


def _with_residuals(settings, rows, blocks, state):
    """Return the state with the residuals of both models in some rows before their steps.

    Where those of the average are much larger than those of the last iterate, the average is
    restarted.
    """
    models = (state.coef, state.intercept), (state.returned_coef, state.returned_intercept)
    new = [rows.residuals_of(blocks, *model) for model in models]
    residuals = np.hstack([state.residuals, new])[:, -RESIDUAL_WINDOW:]
    state = state._replace(residuals=residuals)
    last, average = _spreads(residuals, settings.loss.level)
    if residuals.shape[1] < RESTART_MIN_ROWS or average <= RESTART_SPREAD_RATIO * last:
        return state
    state = state.with_returned(state.coef, state.intercept)
    return state._replace(average_rows=0.0, residuals=residuals[[0, 0]])


def _spreads(residuals, level):
    """Return the spread of the residuals of both models, in units of y.

    It is the median absolute deviation, or the absolute value of the quantile at `level` where that
    is larger. That quantile is zero at the optimum.

    Parameters
    ----------
    residuals : ndarray of shape (2, n_recent)
    level : float
        Quantile level of the loss.
    """
    n = residuals.shape[1]
    ordered = np.sort(residuals, axis=1)
    deviation = np.sort(np.abs(ordered - ordered[:, n // 2, np.newaxis]), axis=1)[:, n // 2]
    return np.maximum(deviation, np.abs(ordered[:, int(level * (n - 1))]))


def _posed(settings, chunk, moments, sample, size=None):
    """Return the problem of a chunk, see `Problem.of`, with the penalty of its sample."""
    problem = Problem.of(settings, *chunk, moments, size)
    if sample is None:
        return problem
    return sample.problem(problem, settings.fit_intercept)


def _problem(settings, chunk, state, moments, n_rows, sample):
    """Return the problem of the next `n_rows` rows of a chunk, and its step rule.

    Steps of a loss with a bounded multiplier are in units of the spread of the residuals, once
    there are any.
    """
    if not state.residuals.size or settings.loss.bound == inf:
        problem = _posed(settings, chunk, moments, sample)
        return problem, _step_rule(settings, problem, state.rows_seen, sample)
    if not state.fitted:
        # An extreme quantile level is approached from a moderate one.
        n_columns = chunk.X.shape[1] if sample is None else sample.n_columns
        rows_at_margin = LEVEL_ROWS * (n_columns + 1)
        margin = INITIAL_LEVEL_MARGIN * min(1.0, (rows_at_margin / (state.rows_seen + 1)) ** 2)
        settings = replace(settings, loss=settings.loss.with_level_clipped(margin))
    spread = ROBUST_STEP * float(_spreads(state.residuals, settings.loss.level)[0])
    problem = _posed(settings, chunk, moments, sample, spread)
    step_rule = rate, power_t, implicit, _ = _step_rule(settings, problem, state.rows_seen, sample)
    mean_multiplier = (settings.loss.lower + settings.loss.upper) / 2
    if mean_multiplier and implicit:
        # An implicit step ends at a residual of zero if it would change the sign of the residual.
        # This shortens more steps on the steep side of a quantile loss. Shifted targets compensate
        # for it on average.
        shift = mean_multiplier * (rate * (state.rows_seen + 1 + n_rows / 2) ** -power_t)
        weight = chunk.sample_weight
        shifted = chunk._replace(y=chunk.y + (shift if weight is None else shift * weight))
        problem = _posed(settings, shifted, moments, sample, spread)
    return problem, step_rule


def _average_decay(settings, rows_seen, n_coordinates):
    """Return the power of the weights of the iterates in the average after so many rows."""
    if settings.loss.bound < inf:
        return AVERAGE_DECAY
    return AVERAGE_DECAY * min(1.0, DECAY_ROWS * n_coordinates / max(rows_seen, 1))


def _step_rule(settings, problem, rows_seen, sample):
    """Return the step rule of a problem, with a falling rate where iterates are averaged."""
    rate, power_t, implicit, norm = problem.step_rule(settings, settings.learning_rate)
    n_coordinates = problem.rows.n_coordinates
    if sample is not None:
        n_coordinates = sample.n_columns + 1
        # The mean of ||z||**2 is 1 with all columns of the stream, not with those of the chunk.
        norm = sample.mean_norm(problem, settings.fit_intercept) or 1.0
        rate /= norm + problem.rows.scaling.scale[-1] ** 2
    first_rows = CONSTANT_RATE_ROWS * n_coordinates
    if settings.schedule == "adaptive" and settings.average and rows_seen >= first_rows:
        power_t = AVERAGED_RATE_POWER if settings.loss.bound < inf else SQUARED_RATE_POWER
        if problem.objective.penalised:
            power_t = PENALISED_RATE_POWER
        rate *= first_rows**power_t
    return rate, power_t, implicit, norm

"""Newton steps over a stream of any other loss than squared error.

Each row of the stream becomes a row of least squares that has the gradient of the loss at the
current model, and its mean curvature: the prediction plus the multiplier over the curvature is the
response, and the curvature the weight (for quantiles: Chen, Liu, Mao & Yang, 2020). The sums of
least squares stand for all rows before (renewable estimation: Luo & Song, 2020), and their solution
is a Newton step for the objective on all rows.

The first rows are kept as they are, and their optimum is found anew as they grow: far from it the
gradient of a row says little of what it would be there.
"""

from dataclasses import replace
from math import sqrt
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from ..data.chunk import Chunk, joined
from ..data.problem import Problem
from ..model.cross_products import CrossProducts
from ..model.loss import SQUARED_ERROR, Loss
from ..model.moments import joint_moments
from ..model.settings import constant_model
from .kkt import KKT
from .newton_system import RoundingError
from .predictor_corrector import PrimalDualIterate

# Rows per coordinate from which on the stream has the optimum of all rows. With fewer, that
# optimum predicts worse than an average of SGD.
FIRST_OPTIMUM_ROWS = 10

# Rows per coordinate, times the distance of the quantile level from 0 or 1, whichever is nearer, up
# to which rows are kept; and the most entries that are. So many rows determine the optimum well
# enough for a Newton step a row to lead to that of all rows.
KEPT_ROWS = 20
MAX_KEPT_ENTRIES = 1_000_000

# Growth of the number of rows that are kept after which their optimum is found anew.
KEPT_GROWTH = 1.1

# Share of the rows seen, and number, up to which the gradients of a chunk are taken at one model.
STEP_SHARE = 0.1
MIN_STEP_ROWS = 16

# Interior-point steps to the optimum of the rows that are kept, at most; and the duality gap,
# relative to the objective, that ends them.
OPTIMUM_STEPS = 40
OPTIMUM_GAP = 1e-6

# Latest rows whose residuals determine the curvature of the loss, and those that determine over
# which distance it is taken, in units of their standard deviation.
CURVATURE_ROWS = 1000
SPREAD_ROWS = 100
BANDWIDTH = 0.3

# Mean curvature of the rows before, relative to that of new rows, at most. Where the residuals of
# new rows are large because the model is wrong, their own mean curvature is so small that a
# response would be far beyond y, and stay there when the model is right again.
MAX_CURVATURE_RATIO = 4.0

# Distance of predictions from the mean of y, in its standard deviations, beyond which large
# residuals show that the model is wrong, and not y. Measured: 1.5 to 3 serve alike.
MAX_DEVIATIONS = 2.0

# Size of residuals, relative to the predictions, up to which they are rounding errors.
RESIDUAL_ROUNDING = 1e-10


class NewtonSums(NamedTuple):
    """What stands for the rows of a stream, at the models at which they were seen.

    Attributes
    ----------
    loss : Loss
    kept : tuple of Chunk
        All rows; empty once there are too many.
    n_rows : int
        Number of rows.
    n_solved : int
        Number of rows when the optimum of those that are kept was found last.
    cross_products : CrossProducts or None
        Of the rows of least squares; None before the first optimum.
    weight : float
        Sum of the weights of the rows.
    residuals : ndarray of shape (n_recent,)
        Of the latest rows, each before it was learned.
    """

    loss: Loss
    kept: tuple[Chunk, ...]
    n_rows: int
    n_solved: int
    cross_products: CrossProducts | None
    weight: float
    residuals: np.ndarray


def kept_rows(loss, n_features):
    """Return the number of rows at the first optimum, and that up to which all rows are kept."""
    first = FIRST_OPTIMUM_ROWS * (n_features + 1)
    last = KEPT_ROWS * (n_features + 1) / min(loss.level, 1 - loss.level)
    return first, int(max(first, min(last, MAX_KEPT_ENTRIES / (n_features + 1))))


def pieces_of_steps(loss, chunk, n_seen):
    """Yield pieces of a chunk, in each of which there is one Newton step or one optimum.

    Parameters
    ----------
    loss : Loss
    chunk : Chunk
    n_seen : int
        Number of rows before.
    """
    last, start = kept_rows(loss, chunk.X.shape[1])[1], 0
    while start < len(chunk.y):
        n_rows = last - n_seen if n_seen < last else max(MIN_STEP_ROWS, int(STEP_SHARE * n_seen))
        yield chunk.rows(slice(start, start + n_rows)) if n_rows < len(chunk.y) else chunk
        start, n_seen = start + n_rows, n_seen + n_rows


def with_chunk(settings, chunk, state):
    """Return the `NewtonSums` with the rows of a chunk, seen at the model of the state before.

    None where those of the state are of another loss.
    """
    sums = state.newton or NewtonSums(settings.loss, (), 0, 0, None, 0.0, np.empty(0))
    if sums.loss != settings.loss:
        return None
    first, last = kept_rows(sums.loss, chunk.X.shape[1])
    n_rows = sums.n_rows + len(chunk.y)
    if sums.cross_products is not None and not sums.kept:
        return _with_rows(sums, settings, chunk, state)._replace(n_rows=n_rows)
    kept = (*sums.kept, chunk.kept())
    if (state.fitted or n_rows >= first) and n_rows >= min(KEPT_GROWTH * sums.n_solved, last):
        sums, kept = _at_optimum(settings, sums, joined(kept), state)
    elif sums.cross_products is not None:
        sums = _with_rows(sums, settings, chunk, state)
    return sums._replace(n_rows=n_rows, kept=kept if n_rows < last else ())


def least_squares(settings, sums):
    """Return settings and cross products of the least-squares problem that stands for all rows."""
    unit = sums.cross_products.moments.weight / sums.weight
    if not unit > 0:
        raise ValueError("Weights are too small for dtype('float64'). Rescale y or sample_weight.")
    settings = replace(settings, loss=SQUARED_ERROR, l1=settings.l1 / unit, l2=settings.l2 / unit)
    return settings, sums.cross_products


def merged_sums(sums, other):
    """Return the `NewtonSums` of the rows of two streams that have least squares of theirs."""
    if sums is None or other is None or sums.loss != other.loss:
        return None
    n_features = len(sums.cross_products.moments.mean) - 1
    n_rows = sums.n_rows + other.n_rows
    all_kept = sums.kept and other.kept and n_rows < kept_rows(sums.loss, n_features)[1]
    return sums._replace(
        kept=(*sums.kept, *other.kept) if all_kept else (),
        n_rows=n_rows,
        cross_products=sums.cross_products.merge(other.cross_products),
        weight=sums.weight + other.weight,
        residuals=np.append(sums.residuals, other.residuals)[-CURVATURE_ROWS:],
    )


def _with_rows(sums, settings, chunk, state):
    """Return the sums with a row of least squares for each row of a chunk."""
    residual = chunk.y - (chunk.X @ state.returned_coef + state.returned_intercept)
    residuals = np.append(sums.residuals, residual)[-CURVATURE_ROWS:]
    loss, before = sums.loss, sums.cross_products
    curvature = mean_curvature(loss, residuals, chunk.y - residual)
    curvature = max(curvature, before.moments.weight / sums.weight / MAX_CURVATURE_RATIO)
    deviation = sqrt(state.moments.variance(True)[-1])
    wrong = np.abs(chunk.y - residual - state.moments.mean[-1]) > MAX_DEVIATIONS * deviation
    rows = _least_squares_rows(loss, chunk, residual, loss.multiplier(residual), curvature, wrong)
    return sums._replace(
        cross_products=before.with_rows(*rows, settings.tuning),
        weight=sums.weight + _weight(chunk),
        residuals=residuals,
    )


def _at_optimum(settings, sums, chunk, state):
    """Return the sums anew from all rows, seen at their optimum, and the rows as a tuple."""
    moments = joint_moments(chunk.X, chunk.y[np.newaxis], chunk.sample_weight)
    problem = Problem.of(settings, *chunk, moments)
    (part,), scaling = problem.rows.parts, problem.rows.scaling
    models = (state.returned_coef, state.returned_intercept), constant_model(settings, moments)
    with np.errstate(all="ignore"):  # steps end where numbers are beyond all bounds
        theta, multiplier = _optimum(problem, [scaling.to_scaled(*model) for model in models])
    coef, intercept = scaling.to_original(theta)
    residual = chunk.y - (chunk.X @ coef + intercept)
    loss, clear = sums.loss, clear_residuals(sums.loss, residual, part.n_coordinates)
    if multiplier is None:
        multiplier = loss.multiplier(residual)
    curvature = mean_curvature(loss, clear, chunk.y - residual)
    rows = _least_squares_rows(loss, chunk, residual, multiplier, curvature, False)
    sums = sums._replace(
        n_solved=len(residual),
        cross_products=CrossProducts.of(*rows, True, settings.tuning),
        weight=_weight(chunk),
        residuals=clear[-CURVATURE_ROWS:],
    )
    return sums, (chunk,)


def clear_residuals(loss, residual, n_coordinates):
    """Return the residuals at an optimum but those of rows that it fits exactly."""
    if loss.compliance > 0 or loss.dead_zone > 0:
        return residual
    n_fitted = min(n_coordinates, len(residual) // 2)
    return residual[np.sort(np.argsort(np.abs(residual))[n_fitted:])]


def _optimum(problem, starts):
    """Return the optimum of a problem, and the multipliers of its rows.

    Steps begin at the best of some models. Where none leads to a better one, it is the optimum, and
    the multipliers are None.
    """
    losses = [problem.objective.value(problem.rows, theta) for theta in starts]
    least, start = min(zip(losses, starts, strict=True), key=itemgetter(0))
    if not least > 0:
        return start, None
    iterate = PrimalDualIterate(problem.rows, problem.objective, start)
    try:
        for _ in range(OPTIMUM_STEPS):
            value, gap = iterate.evaluate()
            if gap <= OPTIMUM_GAP * value:
                break
            iterate.step()
    except RoundingError:
        pass
    if not problem.objective.value(problem.rows, iterate.theta) <= least:
        return start, None
    (part,) = problem.rows.parts
    return iterate.theta, part.memory[KKT].point[0].sum(axis=1)


def mean_curvature(loss, residuals, predictions):
    """Return the derivative of the mean multiplier by a shift of all residuals.

    It is a difference quotient, which is the density at the kinks times the jump there, and the
    mean second derivative where the loss has one.

    Parameters
    ----------
    loss : Loss
    residuals : ndarray of shape (n_recent,)
    predictions : ndarray
        Of some rows: residuals that are much less are rounding errors.
    """
    latest = np.sort(residuals[-SPREAD_ROWS:])
    rounding = RESIDUAL_ROUNDING * float(np.median(np.abs(predictions)))
    deviation = float(np.median(np.abs(latest - latest[len(latest) // 2])))
    if deviation <= rounding:  # most rows are fitted exactly, which says nothing of the others
        deviation = float(np.mean(np.abs(latest)))
    # Where all residuals have moved away from the kinks, the distance reaches them.
    level, n_latest = loss.level, len(latest)
    error = 2 * sqrt(level * (1 - level) / n_latest)
    places = [int(min(max(level + sign * error, 0), 1) * (n_latest - 1)) for sign in (-1, 1)]
    offset = max(latest[places[0]], -latest[places[1]], 0.0)
    distance = max(1.48 * BANDWIDTH * deviation + offset, rounding) or 1.0
    distance += loss.dead_zone
    curvature = 0.0
    while not curvature > 0 and distance < np.inf:
        change = loss.multiplier(residuals + distance) - loss.multiplier(residuals - distance)
        curvature = float(np.mean(change)) / (2 * distance)
        distance *= 2
    return curvature


def _weight(chunk):
    return float(len(chunk.y) if chunk.sample_weight is None else chunk.sample_weight.sum())


def _least_squares_rows(loss, chunk, residual, multiplier, curvature, wrong):
    """Return columns, responses and weights of the rows of least squares; see MAX_DEVIATIONS."""
    curvature = np.full(len(residual), curvature)
    if loss.bound == np.inf:
        # A long step of a loss that is flat in most rows must not go beyond the row itself.
        secant = np.divide(multiplier, residual, out=np.zeros(len(residual)), where=residual != 0)
        curvature = np.maximum(curvature, secant)
    else:
        # A residual beyond the usual tells that the curvature is less in its row. Where the model
        # is wrong, the response is y less the dead zone (iteratively reweighted least squares), as
        # any other would be near a wrong prediction for good.
        width = np.abs(residual) * (1 / (loss.upper - loss.lower))
        beyond = np.abs(residual) - loss.dead_zone
        far = curvature * width > 1
        np.divide(1.0, width, out=curvature, where=far)
        np.divide(np.abs(multiplier), beyond, out=curvature, where=far & wrong & (beyond > 0))
    response = chunk.y - residual + multiplier / curvature
    weight = curvature if chunk.sample_weight is None else curvature * chunk.sample_weight
    return chunk.X, response[np.newaxis], weight

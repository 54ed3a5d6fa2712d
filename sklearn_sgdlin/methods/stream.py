"""One more chunk of a stream, for one target: sums over all rows, and the optimum or SGD.

`summed_up` and `solved` find the optimum of squared error on all rows seen, with few columns.
With any other loss they lead near it by Newton steps, see `newton_stream`. Otherwise `walked` goes
on with an average of SGD iterates, see `averaged_sgd`.
"""

from dataclasses import replace
from math import expm1, inf, log

import numpy as np
from scipy.sparse import csr_array, issparse

from ..data.chunk import joined
from ..model.cross_products import CrossProducts
from ..model.loss import SQUARED_ERROR
from ..model.settings import constant_model
from ..model.sparse_state import SparseState
from ..model.state import State
from ..model.summed_products import in_sums
from .averaged_sgd import sweep_chunk
from .newton_stream import least_squares, merged_sums, pieces_of_steps, with_chunk
from .product_path import penalised_least_squares
from .sparse_sgd import sweep_sparse_chunk

# Number of rows up to which a stream returns the mean of y. Two values of a column may be almost
# the same, and the slope between them then is anything; from three rows on a ridge limits it.
ROWS_WITHOUT_SLOPE = 2

# Rows per coordinate up to which a ridge, which falls with the rows, keeps least squares from
# fitting noise. With more rows the model is the least-squares solution itself.
RIDGE_ROWS = 2

# Share of the half-life that is walked before the rows before are forgotten a little more.
HALF_LIFE_SHARE = 1 / 8


def summed_up(settings, chunk, state, seed):
    """Return the state after a chunk has been summed up; its model lacks the chunk.

    Parameters
    ----------
    settings : Settings
    chunk : Chunk
    state : State or None
        None for the first chunk, whose products are summed up.
    seed : int
    """
    if settings.loss != SQUARED_ERROR:
        return _with_newton_steps(settings, chunk, state, seed)
    state, cross_products, n_rows = _with_chunk(settings, chunk, state, seed, with_products=True)
    return state.counted(n_rows)._replace(cross_products=cross_products)


def solved(settings, state):
    """Return the state with the optimum of all rows that have been summed up."""
    cross_products = state.cross_products
    if settings.loss != SQUARED_ERROR:
        if state.newton.cross_products is None:
            return state  # an average of iterates
        settings, cross_products = least_squares(settings, state.newton)
    elif cross_products.moments.rows <= ROWS_WITHOUT_SLOPE:
        return state.with_model(*constant_model(settings, cross_products.moments))
    n_features = len(state.coef)
    n_rows = state.moments.rows - state.grown_at
    if settings.half_life is not None:
        n_rows = _effective_rows(n_rows, settings.half_life)
    ridge = _ridge(n_rows, n_features + settings.fit_intercept)
    if settings.l1 == 0 and not settings.positive:
        model = cross_products.solve_least_squares(
            n_features, settings.fit_intercept, settings.l2, ridge
        )
    else:
        model = penalised_least_squares(cross_products, settings, ridge, state.returned_coef)
    return state.with_model(*model)


def walked(settings, chunk, state, seed):
    """Return the state after an SGD step for each row of a chunk.

    Products are summed up as well if those of all rows before were: least squares needs them all.
    With a half-life it goes through pieces of the chunk. For the parameters see `summed_up`.
    """
    if state is not None and state.sparse:
        state = state.dense()
    newton = None
    if state is not None and settings.half_life is None:
        newton = state.newton
    if newton is not None:
        newton = with_chunk(settings, chunk, state)
    return _walked(settings, chunk, state, seed)._replace(newton=newton)


def _walked(settings, chunk, state, seed):
    pieces = [chunk]
    if settings.half_life is not None:
        settings = replace(settings, shuffle=False)  # rows are forgotten in their order
        pieces = chunk.pieces(max(1, int(HALF_LIFE_SHARE * settings.half_life)))
    for piece in pieces:
        state, cross_products, n_rows = _with_chunk(settings, piece, state, seed, False)
        moments = cross_products.moments
        few_rows = moments.rows <= ROWS_WITHOUT_SLOPE and not state.fitted
        if few_rows and settings.implicit and settings.precondition:
            # Very few rows do not determine a slope: the model is the mean of y.
            state = state.counted(n_rows).with_model(*constant_model(settings, moments))
        else:
            state = sweep_chunk(settings, piece, state, moments)
        state = state._replace(cross_products=cross_products)
    return state


def _with_newton_steps(settings, chunk, state, seed):
    """Return the state after rows of another loss than squared error; its model may lack some."""
    n_seen = 0 if state is None else int(state.moments.rows)
    for number, piece in enumerate(pieces_of_steps(settings.loss, chunk, n_seen)):
        if number:
            state = solved(settings, state)
        before, cross_products, n_rows = _with_chunk(settings, piece, state, seed, False)
        seen_at = before.rescaled_to(cross_products.moments, settings.fit_intercept)
        newton = with_chunk(settings, piece, seen_at)
        if newton.cross_products is None:
            state = _walked(settings, piece, state, seed)
        else:
            state = before.counted(n_rows)._replace(cross_products=cross_products)
        state = state._replace(newton=newton)
    return state


def by_entries(settings, chunk, state):
    """Return whether a chunk changes the columns of its entries only; see `SparseState`.

    To forget, and to take steps in the units of the data, would change all columns.
    """
    if not settings.precondition or settings.half_life is not None:
        return False
    wide = chunk.X.shape[1] > settings.tuning.max_stream_features
    if state is None:
        return wide and issparse(chunk.X)
    return state.sparse or (wide and issparse(chunk.X) and not state.has_products)


def walked_by_entries(settings, chunk, state, seed):
    """Return the state after a chunk of sparse rows with many columns; see `summed_up`."""
    if not issparse(chunk.X):
        chunk = chunk._replace(X=csr_array(chunk.X))
    if state is None:
        mean = np.average(chunk.y, weights=chunk.sample_weight)
        state = SparseState.first(chunk.X.shape[1], _first_intercept(settings, chunk, mean), seed)
    state = sweep_sparse_chunk(settings, chunk, SparseState.of(state))
    if state.target.rows <= ROWS_WITHOUT_SLOPE and settings.implicit and not state.fitted:
        mean = float(state.target.mean[0]) if settings.fit_intercept else 0.0
        return state.with_model(np.zeros(chunk.X.shape[1]), mean)
    return state


def merged_states(settings, state, other):
    """Return the state after the rows of two states; its models are the means by rows."""
    if state.sparse or other.sparse:
        return SparseState.of(state).merge(SparseState.of(other))
    for one, rest in ((state, other), (other, state)):
        if one.newton and rest.newton and rest.newton.cross_products is None:
            # So few rows are learned as the next ones of the other stream.
            merged = _with_newton_steps(settings, joined(rest.newton.kept), one, None)
            return merged._replace(steps=one.steps + rest.steps)
    cross_products = state.cross_products.merge(other.cross_products)
    rows, informative = cross_products.moments.rows, 0.0
    for part in (state, other):
        noted = part.with_growth_noted(cross_products.moments, settings.fit_intercept)
        informative = informative + part.moments.rows - noted.grown_at
    share = other.moments.rows / rows

    def mean(name):
        return (1 - share) * getattr(state, name) + share * getattr(other, name)

    models = ("coef", "intercept", "returned_coef", "returned_intercept", "given_coef")
    return state._replace(
        cross_products=cross_products,
        **{name: mean(name) for name in models},
        rows_seen=state.rows_seen + other.rows_seen,
        steps=state.steps + other.steps,
        average_rows=state.average_rows + other.average_rows,
        residuals=np.hstack([state.residuals, other.residuals]),
        fitted=state.fitted and other.fitted,
        grown_at=rows - informative,
        newton=merged_sums(state.newton, other.newton),
    )


def _with_chunk(settings, chunk, state, seed, with_products):
    """Return the state before a chunk, the cross products that include it, and its rows."""
    weight, n_rows, share = _by_age(settings.half_life, chunk)
    sums = chunk.X, chunk.y[np.newaxis], weight
    if state is None:
        cross_products = CrossProducts.of(*sums, with_products, settings.tuning)
    else:
        if share < 1:
            state = state.forgotten(share)
        cross_products = state.cross_products.with_rows(*sums, settings.tuning)
        if with_products and len(state.coef) >= settings.tuning.min_summed_features:
            cross_products = in_sums(cross_products)
    if settings.half_life is not None:
        rows = n_rows if state is None else state.moments.rows + n_rows
        cross_products = replace(cross_products, moments=replace(cross_products.moments, rows=rows))
    if state is None:
        state = _first_state(settings, chunk, cross_products, seed)
    elif not state.moments.weight:  # a model that was given, or all rows before are forgotten
        state = state._replace(cross_products=cross_products)
    elif state.moments.rows > ROWS_WITHOUT_SLOPE:
        state = state.with_growth_noted(cross_products.moments, settings.fit_intercept)
    return state, cross_products, n_rows


def _by_age(half_life, chunk):
    """Return the weights of the rows of a chunk by their age, and what is left of those before.

    Returns
    -------
    weight : ndarray of shape (n_rows,) or None
    n_rows : int or float
        Number of rows; where those before are forgotten, each counts by its age.
    share : float
    """
    weight = chunk.sample_weight
    if half_life is None:
        return weight, len(chunk.y), 1.0
    age = 0.5 ** (np.arange(len(chunk.y), -1, -1) / half_life)  # the first is of those before
    n_rows = float(age[1:].sum())
    if weight is None and len(chunk.y) == 1:
        return None, n_rows, float(age[0])
    return age[1:] if weight is None else weight * age[1:], n_rows, float(age[0])


def _effective_rows(n_rows, half_life):
    """Return Kish's effective number of rows, ``sum(w)**2 / sum(w**2)`` of geometric weights w.

    Parameters
    ----------
    n_rows : ndarray
        The sum of w.
    half_life : float
    """
    lost = -expm1(-log(2) / half_life)  # 1 less the factor of one row to the next
    n_rows = n_rows / np.maximum(lost * n_rows, 1.0)  # at most that of endless rows; a fit has more
    return n_rows * (2 - lost) / (2 - lost * n_rows)


def _first_state(settings, chunk, cross_products, seed):
    """Return the state before the first chunk: a constant model, and no steps."""
    coef, mean = constant_model(settings, cross_products.moments)
    model = coef, _first_intercept(settings, chunk, mean)
    return State(
        cross_products,
        *model,
        *model,
        rows_seen=0,
        steps=0,
        average_rows=0.0,
        residuals=np.empty((2, 0)),
        fitted=False,
        grown_at=np.zeros(len(coef)),
        given_coef=np.zeros(len(coef)),
        seed=seed,
    )


def _first_intercept(settings, chunk, mean):
    """Return the intercept of the constant model that a stream begins with."""
    if not (settings.precondition and settings.fit_intercept):
        return 0.0
    if settings.loss.bound == inf:
        return float(mean)
    # A robust loss starts from the quantile of y, because an outlier moves the mean.
    return float(np.quantile(chunk.y, settings.loss.level))


def _ridge(n_rows, n_coordinates):
    """Return the ridge of each column relative to its mean square, 0 with enough rows.

    Parameters
    ----------
    n_rows : ndarray of shape (n_features,)
        Effective number of rows since the variance of each column last grew; see `State.grown_at`.
    n_coordinates : int
    """
    n_informative = np.maximum(n_rows - ROWS_WITHOUT_SLOPE, 1)
    ridge = (1 + n_coordinates**2 / (4 * n_informative)) / n_informative
    return np.where(n_rows < RIDGE_ROWS * n_coordinates, ridge, 0.0)

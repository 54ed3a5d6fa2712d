"""Streams (`partial_fit`): each chunk of rows is seen once, and updates the model.

`_update` is the method, in numbered steps. With few columns the model of squared error is the
optimum on all rows seen. Otherwise it is an average of SGD iterates, see `methods.averaged_sgd`.
"""

from math import inf

import numpy as np
from scipy.sparse import csr_array, issparse

from ._choose_stream import StreamFacts, choose_for_stream
from .linalg.blas import OneThread, blas_threads
from .methods.active_set import penalised_least_squares
from .methods.averaged_sgd import Chunk, sweep_chunk
from .methods.sparse_sgd import sweep_sparse_chunk
from .model.cross_products import CrossProducts
from .model.loss import SQUARED_ERROR
from .model.settings import constant_model
from .model.sparse_state import SparseState
from .model.state import MultiTargetState, State

# Number of rows up to which a stream returns the mean of y. Two values of a column may be almost
# the same, and the slope between them then is anything; from three rows on a ridge limits it.
ROWS_WITHOUT_SLOPE = 2

# Rows per coordinate up to which a ridge, which falls with the rows, keeps least squares from
# fitting noise. With more rows the model is the least-squares solution itself.
RIDGE_ROWS = 2


def stream(settings, X, y, sample_weight, state, seed) -> State | MultiTargetState:
    """Return the state after one more chunk of a stream.

    Parameters
    ----------
    settings : Settings
    X : ndarray or CSR matrix of shape (n_rows, n_features)
    y : ndarray of shape (n_rows,) or (n_rows, n_targets)
        Several targets give as many models.
    sample_weight : ndarray of shape (n_rows,) or None
    state : State, MultiTargetState or None
        After the chunks before; None for the first one.
    seed : int
        Used for the first chunk; later ones have that of the state.
    """
    update, threads = _update, blas_threads(*X.shape, settings.tuning)
    if _by_entries(settings, X, state):
        update, threads = _update_of_entries, OneThread()
    with threads:
        if y.ndim == 1:
            return update(settings, Chunk(X, y, sample_weight), state, seed)
        states = (None,) * y.shape[1] if state is None else state.states
        columns = np.ascontiguousarray(y.T)
        return MultiTargetState(
            tuple(
                update(settings, Chunk(X, column, sample_weight), one, seed)
                for column, one in zip(columns, states, strict=True)
            )
        )


def stream_choice(settings, n_features, state):
    """Return the `Choice` of how a stream learns from its next chunk; `state` is None at first.

    Raises
    ------
    ValueError
        If the solver that was asked for cannot serve the stream.
    """
    facts = StreamFacts(
        n_features,
        squared=settings.loss == SQUARED_ERROR,
        summed_up=state is None or state.has_products,
        sgd_setting=settings.sgd_setting,
    )
    return choose_for_stream(facts, settings.tuning, settings.solver)


def _update(settings, chunk, state, seed):
    """Return the state after a chunk with one target."""
    X, y, sample_weight = chunk

    # 1. Sum up the chunk. Products are summed up from the first chunk on or not at all, whatever
    #    the settings of later chunks: least squares needs the products of all rows.
    solvable = stream_choice(settings, X.shape[1], state).solver == "newton-cholesky"
    with_products = solvable if state is None else state.has_products
    cross_products = CrossProducts.of(
        X, y[np.newaxis], sample_weight, with_products, settings.tuning
    )

    # 2. Merge the sums with those of the rows before. A first chunk starts from a constant model.
    if state is None:
        state = _first_state(settings, chunk, cross_products, seed)
    else:
        cross_products = state.cross_products.merge(cross_products)
        if state.moments.rows > ROWS_WITHOUT_SLOPE:
            state = state.with_growth_noted(cross_products.moments, settings.fit_intercept)

    few_rows = cross_products.moments.rows <= ROWS_WITHOUT_SLOPE
    if few_rows and settings.implicit and settings.precondition:
        # 3. Very few rows do not determine a slope: the model is the mean of y.
        model = constant_model(settings, cross_products.moments)
        state = state.with_last_iterate(*model, len(y), 0).with_returned(*model)
    elif solvable:
        # 4. Solve for the optimum on all rows seen, from their products.
        model = _optimum(settings, cross_products, state)
        state = state.with_last_iterate(*model, len(y), 0).with_returned(*model)
    else:
        # 5. Take an SGD step for each row of the chunk.
        state = sweep_chunk(settings, chunk, state, cross_products.moments)
    return state._replace(cross_products=cross_products)


def _by_entries(settings, X, state):
    """Return whether a chunk changes the columns of its entries only; see `SparseState`."""
    if state is not None and state.sparse:
        return True
    wide = X.shape[1] > settings.tuning.max_stream_features
    summed_up = state is not None and state.has_products
    return issparse(X) and wide and not summed_up and settings.precondition


def _update_of_entries(settings, chunk, state, seed):
    """Return the state after a chunk of sparse rows with many columns, with one target."""
    if not issparse(chunk.X):
        chunk = chunk._replace(X=csr_array(chunk.X))
    if state is None:
        mean = np.average(chunk.y, weights=chunk.sample_weight)
        state = SparseState.first(chunk.X.shape[1], _first_intercept(settings, chunk, mean), seed)
    elif not state.sparse:
        state = SparseState.of(state)
    state = sweep_sparse_chunk(settings, chunk, state)
    if state.target.rows <= ROWS_WITHOUT_SLOPE and settings.implicit:
        mean = float(state.target.mean[0]) if settings.fit_intercept else 0.0
        return state.with_constant_model(mean)
    return state


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
        seed=seed,
    )


def _first_intercept(settings, chunk, mean):
    """Return the intercept of the constant model that a stream begins with."""
    if not (settings.precondition and settings.fit_intercept):
        return 0.0
    if settings.loss.bound == inf:
        return float(mean)
    # A robust loss starts from the quantile of y, because an outlier moves the mean.
    y, weight = chunk.y, chunk.sample_weight
    counted = y if weight is None or not weight.any() else y[weight > 0]
    return float(np.quantile(counted, settings.loss.level))


def _optimum(settings, cross_products, state):
    """Return coef and intercept of the penalised least-squares model on all rows seen."""
    n_features = len(state.returned_coef)
    n_rows = cross_products.moments.rows - state.grown_at
    ridge = _ridge(n_rows, n_features + settings.fit_intercept)
    if settings.quadratic:
        return cross_products.solve_least_squares(
            n_features, settings.fit_intercept, settings.l2, ridge
        )
    return penalised_least_squares(cross_products, settings, ridge, state.returned_coef)


def _ridge(n_rows, n_coordinates):
    """Return the ridge of each column relative to its mean square, 0 with enough rows.

    Parameters
    ----------
    n_rows : ndarray of shape (n_features,)
        Number of rows since the variance of each column last grew; see `State.grown_at`.
    n_coordinates : int
    """
    n_informative = np.maximum(n_rows - ROWS_WITHOUT_SLOPE, 1)
    ridge = (1 + n_coordinates**2 / (4 * n_informative)) / n_informative
    return np.where(n_rows < RIDGE_ROWS * n_coordinates, ridge, 0.0)

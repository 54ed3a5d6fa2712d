"""Streams (`partial_fit`): each chunk of rows is seen once, and updates the model.

Where the model is the optimum of all rows, it is found when somebody asks for it, and small chunks
are collected before they are summed up. When that happens depends on the numbers of rows alone, so
that a stream is the same to the last bit whether or not somebody has looked at its models.
"""

from dataclasses import replace
from functools import cached_property

import numpy as np

from ._choose_stream import StreamFacts, choose_for_stream
from ._validation import as_c_ordered
from .data.chunk import Chunk, joined
from .data.layouts import Frame
from .linalg.blas import OneThread, blas_threads
from .methods.newton_after_fit import rows_of_fit, with_sums_of_fit
from .methods.stream import (
    by_entries,
    merged_states,
    solved,
    summed_up,
    walked,
    walked_by_entries,
)
from .model.loss import SQUARED_ERROR
from .model.sparse_state import SparseState
from .model.state import MultiTargetState, State

# Share of the rows seen that the model of the progressive loss may lack. Its excess over the noise
# falls with the rows, so it is larger by no more than this share.
LACKING_SHARE = 1 / 16

# Rows per column that this model may lack as well, where there are many columns: to solve for it
# takes as long as to sum up some tenths of a row per column.
LACKING_ROWS_PER_COLUMN = 1 / 4

# Rows that wait to be summed up, at most: so many, or this share of the columns. To append them to
# a factor takes up to four times as long as to append one, each time somebody looks at the model.
WAITING_ROWS = 16
WAITING_SHARE = 1 / 8

# Sum of squares up to which a chunk waits. No sum over waiting rows overflows then, so that errors
# of numbers that are too large still come from the call that brings them.
MAX_WAITING_SQUARE = 1e250


class Learned:
    """What has been learned from all rows so far; nothing but its caches is ever modified.

    Parameters
    ----------
    settings : Settings
        Of the last call.
    choice : Choice or None
        How the last chunk was learned from; None after a fit.
    state : State, MultiTargetState or StatesAfterFit
        After all rows but those that wait.
    waiting : tuple of Chunk
        Rows that have not been summed up.
    n_waiting, n_unsolved : int
        Number of these rows, and of all rows that the model of the state lacks.
    """

    def __init__(self, settings, choice, state, waiting=(), n_waiting=0, n_unsolved=0):
        self.settings, self.choice, self.state = settings, choice, state
        self.waiting, self.n_waiting, self.n_unsolved = waiting, n_waiting, n_unsolved

    @cached_property
    def settled(self):
        """The state after all rows, with their model."""
        if not self.n_unsolved:
            return self.state
        state, settings = self.state, self.settings
        with _threads(settings, len(_states(state)[0].coef), self.n_waiting):
            if self.waiting:
                state = _each_target(summed_up, settings, joined(self.waiting), state, None)
            state = _solved(settings, state)
        check_finite(state)
        return state

    @cached_property
    def model(self):
        """Coef and intercept after all rows, as the user gets them."""
        coef, intercept = self.own_model
        return coef.copy(), intercept

    @property
    def own_model(self):
        """The same as `model`, which nobody can have changed."""
        return _returned(self.settings, self.settled)

    @property
    def progressive_model(self):
        """Coef and intercept that may lack the last rows."""
        return _returned(self.settings, self.state)


def check_finite(state):
    """Raise ValueError if a model of a state is not finite."""
    if not state.finite:
        raise ValueError(
            "The coefficients are too large for dtype('float64'). Rescale X, y or sample_weight."
        )


def stream(settings, chunk, learned, seed, given=None) -> Learned:
    """Return what has been learned after one more chunk of a stream.

    Parameters
    ----------
    settings : Settings
    chunk : Chunk
        Several targets give as many models.
    learned : Learned or None
        From the rows before; None for the first chunk.
    seed : int
        Used for the first chunk; later ones have that of the state.
    given : tuple of coef and intercept, or None
        A model of the user to go on from, if there is one.

    Raises
    ------
    ValueError
        If the solver that was asked for is not available for the stream, or cannot go
        on from the given model.
    """
    if learned is not None and learned.settings != settings:
        learned = Learned(learned.settings, None, learned.settled)
    state = None if learned is None else learned.state
    choice = None if learned is None else learned.choice
    if choice is None or given is not None:
        choice = _choice(settings, chunk.X.shape[1], chunk.y.shape[1:], state, given)
    if choice.solver == "newton-cholesky" and given is None and learned is not None:
        return _collected(settings, choice, chunk, learned)
    learn, threads = walked, _threads(settings, *chunk.X.shape[::-1])
    if by_entries(settings, chunk, state):
        learn, threads = walked_by_entries, OneThread()
    with threads:
        if given is not None:
            state = _given(choice, learned, given, seed)
        if choice.solver == "newton-cholesky":
            state = _solved(settings, _each_target(summed_up, settings, chunk, state, seed))
        else:
            state = _each_target(learn, settings, chunk, state, seed)
    return Learned(settings, choice, state)


def after_fit(settings, X, y, sample_weight, state):
    """Return the state of a fit with all that a stream needs of its rows to go on to the optimum.

    Parameters
    ----------
    settings : Settings
    X : ndarray, CSR matrix or Frame of shape (n_rows, n_features)
        Or the rows on a cluster, of which nothing is kept.
    y : ndarray of shape (n_rows,) or (n_rows, n_targets)
    sample_weight : ndarray of shape (n_rows,) or None
    state : State, MultiTargetState or StatesAfterFit
    """
    if settings.loss == SQUARED_ERROR or settings.solver == "sgd" or not hasattr(X, "shape"):
        return state
    n_features = X.shape[1]
    if _choice(replace(settings, solver="auto"), n_features, y.shape[1:], None).solver == "sgd":
        return state
    seed = _states(state)[0].seed
    index, complete = rows_of_fit(settings, n_features, sample_weight, len(y), seed)
    X = as_c_ordered(X.take(index) if isinstance(X, Frame) else X[index])
    weight = sample_weight[index] if complete and sample_weight is not None else None
    states = []
    for number, one in enumerate(_states(state)):
        target = y[index] if y.ndim == 1 else y[index, number]
        states.append(with_sums_of_fit(settings, Chunk(X, target, weight), complete, one))
    return states[0] if y.ndim == 1 else MultiTargetState(tuple(states))


def merged(settings, learned, other) -> Learned:
    """Return what has been learned from the rows of two streams.

    Parameters
    ----------
    settings : Settings
    learned : Learned
    other : Learned
    """
    states = [_states(one.settled) for one in (learned, other)]
    states = [merged_states(settings, *pair) for pair in zip(*states, strict=True)]
    coef = learned.progressive_model[0]
    state = states[0] if coef.ndim == 1 else MultiTargetState(tuple(states))
    choice = _choice(settings, coef.shape[-1], coef.shape[:-1], state)
    if choice.solver == "newton-cholesky":
        with _threads(settings, coef.shape[-1], 0):
            state = _solved(settings, state)
    return Learned(settings, choice, state)


def _collected(settings, choice, chunk, learned):
    """Return what has been learned after a chunk that may wait, or sums that are not solved for."""
    state, n_features = learned.state, chunk.X.shape[1]
    n_waiting, n_unsolved = (n + len(chunk.y) for n in (learned.n_waiting, learned.n_unsolved))
    rows = _states(state)[0].moments.rows
    lacking = max(LACKING_SHARE * rows, LACKING_ROWS_PER_COLUMN * n_features - WAITING_ROWS)
    n_most = min(lacking, max(WAITING_ROWS, WAITING_SHARE * n_features))
    if n_waiting < n_most and chunk.square() < MAX_WAITING_SQUARE:
        waiting = (*learned.waiting, chunk.kept())
        return Learned(settings, choice, state, waiting, n_waiting, n_unsolved)
    with _threads(settings, *chunk.X.shape[::-1]):
        chunks = [*learned.waiting, chunk]
        if len(chunk.y) < n_most:
            chunks = [joined(chunks)]
        elif learned.waiting:  # a large chunk is not copied
            chunks = [joined(learned.waiting), chunk]
        for part in chunks:
            state = _each_target(summed_up, settings, part, state, None)
        if n_unsolved < min(lacking, n_features):
            return Learned(settings, choice, state, n_unsolved=n_unsolved)
        return Learned(settings, choice, _solved(settings, state))


def _threads(settings, n_features, n_rows):
    """Return the context manager to learn in; a factor has as many rows as columns."""
    return blas_threads(max(n_rows, n_features), n_features, settings.tuning)


def _choice(settings, n_features, targets, state, given=None):
    """Return the `Choice` of how a stream learns from its next chunk."""
    squared = settings.loss == SQUARED_ERROR
    if squared:
        summed_up = state is None or state.has_products
    else:
        sums = [] if state is None else [getattr(one, "newton", None) for one in _states(state)]
        known = all(one is not None and one.loss == settings.loss for one in sums)
        summed_up = given is None and known
    facts = StreamFacts(
        n_features=n_features,
        n_targets=targets[0] if targets else 1,
        squared=squared,
        summed_up=summed_up,
        forgets=settings.half_life is not None,
        sgd_setting=settings.sgd_setting,
    )
    return choose_for_stream(facts, settings.tuning, settings.solver)


def _given(choice, learned, model, seed):
    """Return the state that goes on from a model of the user."""
    if choice.solver == "newton-cholesky":
        raise ValueError(
            "coef_ or intercept_ was set, or their sums were dropped, and partial_fit cannot go on "
            "from them here: the optimum of all rows seen is found from sums over these rows. Use "
            "solver='sgd', which goes on by steps, or `merge` to join models of several streams."
        )
    coef, intercept = model
    if coef.ndim == 1:
        return _with_model(learned and learned.settled, coef, float(intercept), seed)
    states = (None,) * len(coef) if learned is None else learned.settled.states
    return MultiTargetState(
        tuple(
            _with_model(*of_target, seed)
            for of_target in zip(states, coef, intercept.tolist(), strict=True)
        )
    )


def _with_model(state, coef, intercept, seed):
    state = State.without_rows(len(coef), seed) if state is None else state
    return state.with_given(coef.copy(), intercept)


def _each_target(learn, settings, chunk, state, seed):
    """Return the state after one of the functions of `methods.stream` has seen each target."""
    if chunk.y.ndim == 1:
        return learn(settings, chunk, state, seed)
    states = (None,) * chunk.y.shape[1] if state is None else state.states
    return MultiTargetState(
        tuple(
            learn(settings, chunk.target(number), before, seed)
            for number, before in enumerate(states)
        )
    )


def _solved(settings, state):
    if isinstance(state, State):
        return solved(settings, state)
    return MultiTargetState(tuple(solved(settings, one) for one in state.states))


def _states(state):
    return (state,) if isinstance(state, State | SparseState) else state.states


def _returned(settings, state):
    if settings.average:
        coef, intercept = state.returned_coef, state.returned_intercept
    else:
        coef, intercept = state.coef, state.intercept
    return coef, np.float64(intercept)

"""Training on all rows: choose a solver, pose the problem, run epochs until they stop."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.sparse import csr_array, issparse

from ._choose import Choice, choose
from ._epoch import Epoch
from ._exact_fit import ProductFits
from ._solvers import Solvers, facts_of
from ._stop import StopRule, combined_reason, rounding_loss
from ._validation import as_c_ordered
from .data.problem import Problem
from .data.row_ranges import rows_in_memory
from .linalg.blas import blas_threads
from .methods.sgd import Sweeps
from .model.cross_products import CrossProducts
from .model.moments import Moments, joint_moments
from .model.settings import constant_model
from .model.state import MultiTargetState, State


def epochs(settings, X, y, sample_weight, seed, start=None) -> Iterator[Epoch]:
    """Yield an `Epoch` after each epoch on rows in memory; the last one says why it stopped.

    A y of shape (n_rows, n_targets) gives as many models, each as if it were alone: one that
    has stopped waits for the others. `start` is the coef and intercept to begin with.
    """
    sample_weight, unit = scaled_weights(settings, sample_weight)
    facts = facts_of_rows(settings, X, y)
    choice = choose(facts, settings.tuning, settings.solver)
    if ProductFits.serve(settings, choice, X.shape[1]):
        targets = np.ascontiguousarray(y.reshape(len(y), -1))
        coef = None if start is None else start[0].reshape(targets.shape[1], -1)
        exact = ProductFits(settings, X, targets, sample_weight, coef).fit(settings)
        if exact is not None:
            return exact.epochs(choice, unit, seed, single=y.ndim == 1)
    X = as_c_ordered(X)
    solvers = Solvers(settings, facts, choice, seed, X, sample_weight)
    training = partial(_train_target, settings, solvers, unit, seed)
    if y.ndim == 1:
        return training(y, start)
    starts = zip(*start, strict=True) if start is not None else (None,) * y.shape[1]
    return run_targets_together(list(map(training, np.ascontiguousarray(y.T), starts)))


def scaled_weights(settings, sample_weight):
    """Return the weights in units of the largest one, so that no product underflows, and that."""
    if not settings.precondition or sample_weight is None:
        return sample_weight, 1.0
    unit = float(sample_weight.max())
    return sample_weight / unit, unit


def facts_of_rows(settings, X, y):
    """Return the `ProblemFacts` of rows in memory."""
    return facts_of(
        settings,
        n_rows=X.shape[0],
        n_features=X.shape[1],
        n_entries=X.nnz if issparse(X) else X.shape[0] * X.shape[1],
        n_targets=1 if y.ndim == 1 else y.shape[1],
        sparse=issparse(X),
    )


def _train_target(settings, solvers, unit, seed, y, start):
    """Yield the epochs of one target on rows in memory; see `pose_target`."""
    problems, seen = pose_target(settings, solvers, unit, y)
    return train(settings, solvers, problems, seen, seed=seed, start=start)


def pose_target(settings, solvers, unit, y):
    """Return the problems of one target on rows in memory, see `pose`, and the moments seen.

    Weights are in units of the largest one, `unit`.
    """
    X, sample_weight = solvers.X, solvers.sample_weight
    moments = solvers.moments.with_columns(Moments.of(y[:, np.newaxis], sample_weight, "y"))
    seen = moments.with_weights_scaled(unit)
    small = X.shape[0] * X.shape[1] <= settings.tuning.max_merged_entries
    if small and _path_matters(settings, solvers.choice.solver):
        X, y, sample_weight = merge_equal_rows(X, y, sample_weight)
        moments = joint_moments(X, y[np.newaxis], sample_weight)
    rows_in = partial(
        rows_in_memory, X, y, sample_weight, tuning=settings.tuning, one_path=settings.one_path
    )
    return pose(settings, rows_in, moments), seen


def _path_matters(settings, solver):
    """Whether the model depends on how rows are written: on their order, or on repetitions.

    Textbook settings walk the path that is written. The last iterate of smooth objectives is what
    the order of rows makes of it. Coordinate descent ends at the optimum, but without a penalty
    there may be many.
    """
    if not settings.precondition:
        return False
    if solver == "coordinate-descent":
        return settings.l1 == 0 and settings.l2 == 0
    kinked = not settings.quadratic and solver != "newton-cholesky"
    return kinked or (solver == "sgd" and settings.average)


def merge_equal_rows(X, y, sample_weight):
    """Return the rows sorted, equal ones merged with the sum of their weights, none of weight 0.

    Where the model depends on the path, data that differ only in how often a row is written must
    become the same data. Sparse X is made dense on the way, so this is for small data.
    """
    weight = np.ones(len(y)) if sample_weight is None else sample_weight
    both = np.column_stack([X.toarray() if issparse(X) else X, y])[weight > 0]
    both, row = np.unique(both.astype(np.float64, copy=False), axis=0, return_inverse=True)
    weight = np.bincount(row.ravel(), weights=weight[weight > 0])
    X_merged = np.ascontiguousarray(both[:, :-1], dtype=X.dtype)
    X = csr_array(X_merged) if issparse(X) else X_merged
    return X, np.ascontiguousarray(both[:, -1]), weight / weight.max()


def pose(settings, rows_in, moments):
    """Return the problem in the coordinates of the solver, and in those of the steps of SGD.

    They are the same but with ``precondition=False``: then units of the data decide how far steps
    get, but a search among them takes coordinates which are centred and scaled.

    `rows_in` (callable): returns the `Partitions` in a scaling.
    `moments`: of all columns of X, then of y.
    """
    steps = Problem.on(rows_in, settings, moments)
    if settings.precondition or not settings.average:
        return steps, steps
    return Problem.on(rows_in, replace(settings, precondition=True), moments), steps


def train(settings, solvers, problems, seen, *, seed, start, solver=None) -> Iterator[Epoch]:
    """Yield an `Epoch` after each epoch of the chosen solver, until the stop rule ends them.

    `problems` (pair of Problem): see `pose`.
    `seen`: of all rows as the user wrote and weighed them; the states get these.
    `solver`: one that knows the rows from another penalty.
    """
    problem, steps = problems
    rows, scaling = problem.rows, problem.rows.scaling
    theta = scaling.to_scaled(*(start or constant_model(settings, problem.moments)))
    solver = solver or solvers.of(rows, problem.objective)
    sweeps = Sweeps(settings, steps, seed, scaling)
    of_target = problem.moments.of_columns(slice(-1, None))
    stop = StopRule(settings, rounding_loss(settings.loss, of_target)[0])
    for number in range(1, settings.max_iter + 1):
        sweeps.rate, steps_before = stop.rate, sweeps.rows_seen
        with blas_threads(rows.n_rows, rows.n_coordinates - 1, settings.tuning):
            theta, loss, distance = solver.run(theta, sweeps)
        reason = stop.update(number, float(loss), distance)
        products = CrossProducts(seen, None)
        if rows.n_coordinates <= settings.tuning.max_stream_features + 1:
            products = solver.cross_products(theta, seen)
        state = State.after_fit(
            products,
            *scaling.to_original(theta),
            rows_seen=number * rows.n_rows,
            steps=sweeps.rows_seen,
            seed=seed,
        )
        rate = sweeps.rate if sweeps.rows_seen > steps_before else None
        choice = Choice(
            solver.substitute or solvers.choice.solver, solvers.choice.reason + solver.note
        )
        yield Epoch(number, rate, float(loss), distance, state, reason, choice)
        if reason is not None:
            return


def run_targets_together(training):
    """Yield one `Epoch` for all targets after each epoch, until all have stopped."""
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
    """Return one `Epoch` for all targets, with the mean loss and the largest distance."""
    last = max(current, key=lambda epoch: epoch.number)
    distances = [epoch.distance for epoch in current]
    return Epoch(
        last.number,
        last.rate,
        float(np.mean([epoch.loss for epoch in current])),
        None if None in distances else max(distances),
        MultiTargetState(tuple(epoch.state for epoch in current)),
        combined_reason([epoch.stop_reason for epoch in current]),
        last.choice,
    )

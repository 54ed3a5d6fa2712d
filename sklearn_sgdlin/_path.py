"""Paths: fits for one penalty after the other, which share what the rows alone decide."""

from dataclasses import replace

import numpy as np

from ._choose import choose
from ._exact_fit import ProductFits
from ._fit import (
    epochs,
    facts_of_rows,
    pose_target,
    run_targets_together,
    scaled_weights,
    train,
)
from ._solvers import Solvers
from ._validation import as_c_ordered
from .model.objective import Objective


def path(grid, X, y, sample_weight, seed):
    """Yield the last `Epoch` of a fit for each of several settings.

    Each fit begins with the model of the last one. Where products of columns are the way to the
    optimum, they are summed up once; and with the working sets of "coordinate-descent" each fit
    begins with the last set. So penalties are best in descending order. The settings differ in
    ``l1`` and ``l2`` alone. The states have no products of columns, which only streams need.
    """
    products, sets, start = None, None, None
    for settings in grid:
        settings = replace(settings, tuning=replace(settings.tuning, max_stream_features=0))
        facts, training = facts_of_rows(settings, X, y), None
        choice = choose(facts, settings.tuning, settings.solver)
        if ProductFits.serve(settings, choice, X.shape[1]):
            if products is None:
                weight, unit = scaled_weights(settings, sample_weight)
                targets = np.ascontiguousarray(y.reshape(len(y), -1))
                products = ProductFits(settings, X, targets, weight)
            exact = products.fit(settings)
            training = exact and exact.epochs(choice, unit, seed, single=y.ndim == 1)
        elif choice.solver == "coordinate-descent":
            sets = sets or _SetPath(settings, X, y, sample_weight, seed)
            training = sets.epochs(settings, start)
        *_, epoch = training or epochs(settings, X, y, sample_weight, seed, start)
        start = epoch.state.returned_coef, epoch.state.returned_intercept
        yield epoch


class _SetPath:
    """Fits with a working set of columns for each target."""

    def __init__(self, settings, X, y, sample_weight, seed):
        weight, unit = scaled_weights(settings, sample_weight)
        X, facts = as_c_ordered(X), facts_of_rows(settings, X, y)
        choice = choose(facts, settings.tuning, settings.solver)
        self.shared, self.seed = Solvers(settings, facts, choice, seed, X, weight), seed
        self.single, targets = y.ndim == 1, np.ascontiguousarray(y.reshape(len(y), -1).T)
        self.posed = [pose_target(settings, self.shared, unit, target) for target in targets]
        problems = [problem for (problem, _), _ in self.posed]
        self.solvers = [self.shared.of(problem.rows, problem.objective) for problem in problems]

    def epochs(self, settings, start):
        """Return the epochs of a fit, or None where a set has become too large."""
        if any(solver.fallback is not None for solver in self.solvers):
            return None
        targets = list(zip(self.posed, self.solvers, strict=True))
        if self.single:
            return self._of_target(settings, *targets[0], start)
        starts = zip(*start, strict=True) if start is not None else (None,) * len(targets)
        training = [
            self._of_target(settings, *target, of_target)
            for target, of_target in zip(targets, starts, strict=True)
        ]
        return run_targets_together(training)

    def _of_target(self, settings, posed, solver, start):
        problems, seen = posed
        scale = problems[0].rows.scaling.scale
        solver.objective = Objective.of(
            settings.loss, settings.l1, settings.l2, settings.positive, scale
        )
        return train(
            settings, self.shared, problems, seen, seed=self.seed, start=start, solver=solver
        )

"""Paths: fits for one penalty after the other, which share what the rows alone decide."""

from dataclasses import replace

import numpy as np

from ._choose import choose
from ._exact_fit import ProductFits
from ._fit import epochs, facts_of_rows, posed_targets, scaled_weights, train_targets
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
        facts = facts_of_rows(settings, X, y)
        choice = choose(facts, settings.tuning, settings.solver)
        self.shared = Solvers(settings, facts, choice, seed, as_c_ordered(X), weight)
        self.posed, self.single = posed_targets(settings, self.shared, y, unit), y.ndim == 1
        problems = [problem for (problem, _), _ in self.posed]
        self.solvers = [self.shared.of(problem.rows, problem.objective) for problem in problems]

    def epochs(self, settings, start):
        """Return the epochs of a fit, or None where a set has become too large."""
        if any(solver.fallback is not None for solver in self.solvers):
            return None
        for solver in self.solvers:
            solver.objective = Objective.of(
                *(settings.loss, settings.l1, settings.l2, settings.positive),
                solver.rows.scaling.scale,
            )
        single, solvers = self.single, self.solvers
        return train_targets(
            settings, self.shared, self.posed, start, single=single, solvers=solvers
        )

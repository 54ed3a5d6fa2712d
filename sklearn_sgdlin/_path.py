"""Paths: fits for one penalty after the other, which share what the rows alone decide."""

from functools import cached_property

import numpy as np

from ._choose import choose
from ._exact_fit import ProductFits
from ._fit import epochs, facts_of_rows, pose_target, scaled_weights, train
from ._solvers import Solvers
from ._validation import as_c_ordered
from .model.objective import Objective


def path(grid, X, y, sample_weight, seed):
    """Yield the last `Epoch` of a fit for each of several settings.

    Each fit begins with the model of the last one. Where products of columns are the way to the
    optimum, they are summed up once; and with the working sets of "coordinate-descent" each fit
    begins with the last set. So penalties are best in descending order.

    Parameters
    ----------
    grid : sequence of Settings
        They differ in ``l1`` and ``l2`` alone.
    X, y, sample_weight, seed : see `epochs`
    """
    products, sets, start = None, None, None
    for settings in grid:
        choice = choose(facts_of_rows(settings, X, y), settings.tuning, settings.solver)
        if ProductFits.serve(settings, choice, X.shape[1]):
            products = products or _ProductPath(settings, X, y, sample_weight, seed)
            training = products.epochs(settings, choice)
        elif choice.solver == "coordinate-descent" and y.ndim == 1:
            sets = sets or _SetPath(settings, X, y, sample_weight, seed)
            training = sets.epochs(settings, start)
        else:
            training = None
        if training is None:
            training = epochs(settings, X, y, sample_weight, seed, start)
        *_, epoch = training
        start = epoch.state.returned_coef, epoch.state.returned_intercept
        yield epoch


class _ProductPath:
    """Fits from the products of columns, for all targets at once."""

    def __init__(self, settings, X, y, sample_weight, seed):
        weight, self.unit = scaled_weights(settings, sample_weight)
        self.seed, self.single = seed, y.ndim == 1
        targets = np.ascontiguousarray(y.reshape(len(y), -1))
        self.fits = ProductFits(settings, X, targets, weight)

    def epochs(self, settings, choice):
        """Return the epochs of a fit, or None where products have lost too many digits."""
        exact = self.fits.fit(settings)
        if exact is None:
            return None
        return exact.epochs(choice, self.unit, self.seed, single=self.single)


class _SetPath:
    """Fits with a working set of columns, for one target."""

    def __init__(self, settings, X, y, sample_weight, seed):
        weight, unit = scaled_weights(settings, sample_weight)
        X, facts = as_c_ordered(X), facts_of_rows(settings, X, y)
        choice = choose(facts, settings.tuning, settings.solver)
        self.solvers, self.seed = Solvers(settings, facts, choice, seed, X, weight), seed
        self.problems, self.seen = pose_target(settings, self.solvers, unit, y)

    @cached_property
    def _solver(self):
        problem, _ = self.problems
        return self.solvers.of(problem.rows, problem.objective)

    def epochs(self, settings, start):
        """Return the epochs of a fit."""
        scale, solver = self.problems[0].rows.scaling.scale, self._solver
        solver.objective = Objective.of(
            settings.loss, settings.l1, settings.l2, settings.positive, scale
        )
        return train(
            settings,
            self.solvers,
            self.problems,
            self.seen,
            seed=self.seed,
            start=start,
            solver=solver,
        )

"""Paths of squared error with kinks and many sparse columns, which all penalties share."""

from ..linalg.blocks import with_last
from ..model.loss import SQUARED_ERROR
from ..model.objective import Objective
from ..model.settings import constant_model
from .base import MIN_TOL
from .coordinate_descent import CoordinateDescent
from .sparse_columns import SparseColumns, SparseSet

# Times that the solver is run for an alpha, at most.
MAX_RUNS = 5


def working_set_models(problem, penalties, settings):
    """Yield coef and intercept for each penalty, each found from the one before.

    The rows are sorted by columns once for all of them.

    Parameters
    ----------
    problem : Problem
        Its penalty does not matter.
    penalties : list of pairs (l1, l2)
    settings : Settings
    """
    rows, scaling = problem.rows, problem.rows.scaling
    variance = problem.moments.of_columns(slice(-1)).variance(settings.fit_intercept)
    curvature = with_last(variance, 1.0) * scaling.scale**2
    columns = SparseSet(rows, curvature, SparseColumns(rows))
    theta = scaling.to_scaled(*constant_model(settings, problem.moments))
    for l1, l2 in penalties:
        objective = Objective.of(SQUARED_ERROR, l1, l2, settings.positive, scaling.scale)
        solver = CoordinateDescent(rows, objective, MIN_TOL, settings.tuning, columns)
        for _ in range(MAX_RUNS):
            theta, _, distance = solver.run(theta)
            if distance <= MIN_TOL:
                break
        yield scaling.to_original(theta)

"""Training on the rows of a Dask cluster: the problem of each target, and its solver."""

from functools import partial

from ._fit import _method, run_targets_together, train
from .data.dask_partitions import DaskData, OnDask
from .data.problem import Problem
from .methods.distributed import (
    NEWTON_COORDINATES,
    ClusterEpoch,
    ExactClusterEpoch,
    NewtonClusterEpoch,
)

# Columns, and one, from which on their products are no longer added up over workers: half of that
# matrix is then more to send than all directions of a round.
MATRIX_COORDINATES = 101


def data_on_cluster(cluster, schema, settings, weighted):
    """Return the `DaskData` of partitions of a schema: their sums, as far as a fit needs them."""
    with_products = settings.average and settings.quadratic
    return DaskData(
        cluster,
        schema.n_features,
        schema.targets,
        by_largest_weight=settings.precondition and weighted,
        with_products=with_products and schema.n_features < MATRIX_COORDINATES,
    )


def epochs_on_cluster(settings, data, seed, start):
    """Train like `epochs`, on `DaskData`."""
    training = partial(_epochs, settings, data, seed)
    if not data.target_shape:
        return training(0, start)
    starts = [None] * len(data.targets) if start is None else zip(*start, strict=True)
    return run_targets_together(list(map(training, data.targets, starts)))


def _epochs(settings, data, seed, target, start):
    """Train on one target on a cluster."""
    moments = data.moments(target)
    problem = Problem.on(partial(OnDask, data, target), settings, moments)
    rows, objective, tol = problem.rows, problem.objective, settings.tol or 0.0
    if not (settings.average and settings.quadratic):
        method = _method(settings, rows, objective)
    elif data.cross_products.factor is not None:
        method = ExactClusterEpoch(rows, objective, tol, data.cross_products)
    elif rows.n_coordinates <= NEWTON_COORDINATES:
        method = NewtonClusterEpoch(rows, objective, tol, seed)
    else:
        method = ClusterEpoch(rows, objective, tol)
    seen = moments.with_weights_scaled(data.unit)
    return train(settings, problem, method, seen, seed, start)

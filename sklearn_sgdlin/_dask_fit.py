"""Training on the rows of a Dask cluster: the problem of each target, and its solver."""

from functools import partial

from ._fit import pose, run_targets_together, train
from ._solvers import Solvers, facts_of
from .data.dask_partitions import DaskData, OnDask


def data_on_cluster(cluster, schema, settings, weighted):
    """Return the `DaskData` of partitions of a schema."""
    return DaskData(
        cluster,
        schema.n_features,
        schema.targets,
        by_largest_weight=settings.precondition and weighted,
    )


def epochs_on_cluster(settings, data, seed, start):
    """Train like `epochs`, on `DaskData`."""
    n_rows, _, n_entries = data.sizes.sum(axis=0)
    facts = facts_of(
        settings,
        n_rows=int(n_rows),
        n_features=data.n_features,
        n_entries=int(n_entries),
        sparse=False,
        distributed=True,
    )
    training = partial(_train_target, settings, Solvers(settings, facts, seed), data, seed)
    if not data.target_shape:
        return training(0, start)
    starts = [None] * len(data.targets) if start is None else zip(*start, strict=True)
    return run_targets_together(list(map(training, data.targets, starts)))


def _train_target(settings, solvers, data, seed, target, start):
    """Train on one target on a cluster."""
    moments = data.moments(target)
    problems = pose(settings, partial(OnDask, data, target), moments)
    seen = moments.with_weights_scaled(data.unit)
    return train(settings, solvers, problems, seen, seed=seed, start=start)

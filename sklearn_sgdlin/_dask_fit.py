"""Training on the rows of a Dask cluster: the problem of each target, and its solver."""

from functools import partial, reduce

import numpy as np

from ._choose import choose
from ._fit import pose, train_targets
from ._solvers import Solvers, facts_of
from .data.dask_partitions import OnDask, named
from .model.moments import Moments, joint_moments


class DaskData:
    """All rows on a cluster, as far as they are known here: their sums.

    `unit` is what weights have been divided by: 1, or the largest. `sizes` has the number of rows,
    the sum of weights and the number of stored entries of each worker, and `all_moments` are those
    of the columns of X and all targets.
    """

    def __init__(self, cluster, schema, by_largest_weight):
        self.cluster = cluster
        self.n_features, self.target_shape = schema.n_features, schema.targets
        self.unit = max(cluster.call(_largest_weight)) if by_largest_weight else 1.0
        sizes, sums = zip(*cluster.call(_summarize, self.unit), strict=True)
        self.sizes = np.array(sizes)
        self.all_moments = reduce(Moments.merge, sums)

    @property
    def targets(self):
        """Numbers of the targets."""
        return range(len(self.all_moments.mean) - self.n_features)

    def moments(self, target):
        """Return the moments of the columns of X, and of a target, last."""
        columns = [*range(self.n_features), self.n_features + target]
        return self.all_moments.of_columns(columns)


def _largest_weight(actor):
    return float(max(weight.max() for _, _, weight in actor.parts.values()))


def _summarize(actor, unit):
    """Divide weights by their unit; return the sizes of a worker's rows, and their moments.

    From then on targets are rows of y.
    """
    sizes, sums = [], []
    for number, (X, y, weight) in actor.parts.items():
        weight = None if weight is None else weight / unit
        y = np.ascontiguousarray(y.reshape(len(y), -1).T)
        actor.parts[number] = X, y, weight
        with named(number):
            sums.append(joint_moments(X, y, weight))
        n_rows = X.shape[0]
        sizes.append((n_rows, n_rows if weight is None else weight.sum(), X.size))
    return np.sum(sizes, axis=0), reduce(Moments.merge, sums)


def epochs_on_cluster(settings, data, seed, start):
    """Yield the epochs of a fit on `DaskData`; see `epochs`."""
    n_rows, _, n_entries = data.sizes.sum(axis=0)
    facts = facts_of(
        settings,
        n_rows=int(n_rows),
        n_features=data.n_features,
        n_entries=int(n_entries),
        n_targets=len(data.targets),
        sparse=False,
        distributed=True,
    )
    choice = choose(facts, settings.tuning, settings.solver)
    posed = []
    for target in data.targets:
        moments = data.moments(target)
        problems = pose(settings, partial(OnDask, data, target), moments)
        posed.append((problems, moments.with_weights_scaled(data.unit)))
    solvers = Solvers(settings, facts, choice, seed)
    return train_targets(settings, solvers, posed, start, single=not data.target_shape)

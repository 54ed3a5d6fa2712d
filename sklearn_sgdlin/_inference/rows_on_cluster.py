"""The rows that a model was fitted to as a dask collection: each partition sums up its own."""

from functools import partial

import dask

from .._dask_data import is_collection, zipped
from .._validation import without_rows
from ..data.dask_partitions import check_versions, named
from ..data.sums import add_up
from .rows import RowsInMemory

__all__ = ["RowsOnCluster", "is_collection"]


class RowsOnCluster:
    """Rows on a Dask cluster, with the methods of `RowsInMemory`."""

    def __init__(self, model, client, X, y, sample_weight):
        check_versions(client)
        self.client, self.model = client, dask.delayed(model)
        self.parts = list(enumerate(zipped(X, y, sample_weight)))
        self.n_rows, self.weight = add_up(self._call("sizes"))

    def _call(self, method, *args):
        """Return the results of a method of each partition; those without rows are left out."""
        task = partial(dask.delayed(_of_partition), self.model)
        results = self.client.compute(
            [task(number, part, method, args) for number, part in self.parts]
        )
        return [result for result in self.client.gather(results) if result is not None]

    def each(self, *args):
        """See `RowsInMemory`."""
        for results in self._call("results", *args):
            yield from results

    def sum(self, *args):
        """See `RowsInMemory`."""
        return add_up(self.each(*args))

    def sums_by_residuals(self, *args):
        """See `RowsInMemory`."""
        return add_up(self._call("sums_by_residuals", *args))

    def check_finite(self, sums):
        """See `RowsInMemory`."""
        self._call("check_finite", sums)


class Partition(RowsInMemory):
    """The rows of a partition, in the thread of its worker."""

    def _map(self, run):
        return map(run, [slice(0, self.X.shape[0])])

    def sizes(self):
        """Return the number of rows of positive weight, and the sum of weights."""
        return self.n_rows, self.weight

    def results(self, *args):
        """Return the results of `each`, as a list."""
        return list(self.each(*args))


def _of_partition(model, number, part, method, args):
    """Return the result of a method of a partition, or None of one without rows or weight."""
    weight = part[2]
    if without_rows(*part) or (weight is not None and not weight.any()):
        return None
    with named(number):
        return getattr(Partition(model, *part), method)(*args)

"""Rows of large arrays as ranges, which threads go through at the same time.

How many ranges there are follows from the data alone, and what they return is added up in their
order. So a model is the same to the last bit with any number of threads.
"""

from functools import partial, reduce
from itertools import pairwise

import numpy as np
from scipy.sparse import issparse

from ..linalg.blas import OneThread, available_threads
from ..linalg.blocks import csr_row_slice
from ..linalg.threads import map_in_threads
from ..model.moments import Moments
from .csr import make_rows
from .partitions import InMemory

# Entries of a range for each coordinate, at least: then the sums and the work space of a range,
# some numbers for each coordinate, are small beside it.
ENTRIES_PER_COORDINATE = 8

# Rows of a path of SGD for each coordinate, at least. A shorter path does not get far from the
# model that all paths begin with.
PATH_ROWS_PER_COORDINATE = 10


def n_ranges(n_rows, n_entries, n_coordinates, sparse, tuning):
    """Return how many ranges rows are cut into, a power of two, so that threads get equal shares.

    Dense ranges have at least as many rows as coordinates: matrices that are summed up over them
    then take no more memory than the rows.
    """
    least = max(tuning.min_range_entries, ENTRIES_PER_COORDINATE * n_coordinates)
    number = min(tuning.max_ranges, n_entries // least)
    if not sparse:
        number = min(number, n_rows // n_coordinates)
    return _power_of_two(number)


def rows_in_memory(X, y, sample_weight, scaling, *, tuning, one_path):
    """Return the `Partitions` of arrays: in ranges, or in one part where they are small.

    `one_path` says whether a sweep goes through all rows one after the other.
    """
    rows = make_rows(X, y, sample_weight, scaling)
    number = _number_of(X, tuning)
    return InMemory([rows]) if number == 1 else RowRanges(rows, number, one_path)


def row_ranges(X, tuning, n_targets=0, n_rows=None):
    """Return slices that cover the rows of X, or so many of them, and targets read with them."""
    n_rows = X.shape[0] if n_rows is None else n_rows
    return _slices(n_rows, _number_of(X, tuning, n_targets, n_rows))


def moments_of(X, sample_weight, tuning):
    """Return the `Moments` of the columns of X, of ranges at the same time where it is large."""
    parts = row_ranges(X, tuning)
    if len(parts) == 1:
        return Moments.of(X, sample_weight)
    task = partial(_moments_of_range, X, sample_weight)
    result = reduce(Moments.merge, in_threads(task, parts))
    result.check([X])
    return result


def in_threads(task, items):
    """Yield the results of a task on each item, in as many threads as BLAS may use."""
    if len(items) == 1:  # small data, where to limit BLAS would take longer
        yield task(items[0])
        return
    with OneThread():
        yield from map_in_threads(task, items, available_threads())


class RowRanges(InMemory):
    """Ranges of rows in this process, a power of two of them, in threads.

    With `one_path` a sweep goes through all rows one after the other, as textbooks have it.
    Otherwise ranges are swept at the same time, each from the same model, and a sweep returns the
    means of where they lead: a search finds the best length of a step.
    """

    def __init__(self, whole, number, one_path):
        super().__init__([whole.range(part) for part in _slices(whole.n_rows, number)])
        self.whole, self.weight, self.one_path = whole, whole.weight, one_path

    def _map(self, task):
        return in_threads(task, self.parts)

    def sweep(self, rng, *args, **options):
        """See `Partitions`."""
        paths = self._paths()
        if len(paths) == 1:
            return InMemory(paths).sweep(rng, *args, **options)
        seeds = [None] * len(paths) if rng is None else rng.integers(2**32, size=len(paths))

        def end_and_averages(path):
            rows, seed = path
            rng = None if seed is None else np.random.default_rng(seed)
            return rows.weight * np.hstack(InMemory([rows]).sweep(rng, *args, **options))

        total = sum(in_threads(end_and_averages, list(zip(paths, seeds, strict=True))))
        return total[:, :1] / self.weight, total[:, 1:] / self.weight

    def _paths(self):
        """Return the rows of each path of a sweep: ranges, or several of them together."""
        if self.one_path:
            return [self.whole]
        affordable = self.n_rows // (PATH_ROWS_PER_COORDINATE * self.n_coordinates)
        number = _power_of_two(min(len(self.parts), affordable))
        if number == len(self.parts):
            return self.parts
        return [self.whole.range(part) for part in _slices(self.n_rows, number)]


def _number_of(X, tuning, n_targets=0, n_rows=None):
    n_rows = X.shape[0] if n_rows is None else n_rows
    n_entries = X.nnz * n_rows // X.shape[0] if issparse(X) else n_rows * X.shape[1]
    return n_ranges(n_rows, n_entries + n_rows * n_targets, X.shape[1] + 1, issparse(X), tuning)


def _power_of_two(number):
    """Return the largest power of two up to a number, at least 1."""
    return 1 << max(int(number).bit_length() - 1, 0)


def _slices(n_rows, number):
    """Return slices of as many rows each, but for one."""
    ends = n_rows * np.arange(number + 1) // number
    return [slice(int(start), int(stop)) for start, stop in pairwise(ends)]


def _moments_of_range(X, sample_weight, part):
    weight = None if sample_weight is None else sample_weight[part]
    if not issparse(X):
        return Moments.of(X[part], weight)
    X = csr_row_slice(X, part)
    if weight is None or weight.any():
        return Moments.of(X, weight)
    none = np.zeros_like(Moments.of(X).mean)  # they are checked, but do not count
    return Moments(0, 0.0, none, none)

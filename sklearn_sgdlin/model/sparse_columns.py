"""What a stream of sparse rows keeps of its columns, in versions that share their arrays."""

from itertools import pairwise
from threading import Lock
from typing import NamedTuple

import numpy as np

from ..linalg.blocks import divided
from .moments import Moments


class Columns(NamedTuple):
    """What a stream of sparse rows keeps of some columns, or of all, as arrays of one shape."""

    weight: np.ndarray  # of the rows that have a stored entry in the column
    mean: np.ndarray  # of the stored entries
    sum_of_squares: np.ndarray
    coef: np.ndarray  # this and the next ones are as in `State`
    returned_coef: np.ndarray
    given_coef: np.ndarray

    def take(self, numbers):
        """Return copies of some of the columns."""
        return Columns(*(array.take(numbers) for array in self))

    def put(self, numbers, columns):
        """Write some of the columns in place."""
        for array, values in zip(self, columns, strict=True):
            array[numbers] = values

    def with_entries(self, numbers, entries, sample_weight):
        """Return the columns with more stored entries (Chan, Golub & LeVeque, 1983).

        Of each entry there are the number of its column, among these, and the weight of its row.
        """

        def total(values):
            """Return the weighted sum of values of the entries in each column."""
            values = values if sample_weight is None else values * sample_weight
            return np.bincount(numbers, values, len(self.weight))

        weight = total(np.ones(len(entries)))
        mean = total(entries) / np.where(weight > 0, weight, 1.0)
        sum_of_squares = total((entries - mean[numbers]) ** 2)
        return self.with_moments(weight, mean, sum_of_squares)

    def with_moments(self, weight, mean, sum_of_squares):
        """Return the columns with the moments of more stored entries."""
        total = self.weight + weight
        fraction = divided(weight, total)
        difference = mean - self.mean
        between = difference**2 * (self.weight * fraction)
        return self._replace(
            weight=total,
            mean=self.mean + fraction * difference,
            sum_of_squares=self.sum_of_squares + sum_of_squares + between,
        )

    @property
    def square(self):
        """Weighted sum of the squares of the entries."""
        return self.sum_of_squares + self.weight * self.mean**2

    def moments(self, target):
        """Return the moments of all rows, those without an entry included, and of the target."""
        share = np.minimum(self.weight / target.weight, 1.0)
        squares = self.sum_of_squares + self.weight * (1 - share) * self.mean**2
        return Moments(
            target.rows,
            target.weight,
            np.append(share * self.mean, target.mean),
            np.append(squares, target.sum_of_squares),
        )

    def moments_of_scaling(self, target):
        """Return the moments by which sparse columns are scaled, and that of the target.

        A column is centred where its mean is larger than its standard deviation; then most rows
        have an entry in it. The moments of the others are about zero, so that a row moves no
        coefficient but those of its entries.
        """
        moments = self.moments(target)
        mean, squares = moments.mean[:-1], moments.sum_of_squares[:-1]
        far = target.weight * mean**2 > squares
        return Moments(
            target.rows,
            target.weight,
            np.append(np.where(far, mean, 0.0), target.mean),
            np.append(np.where(far, squares, self.square), target.sum_of_squares),
        )


class Difference(NamedTuple):
    """A version of columns that differs from another one in some columns."""

    other: "ColumnVersion"
    numbers: np.ndarray
    columns: Columns
    columns_of_other: Columns


class ColumnVersion:
    """Columns after a chunk, which share their arrays with those before (Baker, 1991).

    A version never changes for those who read it. One of them holds the arrays, and another one is
    a difference to it or to a third. The arrays are written where a difference is read: it takes
    them over, and the version that had them becomes a difference. So a chunk costs as much as it
    has columns, and one that failed, or was interrupted, has changed nothing.
    """

    _lock = Lock()  # several threads may read a model

    def __init__(self, columns):
        self._held = columns

    @property
    def columns(self):
        """Copies of the arrays."""
        return Columns(*(array.copy() for array in self.arrays))

    @property
    def arrays(self):
        """The arrays as `Columns`, to read at once: the next version that is read changes them."""
        with ColumnVersion._lock:
            chain = [self]
            while isinstance(chain[-1]._held, Difference):
                chain.append(chain[-1]._held.other)
            for other, version in pairwise(reversed(chain)):
                version._take_over(other)
            return self._held

    def changed(self, numbers, before, columns):
        """Return the version in which some columns, which are `before` in this one, are others."""
        version = ColumnVersion.__new__(ColumnVersion)
        version._held = Difference(self, numbers, columns, before)
        return version

    @property
    def latest(self):
        """Some of the columns, among them all that may not be finite."""
        held = self._held
        return held.columns if isinstance(held, Difference) else held

    def _take_over(self, other):
        """Take over the arrays of another version; on an interrupt nothing has changed."""
        difference, arrays = self._held, other._held
        _, numbers, columns, before = difference
        try:
            other._held = Difference(self, numbers, before, columns)
            arrays.put(numbers, columns)
            self._held = arrays
        except BaseException:
            arrays.put(numbers, before)
            self._held, other._held = difference, arrays
            raise

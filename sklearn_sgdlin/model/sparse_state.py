"""State of a stream of sparse rows, of which a chunk changes the columns of its entries only."""

from dataclasses import dataclass, replace
from math import isfinite
from typing import NamedTuple

import numpy as np

from .moments import Moments


class Columns(NamedTuple):
    """What a stream of sparse rows keeps of some columns, or of all, as arrays of one shape.

    Attributes
    ----------
    weight : ndarray
        Weight of the rows that have a stored entry in the column.
    mean, sum_of_squares : ndarray
        Moments of the stored entries.
    coef, returned_coef : ndarray
        As in `State`.
    """

    weight: np.ndarray
    mean: np.ndarray
    sum_of_squares: np.ndarray
    coef: np.ndarray
    returned_coef: np.ndarray

    def take(self, numbers):
        """Return copies of some of the columns."""
        return Columns(*(array.take(numbers) for array in self))

    def with_entries(self, numbers, entries, sample_weight):
        """Return the columns with more stored entries (Chan, Golub & LeVeque, 1983).

        Parameters
        ----------
        numbers : ndarray of shape (n_entries,)
            Number of the column of each entry, among these.
        entries : ndarray of shape (n_entries,)
        sample_weight : ndarray of shape (n_entries,) or None
            Of the row of each entry.
        """

        def total(values):
            """Return the weighted sum of values of the entries in each column."""
            values = values if sample_weight is None else values * sample_weight
            return np.bincount(numbers, values, len(self.weight))

        new_weight = total(np.ones(len(entries)))
        weight = self.weight + new_weight
        safe = np.where(new_weight > 0, new_weight, 1.0)
        new_mean = total(entries) / safe
        new_squares = total((entries - new_mean[numbers]) ** 2)
        fraction = np.divide(new_weight, weight, out=np.zeros(len(weight)), where=weight > 0)
        difference = new_mean - self.mean
        return self._replace(
            weight=weight,
            mean=self.mean + fraction * difference,
            sum_of_squares=self.sum_of_squares
            + new_squares
            + difference**2 * (self.weight * fraction),
        )

    @property
    def square(self):
        """Weighted sum of the squares of the entries."""
        return self.sum_of_squares + self.weight * self.mean**2

    def moments(self, target):
        """Return the moments by which sparse columns are scaled, and that of the target.

        A column is centred where its mean is larger than its standard deviation; then most rows
        have an entry in it. The moments of the others are about zero, so that a row moves no
        coefficient but those of its entries.
        """
        share = np.minimum(self.weight / target.weight, 1.0)
        mean = share * self.mean
        centred_squares = self.sum_of_squares + self.weight * (1 - share) * self.mean**2
        far = target.weight * mean**2 > centred_squares
        return Moments(
            target.rows,
            target.weight,
            np.append(np.where(far, mean, 0.0), target.mean),
            np.append(np.where(far, centred_squares, self.square), target.sum_of_squares),
        )


class Update(NamedTuple):
    """What a chunk changes, before it is written.

    Attributes
    ----------
    numbers : ndarray of shape (n_changed,)
        Of the columns.
    before, columns : Columns
        Of these numbers, before and after the chunk.
    """

    numbers: np.ndarray
    before: Columns
    columns: Columns


@dataclass(frozen=True)
class SparseState:
    """What a stream of sparse rows with many columns passes on, for one target.

    Its arrays are written in place, by `settled` alone, so that a chunk costs as much as it has
    entries, whatever the number of columns.

    Attributes
    ----------
    columns : Columns
        Of shape (n_features,).
    far : ndarray of int
        Numbers of the columns that are centred; they take part in every chunk.
    n_columns : int
        Number of columns that had an entry.
    target : Moments
        Of y.
    intercept, returned_intercept, rows_seen, steps, average_rows, residuals, fitted, seed
        As in `State`.
    update : Update or None
        Columns as of the last chunk that are not written yet.
    """

    columns: Columns
    far: np.ndarray
    n_columns: int
    target: Moments
    intercept: float
    returned_intercept: float
    rows_seen: int
    steps: int
    average_rows: float
    residuals: np.ndarray
    fitted: bool
    seed: int
    update: Update | None = None

    sparse = True
    has_products = False

    @classmethod
    def first(cls, n_features, intercept, seed):
        """Return the state before the first chunk: a constant model, and no columns."""
        return cls(
            Columns(*(np.zeros(n_features) for _ in Columns._fields)),
            far=np.empty(0, dtype=np.intp),
            n_columns=0,
            target=Moments(0, 0.0, np.zeros(1), np.zeros(1)),
            intercept=intercept,
            returned_intercept=intercept,
            rows_seen=0,
            steps=0,
            average_rows=0.0,
            residuals=np.empty((2, 0)),
            fitted=False,
            seed=seed,
        )

    @classmethod
    def of(cls, state):
        """Return the state that goes on from a `State`, of dense rows or a fit."""
        moments = state.moments
        columns, (target,) = moments.of_columns(slice(-1)), [moments.of_columns(slice(-1, None))]
        n_features = len(state.coef)
        columns = Columns(
            np.full(n_features, moments.weight),
            columns.mean.copy(),
            columns.sum_of_squares.copy(),
            state.coef.copy(),
            state.returned_coef.copy(),
        )
        return cls(
            columns,
            np.flatnonzero(columns.moments(target).mean[:-1]),
            n_features,
            target,
            state.intercept,
            state.returned_intercept,
            state.rows_seen,
            state.steps,
            state.average_rows,
            state.residuals,
            state.fitted,
            state.seed,
        )

    @property
    def coef(self):
        """The last iterate of SGD, in the units of the data."""
        return self.columns.coef

    @property
    def returned_coef(self):
        """The average of the iterates."""
        return self.columns.returned_coef

    @property
    def finite(self):
        """Whether all coefficients and intercepts are finite, those of the update included."""
        columns = self.columns if self.update is None else self.update.columns
        return (
            isfinite(self.intercept)
            and isfinite(self.returned_intercept)
            and bool(np.isfinite(columns.coef).all() and np.isfinite(columns.returned_coef).all())
        )

    def model(self, average):
        """Return coef and intercept of the average or of the last iterate, not as copies."""
        if average:
            return self.returned_coef, self.returned_intercept
        return self.coef, self.intercept

    def with_constant_model(self, intercept):
        """Return the state with an update to a constant model."""
        columns = self.update.columns
        zeros = np.zeros(len(columns.coef))
        update = self.update._replace(columns=columns._replace(coef=zeros, returned_coef=zeros))
        return replace(self, intercept=intercept, returned_intercept=intercept, update=update)

    def settled(self):
        """Return the state with its update written to the arrays; on an interrupt with nothing."""
        if self.update is None:
            return self
        try:
            self._write(self.update.numbers, self.update.columns)
            return replace(self, update=None)
        except BaseException:
            self._write(self.update.numbers, self.update.before)
            raise

    def _write(self, numbers, columns):
        for array, values in zip(self.columns, columns, strict=True):
            array[numbers] = values

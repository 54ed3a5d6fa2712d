"""State of a stream of sparse rows, of which a chunk changes the columns of its entries only."""

from math import isfinite
from typing import NamedTuple

import numpy as np

from ..linalg.blocks import divided
from .cross_products import CrossProducts
from .moments import Moments
from .sparse_columns import Columns, ColumnVersion
from .state import State, nonnegative


class SparseState(NamedTuple):
    """What a stream of sparse rows with many columns passes on, for one target; never modified.

    What is not described here is as in `State`.
    """

    version: ColumnVersion  # of the columns
    far: np.ndarray  # numbers of the columns that are centred; they take part in every chunk
    n_columns: int  # columns that had an entry
    target: Moments  # of y
    intercept: float
    returned_intercept: float
    rows_seen: int
    steps: int
    average_rows: float
    residuals: np.ndarray
    fitted: bool
    seed: int

    sparse = True
    has_products = False

    @classmethod
    def first(cls, n_features, intercept, seed):
        """Return the state before the first chunk: a constant model, and no columns."""
        state = cls.of(State.without_rows(n_features, seed))
        return state._replace(intercept=intercept, returned_intercept=intercept, fitted=False)

    @classmethod
    def of(cls, state):
        """Return the state that goes on from a `State`, of dense rows or a fit."""
        if state.sparse:
            return state
        moments, names = state.moments, set(cls._fields) & set(State._fields)
        columns = moments.of_columns(slice(-1))
        same = {name: getattr(state, name) for name in names}
        target = moments.of_columns(slice(-1, None))
        models = state.coef, state.returned_coef, state.given_coef
        arrays = np.full(len(state.coef), moments.weight), columns.mean, columns.sum_of_squares
        columns = Columns(*(array.copy() for array in (*arrays, *models)))
        return cls(None, None, 0, target, **same)._with_columns(columns)

    def dense(self):
        """Return the `State` that goes on from this one, whose chunks change all columns."""
        columns, names = self.version.columns, set(self._fields) & set(State._fields)
        return State(
            CrossProducts(columns.moments(self.target), None),
            coef=columns.coef,
            returned_coef=columns.returned_coef,
            given_coef=columns.given_coef,
            grown_at=np.zeros(len(columns.coef)),
            **{name: getattr(self, name) for name in names},
        )

    def merge(self, other):
        """Return the state after the rows of both.

        Coefficients are the means by the weight of the rows with an entry in their column, those
        of centred columns and intercepts the means by the number of rows.
        """
        ours, theirs = self.version.columns, other.version.columns
        target = self.target.merge(other.target)
        columns = ours.with_moments(*theirs[:3])
        of_rows = other.target.rows / target.rows
        share = divided(theirs.weight, columns.weight)
        share[columns.moments_of_scaling(target).mean[:-1] != 0] = of_rows
        models = {
            name: (1 - share) * getattr(ours, name) + share * getattr(theirs, name)
            for name in ("coef", "returned_coef", "given_coef")
        }
        return self._replace(
            target=target,
            intercept=(1 - of_rows) * self.intercept + of_rows * other.intercept,
            returned_intercept=(1 - of_rows) * self.returned_intercept
            + of_rows * other.returned_intercept,
            rows_seen=self.rows_seen + other.rows_seen,
            steps=self.steps + other.steps,
            average_rows=self.average_rows + other.average_rows,
            residuals=np.hstack([self.residuals, other.residuals]),
            fitted=self.fitted and other.fitted,
        )._with_columns(columns._replace(**models))

    def with_model(self, coef, intercept):
        """Return the state with another model, for the last iterate as well."""
        columns = self.version.columns._replace(coef=coef, returned_coef=coef.copy())
        state = self._replace(version=ColumnVersion(columns))
        return state._replace(intercept=intercept, returned_intercept=intercept)

    def with_given(self, coef, intercept):
        """Return the state that goes on from a model of the user."""
        state = self.with_model(coef, intercept)._replace(fitted=True)
        columns = state.version.arrays._replace(given_coef=coef.copy())
        return state._replace(version=ColumnVersion(columns))

    def nonnegative(self, fit_intercept):
        """Return the state whose models have no negative coefficient."""
        columns = self.version.columns
        mean = columns.moments_of_scaling(self.target).mean[:-1] * fit_intercept
        coef, intercept = nonnegative(columns.coef, self.intercept, mean)
        returned, returned_intercept = nonnegative(
            columns.returned_coef, self.returned_intercept, mean
        )
        given_coef = np.maximum(columns.given_coef, 0.0)
        columns = columns._replace(coef=coef, returned_coef=returned, given_coef=given_coef)
        return self._replace(
            version=ColumnVersion(columns),
            intercept=intercept,
            returned_intercept=returned_intercept,
        )

    def _with_columns(self, columns):
        """Return the state with all columns, and what follows from them."""
        far = np.empty(0, dtype=np.intp)
        if self.target.weight:
            far = np.flatnonzero(columns.moments_of_scaling(self.target).mean[:-1])
        n_columns = int(np.count_nonzero(columns.weight))
        return self._replace(version=ColumnVersion(columns), far=far, n_columns=n_columns)

    @property
    def coef(self):
        """The last iterate of SGD, in the units of the data; see `ColumnVersion.arrays`."""
        return self.version.arrays.coef

    @property
    def returned_coef(self):
        """The average of the iterates; see `ColumnVersion.arrays`."""
        return self.version.arrays.returned_coef

    @property
    def finite(self):
        """Whether all coefficients and intercepts are finite, if those before the chunk were."""
        columns = self.version.latest
        return (
            isfinite(self.intercept)
            and isfinite(self.returned_intercept)
            and bool(np.isfinite(columns.coef).all() and np.isfinite(columns.returned_coef).all())
        )

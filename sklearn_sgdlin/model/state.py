"""What training carries from one call to the next."""

from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from .cross_products import CrossProducts

NEW_ROWS = 10  # per coordinate, up to which any growth of a variance counts,
GROWTH = 2.0  # and beyond which that by this factor does
WAKING = 100.0  # by which a variance grows where all before tells next to nothing of a column


@dataclass(frozen=True)
class State:
    """All that training carries from one call to the next; replaced, never changed.

    Attributes
    ----------
    scatter : CrossProducts
        Of the columns of X and y in all rows seen; with products where columns are few and the
        objective is quadratic.
    coef, intercept
        The last iterate of SGD, in the units of the data.
    returned_coef, returned_intercept
        The average of the path, or the best model known: what is returned.
    rows_seen : int
        Rows learned from, in all epochs and chunks.
    steps : int
        Steps of SGD taken: at most one for each row seen.
    average_rows : float
        Steps in the average.
    residuals : ndarray of shape (2, n_recent)
        Of some of the latest rows of a stream before they were learned, where they tell its rate:
        those of the last iterate, and of the average.
    fitted : bool
        Whether the stream, if it is one, goes on from a fit.
    grown_at : ndarray of shape (n_features,)
        Rows seen when the variance of each column last grew by the factor `WAKING`.
    seed : int
        Of all random numbers: those of a sweep come from (seed, rows_seen), so a copy of
        the state in mid-stream goes on exactly as the original.
    """

    scatter: CrossProducts
    coef: np.ndarray
    intercept: float
    returned_coef: np.ndarray
    returned_intercept: float
    rows_seen: int
    steps: int
    average_rows: float
    residuals: np.ndarray
    fitted: bool
    grown_at: np.ndarray
    seed: int

    @property
    def moments(self):
        """Moments of the columns of X, and of y, last."""
        return self.scatter.moments

    def with_growth(self, moments, fit_intercept):
        """The state that knows which columns vary much more with new rows."""
        columns = slice(len(self.coef))
        old = self.moments.of_columns(columns).variance(fit_intercept)
        grown = moments.of_columns(columns).variance(fit_intercept) > WAKING * old
        if not grown.any():
            return self
        return replace(self, grown_at=np.where(grown, self.moments.rows, self.grown_at))

    def carried_over(self, moments, fit_intercept):
        """The same models, where columns vary more with new rows than they did before.

        What a coefficient learned is worth as much less as the variance of its column has grown
        (Ross, Mineiro & Langford, 2013); else rows of an unseen size would meet predictions of
        any size. Predictions at the old mean stay.
        """
        columns = slice(len(self.coef))
        old = self.moments.of_columns(columns).variance(fit_intercept)
        new = moments.of_columns(columns).variance(fit_intercept)
        few = moments.rows < NEW_ROWS * (len(self.coef) + 1)
        grown = new > (old if few else GROWTH * old)
        if not grown.any():
            return self
        share = np.divide(old, new, out=np.ones(len(old)), where=grown)
        mean = self.moments.mean[columns]
        models = []
        for coef, intercept in (
            (self.coef, self.intercept),
            (self.returned_coef, self.returned_intercept),
        ):
            shift = float(mean @ (coef - share * coef)) if fit_intercept else 0.0
            models += [share * coef, intercept + shift]
        return replace(
            self,
            coef=models[0],
            intercept=models[1],
            returned_coef=models[2],
            returned_intercept=models[3],
        )

    def walked(self, coef, intercept, n_rows, n_steps):
        """The state with the last iterate after so many more rows, and steps of SGD."""
        return replace(
            self,
            coef=coef,
            intercept=intercept,
            rows_seen=self.rows_seen + n_rows,
            steps=self.steps + n_steps,
            average_rows=self.average_rows + n_rows,
        )

    @property
    def finite(self):
        """Whether all coefficients and intercepts are."""
        return (
            isfinite(self.intercept)
            and isfinite(self.returned_intercept)
            and bool(np.isfinite(self.coef).all() and np.isfinite(self.returned_coef).all())
        )

    def after(self, rows_seen, steps):
        """The same models after so many rows and steps."""
        if (rows_seen, steps) == (self.rows_seen, self.steps):
            return self
        return replace(self, rows_seen=rows_seen, steps=steps)


@dataclass(frozen=True)
class MultiTargetState:
    """States of several targets, each as if it were alone, read as one."""

    states: tuple[State, ...]

    @property
    def coef(self):
        """Last iterates, of shape (n_targets, n_features)."""
        return np.stack([state.coef for state in self.states])

    @property
    def intercept(self):
        """Their intercepts, of shape (n_targets,)."""
        return np.array([state.intercept for state in self.states])

    @property
    def returned_coef(self):
        """Averages or best models, of shape (n_targets, n_features)."""
        return np.stack([state.returned_coef for state in self.states])

    @property
    def returned_intercept(self):
        """Their intercepts, of shape (n_targets,)."""
        return np.array([state.returned_intercept for state in self.states])

    @property
    def rows_seen(self):
        """Rows seen by the target that saw most."""
        return max(state.rows_seen for state in self.states)

    @property
    def steps(self):
        """Steps taken by the target that took most."""
        return max(state.steps for state in self.states)

    @property
    def finite(self):
        """Whether all coefficients and intercepts are."""
        return all(state.finite for state in self.states)

    def after(self, rows_seen, steps):
        """The same models after so many rows and steps."""
        return MultiTargetState(tuple(state.after(rows_seen, steps) for state in self.states))

    @property
    def seed(self):
        """The seed, one for all: so each target is the model it would be alone."""
        return self.states[0].seed

"""What training carries from one call to the next."""

from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from ._scatter import Scatter


@dataclass(frozen=True)
class State:
    """All that training carries from one call to the next; replaced, never changed.

    Attributes
    ----------
    scatter : Scatter
        Of the columns of X and y in all rows seen; with products where columns are few and the
        objective is quadratic.
    coef, intercept
        The last iterate of SGD, in the units of the data.
    mean_coef, mean_intercept
        The average of the path, or the best model known: what is returned.
    rows_seen : int
        Steps taken, all epochs.
    average_rows : float
        Steps in the average.
    seed : int
        Of all random numbers: those of a sweep come from (seed, rows_seen), so a copy of
        the state in mid-stream goes on exactly as the original.
    """

    scatter: Scatter
    coef: np.ndarray
    intercept: float
    mean_coef: np.ndarray
    mean_intercept: float
    rows_seen: int
    average_rows: float
    seed: int

    @property
    def moments(self):
        """Moments of the columns of X, and of y, last."""
        return self.scatter.moments

    @property
    def finite(self):
        """Whether all coefficients and intercepts are."""
        return (
            isfinite(self.intercept)
            and isfinite(self.mean_intercept)
            and bool(np.isfinite(self.coef).all() and np.isfinite(self.mean_coef).all())
        )

    def after(self, rows_seen):
        """The same models after so many steps."""
        return self if rows_seen == self.rows_seen else replace(self, rows_seen=rows_seen)


@dataclass(frozen=True)
class Targets:
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
    def mean_coef(self):
        """Averages or best models, of shape (n_targets, n_features)."""
        return np.stack([state.mean_coef for state in self.states])

    @property
    def mean_intercept(self):
        """Their intercepts, of shape (n_targets,)."""
        return np.array([state.mean_intercept for state in self.states])

    @property
    def rows_seen(self):
        """Steps taken by the target that took most."""
        return max(state.rows_seen for state in self.states)

    @property
    def finite(self):
        """Whether all coefficients and intercepts are."""
        return all(state.finite for state in self.states)

    def after(self, rows_seen):
        """The same models after so many steps."""
        return Targets(tuple(state.after(rows_seen) for state in self.states))

    @property
    def seed(self):
        """The seed, one for all: so each target is the model it would be alone."""
        return self.states[0].seed

"""State: the models and statistics that training passes on from one call to the next."""

from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import numpy as np

from .cross_products import CrossProducts
from .moments import Moments

# Rows per coordinate up to which coefficients are rescaled for any growth of the variance of their
# column. So few rows estimate a variance badly, and predictions on the next ones may be far off.
FEW_ROWS_PER_COORDINATE = 10

# Growth of a variance from which coefficients are rescaled with more rows than that. Less growth
# cannot make predictions large, and rescaling at each chunk would shrink what was learned.
VARIANCE_GROWTH = 2.0

# Growth of a variance from which the rows before count as none for that column: they say next to
# nothing of its coefficient, so it is regularised like one seen for the first time.
NEW_COLUMN_GROWTH = 100.0


class State(NamedTuple):
    """What training passes on from one call to the next, for one target; never modified.

    Models are in the units of the data. In a stream that forgets, rows count by their age in all
    numbers of rows, as in the moments.
    """

    # Of the columns of X and y in all rows seen; with products where columns are few and the
    # objective is quadratic, else only moments.
    cross_products: CrossProducts
    coef: np.ndarray  # the last iterate of SGD
    intercept: float
    returned_coef: np.ndarray  # for the user: the optimum where it is known, else the average
    returned_intercept: float
    rows_seen: int  # rows learned from, in all epochs and chunks
    steps: int  # of SGD, at most one for each row seen
    average_rows: float  # steps in the average
    # Of some of the latest rows of a stream, each before its step, where the step length depends on
    # them: those of the last iterate, and of the average.
    residuals: np.ndarray
    fitted: bool  # whether the state comes from a fit on all rows, not from a stream
    grown_at: np.ndarray  # rows seen when each variance last grew by `NEW_COLUMN_GROWTH`
    given_coef: np.ndarray  # set by the user, or zeros; models are shrunk towards them
    # Of all random numbers. Those of a sweep come from (seed, rows_seen), so that a copy of the
    # state in mid-stream continues exactly like the original.
    seed: int
    # What stands for all rows of a stream where the loss is not squared error and the model is not
    # an average of iterates; see `methods.newton_stream`.
    newton: tuple | None = None

    sparse = False

    @classmethod
    def after_fit(cls, cross_products, coef, intercept, *, rows_seen, steps, seed):
        """Return the state after an epoch of a fit, whose model is returned as it is."""
        return cls(
            cross_products,
            coef,
            intercept,
            coef,
            intercept,
            rows_seen=rows_seen,
            steps=steps,
            average_rows=float(rows_seen),
            residuals=np.empty((2, 0)),
            fitted=True,
            grown_at=np.zeros(len(coef)),
            given_coef=np.zeros(len(coef)),
            seed=seed,
        )

    @classmethod
    def without_rows(cls, n_features, seed):
        """Return the state of a model of zeros that has seen no row."""
        columns = np.zeros(n_features + 1)
        sums = CrossProducts(Moments(0, 0.0, columns, columns), None)
        return cls.after_fit(sums, columns[:-1], 0.0, rows_seen=0, steps=0, seed=seed)

    @property
    def moments(self):
        """Moments of the columns of X and of y, which is the last."""
        return self.cross_products.moments

    @property
    def has_products(self):
        """Whether the products of all rows seen have been summed up."""
        return self.cross_products.has_products

    def with_growth_noted(self, moments, fit_intercept):
        """Return the state with `grown_at` updated by the moments that include new rows."""
        old, new = self._variances(moments, fit_intercept)
        grown = new > NEW_COLUMN_GROWTH * old
        if not grown.any():
            return self
        return self._replace(grown_at=np.where(grown, self.moments.rows, self.grown_at))

    def _variances(self, moments, fit_intercept):
        """Return the variances of the columns of X so far, and by other moments."""
        both = self.moments, moments
        return [one.of_columns(slice(-1)).variance(fit_intercept) for one in both]

    def rescaled_to(self, moments, fit_intercept):
        """Return the state with coefficients shrunk where the variance of their column has grown.

        What a coefficient has learned is multiplied by the ratio of the old variance to the new one
        (Ross, Mineiro & Langford, 2013); otherwise predictions would be far off on rows larger than
        all before. The prediction at the old mean stays the same. The moments are those of the
        columns of X and of y, with the new rows.
        """
        old, new = self._variances(moments, fit_intercept)
        few_rows = moments.rows < FEW_ROWS_PER_COORDINATE * (len(self.coef) + 1)
        grown = new > (old if few_rows else VARIANCE_GROWTH * old)
        if not grown.any():
            return self
        ratio = np.divide(old, new, out=np.ones(len(old)), where=grown)
        mean = self.moments.mean[:-1]

        def rescale(coef, intercept):
            """Return the model with shrunk coefficients and the same prediction at the mean."""
            lost = (1 - ratio) * (coef - self.given_coef)
            return coef - lost, intercept + (float(mean @ lost) if fit_intercept else 0.0)

        coef, intercept = rescale(self.coef, self.intercept)
        state = self._replace(coef=coef, intercept=intercept)
        return state.with_returned(*rescale(self.returned_coef, self.returned_intercept))

    def forgotten(self, share):
        """Return the state in which all rows count no more than this share of before."""
        n_rows = share * self.moments.rows
        return self._replace(
            cross_products=self.cross_products.with_weights_scaled(share, n_rows),
            rows_seen=share * self.rows_seen,
            average_rows=share * self.average_rows,
            grown_at=share * self.grown_at,
        )

    def counted(self, n_rows):
        """Return the state after more rows that took no step."""
        return self.with_last_iterate(self.coef, self.intercept, n_rows, 0)

    def with_model(self, coef, intercept):
        """Return the state with another model, for the last iterate as well."""
        state = self._replace(coef=coef, intercept=intercept, given_coef=np.zeros(len(coef)))
        return state.with_returned(coef, intercept)

    def with_given(self, coef, intercept):
        """Return the state that goes on from a model of the user."""
        state = self.with_model(coef, intercept)
        return state._replace(given_coef=coef, fitted=True, newton=None)

    def nonnegative(self, fit_intercept):
        """Return the state whose models have no negative coefficient."""
        mean = self.moments.mean[:-1] if fit_intercept else np.zeros(len(self.coef))
        coef, intercept = nonnegative(self.coef, self.intercept, mean)
        returned = nonnegative(self.returned_coef, self.returned_intercept, mean)
        given_coef = np.maximum(self.given_coef, 0.0)
        state = self._replace(coef=coef, intercept=intercept, given_coef=given_coef)
        return state.with_returned(*returned)

    def with_last_iterate(self, coef, intercept, n_rows, n_steps):
        """Return the state with the last iterate after more rows and steps."""
        return self._replace(
            coef=coef,
            intercept=intercept,
            rows_seen=self.rows_seen + n_rows,
            steps=self.steps + n_steps,
            average_rows=self.average_rows + n_rows,
        )

    def with_returned(self, coef, intercept):
        """Return the state with another model that the user gets."""
        return self._replace(returned_coef=coef, returned_intercept=intercept)

    @property
    def finite(self):
        """Whether all coefficients and intercepts are finite."""
        return (
            isfinite(self.intercept)
            and isfinite(self.returned_intercept)
            and bool(np.isfinite(self.coef).all() and np.isfinite(self.returned_coef).all())
        )

    def as_late_as(self, other):
        """Return the state with the same models and the numbers of rows and steps of another."""
        if (other.rows_seen, other.steps) == (self.rows_seen, self.steps):
            return self
        return self._replace(rows_seen=other.rows_seen, steps=other.steps)


def nonnegative(coef, intercept, mean):
    """Return a model without its negative coefficients that predicts the same at the mean."""
    negative = np.minimum(coef, 0.0)
    return coef - negative, intercept + float(mean @ negative)


def _stacked(name, doc):
    """Return a property that stacks an attribute of the states of several targets."""
    return property(lambda self: np.array([getattr(state, name) for state in self.states]), doc=doc)


@dataclass(frozen=True)
class MultiTargetState:
    """States of several targets, each as if it were the only one, with stacked models."""

    states: tuple[State, ...]

    coef = _stacked("coef", "Last iterates, of shape (n_targets, n_features).")
    intercept = _stacked("intercept", "Intercepts of the last iterates, of shape (n_targets,).")
    returned_coef = _stacked("returned_coef", "Coefficients that the user gets.")
    returned_intercept = _stacked("returned_intercept", "Intercepts that the user gets.")

    @property
    def sparse(self):
        """Whether the states are `SparseState`."""
        return self.states[0].sparse

    @property
    def steps(self):
        """Number of SGD steps of the target that took most."""
        return max(state.steps for state in self.states)

    @property
    def has_products(self):
        """Whether the products of all rows seen have been summed up, for all targets."""
        return all(state.has_products for state in self.states)

    @property
    def finite(self):
        """Whether all coefficients and intercepts are finite."""
        return all(state.finite for state in self.states)

    def as_late_as(self, other):
        """Return the states, each with the numbers of rows and steps of the same target."""
        pairs = zip(self.states, other.states, strict=True)
        return MultiTargetState(tuple(state.as_late_as(late) for state, late in pairs))

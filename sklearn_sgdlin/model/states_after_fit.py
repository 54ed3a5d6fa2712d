"""The states of several targets after a fit that has learned all of them at once."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .column_products import ColumnProducts
from .cross_products import CrossProducts
from .state import State


@dataclass(frozen=True)
class StatesAfterFit:
    """States of several targets after a fit from products of columns, as a `MultiTargetState`.

    The state of each target is made on demand: a stream that goes on needs it, the model does not.

    Attributes
    ----------
    products : ColumnProducts
    has_products : bool
        Whether a stream goes on with the products, not only with the moments.
    unit : float
        What the weights were divided by.
    returned_coef : ndarray of shape (n_targets, n_features)
    returned_intercept : ndarray of shape (n_targets,)
        The models that the user gets.
    rows_seen : int
    seed : int
    """

    products: ColumnProducts
    has_products: bool
    unit: float
    returned_coef: np.ndarray
    returned_intercept: np.ndarray
    rows_seen: int
    seed: int

    steps = 0
    sparse = False

    @cached_property
    def states(self):
        """States of the targets, as a tuple."""
        return tuple(map(self.state, range(len(self.returned_coef))))

    def state(self, target):
        """Return the `State` of a target."""
        n_features = self.products.n_features
        moments = self.products.moments.of_columns([*range(n_features), n_features + target])
        moments = moments.with_weights_scaled(self.unit)
        products = CrossProducts(moments, None)
        if self.has_products:
            products = self.products.cross_products(target, moments)
        return State.after_fit(
            products,
            self.returned_coef[target],
            float(self.returned_intercept[target]),
            rows_seen=self.rows_seen,
            steps=0,
            seed=self.seed,
        )

    @property
    def finite(self):
        """Whether all coefficients and intercepts are finite."""
        return all(np.isfinite(m).all() for m in (self.returned_coef, self.returned_intercept))

    def as_late_as(self, other):
        """Return the states with the numbers of rows of another."""
        return self if other is self else replace(self, rows_seen=other.rows_seen)

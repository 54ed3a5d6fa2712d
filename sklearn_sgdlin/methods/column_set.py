"""A working set of columns whose products are kept as a matrix."""

import numpy as np

from .face import MAX_ROUNDS, minimise_in_set

# Share of new columns from which on a set is growing, and rounds that are enough then.
GROWING = 0.02
GROWING_ROUNDS = 3


class GramSet:
    """A set of columns, and the optimum over their coefficients from their products.

    Parameters
    ----------
    rows : Partitions
    objective : Objective
    tuning : Tuning
    products : Gram

    Attributes
    ----------
    columns : ndarray of int
    first_size, limit : int
        Columns to begin with, and at most.
    curvature : ndarray of shape (n_coordinates,)
        Mean square of each column.
    """

    def __init__(self, rows, objective, tuning, products):
        self.rows, self.objective, self.products = rows, objective, products
        self.limit = tuning.max_hessian_features + 1
        # As many that their products take as long as a pass over all columns, or a few of these.
        size = int(np.sqrt(tuning.set_products_per_entry * rows.n_coordinates))
        self.first_size = min(size, max(rows.n_rows, 1))
        self.curvature = products.curvature

    @property
    def columns(self):
        """The set."""
        return self.products.columns

    def add(self, columns):
        """Let columns join."""
        self.growing = len(columns) > GROWING * len(self.columns)
        if len(columns):
            self.products.add(self.rows, columns)

    def minimise(self, point, value):
        """Return the optimum over the set from a model; `value` is a worse value of the loss."""
        columns, objective = self.columns, self.objective
        theta = point.theta.copy()
        grows = self.growing and not self.products.complete
        penalty = tuple(p[columns].copy() for p in (objective.l1, objective.l2, objective.floor))
        theta[columns] = minimise_in_set(
            self.products.gram,
            point.slope[columns],
            theta[columns],
            penalty,
            value,
            max_rounds=GROWING_ROUNDS if grows else MAX_ROUNDS,
        )
        return theta

"""A working set of columns whose products are kept as a matrix."""

import numpy as np
from scipy.sparse import issparse

from ..linalg.blas import transposed_product
from ..linalg.blocks import chunk_rows, slices
from .face import MAX_ROUNDS, minimise_in_set, penalty_of

# Share of new columns from which on a set is growing, and the rounds of descent that are enough
# then, or with fewer new columns.
GROWING = 0.02
GROWING_ROUNDS, JOINED_ROUNDS = 1, 4


class GramSet:
    """A set of columns, and the optimum over their coefficients from their products.

    Parameters
    ----------
    rows : Partitions
    curvature : ndarray of shape (n_coordinates,)
        Mean square of each column.
    tuning : Tuning

    Attributes
    ----------
    columns : ndarray of int
        The set, in the order in which columns have joined.
    gram : ndarray of shape (n_columns, n_columns)
        Their mean products.
    first_size, limit : int
        Columns to begin with, and at most.
    """

    def __init__(self, rows, curvature, tuning):
        self.rows, self.curvature, self.limit = rows, curvature, tuning.max_hessian_features + 1
        # As many that their products take as long as a pass over all columns, or a few of these.
        size = int(np.sqrt(tuning.set_products_per_entry * rows.n_coordinates))
        self.first_size = min(size, max(rows.n_rows, 1))
        self.columns, self.gram = np.empty(0, dtype=np.intp), np.zeros((0, 0))

    def add(self, new):
        """Let columns join."""
        n_before = len(self.columns)
        self.max_rounds = GROWING_ROUNDS if len(new) > GROWING * n_before else JOINED_ROUNDS
        if not len(new):
            self.max_rounds = MAX_ROUNDS
            return
        products = self.rows.sum(products_with_new, self.columns, new) / self.rows.weight
        gram = np.empty((n_before + len(new),) * 2)
        gram[:n_before, :n_before] = self.gram
        gram[:, n_before:] = products
        gram[n_before:, :n_before] = products[:n_before].T
        self.columns, self.gram = np.append(self.columns, new), gram

    def minimise(self, point, objective, value, *, rough=False):
        """Return the optimum over the set from a model, or a model near it.

        Parameters
        ----------
        point : Evaluation
        objective : Objective
        value : float
            A worse value of the loss.
        rough : bool
            Whether a model near the optimum is enough.
        """
        columns, theta = self.columns, point.theta.copy()
        max_rounds = GROWING_ROUNDS if rough else self.max_rounds
        penalty = tuple(p[columns] for p in penalty_of(objective))
        theta[columns] = minimise_in_set(
            self.gram, point.slope[columns], theta[columns], penalty, value, max_rounds=max_rounds
        )
        return theta


def products_with_new(rows, old, new):
    """Return the sums over rows of the products of old and new columns with the new ones.

    Dense columns stay beside the rows, so that no pass reads them again.
    """
    if issparse(rows.X):
        return _products_of_sparse(rows, np.append(old, new), new)
    blocks = rows.memory.setdefault(GramSet, [])
    if sum(z.shape[1] for z in blocks) != len(old):
        blocks[:] = [gathered(rows, old)]
    z = gathered(rows, new)
    blocks.append(z)
    return np.concatenate([transposed_product(block, z) for block in blocks])


def _products_of_sparse(rows, columns, new):
    """Return the same sums of sparse rows, of which some at a time become dense."""
    total = 0.0
    for chunk, _, weight in rows.chunks():
        for z, part in chunk.dense_blocks(weight):
            if part is not None:
                z *= np.sqrt(part)[:, np.newaxis]
            total += transposed_product(z[:, columns], z[:, new])
    return total


def gathered(rows, columns):
    """Return some columns of dense rows in their scaling, times the roots of the weights."""
    n_features = rows.n_coordinates - 1
    of_data = columns < n_features
    features = columns[of_data]
    centre, scale = rows.scaling.centre[features], rows.scaling.scale
    z = np.empty((rows.n_rows, len(columns)))
    for part in slices(rows.n_rows, chunk_rows(len(columns))):
        block = z[part]
        x = np.take(rows.X[part], features, axis=1)
        if len(features) == len(columns):
            np.subtract(x, centre, out=block)
            block *= scale[features]
        else:
            block[:, of_data] = (x - centre) * scale[features]
            block[:, ~of_data] = scale[-1]
        if rows.sample_weight is not None:
            block *= np.sqrt(rows.sample_weight[part])[:, np.newaxis]
    return z

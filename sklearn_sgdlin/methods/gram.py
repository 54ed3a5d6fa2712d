"""The products of a growing set of columns, and of all columns in one pass."""

import numpy as np

from ..linalg.blas import transposed_product
from ..linalg.blocks import chunk_rows, slices
from .newton_cholesky import residual_blocks


class Gram:
    """Mean products of the columns of a set; several targets share those of all columns.

    Parameters
    ----------
    n_coordinates : int
    curvature : ndarray of shape (n_coordinates,)
        Mean square of each column.

    Attributes
    ----------
    complete : bool
        Whether all columns have joined, in their order.
    sparse_columns : SparseColumns or None
        Of sparse rows, where the products of columns are not kept.
    columns : ndarray of int
        The set, in the order in which columns have joined.
    gram : ndarray of shape (n_columns, n_columns)
        Their mean products.
    """

    def __init__(self, n_coordinates, curvature):
        self.n_coordinates, self.curvature = n_coordinates, curvature
        self.complete, self.sparse_columns = False, None
        self.columns, self.gram = np.empty(0, dtype=np.intp), np.zeros((0, 0))

    def add(self, rows, new):
        """Let some columns join."""
        n_before = len(self.columns)
        products = rows.sum(products_with_new, self.columns, new) / rows.weight
        gram = np.empty((n_before + len(new),) * 2)
        gram[:n_before, :n_before] = self.gram
        gram[:, n_before:] = products
        gram[n_before:, :n_before] = products[:n_before].T
        self.columns, self.gram = np.append(self.columns, new), gram

    def add_all(self, rows, theta):
        """Let all columns join; return the sums of `square_slope_and_gram` but for the last.

        They have the same bits if the columns have joined before, for another target.
        """
        square, slope, gram = rows.sum(square_slope_and_gram, theta, not self.complete)
        if not self.complete:
            self.columns, self.gram = np.arange(self.n_coordinates), gram / rows.weight
            self.complete = True
        return square, slope


def square_slope_and_gram(rows, theta, with_gram):
    """Return sums over rows: of squared residuals, of z times residuals, and of z z' or 0."""
    square, slope, total = 0.0, np.zeros(len(theta)), 0.0
    for z, residual, weighted, weight in residual_blocks(rows, theta):
        square += weighted @ residual
        slope += weighted @ z
        if with_gram:
            if weight is not None:
                z *= np.sqrt(weight)[:, np.newaxis]
            total += transposed_product(z, z)
    return square, slope, total


def products_with_new(rows, old, new):
    """Return the sums over rows of the products of old and new columns with the new ones.

    The columns stay beside the rows, so that no pass reads them again.
    """
    blocks = rows.memory.setdefault(Gram, [])
    if sum(z.shape[1] for z in blocks) != len(old):
        blocks[:] = [gathered(rows, old)]
    z = gathered(rows, new)
    blocks.append(z)
    return np.concatenate([transposed_product(block, z) for block in blocks])


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

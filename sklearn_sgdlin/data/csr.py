"""Rows of a CSR matrix, centred without being made dense."""

from functools import cached_property

import numpy as np
from scipy.sparse import csr_array, issparse, vstack

from ..kernels.csr import products, sweep
from ..kernels.dense import aligned_empty
from ..linalg.blas import weighted_products
from ..linalg.blocks import chunk_rows, csr_row_slice, slices
from ..linalg.centred import CentredMatrix
from .dense import Rows

# A chunk has at least so many rows: what each chunk costs by itself is little beside them.
CHUNK_ROWS = 1 << 12

# A column is far where its centre is more than so many units of the scaling from zero: then sums of
# squares lose four of sixteen digits to the centring, so it is stored centred.
FAR = 100.0

# Numbers that a sweep keeps of each column: iterate, average, scale and offset.
COORDINATE = 4


def recentred(X, centre, scale):
    """Return X with far columns stored in every row, less their centre, and the centres left.

    Products with such a column are differences of large numbers. A far column is stored in nearly
    all rows, as the variance is at least that of its zeros; where weights say otherwise, it stays.
    """
    far = np.abs(scale * centre) > FAR
    if far.any():
        far &= 2 * np.bincount(X.indices, minlength=X.shape[1]) > X.shape[0]
    if not far.any():
        return X, centre
    n_rows, columns, entries = X.shape[0], np.flatnonzero(far), X.tocoo()
    near = ~far[entries.col]
    dense = X[:, columns].toarray() - centre[columns]
    row = np.append(entries.row[near], np.repeat(np.arange(n_rows), len(columns)))
    column = np.append(entries.col[near], np.tile(columns, n_rows))
    data = np.append(entries.data[near], dense.ravel())
    return csr_array((data, (row, column)), shape=X.shape), np.where(far, 0.0, centre)


class SparseChunk:
    """Rows z = (scale * (x - centre), scale of the intercept) of a CSR matrix, as an operator."""

    def __init__(self, X, centre, scale):
        self.X, self.centred, self.centre = X, CentredMatrix(X, None, centre), centre
        self.scale, self.intercept_scale, self.scale_of_rows = scale[:-1], scale[-1], scale

    def __matmul__(self, points):
        return self.centred @ (points[:-1].T * self.scale).T + self.intercept_scale * points[-1]

    def rmatvec(self, values):
        """Return z.T @ values."""
        product = np.empty((len(self.scale) + 1, *values.shape[1:]))
        np.multiply(self.centred.rmatvec(values).T, self.scale, out=product[:-1].T)
        product[-1] = self.intercept_scale * values.sum(axis=0)
        return product

    def take(self, index):
        """Return some of the rows, as an operator."""
        return SparseChunk(csr_array(self.X[index]), self.centre, self.scale_of_rows)

    def gram(self, weight):
        """Return z.T @ diag(weight) @ z."""
        return sum(weighted_products(z, part) for z, part in self.dense_blocks(weight))

    def column_squares(self, weight):
        """Return the diagonal of z.T @ diag(weight) @ z."""
        total = weight.sum()
        linear, square = weight @ self.X, weight @ self.X.power(2)
        offset = self.scale * self.centre
        body = self.scale * (self.scale * square - 2 * offset * linear) + offset**2 * total
        return np.append(np.maximum(body, 0.0), self.intercept_scale**2 * total)

    def dense_blocks(self, weight):
        """Yield dense rows with their weights, as many at a time as fit the cache."""
        n_rows, n_coordinates = self.X.shape[0], len(self.scale) + 1
        for part in slices(n_rows, chunk_rows(n_coordinates)):
            X = self.X[part]
            z = np.empty((X.shape[0], n_coordinates))
            np.subtract(X.toarray(), self.centre, out=z[:, :-1])
            z[:, :-1] *= self.scale
            z[:, -1] = self.intercept_scale
            yield z, None if weight is None else weight[part]


class SparseRows(Rows):
    """`Rows` of a CSR matrix: every pass costs as much as there are stored entries."""

    def __init__(self, X, y, sample_weight, scaling, centre=None):
        if centre is None:
            X, centre = recentred(X, scaling.centre, scaling.scale[:-1])
        self._centre = centre
        super().__init__(X, y, sample_weight, scaling)
        # A step of the penalty touches all columns: it waits until the rows have cost as much.
        n_absent = self.n_rows * X.shape[1] // max(X.nnz, 1)
        self.penalty_every = 1 << max(n_absent.bit_length() - 1, 1)

    def _like_these(self, part):
        X = csr_row_slice(self.X, part)
        return SparseRows(X, self.y[part], self._weight_of(part), self.scaling, self._centre)

    @cached_property
    def _columns(self):
        """The scaling, and room for a table of all that a pass needs of a column."""
        n_features = self.n_coordinates - 1
        coordinates = aligned_empty(n_features * COORDINATE).reshape(n_features, COORDINATE)
        return self._centre, self.scaling.scale, coordinates

    @staticmethod
    def _stack(matrices):
        return csr_array(vstack(matrices, format="csr"))

    def _run(self, plan):
        X = self.X
        targets = self.y, self.sample_weight
        return sweep(X.data, X.indices, X.indptr, targets, self._columns, plan)

    def residuals_of(self, blocks, coef, intercept):
        """See `Rows`; columns of X may be centred already."""
        centred = self.scaling.centre - self._centre
        return super().residuals_of(blocks, coef, intercept + centred @ coef)

    def products(self, points, residuals=False):
        """See `Rows`."""
        X = self.X
        slopes = np.ascontiguousarray(points.T).reshape(-1, self.n_coordinates)
        square, totals = 0.0, np.empty_like(slopes)
        for part in slices(len(slopes), COORDINATE // 2):  # as many as the table has room for
            y = self.y if residuals and part.start == 0 else None
            targets = y, self.sample_weight
            added, totals[part] = products(
                X.data, X.indices, X.indptr, targets, self._columns, slopes[part]
            )
            square += added
        return square, totals.reshape(points.T.shape).T

    def chunks(self):
        """Yield (z, y, sample_weight) of consecutive rows; z is an operator."""
        step = max(CHUNK_ROWS, self.n_coordinates)  # what each chunk costs, is little beside it
        for part in slices(self.n_rows, step):
            z = SparseChunk(csr_row_slice(self.X, part), self._centre, self.scaling.scale)
            yield z, self.y[part], self._weight_of(part)


def make_rows(X, y, sample_weight, scaling):
    """Return the `Rows` of X, dense or sparse."""
    return (SparseRows if issparse(X) else Rows)(X, y, sample_weight, scaling)

"""The rows of one data set seen through a scaling: in shuffled sweeps, or chunk by chunk."""

from copy import copy
from functools import cached_property

import numpy as np

from ..kernels.dense import add_products, aligned_copy, standardise, sweep
from ..linalg.blas import transposed_product, weighted_products
from ..linalg.blocks import chunk_rows, slices
from .row_order import SweepPlan, Tiling

DOUBLE = 8  # bytes

# Up to so many vectors BLAS multiplies faster with one after the other, by gemv, than with all at
# once, by gemm.
MAX_SEPARATE_GEMV = 4


class DenseChunk:
    """Some rows in the coordinates of a scaling, as an operator; see also `SparseChunk`."""

    def __init__(self, z):
        self.z = z

    def __matmul__(self, points):
        if points.ndim == 1 or points.shape[1] > MAX_SEPARATE_GEMV:
            return self.z @ points
        return np.stack([self.z @ point for point in points.T]).T

    def rmatvec(self, values):
        """Return z.T @ values."""
        if values.ndim == 1 or values.shape[1] > MAX_SEPARATE_GEMV:
            return transposed_product(self.z, values)
        return np.stack([np.dot(value, self.z) for value in values.T]).T

    def take(self, index):
        """Return some of the rows, as an operator."""
        return DenseChunk(self.z[index])

    def gram(self, weight):
        """Return z.T @ diag(weight) @ z."""
        return weighted_products(self.z, weight)

    def column_squares(self, weight):
        """Return the diagonal of z.T @ diag(weight) @ z."""
        return np.dot(weight, self.z**2)

    def dense_blocks(self, weight):
        """Yield the rows with their weights."""
        yield self.z, weight


class Rows:
    """Rows of X with their targets and weights, in the coordinates of a scaling.

    Attributes
    ----------
    penalty_every : int
        Rows between two steps of the penalty, a power of two.
    first_row : int
        Number of the first of these rows in the data set, where they are a range of its rows.
    """

    penalty_every = 2  # the least, as rows go in pairs
    first_row = 0
    _centre = None  # of sparse rows, what is still to be taken off

    def __init__(self, X, y, sample_weight, scaling):
        self.X, self.y, self.sample_weight, self.scaling = X, y, sample_weight, scaling
        self.memory = {}  # what a solver keeps beside these rows
        n_features = X.shape[1]
        self.n_coordinates = n_features + 1
        self._count()

    @cached_property
    def tiling(self):
        """The `Tiling` of sweeps, that of float32 rows, too."""
        return Tiling.of(self.n_rows, self.X.shape[1] * DOUBLE)

    @cached_property
    def _columns(self):
        """The scaling where the steps of a sweep read it fastest."""
        scaling = self.scaling
        offset = aligned_copy(scaling.scale[:-1] * scaling.centre)
        buffers = offset, offset
        if self.X.dtype != np.float64:  # then the steps write what they keep of two rows
            buffers = aligned_copy(offset), aligned_copy(offset)
        return offset, aligned_copy(scaling.scale), *buffers

    def range(self, part):
        """Return the `Rows` of a slice, which share these arrays."""
        rows = self._like_these(part)
        rows.first_row = self.first_row + part.start
        return rows

    def _like_these(self, part):
        return Rows(self.X[part], self.y[part], self._weight_of(part), self.scaling)

    def order(self, rng=None):
        """Return the order of a sweep, see `Tiling.order`; shuffled if rng is given."""
        return self.tiling.order(rng)

    def sweep(
        self,
        order,
        objective,
        step_rule,
        rows_seen,
        theta,
        average=None,
        *,
        average_rows=0.0,
        forget=0.0,
    ):
        """Take one step for each row of the given order.

        Returns
        -------
        theta, average : ndarray of shape (n_coordinates,)
            The last iterate and the average of the path.
        average_rows : float
            Rows in the average.
        """
        average = aligned_copy(theta if average is None else average)
        theta = aligned_copy(theta)
        plan = SweepPlan(
            order,
            self.tiling.block_rows,
            objective,
            self.penalty_every,
            step_rule,
            theta,
            rows_seen,
            average,
            average_rows,
            forget,
        )
        return theta, average, self._run(plan)

    def _run(self, plan):
        """Run a compiled sweep in place; return the rows in the average."""
        return sweep(self.X, (self.y, self.sample_weight), self._columns, plan)

    def take(self, index, sample_weight=None):
        """Return some of the rows, with other weights if given; no sweep may run over them."""
        taken = self._copied()
        taken.X, taken.y, taken.memory = self.X[index], self.y[index], {}
        taken.sample_weight = self._weight_of(index) if sample_weight is None else sample_weight
        return taken._count()

    def _copied(self):
        """Return a copy without what is computed from the rows on demand."""
        rows = copy(self)
        for name in ("tiling", "_columns", "_only_chunk"):
            vars(rows).pop(name, None)
        return rows

    def _count(self):
        """Set the numbers of rows and entries, and the sum of weights."""
        self.n_rows, self.n_entries = len(self.y), self.X.size
        weight = self.sample_weight
        self.weight = self.n_rows if weight is None else float(weight.sum())
        return self

    def merged_with(self, others):
        """Return these rows and others in the same scaling; no sweep may run over them.

        Sparse ones that are not centred alike are not merged: then the result is None.
        """
        if any(not np.array_equal(self._centre, part._centre) for part in others):
            return None
        both, parts = self._copied(), [self, *others]
        both.X, both.y = (
            self._stack([part.X for part in parts]),
            np.concatenate([p.y for p in parts]),
        )
        both.memory = {}
        if any(part.sample_weight is not None for part in parts):
            both.sample_weight = np.concatenate(
                [np.ones(p.n_rows) if p.sample_weight is None else p.sample_weight for p in parts]
            )
        return both._count()

    _stack = staticmethod(np.concatenate)

    def chunks(self):
        """Yield (z, y, sample_weight) of consecutive rows; z is overwritten by the next."""
        step = chunk_rows(self.n_coordinates)
        if self.n_rows <= step:
            yield self._only_chunk, self.y, self.sample_weight
            return
        buffer = np.empty((step, self.n_coordinates))
        for part in slices(self.n_rows, step):
            chunk = self._standardised(part, buffer[: part.stop - part.start])
            yield chunk, self.y[part], self._weight_of(part)

    @cached_property
    def _only_chunk(self):
        """The chunk of few rows, which all passes share."""
        z = np.empty((self.n_rows, self.n_coordinates))
        chunk = self._standardised(slice(0, self.n_rows), z)
        z.flags.writeable = False
        return chunk

    def _standardised(self, part, z):
        standardise(self.X, part.start, part.stop, self.scaling.centre, self.scaling.scale, z)
        return DenseChunk(z)

    def _weight_of(self, part):
        return None if self.sample_weight is None else self.sample_weight[part]

    def products(self, points, residuals=False):
        """Sums over rows of h r z, with the responses r = z . point; one pass.

        `points` of shape (n_coordinates,) or (n_coordinates, n_points)
        `residuals`: whether y is added to the first response: that of minus a model then is its
        residual.

        Returns
        -------
        square : float
            Sum of h times squared residuals, if asked for.
        totals : ndarray of the shape of points
        """
        scale = self.scaling.scale
        slopes = np.ascontiguousarray((points.T * scale).reshape(-1, len(scale)))
        totals = np.zeros_like(slopes)
        targets = self.y if residuals else None, self.sample_weight
        square = add_products(self.X, targets, self.scaling.centre, slopes, totals)
        return square, (totals * scale).reshape(points.T.shape).T

    def residuals(self, points):
        """Yield (residuals, sample_weight) of chunks: of a model, or of each column of several."""
        for z, y, weight in self.chunks():
            yield (y - (z @ points).T).T, weight

    def residuals_of(self, blocks, coef, intercept):
        """Residuals of a model in the first row of each block."""
        first = blocks * self.tiling.block_rows
        return self.y[first] - (self.X[first] @ coef + intercept)

    def constant_residuals(self, prediction):
        """Yield (residuals, sample_weight) of predicting one number."""
        for part in slices(self.n_rows, chunk_rows(1)):
            yield self.y[part] - prediction, self._weight_of(part)

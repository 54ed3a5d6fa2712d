"""The rows of one data set seen through a scaling: in shuffled sweeps, or chunk by chunk."""

import numpy as np

from ..kernels.rows import add_products, standardise, sweep
from ..linalg.blas import transposed_product
from ..linalg.blocks import chunk_rows, slices

TILE_BYTES = 1 << 18  # rows stepped through together: stays in the second-level cache
BLOCK_BYTES = 1 << 15  # neighbours read together: long enough to stream from memory
BLOCKS_PER_TILE = 8  # at least, so that a file sorted by y is mixed inside a tile
BLOCKS = 512  # at least, so that small data get a full permutation
CACHE_LINE = 64  # bytes
DOUBLE = 8  # bytes
PER_LINE = CACHE_LINE // DOUBLE  # numbers
AVERAGE_EVERY = 16  # steps, as in the compiled loops
FEW = 4  # vectors, up to which BLAS multiplies faster with one after the other


def aligned_copies(first, second):
    """Copies of two vectors that start at cache lines: no vector load straddles two."""
    n = len(second)
    distance = -(-len(first) // PER_LINE) * PER_LINE
    buffer = np.empty(distance + n + PER_LINE)
    start = -buffer.ctypes.data % CACHE_LINE // buffer.itemsize
    copies = buffer[start : start + len(first)], buffer[start + distance : start + distance + n]
    copies[0][:], copies[1][:] = first, second
    return copies


class DenseChunk:
    """Some rows in the coordinates of a scaling, as an operator; see also `SparseChunk`."""

    def __init__(self, z):
        self.z = z

    def __matmul__(self, points):
        if points.ndim == 1 or points.shape[1] > FEW:
            return self.z @ points
        return np.stack([self.z @ point for point in points.T]).T

    def transposed_times(self, values):
        """z.T @ values."""
        if values.ndim == 1 or values.shape[1] > FEW:
            return self.z.T @ values
        return np.stack([value @ self.z for value in values.T]).T

    def gram(self, weight):
        """z.T @ diag(weight) @ z."""
        return transposed_product(self.z * weight[:, np.newaxis], self.z)

    def squares(self, weight):
        """Diagonal of z.T @ diag(weight) @ z."""
        return weight @ self.z**2

    def parts(self, weight):
        """Yield the rows with their weights."""
        yield self.z, weight


class Rows:
    """Rows of X with their targets and weights, in the coordinates of a scaling.

    Parameters
    ----------
    X : C-ordered ndarray of shape (n_rows, n_features), float32 or float64
    y : ndarray of shape (n_rows,), float64
    sample_weight : ndarray of shape (n_rows,), float64, or None for weights of one
    scaling : Scaling
    """

    def __init__(self, X, y, sample_weight, scaling):
        self.X, self.y, self.sample_weight, self.scaling = X, y, sample_weight, scaling
        self.memory = {}  # what a solver keeps beside these rows
        self.n_rows, n_features = X.shape
        self.n_coordinates = n_features + 1
        self.n_entries = X.size
        self.weight = self.n_rows if sample_weight is None else float(sample_weight.sum())
        self._place(scaling)
        self._plan_tiles(n_features * DOUBLE)  # float32 rows take the same path

    def _place(self, scaling):
        """Put the scaling where the steps read it fastest."""
        offset = scaling.scale[:-1] * scaling.centre
        self._offset, self._scale = aligned_copies(offset, scaling.scale)
        self._pair = self._offset, self._offset
        if self.X.dtype != np.float64:  # then the steps write what they keep of two rows
            self._pair = aligned_copies(offset, offset)

    def _plan_tiles(self, row_bytes):
        tile_rows = max(TILE_BYTES // row_bytes, 1)
        self._block_rows = max(
            min(BLOCK_BYTES // row_bytes, tile_rows // BLOCKS_PER_TILE, self.n_rows // BLOCKS), 1
        )
        self.n_blocks = -(-self.n_rows // self._block_rows)
        tile_blocks = min(tile_rows // self._block_rows, self.n_blocks)
        self._tile_rows = tile_blocks * self._block_rows
        self._tiles = np.empty((2, self._tile_rows), dtype=np.intp)

    def order(self, rng=None):
        """Blocks of rows, and positions within a tile; shuffled if rng is given.

        Random blocks are gathered into a tile and rows are permuted inside it, so memory is
        read in long runs and neighbours in the file do not follow each other (CorgiPile,
        Xu et al., 2022).
        """
        shuffled = np.arange if rng is None or self.n_rows == 1 else rng.permutation
        return (
            shuffled(self.n_blocks).astype(np.intp, copy=False),
            shuffled(self._tile_rows).astype(np.intp, copy=False),
        )

    def sweep(
        self,
        order,
        objective,
        schedule,
        rows_seen,
        theta,
        average=None,
        average_rows=0.0,
        forget=0.0,
    ):
        """One step a row of the given order.

        Returns
        -------
        theta, average : ndarray of shape (n_coordinates,)
            The last iterate and the average of the path.
        average_rows : float
            Rows in the average.
        """
        blocks, within = order
        iterate, mean = aligned_copies(theta, theta if average is None else average)
        average_rows = self._sweep(
            blocks, within, objective, schedule, rows_seen, iterate, mean, average_rows, forget
        )
        return iterate, mean, average_rows

    def _sweep(
        self, blocks, within, objective, schedule, rows_seen, theta, mean, average_rows, forget
    ):
        return sweep(
            self.X,
            self.y,
            self.sample_weight,
            blocks,
            self._block_rows,
            within,
            self._offset,
            self._scale,
            objective.loss,
            objective.l1,
            objective.l2,
            objective.floor,
            schedule,
            rows_seen,
            theta,
            mean,
            average_rows,
            forget,
            self._tiles,
            *self._pair,
        )

    def chunks(self):
        """Yield (z, y, sample_weight) of consecutive rows; z is overwritten by the next."""
        step = min(chunk_rows(self.n_coordinates), self.n_rows)
        buffer = np.empty((step, self.n_coordinates))
        for part in slices(self.n_rows, step):
            z = buffer[: part.stop - part.start]
            standardise(self.X, part.start, part.stop, self.scaling.centre, self.scaling.scale, z)
            yield DenseChunk(z), self.y[part], self._weight_of(part)

    def _weight_of(self, part):
        return None if self.sample_weight is None else self.sample_weight[part]

    def products(self, points, residuals=False):
        """Sums over rows of h r z, with the responses r = z . point; one pass.

        Parameters
        ----------
        points : ndarray of shape (n_coordinates,) or (n_coordinates, n_points)
        residuals : bool
            Whether y is added to the first response: that of minus a model then is its residual.

        Returns
        -------
        square : float
            Sum of h times squared residuals, if asked for.
        totals : ndarray of the shape of points
        """
        scale = self.scaling.scale
        slopes = np.ascontiguousarray((points.T * scale).reshape(-1, len(scale)))
        totals = np.zeros_like(slopes)
        square = add_products(
            self.X,
            self.y if residuals else None,
            self.sample_weight,
            self.scaling.centre,
            slopes,
            totals,
        )
        return square, (totals * scale).reshape(points.T.shape).T

    def residuals(self, points):
        """Yield (residuals, sample_weight) of chunks: of a model, or of each column of several."""
        for z, y, weight in self.chunks():
            yield (y - (z @ points).T).T, weight

    def residuals_of(self, blocks, coef, intercept):
        """Residuals of a model in the first row of each block."""
        first = blocks * self._block_rows
        return self.y[first] - (self.X[first] @ coef + intercept)

    def constant_residuals(self, prediction):
        """Yield (residuals, sample_weight) of predicting one number."""
        for part in slices(self.n_rows, chunk_rows(1)):
            yield self.y[part] - prediction, self._weight_of(part)

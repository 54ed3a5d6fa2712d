"""Rows of a CSR matrix, centred without being made dense."""

import numpy as np
from sklearn.utils.sparsefuncs import mean_variance_axis

from ._metric import Moments, chunk_rows
from ._rows import AVERAGE_EVERY, Rows
from ._search import SKETCH_COORDINATES
from ._sweep import sweep_sparse

PENALTY_COLUMNS = 1 << 10  # beyond, the step of the penalty is taken as much less often
CHUNK_ROWS = 1 << 12  # least rows of a chunk where columns are too many to be made dense


def sparse_moments(X, sample_weight=None):
    """Moments of the rows of a CSR matrix, from its stored entries and their number."""
    rows, weight, weights = X.shape[0], float(X.shape[0]), None
    if sample_weight is not None:
        rows, weight = np.count_nonzero(sample_weight), float(sample_weight.sum())
        weights = sample_weight.astype(X.dtype)
    mean, variance = mean_variance_axis(X, axis=0, weights=weights)
    moments = Moments(rows, weight, mean.astype(np.float64), variance.astype(np.float64) * weight)
    moments.check_range()
    return moments


class SparseChunk:
    """Rows z = (scale * (x - centre), scale of the intercept) of a CSR matrix, as an operator."""

    def __init__(self, X, metric):
        self.X = X
        self.scale, self.intercept_scale = metric.scale[:-1], metric.scale[-1]
        self.offset = self.scale * metric.centre

    def __matmul__(self, points):
        body = (points[:-1].T * self.scale).T
        return self.X @ body + (self.intercept_scale * points[-1] - self.offset @ points[:-1])

    def transposed_times(self, values):
        """z.T @ values."""
        total = values.sum(axis=0)
        body = ((self.X.T @ values).T * self.scale).T
        body -= np.multiply.outer(self.offset, total)
        return np.concatenate([body, self.intercept_scale * total[np.newaxis]])

    def gram(self, weight):
        """z.T @ diag(weight) @ z."""
        z = self.toarray()
        return (z * weight[:, np.newaxis]).T @ z

    def toarray(self):
        """Return the rows, dense."""
        z = np.empty((self.X.shape[0], len(self.scale) + 1))
        z[:, :-1] = self.X.toarray() * self.scale - self.offset
        z[:, -1] = self.intercept_scale
        return z


class SparseRows(Rows):
    """`Rows` of a CSR matrix: every pass costs as much as there are stored entries."""

    def __init__(self, X, y, sample_weight, metric):
        super().__init__(X, y, sample_weight, metric)
        # Else as in dense rows, so that both take the same path.
        self._penalty_every = AVERAGE_EVERY * max(X.shape[1] // PENALTY_COLUMNS, 1)

    def _sweep(
        self, blocks, within, objective, schedule, rows_seen, theta, mean, average_rows, forget
    ):
        return sweep_sparse(
            self.X.data,
            self.X.indices,
            self.X.indptr,
            self.X.shape[1],
            self.y,
            self.sample_weight,
            blocks,
            self._block_rows,
            within,
            self._centre,
            self._scale,
            objective.loss,
            objective.l1,
            objective.l2,
            objective.floor,
            self._penalty_every,
            schedule,
            rows_seen,
            theta,
            mean,
            average_rows,
            forget,
            self._tiles,
        )

    def chunks(self):
        """Yield (z, y, sample_weight) of consecutive rows; z is an operator."""
        wide = self.n_coordinates > SKETCH_COORDINATES  # work of this many numbers a chunk
        step = max(CHUNK_ROWS, self.n_coordinates) if wide else 4 * chunk_rows(self.n_coordinates)
        for part in self._parts(step):
            yield SparseChunk(self.X[part], self.metric), self.y[part], self._weight_of(part)

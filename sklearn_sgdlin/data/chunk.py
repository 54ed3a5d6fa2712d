"""Chunks of a stream: small ones are collected and joined, as one large one takes less time."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse


class Chunk(NamedTuple):
    """Rows of a stream."""

    X: np.ndarray  # of shape (n_rows, n_features)
    y: np.ndarray  # of shape (n_rows,) or (n_rows, n_targets)
    sample_weight: np.ndarray | None  # of shape (n_rows,) or None

    def kept(self):
        """Return a dense copy, which nobody else can write to."""
        X = self.X.toarray() if issparse(self.X) else self.X.copy()
        weight = self.sample_weight
        return Chunk(X, self.y.copy(), None if weight is None else weight.copy())

    def square(self):
        """Return a number that no entry, squared and weighted, exceeds; NaN if an entry is."""
        entries = self.X.data if issparse(self.X) else self.X.ravel()
        # `np.vdot` would wait for the threads of BLAS.
        square = np.einsum("i,i", entries, entries) + np.vdot(self.y, self.y)
        if self.sample_weight is None:
            return square
        return square * max(self.sample_weight.max(), 1 / self.sample_weight.min())

    def target(self, number):
        """Return the rows with one of several targets."""
        return self._replace(y=np.ascontiguousarray(self.y[:, number]))

    def rows(self, index):
        """Return some of the rows."""
        weight = None if self.sample_weight is None else self.sample_weight[index]
        return Chunk(self.X[index], self.y[index], weight)

    def weighted(self):
        """Return the rows whose weight is not 0."""
        if self.sample_weight is None or self.sample_weight.all():
            return self
        return self.rows(np.flatnonzero(self.sample_weight))

    def pieces(self, n_rows):
        """Yield the rows in their order, so many at a time."""
        for start in range(0, len(self.y), n_rows):
            yield self.rows(slice(start, start + n_rows))


def joined(chunks):
    """Return the rows of some chunks as one chunk."""
    if len(chunks) == 1:
        return chunks[0]
    dense = [chunk.X.toarray() if issparse(chunk.X) else chunk.X for chunk in chunks]
    weight = None
    if any(chunk.sample_weight is not None for chunk in chunks):
        weight = np.concatenate(
            [
                np.ones(len(chunk.y)) if chunk.sample_weight is None else chunk.sample_weight
                for chunk in chunks
            ]
        )
    return Chunk(np.concatenate(dense), np.concatenate([chunk.y for chunk in chunks]), weight)

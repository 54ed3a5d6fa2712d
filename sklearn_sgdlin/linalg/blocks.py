"""Consecutive rows in blocks that fit the cache."""

import numpy as np
from scipy.sparse import csr_array

CHUNK_BYTES = 1 << 20  # of X at a time: stays in the second-level cache, and is worth a thread


def chunk_rows(n_columns, itemsize=8):
    """Rows of a chunk that fits the cache."""
    return max(1, CHUNK_BYTES // (itemsize * max(n_columns, 1)))


def slices(n_rows, step):
    """Slices of so many consecutive rows."""
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def consecutive(X, part):
    """Rows of a CSR matrix that shares its entries, where indexing would copy them."""
    start, stop = X.indptr[part.start], X.indptr[part.stop]
    pointers = X.indptr[part.start : part.stop + 1] - start
    shape = part.stop - part.start, X.shape[1]
    return csr_array((X.data[start:stop], X.indices[start:stop], pointers), shape=shape)


def with_last(numbers, last, size=None):
    """Vector of numbers, one for each column or one for all, and a last one."""
    vector = np.empty(len(numbers) + 1 if size is None else size)
    vector[:-1], vector[-1] = numbers, last
    return vector

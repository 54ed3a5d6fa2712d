"""Row blocks: consecutive rows that fit the cache, and vectors with one more entry."""

import numpy as np
from scipy.sparse import csr_array

# Bytes of dense rows that are processed at a time. Smaller chunks cost more calls, larger ones no
# longer stay in the second-level cache of a core between the operations on them.
CHUNK_BYTES = 1 << 20


def chunk_rows(n_columns, itemsize=8):
    """Return the number of rows of a chunk that fits the cache, at least 1."""
    return max(1, CHUNK_BYTES // (itemsize * max(n_columns, 1)))


def slices(n_rows, step):
    """Yield slices that cover the rows in order, each of `step` rows, the last one of the rest."""
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def csr_row_slice(X, part):
    """Return the CSR matrix of consecutive rows, as a view: indexing would copy the entries."""
    start, stop = X.indptr[part.start], X.indptr[part.stop]
    pointers = X.indptr[part.start : part.stop + 1] - start
    shape = part.stop - part.start, X.shape[1]
    return csr_array((X.data[start:stop], X.indices[start:stop], pointers), shape=shape)


def divided(values, divisor):
    """Return the quotients, and 0 where the divisor is not above 0."""
    divisor = np.asarray(divisor)
    return np.divide(values, divisor, out=np.zeros(divisor.shape), where=divisor > 0)


def with_last(values, last, size=None):
    """Return the vector of values followed by a last one.

    `values` of shape (size - 1,) or float: a number is repeated.
    `last`: in most uses the entry of the intercept.
    `size` (int, default=None): length of the vector; needed where `values` is a number.
    """
    vector = np.empty(len(values) + 1 if size is None else size)
    vector[:-1], vector[-1] = values, last
    return vector

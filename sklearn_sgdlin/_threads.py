"""Threads of BLAS, and of those who fit models in several.

BLAS runs in one thread while a model trains on chunks that fit a cache.
Threads would pass such a chunk from core to core for less work than that takes, and what waits
for its part keeps a core busy: numpy and scipy each bring a BLAS with threads of its own. Two fits
at a time then also wait for each other. Scikit-learn limits them in KMeans for the same reason.
"""

from contextlib import nullcontext
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

WIDE = 2048  # columns, from which factors of a matrix are worth threads
SMALL = 1 << 15  # numbers, up to which BLAS starts no threads that take long to wait for


def blas_threads(n_rows, n_columns):
    """Return the context to train in: one thread, or for wide data as many as there are."""
    if n_columns >= WIDE or n_rows * n_columns <= SMALL:
        return nullcontext()
    return _controller().limit(limits=1, user_api="blas")


def transposed_product(first, second):
    """first.T @ second, which would keep the interpreter's lock where the result is small."""
    return np.dot(first.T, second)


@cache
def _controller():
    """Return what sets the threads of each library; to find them takes milliseconds."""
    return ThreadpoolController()

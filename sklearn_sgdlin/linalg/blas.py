"""BLAS threads: one while a model trains on blocks that fit a cache, all of them for wide data.

On such blocks the threads of BLAS cost more than they save: the block moves from core to core, and
a thread that waits for its part keeps a core busy. NumPy and SciPy may each bring a BLAS with
threads of its own, and two fits at a time also wait for each other. Scikit-learn limits the threads
in KMeans for the same reason.
"""

import os
from contextlib import nullcontext
from functools import cache
from threading import RLock, get_ident
from weakref import WeakSet

import numpy as np
from threadpoolctl import ThreadpoolController


def blas_threads(n_rows, n_columns, tuning):
    """Return the context manager to train in: one BLAS thread, or no change for wide data."""
    products = n_rows * n_columns * min(n_rows, n_columns)
    if products <= tuning.max_unlimited_products or n_columns >= tuning.min_blas_threads_features:
        return nullcontext()
    return OneThread()


class OneThread:
    """Context manager in which BLAS runs in one thread.

    Some builds of BLAS have one number of threads for the whole process. Contexts that overlap
    then share one limit: the first one sets it, and the last one restores the number before. With
    OpenMP each thread of the process has a number of its own, which its context restores.
    """

    _lock = RLock()
    # Contexts between enter and exit. The references are weak, so that a context that an interrupt
    # kept from its exit is not counted after it is deleted.
    _active = WeakSet()
    # Pairs (library, number of threads before) of the libraries limited for the whole process.
    _process_limits = []

    def __enter__(self):
        self.thread = get_ident()
        with OneThread._lock:
            OneThread._active.add(self)
            self.thread_limits = _limit([blas for blas in _libraries() if _is_per_thread(blas)])
            if not OneThread._process_limits:
                OneThread._process_limits = _limit(
                    [blas for blas in _libraries() if not _is_per_thread(blas)]
                )

    def __exit__(self, *error):
        with OneThread._lock:
            OneThread._active.discard(self)
            _restore(self.thread_limits)
            OneThread._restore_after_last()

    @staticmethod
    def _restore_after_last():
        """Restore the numbers of threads of the process if no context is active any more."""
        if not OneThread._active:
            _restore(OneThread._process_limits)
            OneThread._process_limits = []

    @staticmethod
    def _after_fork():
        """Drop the contexts of other threads: a child process has only the one that forked."""
        for context in list(OneThread._active):
            if context.thread != get_ident():
                OneThread._active.discard(context)
        OneThread._restore_after_last()
        OneThread._lock.release()


def available_threads():
    """Return how many ranges of rows may run at the same time: 1 outside `OneThread`.

    Within it, BLAS runs in one thread, and the threads that BLAS had before are free for ranges.
    Fits that run at the same time share them.
    """
    with OneThread._lock:
        own = [context for context in OneThread._active if context.thread == get_ident()]
        if not own:
            return 1
        limits = OneThread._process_limits + [limit for c in own for limit in c.thread_limits]
        before = max((number for _, number in limits), default=1)
        return max(1, before // len({context.thread for context in OneThread._active}))


def limit_this_thread():
    """Let BLAS run in one thread where each thread of the process has a number of its own."""
    _limit([blas for blas in _libraries() if _is_per_thread(blas)])


def _is_per_thread(blas):
    """Return whether the number of threads belongs to the calling thread, not to the process."""
    return getattr(blas, "threading_layer", None) == "openmp"


def _limit(libraries):
    """Limit the libraries to one thread; return pairs (library, number before) of those changed.

    Threadpoolctl ignores the call while another thread has set a limit: that limit then holds.
    """
    before = [(blas, blas.get_num_threads()) for blas in libraries]
    for blas in libraries:
        blas.set_num_threads(1)
    return [(blas, number) for blas, number in before if blas.get_num_threads() != number]


def _restore(limits):
    """Set the numbers of threads of pairs (library, number), from any thread of the process."""
    for blas, number in limits:
        # Since threadpoolctl 3.8 only the thread that has set a limit may change it.
        release = getattr(blas, "clear_controlling_thread", lambda force: None)
        release(force=True)
        blas.set_num_threads(number)
        release(force=True)


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=OneThread._lock.acquire,
        after_in_parent=OneThread._lock.release,
        after_in_child=OneThread._after_fork,
    )


def transposed_product(first, second):
    """Return first.T @ second; `@` would hold the interpreter's lock where the result is small."""
    return np.dot(first.T, second)


def weighted_products(z, weight):
    """Return z.T @ diag(weight) @ z; without negative weights BLAS computes one half of it."""
    if len(weight) == 0 or weight.min() >= 0:
        z = z * np.sqrt(weight)[:, np.newaxis]
        return transposed_product(z, z)
    return transposed_product(z * weight[:, np.newaxis], z)


@cache
def _libraries():
    """Return the controllers of each BLAS in the process; finding them takes milliseconds."""
    return ThreadpoolController().select(user_api="blas").lib_controllers

"""Threads of BLAS, and of those who fit models in several.

BLAS runs in one thread while a model trains on chunks that fit a cache.
Threads would pass such a chunk from core to core for less work than that takes, and what waits
for its part keeps a core busy: numpy and scipy each bring a BLAS with threads of its own. Two fits
at a time then also wait for each other. Scikit-learn limits them in KMeans for the same reason.
"""

import os
from contextlib import nullcontext
from functools import cache
from threading import RLock, get_ident
from weakref import WeakSet

import numpy as np
from threadpoolctl import ThreadpoolController

BLAS_THREADS_MIN_FEATURES = 2048  # columns, from which factors of a matrix are worth threads
BLAS_SERIAL_MAX_SIZE = (
    1 << 15
)  # numbers, up to which BLAS starts no threads that take long to wait for


def blas_threads(n_rows, n_columns):
    """Return the context to train in: one thread, or for wide data as many as there are."""
    if n_columns >= BLAS_THREADS_MIN_FEATURES or n_rows * n_columns <= BLAS_SERIAL_MAX_SIZE:
        return nullcontext()
    return OneThread()


class OneThread:
    """Context in which BLAS runs in one thread.

    Where the number of threads belongs to the process, contexts that overlap share one limit: the
    first one sets it, and the last one restores what was there before. In threads of OpenMP, each
    thread has a limit of its own.
    """

    _lock = RLock()
    _active = WeakSet()  # so that one which an interrupt kept from its end does not count for ever
    _before = []  # (library, number of threads) of those limited for the process

    def __enter__(self):
        self.thread = get_ident()
        with OneThread._lock:
            OneThread._active.add(self)
            self.own = _limited([blas for blas in _libraries() if _limits_a_thread(blas)])
            if not OneThread._before:
                OneThread._before = _limited(
                    [blas for blas in _libraries() if not _limits_a_thread(blas)]
                )

    def __exit__(self, *error):
        with OneThread._lock:
            OneThread._active.discard(self)
            _restore(self.own)
            OneThread._restore_after_last()

    @staticmethod
    def _restore_after_last():
        if not OneThread._active:
            _restore(OneThread._before)
            OneThread._before = []

    @staticmethod
    def _after_fork():
        """Forget the contexts of other threads: a child process has only the one that forked."""
        for context in list(OneThread._active):
            if context.thread != get_ident():
                OneThread._active.discard(context)
        OneThread._restore_after_last()
        OneThread._lock.release()


def _limits_a_thread(blas):
    """Whether its number of threads belongs to the thread that calls it, not to the process."""
    return getattr(blas, "threading_layer", None) == "openmp"


def _limited(libraries):
    """Limit them to one thread; return those that were not, with the numbers they had.

    Threadpoolctl ignores this while another thread has set a limit: the user's limit then holds.
    """
    before = [(blas, blas.get_num_threads()) for blas in libraries]
    for blas in libraries:
        blas.set_num_threads(1)
    return [(blas, number) for blas, number in before if blas.get_num_threads() != number]


def _restore(before):
    """Set numbers of threads, from whichever thread of the process."""
    for blas, number in before:
        # Since threadpoolctl 3.8 only the thread that has set the limit could.
        release = getattr(blas, "clear_controlling_thread", lambda force: None)
        release(force=True)
        blas.set_num_threads(number)
        release(force=True)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=OneThread._lock.acquire,
        after_in_parent=OneThread._lock.release,
        after_in_child=OneThread._after_fork,
    )


def transposed_product(first, second):
    """first.T @ second, which would keep the interpreter's lock where the result is small."""
    return np.dot(first.T, second)


@cache
def _libraries():
    """Return what sets the threads of each BLAS; to find them takes milliseconds."""
    return ThreadpoolController().select(user_api="blas").lib_controllers

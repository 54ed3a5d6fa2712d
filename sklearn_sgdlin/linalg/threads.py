"""Tasks in threads: as many at a time as BLAS may use, with results in a fixed order.

Compiled loops and BLAS release the interpreter's lock, so ranges of rows run at the same time. The
ranges follow from the data alone and results are taken in their order, so a sum over them is the
same to the last bit with any number of threads.
"""

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .blas import limit_this_thread

# Results that wait while an earlier one is still computed, for each thread. More of them would take
# memory where each is a matrix; with fewer a thread waits where ranges take unequal time.
WAITING_RESULTS = 1


def map_in_threads(task, items, n_threads):
    """Yield ``task(item)`` for each item, in the order of the items.

    `task` (callable): releases the interpreter's lock for most of its time.
    `n_threads`: tasks that run at the same time. With 1 they run in the calling thread, one at a
    time.
    """
    n_threads = min(n_threads, len(items))
    if n_threads <= 1:
        yield from map(task, items)
        return
    executor = ThreadPoolExecutor(
        n_threads, "sklearn_sgdlin", initializer=_prepare_thread, initargs=(np.geterr(),)
    )
    try:
        pending = deque()
        for item in items:
            pending.append(executor.submit(task, item))
            if len(pending) > (1 + WAITING_RESULTS) * n_threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        # After an error or an interrupt, tasks that have not begun are dropped.
        executor.shutdown(cancel_futures=True)


def _prepare_thread(errors):
    """Give a new thread what belongs to each thread: BLAS in one thread, and NumPy's errors."""
    limit_this_thread()
    np.seterr(**errors)

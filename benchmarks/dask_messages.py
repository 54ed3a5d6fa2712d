"""What it costs to call all workers, by their number and what is sent: see docs/cluster.rst.

Run by hand: ``OMP_NUM_THREADS=1 python benchmarks/dask_messages.py``. The workers are processes
that send back what they are sent, called as those of a fit are.
"""

import time

import numpy as np
from distributed import Client, LocalCluster

N_DIRECTIONS = 49  # of a round of 16 workers or more
REPEATS = 31


class Echo:
    def echo(self, array):
        return array


def milliseconds(actors, array):
    """Median time of a call of all workers."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for call in [actor.echo(array) for actor in actors]:
            call.result()
        seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds))


def main():
    rng = np.random.default_rng(0)
    options = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    for n_workers in (1, 2, 4, 8):
        with LocalCluster(n_workers=n_workers, **options) as cluster, Client(cluster) as client:
            actors = [
                client.submit(Echo, actor=True, workers=[worker], pure=False).result()
                for worker in client.nthreads()
            ]
            for n_features in (50, 1000):
                one = milliseconds(actors, rng.normal(size=n_features))
                many = milliseconds(actors, rng.normal(size=(n_features, N_DIRECTIONS)))
                print(
                    f"{n_workers} workers, {n_features:4d} columns: a vector there and back "
                    f"{one:6.2f} ms, {N_DIRECTIONS} vectors {many:6.2f} ms",
                    flush=True,
                )


if __name__ == "__main__":
    main()

"""Two workers against one, and what a row and a message cost: the numbers of the user guide.

Run by hand: ``OMP_NUM_THREADS=1 python benchmarks/dask_speed.py``. Each worker is a process of one
thread. Medians of interleaved fits; the partitions lie on both workers, or all on one of them,
before the clock starts.
"""

import argparse
import operator
import time

import numpy as np
from distributed import Client, LocalCluster, wait

from sklearn_sgdlin.dask import DaskSGDLinearRegressor
from sklearn_sgdlin.data.dask_partitions import Cluster

N_PARTS = 8


def partition(seed, n_rows, n_features):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_features))
    X += 2 * X[:, :1]  # correlated, so that one round is not enough
    return X, X @ np.linspace(1, 2, n_features) + 10 * rng.standard_normal(n_rows)


def spread(client, workers, n_rows, n_features):
    """Partitions in equal number on some workers."""

    def on_its_worker(number, function, *args):
        worker = workers[number % len(workers)]
        return client.submit(function, *args, workers=[worker], pure=False)

    numbers, size = range(N_PARTS), (n_rows // N_PARTS, n_features)
    pairs = [on_its_worker(number, partition, number, *size) for number in numbers]
    X, y = (
        [on_its_worker(number, operator.getitem, pairs[number], i) for number in numbers]
        for i in (0, 1)
    )
    wait([*X, *y])
    return X, y


def name_of(task, *args):
    """Name of the innermost task, which the others are sent to call."""
    inner = next((arg for arg in args if callable(arg)), None)
    return task.__name__ if inner is None else name_of(inner, *args[args.index(inner) + 1 :])


def main(n_rows, n_features, repeats):
    seconds, rounds, calls = {1: [], 2: []}, {}, []
    each = Cluster.each

    def timed(self, task, args):
        start = time.perf_counter()
        answers = each(self, task, args)
        seconds = time.perf_counter() - start
        calls.append((len(answers), name_of(task, *args[0]), seconds))
        return answers

    Cluster.each = timed
    options = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=2, **options) as cluster, Client(cluster) as client:
        workers = list(client.nthreads())
        data = {n: spread(client, workers[:n], n_rows, n_features) for n in (1, 2)}
        for _ in range(repeats):
            for n_workers in data:
                model = DaskSGDLinearRegressor(client=client, random_state=0)
                start = time.perf_counter()
                model.fit(*data[n_workers])
                seconds[n_workers].append(time.perf_counter() - start)
                rounds[n_workers] = model.n_iter_
    medians = {n: float(np.median(times)) for n, times in seconds.items()}
    print(f"{n_rows} x {n_features}, {repeats} interleaved fits; seconds, rounds:")
    for n_workers in medians:
        print(f"  {n_workers} workers: {medians[n_workers]:.2f} s, {rounds[n_workers]} rounds")
    print(f"  ratio {medians[1] / medians[2]:.2f}")
    for what in dict.fromkeys(what for _, what, _ in calls):
        cost = [np.median([s for n, w, s in calls if (n, w) == (k, what)]) for k in (1, 2)]
        print(f"  {what:18s} {1e3 * cost[0]:8.2f} ms with 1 worker {1e3 * cost[1]:8.2f} ms with 2")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    main(options.rows, options.features, options.repeats)

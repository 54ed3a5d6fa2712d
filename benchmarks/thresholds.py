"""What changes where the method does: time, memory and quality on both sides of each threshold.

Run by hand: ``python benchmarks/thresholds.py``, or with names of thresholds to walk only these.
Each line is one size: half the threshold, the last below it, the first beyond it, and twice it.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import tracemalloc
from functools import partial

import numpy as np
from scipy.sparse import csr_array, issparse, random_array
from scipy.sparse.linalg import LinearOperator, lsqr
from sklearn.linear_model import ElasticNet

from sklearn_sgdlin import SGDLinearRegressor

LONG = 1.0  # seconds, from which a fit is timed once
JUMP = 2.0  # times as much, from one side of a threshold to the other


def with_target(rng, X):
    """The rows, and targets of deviation about one with some noise."""
    signal = X @ rng.standard_normal(X.shape[1])
    return X, 3 + signal / np.std(signal) + 0.5 * rng.standard_normal(X.shape[0])


def dense(n_rows, n_features, together=0.0, decades=3.0):
    """Normal columns that share a factor, in units of some decades on both sides of one."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_features))
    X += together * rng.standard_normal((n_rows, 1))
    return with_target(rng, X * 10 ** rng.uniform(-decades, decades, n_features))


def sparse(n_rows, n_features, per_row):
    rng = np.random.default_rng(0)
    share = per_row / n_features
    X = csr_array(random_array((n_rows, n_features), density=share, format="csr", rng=rng))
    return with_target(rng, X)


def repeated(n_rows, n_features, n_repeated):
    """Rows of which some are written twice."""
    X, y = dense(n_rows, n_features)
    X[:n_repeated] = X[n_rows - n_repeated :]
    return X, y


L1, L2 = {"penalty": "l1", "alpha": 0.01}, {"penalty": "l2"}

# Name: threshold, data of a size, and settings; how `fit` is called if not on all rows at once.
WALKS = {
    "COORDINATES": (4096, partial(sparse, 20_000, per_row=20), {}),
    "COORDINATES, correlated": (4096, lambda size: dense(5000, size, 1.0), {}),
    "CHEAP_COORDINATES": (256, lambda size: dense(30_000, size), {}),
    "CHEAP_COORDINATES, few rows": (256, lambda size: dense(200, size), {}),
    "CHEAP_COORDINATES, few rows, l2": (256, lambda size: dense(200, size), L2),
    "CHEAP_WORK": (6218, lambda size: dense(size, 400), {}),
    "EXACT_ROWS": (40 * 401, lambda size: dense(size, 400, 1.0), {}),
    "FEW_ROWS": (4096, lambda size: dense(size, 4500), {}),
    "FEW_ROWS, l2": (4096, lambda size: dense(size, 4500), L2),
    "rows as many as columns": (1000, lambda size: dense(size, 1000), {}),
    "rows as many as columns, l2": (1000, lambda size: dense(size, 1000), L2),
    "one row twice": (0.5, lambda size: repeated(50, 200_000, int(size)), {}),
    "COPIED": (64, lambda size: sparse(2000, 8000, size), L2),
    "COORDINATES, rows": (4096, lambda size: sparse(1000, size, 20), L2),
    "SHARED": (5000, lambda size: sparse(4000, size, 10), L2),
    "BLAS_THREADS_MIN_FEATURES": (2047, lambda size: dense(4000, size), {}),
    "BLAS_SERIAL_MAX_SIZE": (1638, lambda size: dense(size, 20), {}),
    "STREAM_GRAM_FEATURES": (64, lambda size: dense(20_000, size), {"chunk": 1000}),
    "MERGE_SIZE": (3276, lambda size: dense(size, 10), {"loss": "quantile"}),
    "PENALTY_COLUMNS": (2047, lambda size: sparse(20_000, size, 20), {**L2, "average": False}),
    "interior COORDINATES": (4096, lambda size: dense(10, size, decades=0.0), L1),
    "interior COORDINATES, sparse": (4096, lambda size: sparse(5000, size, 20), L1),
    "MATRIX_WORK": (1000, lambda size: sparse(1000, size, 5), L1),
}
CLUSTERS = {"MATRIX_COORDINATES": 100, "NEWTON_COORDINATES": 1024}


def centred(X):
    """X minus the mean of each column, as an operator where it is sparse."""
    mean = np.asarray(X.mean(axis=0)).ravel()
    if not issparse(X):
        return X - mean
    return LinearOperator(
        X.shape,
        matvec=lambda v: X @ v - mean @ v,
        rmatvec=lambda r: X.T @ r - mean * r.sum(),
        dtype=float,
    )


def least(X, y, penalty, alpha):
    """The least objective, by other means than the package's."""
    target, n_rows = y - y.mean(), len(y)
    if penalty == "l1":
        model = ElasticNet(alpha=alpha, l1_ratio=1.0, tol=1e-8, max_iter=20_000).fit(X, y)
        residual = y - model.predict(X)
        return residual @ residual / 2 / n_rows + alpha * np.abs(model.coef_).sum()
    damp = n_rows * alpha if penalty == "l2" else 0.0
    if issparse(X):
        *_, coef = None, lsqr(centred(X), target, np.sqrt(damp), 1e-12, 1e-12, iter_lim=3000)[0]
        residual = target - centred(X) @ coef
        return residual @ residual / 2 / n_rows + damp / n_rows * coef @ coef / 2
    z = centred(X)
    if n_rows <= X.shape[1]:  # by rows: a' K a and the residual W a
        if damp == 0:
            z /= z.std(axis=0)
            values, vectors = np.linalg.eigh(z @ z.T)
            rest = vectors[:, values < 1e-10 * values.max()].T @ target
            return rest @ rest / 2 / n_rows
        dual = np.linalg.solve(z @ z.T + damp * np.eye(n_rows), target)
        return damp * target @ dual / 2 / n_rows
    scale = 1 / z.std(axis=0)
    z *= scale
    coef = np.linalg.solve(z.T @ z + damp * np.diag(scale**2), z.T @ target)
    residual = target - z @ coef
    return residual @ residual / 2 / n_rows + damp / n_rows * np.sum((scale * coef) ** 2) / 2


def fitted(X, y, settings):
    """A model of all rows, or of a stream of chunks."""
    settings = dict(settings)
    chunk = settings.pop("chunk", None)
    model = SGDLinearRegressor(random_state=0, **settings)
    if chunk is None:
        return model.fit(X, y)
    for start in range(0, len(y), chunk):
        model.partial_fit(X[start : start + chunk], y[start : start + chunk])
    return model


def excess(model, X, y):
    """How far the objective is above the least, in shares of it or of the variance if it is 0."""
    if model.loss != "squared_error":
        return None
    residual = y - model.predict(X)
    value = residual @ residual / 2 / len(y)
    if model.penalty == "l1":
        value += model.alpha * np.abs(model.coef_).sum()
    elif model.penalty == "l2":
        value += model.alpha * model.coef_ @ model.coef_ / 2
    best = least(X, y, model.penalty, model.alpha)
    return float((value - best) / (best if best > 1e-9 * np.var(y) else np.var(y) / 2))


def measure(name, size):
    """Time, memory and quality of one size; in a process of its own."""
    _, make, settings = WALKS[name]
    X, y = make(size)
    fitted(*dense(500, 5), {})  # imports, and the first call of each library
    seconds, processor = [], []
    while not seconds or (len(seconds) < 3 and seconds[0] < LONG):
        start, started = time.perf_counter(), time.process_time()
        model = fitted(X, y, settings)
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - started)
    tracemalloc.start()
    fitted(X, y, settings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    reason = getattr(model, "stop_reason_", None)
    return min(seconds), min(processor), peak / 2**20, excess(model, X, y), reason


def measure_cluster(name, size):
    """The same on two workers that are threads of this process."""
    from distributed import Client, LocalCluster  # it is no requirement of the other walks

    from sklearn_sgdlin.dask import DaskSGDLinearRegressor

    X, y = dense(8000, size)
    options = {"processes": False, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(n_workers=2, **options) as cluster, Client(cluster) as client:
        parts = [part for part in np.array_split(np.arange(len(y)), 4)]
        data = [client.scatter([values[part] for part in parts]) for values in (X, y)]
        DaskSGDLinearRegressor(client=client, max_iter=1, tol=None).fit(*data)
        start, started = time.perf_counter(), time.process_time()
        model = DaskSGDLinearRegressor(client=client, random_state=0).fit(*data)
        took = time.perf_counter() - start, time.process_time() - started
        tracemalloc.start()
        DaskSGDLinearRegressor(client=client, random_state=0).fit(*data)
        peak = tracemalloc.get_traced_memory()[1]
    residual = y - X @ model.coef_ - model.intercept_
    best = least(X, y, None, 0.0)
    return (
        *took,
        peak / 2**20,
        float(residual @ residual / 2 / len(y) / best - 1),
        model.stop_reason_,
    )


def sizes(threshold):
    """Half, the last below, the first beyond, and double."""
    if threshold < 1:
        return [0, 1, 2]
    return [threshold // 2, threshold, threshold + 1, 2 * threshold]


def walk(name):
    """Print a line for each size; then whether time or memory jumps beyond the threshold."""
    threshold = CLUSTERS[name] if name in CLUSTERS else WALKS[name][0]
    lines = []
    for size in sizes(threshold):
        command = [sys.executable, __file__, "--measure", name, str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name:32s} {size:6d}  failed: {done.stderr.strip().splitlines()[-1]}")
            continue
        seconds, processor, megabytes, above, reason = json.loads(done.stdout.splitlines()[-1])
        quality = "" if above is None else f"excess {above:9.1e}"
        print(
            f"{name:32s} {size:6d}  {seconds:8.3f} s  processor {processor:8.3f} s  "
            f"{megabytes:8.1f} MB  {quality:17s} {reason or ''}",
            flush=True,
        )
        lines.append((processor, megabytes))
    if len(lines) >= 3:
        below, beyond = np.maximum(lines[-3], 1e-3), np.maximum(lines[-2], 1e-3)
        if threshold < 1:
            below, beyond = np.maximum(lines[0], 1e-3), np.maximum(lines[1], 1e-3)
        ratios = beyond / below
        jumps = "  jumps" if (np.maximum(ratios, 1 / ratios) > JUMP).any() else ""
        print(f"{name:32s} beyond / below: time {ratios[0]:.2f}, memory {ratios[1]:.2f}{jumps}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="thresholds to walk; default: all")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, size = options.measure[0], int(options.measure[1])
        print(json.dumps((measure_cluster if name in CLUSTERS else measure)(name, size)))
    else:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # times that can be compared
        for name in options.names or [*WALKS, *CLUSTERS]:
            walk(name)

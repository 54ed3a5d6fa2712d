"""What changes where the solver does: time, memory and quality on both sides of each threshold.

Run by hand: ``python benchmarks/thresholds.py``, or with names of thresholds to walk only these.
Lines are named after the fields of `Tuning`. Most of them walk over sizes of the data: half the
threshold, the last size up to it, the first one beyond, and double. Numbers that are no sizes are
walked themselves: half, as it is, and double, with the same data.
"""

import argparse
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, hstack, issparse, random_array
from scipy.sparse.linalg import LinearOperator, lsqr
from sklearn.linear_model import ElasticNet

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._tuning import Tuning

USUAL = Tuning()
LONG = 1.0  # seconds, from which a fit is timed once
REPETITIONS = 10  # of short ones
JUMP = 2.0  # times as much, from one side of a threshold to the other
SMALL = 10.0  # megabytes that need no mention
DIRECT = 2000  # rows or columns up to which the least objective is found by a factorisation


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


def twins(n_rows, n_features, per_row=None):
    """Pairs of columns that differ more or less: eigenvalues far apart, so that a Hessian helps."""
    rng = np.random.default_rng(0)
    n_first = n_features // 2
    n_second = n_features - n_first
    if per_row is None:
        X = rng.standard_normal((n_rows, n_second))
        noise = rng.standard_normal((n_rows, n_first)) * 10 ** rng.uniform(-3, 0, n_first)
        return with_target(rng, np.hstack([X, X[:, :n_first] + noise]))
    X, _ = sparse(n_rows, n_second, per_row)
    other = X.copy()
    other.data *= 1 + rng.standard_normal(X.nnz) * (10 ** rng.uniform(-3, 0, n_second))[X.indices]
    return with_target(rng, csr_array(hstack([X, other[:, :n_first]], format="csr")))


def words(n_rows, n_features, per_row=20):
    """Weights of words of very different frequency."""
    rng = np.random.default_rng(0)
    columns = (n_features * rng.random((n_rows, per_row)) ** 6).astype(np.int64).ravel()
    values = rng.lognormal(size=columns.size)
    rows = np.repeat(np.arange(n_rows), per_row)
    return with_target(rng, csr_array((values, (rows, columns)), shape=(n_rows, n_features)))


class Sizes(NamedTuple):
    """A walk over sizes of the data, up to the threshold and beyond.

    Attributes
    ----------
    within : float
        The largest size that is on the side of half of it.
    make : callable
        Returns X and y of a size.
    settings : dict
        Of the estimator; "chunk" is the number of rows of a call of `partial_fit`.
    """

    within: float
    make: Callable
    settings: dict

    def steps(self, name):
        """Yield a size, and what is fitted how."""
        within = int(self.within)
        for size in (within // 2, within, within + 1, 2 * within):
            yield size, self.make(size), self.settings, USUAL


class Values(NamedTuple):
    """A walk over values of a field of `Tuning`, with the same data."""

    make: Callable
    settings: dict

    def steps(self, name):
        """Yield a value, and what is fitted how."""
        usual, data = getattr(USUAL, name), self.make()
        for value in (usual / 2, usual, 2 * usual):
            yield value, data, self.settings, replace(USUAL, **{name: type(usual)(value)})


def last(condition, largest):
    """The largest size up to which a condition holds."""
    low, high = 1, largest
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if condition(middle) else (low, middle - 1)
    return low


def interior_work(n_rows, n_features):
    """Multiplications for a Hessian of "interior-point"."""
    return (n_features + 1) ** 2 * (n_rows + (n_features + 1) / 3)


def newton_work(n_summed, n_rows, n_features):
    """Multiplications for a Hessian of "newton-cg", from so many rows or sums of them."""
    work = n_summed * (n_features + 1) + USUAL.products_per_dense_entry * n_rows
    return work * (n_features + 1)


L1, L2 = {"penalty": "l1", "alpha": 0.01}, {"penalty": "l2"}
INTERIOR = {"solver": "interior-point"}
TIGHT_L1 = {**L1, "alpha": 1e-3, "tol": 1e-5}
SWEEPS = {"solver": "sgd", "max_iter": 5, "tol": None}
ROWS = USUAL.max_row_system_rows
SKETCH = USUAL.sketch_rows_per_feature * 1801

WALKS = {
    "max_hessian_features": Sizes(
        USUAL.max_hessian_features, partial(sparse, 20_000, per_row=20), {}
    ),
    "max_hessian_features, correlated": Sizes(
        USUAL.max_hessian_features, partial(dense, 4200, together=1.0), {}
    ),
    "max_hessian_features, l1": Sizes(
        USUAL.max_hessian_features, partial(dense, 10, decades=0.0), L1
    ),
    "max_hessian_features, l1 and sparse": Sizes(
        USUAL.max_hessian_features, partial(sparse, 5000, per_row=20), L1
    ),
    "cheap_hessian_features": Sizes(USUAL.cheap_hessian_features, partial(dense, 30_000), {}),
    "cheap_hessian_features, correlated": Sizes(
        USUAL.cheap_hessian_features, partial(twins, 30_000), {}
    ),
    "cheap_hessian_products": Sizes(
        USUAL.cheap_hessian_products // 401**2, lambda size: dense(size, 400), {}
    ),
    "cheap_hessian_products, correlated": Sizes(
        USUAL.cheap_hessian_products // 401**2, lambda size: twins(size, 400), {}
    ),
    "max_row_system_rows": Sizes(ROWS, lambda size: dense(size, ROWS + 1000), {}),
    "max_row_system_rows, l2": Sizes(
        ROWS, lambda size: dense(size, ROWS + 1000, decades=0.0), {**L2, "alpha": 0.01}
    ),
    "as many rows as columns": Sizes(1000, lambda size: dense(size, 1000), {}),
    "as many rows as columns, l2": Sizes(1000, lambda size: dense(size, 1000), L2),
    "min_row_system_features": Sizes(USUAL.min_row_system_features - 1, partial(dense, 30), {}),
    "min_row_system_features, l2": Sizes(USUAL.min_row_system_features - 1, partial(dense, 30), L2),
    "min_sparse_dual_features": Sizes(
        USUAL.min_sparse_dual_features - 1, partial(sparse, 200, per_row=20), L2
    ),
    "max_sparse_dual_entries_per_feature": Sizes(
        USUAL.max_sparse_dual_entries_per_feature * 4, partial(sparse, 2000, 8000), L2
    ),
    "max_stream_features": Sizes(
        USUAL.max_stream_features, partial(dense, 20_000), {"chunk": 1000}
    ),
    "max_newton_stream_features": Sizes(
        USUAL.max_newton_stream_features,
        partial(dense, 10_000),
        {"loss": "quantile", "chunk": 1000},
    ),
    "exact_hessian_rows_per_feature": Sizes(
        USUAL.exact_hessian_rows_per_feature * 401, lambda size: twins(size, 400), {}
    ),
    "sketch_rows_per_feature": Values(partial(twins, 30_000, 400), {}),
    "min_sketch_rows": Values(partial(twins, 30_000, 100), {"solver": "newton-cg"}),
    "hessian_products_per_entry": Sizes(
        last(lambda d: newton_work(1, 1, d) <= USUAL.hessian_products_per_entry * d, 10**5),
        partial(twins, 6800),
        {"max_iter": 50},  # without a Hessian this may take minutes
    ),
    "min_hessian_products": Sizes(
        last(lambda n: newton_work(n, n, 2000) <= USUAL.min_hessian_products, 10**6),
        lambda size: twins(size, 2000, 3),
        {},
    ),
    "products_per_dense_entry": Sizes(
        last(lambda n: newton_work(SKETCH, n, 1800) <= USUAL.min_hessian_products, 10**8),
        lambda size: twins(size, 1800, 2),
        {},
    ),
    "set_products_per_entry": Values(partial(dense, 1000, 4000), L1),
    "interior_products_per_entry": Sizes(
        last(
            lambda d: interior_work(5000, d) <= USUAL.interior_products_per_entry * 20 * 5000, 10**5
        ),
        partial(sparse, 5000, per_row=20),
        L1 | INTERIOR,
    ),
    "min_interior_products": Sizes(
        last(lambda n: interior_work(n, 100) <= USUAL.min_interior_products, 10**5),
        lambda size: sparse(size, 100, 3),
        L1 | INTERIOR,
    ),
    "max_interior_products": Sizes(
        last(lambda n: interior_work(n, 1000) <= USUAL.max_interior_products, 10**5),
        lambda size: twins(size, 1000, 3),
        TIGHT_L1 | INTERIOR,
    ),
    "min_reduced_rows": Sizes(
        USUAL.min_reduced_rows - 1, lambda size: dense(size, 20), {"loss": "quantile"}
    ),
    "min_reduced_rows, 0.05": Sizes(
        USUAL.min_reduced_rows - 1,
        lambda size: dense(size, 20),
        {"loss": "quantile", "quantile": 0.05},
    ),
    "min_reduced_rows_per_column": Sizes(
        USUAL.min_reduced_rows_per_column * 80 - 1,
        lambda size: dense(size, 80),
        {"loss": "quantile"},
    ),
    "max_frequent_columns": Values(partial(words, 8000, 20_000), L2),
    "frequent_products_per_entry": Values(partial(words, 8000, 20_000), L2),
    "max_merged_entries": Sizes(
        USUAL.max_merged_entries // 10, lambda size: dense(size, 10), {"loss": "quantile"}
    ),
    "min_product_rows_per_column": Sizes(
        USUAL.min_product_rows_per_column * 62 - 1, lambda size: dense(size, 60), {"chunk": 10**6}
    ),
    "min_summed_features": Sizes(
        USUAL.min_summed_features - 1, partial(dense, 20_000), {"chunk": 1000}
    ),
    "max_curve_points": Sizes(USUAL.max_curve_points, lambda size: dense(size, 5), {"chunk": 1}),
    "min_blas_threads_features": Sizes(
        USUAL.min_blas_threads_features - 1, partial(dense, 4200), {}
    ),
    "max_unlimited_products": Sizes(
        USUAL.max_unlimited_products // 20**2, lambda size: dense(size, 20), {}
    ),
    "min_range_entries": Sizes(
        USUAL.min_range_entries // 8 - 1, lambda size: dense(size, 16), {"loss": "huber"}
    ),
    "max_ranges": Values(partial(dense, 200_000, 50), SWEEPS),
    "max_ranges, few rows a column": Values(partial(dense, 20_000, 500), SWEEPS),
    "max_cluster_hessian_features": Sizes(
        USUAL.max_cluster_hessian_features, partial(dense, 8000), {}
    ),
    "max_worker_hessian_features": Sizes(
        USUAL.max_worker_hessian_features, partial(dense, 8000), {}
    ),
    "max_worker_hessian_features, correlated": Sizes(
        USUAL.max_worker_hessian_features, partial(twins, 8000), {}
    ),
}
ON_CLUSTER = {
    "max_cluster_hessian_features",
    "max_worker_hessian_features",
    "max_worker_hessian_features, correlated",
}
WITH_THREADS = {  # their wall time counts
    "min_blas_threads_features",
    "max_unlimited_products",
    "min_range_entries",
    "max_ranges",
    "max_ranges, few rows a column",
}


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
        model = ElasticNet(alpha=alpha, l1_ratio=1.0, tol=1e-8, max_iter=2000).fit(X, y)
        residual = y - model.predict(X)
        return residual @ residual / 2 / n_rows + alpha * np.abs(model.coef_).sum()
    damp = n_rows * alpha if penalty == "l2" else 0.0
    if damp == 0 and n_rows <= X.shape[1]:
        return 0.0  # no two rows are equal
    z, scale = centred(X), 1.0
    if not issparse(X) and (damp == 0 or min(X.shape) <= DIRECT):
        scale = 1 / z.std(axis=0)
        z *= scale
    if issparse(X) and X.shape[1] <= DIRECT:
        mean = X.mean(axis=0)
        gram = (X.T @ X).toarray() - n_rows * np.multiply.outer(mean, mean)
        coef = np.linalg.solve(gram + damp * np.eye(len(mean)), z.rmatvec(target))
    elif issparse(X) or min(X.shape) > DIRECT:
        coef, stop = lsqr(z, target, np.sqrt(damp), 1e-9, 1e-9, iter_lim=200)[:2]
        if stop == 7:
            return np.nan  # not found in so many iterations
    elif n_rows <= X.shape[1]:  # by rows: a' K a
        z /= scale
        dual = np.linalg.solve(z @ z.T + damp * np.eye(n_rows), target)
        return damp * target @ dual / 2 / n_rows
    else:
        coef = np.linalg.solve(z.T @ z + damp * np.diag(scale**2), z.T @ target)
    residual = target - z @ coef
    return residual @ residual / 2 / n_rows + damp / n_rows * np.sum((scale * coef) ** 2) / 2


def fitted(X, y, settings, tuning=USUAL):
    """A model of all rows, or of a stream of chunks."""
    settings = dict(settings)
    chunk = settings.pop("chunk", None)
    model = SGDLinearRegressor(random_state=0, **settings)
    model._tuning = tuning
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


class Measured(NamedTuple):
    """Time, memory and quality of a fit."""

    seconds: float
    processor: float
    megabytes: float
    model: SGDLinearRegressor


def measured(fit):
    """Return what a fit takes: the least of some repetitions, or the only one if it is long."""
    tracemalloc.start()
    times = [time.perf_counter(), time.process_time()]
    model = fit()
    seconds, processor = time.perf_counter() - times[0], time.process_time() - times[1]
    megabytes = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    if seconds < LONG:
        seconds, processor = np.inf, np.inf
        for _ in range(REPETITIONS):
            start, started = time.perf_counter(), time.process_time()
            model = fit()
            seconds = min(seconds, time.perf_counter() - start)
            processor = min(processor, time.process_time() - started)
    return Measured(seconds, processor, megabytes, model)


def on_cluster(X, y, settings, tuning):
    """Fit on two workers that are threads of this process."""
    from distributed import Client, LocalCluster  # it is no requirement of the other walks

    from sklearn_sgdlin.dask import DaskSGDLinearRegressor

    options = {"processes": False, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(n_workers=2, **options) as cluster, Client(cluster) as client:
        parts = np.array_split(np.arange(len(y)), 4)
        data = [client.scatter([values[part] for part in parts]) for values in (X, y)]

        def fit():
            model = DaskSGDLinearRegressor(client=client, random_state=0, **settings)
            model._tuning = tuning
            return model.fit(*data)

        return measured(fit)


def walk(name):
    """Print a line for each step; then whether time or memory jumps beyond the threshold."""
    fitted(*dense(500, 5), {})  # imports, and the first call of each library
    lines = []
    for step, (X, y), settings, tuning in WALKS[name].steps(name):
        if name in ON_CLUSTER:
            result = on_cluster(X, y, settings, tuning)
        else:
            result = measured(partial(fitted, X, y, settings, tuning))
        above = excess(result.model, X, y)
        quality = "" if above is None else f"excess {above:9.1e}"
        print(
            f"{name:39s} {step:9g}  {result.seconds:8.4f} s  processor {result.processor:8.4f} s  "
            f"{result.megabytes:8.1f} MB  {quality:17s} {result.model.solver_:16s}"
            f"{getattr(result.model, 'stop_reason_', None) or ''}",
            flush=True,
        )
        counted = result.seconds if name in WITH_THREADS else result.processor
        lines.append(np.maximum([counted, result.megabytes], 1e-6))
    if isinstance(WALKS[name], Sizes):
        ratios, large = lines[2] / lines[1], [True, max(lines[1][1], lines[2][1]) > SMALL]
        jumps = "  jumps" if (np.maximum(ratios, 1 / ratios) > JUMP)[large].any() else ""
        print(f"{name:39s} beyond / at: time {ratios[0]:.2f}, memory {ratios[1]:.2f}{jumps}")
    else:
        half, double = lines[0] / lines[1], lines[2] / lines[1]
        print(f"{name:39s} time: half {half[0]:.2f}, double {double[0]:.2f} of that at the value")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="thresholds to walk; default: all")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.names or WALKS:
        if options.here:
            walk(name)
            continue
        environment = dict(os.environ)
        if name not in WITH_THREADS:  # times that can be compared
            environment.setdefault("OPENBLAS_NUM_THREADS", "1")
        command = [sys.executable, __file__, "--here", name]
        if subprocess.run(command, env=environment, check=False).returncode:
            print(f"{name:39s} failed")

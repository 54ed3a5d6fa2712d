"""What one compiled pass and one fit cost, beside reading X once (`X.sum()`).

Run by hand: ``python benchmarks/pass_cost.py``. Medians of interleaved runs in one process.
"""

import platform
import time
import tracemalloc

import numpy as np
import sklearn
from scipy.sparse import csr_array

from sklearn_sgdlin import SGDLinearRegressor, __version__
from sklearn_sgdlin._loss import SQUARED_ERROR
from sklearn_sgdlin._metric import Metric, Moments
from sklearn_sgdlin._objective import Objective
from sklearn_sgdlin._rows import Rows
from sklearn_sgdlin._sparse import SparseRows, sparse_moments

REPEATS = 11


def medians(functions):
    """Median seconds of each function, run in turn."""
    seconds = {name: [] for name in functions}
    for _ in range(REPEATS):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(times)) for name, times in seconds.items()}


def passes(rng, n_rows, n_features, dtype):
    """One sweep over all rows, in file order and shuffled, in units of X.sum()."""
    X = rng.standard_normal((n_rows, n_features)).astype(dtype)
    reference = X if dtype == np.float64 else X.astype(np.float64)
    rows = Rows(X, rng.standard_normal(n_rows), None, Metric.standard(Moments.of(X), True))
    objective = Objective.of(SQUARED_ERROR, 0.0, 0.0, False, rows.metric.scale)
    start, rule = np.zeros(n_features + 1), (1.0, 0.0, True)
    orders = {"file order": rows.order(), "shuffled": rows.order(rng)}
    functions = {"X.sum()": reference.sum} | {
        name: lambda order=order: rows.sweep(order, objective, rule, 0, start)
        for name, order in orders.items()
    }
    times = medians(functions)
    unit = times.pop("X.sum()")
    for name, seconds in times.items():
        print(
            f"{n_rows:9,} x {n_features:<5} {np.dtype(dtype).name}  pass, {name:<11}"
            f" {seconds / unit:5.2f} x X.sum() of float64  ({1e3 * seconds:.1f} ms)"
        )


def sparse_passes(rng, n_rows, per_row):
    """Nanoseconds a stored entry of one shuffled sweep, for few and for many columns."""
    for n_features in (10_000, 1_000_000):
        indices = np.sort(rng.integers(0, n_features, (n_rows, per_row)), axis=1).ravel()
        X = csr_array(
            (rng.standard_normal(indices.size), indices, np.arange(0, indices.size + 1, per_row)),
            shape=(n_rows, n_features),
        )
        X.sum_duplicates()
        metric = Metric.standard(sparse_moments(X), True)
        rows = SparseRows(X, rng.standard_normal(n_rows), None, metric)
        objective = Objective.of(SQUARED_ERROR, 0.0, 0.0, False, metric.scale)
        order, start = rows.order(rng), np.zeros(n_features + 1)
        seconds = medians(
            {"": lambda: rows.sweep(order, objective, (1.0, 0.0, True), 0, start)}  # noqa: B023
        )[""]
        print(
            f"{n_rows:9,} x {n_features:<9,} CSR, {per_row} a row  pass, shuffled"
            f"  {1e9 * seconds / X.nnz:5.1f} ns a stored entry"
        )


def memory(rng, n_rows, n_features, dtype):
    """Peak of what fit allocates, beyond X and y."""
    X = rng.standard_normal((n_rows, n_features)).astype(dtype)
    y = X[:, 0] + rng.standard_normal(n_rows)
    weight = rng.uniform(size=n_rows)
    tracemalloc.start()
    SGDLinearRegressor(random_state=0).fit(X, y, sample_weight=weight)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(
        f"{n_rows:9,} x {n_features:<5} {np.dtype(dtype).name}  fit allocates at most"
        f" {peak / 2**20:6.1f} MiB: {peak / n_rows:6.1f} bytes a row"
    )


if __name__ == "__main__":
    print(
        f"sklearn_sgdlin {__version__}, scikit-learn {sklearn.__version__}, NumPy"
        f" {np.__version__}, Python {platform.python_version()}, {platform.machine()}\n"
    )
    generator = np.random.default_rng(0)
    for dtype in (np.float64, np.float32):
        for size in ((5_000_000, 10), (500_000, 100), (50_000, 1000)):
            passes(generator, *size, dtype)
    print()
    sparse_passes(generator, 200_000, 10)
    print()
    for dtype in (np.float64, np.float32):
        for size in ((2_000_000, 10), (500_000, 100), (50_000, 1000)):
            memory(generator, *size, dtype)

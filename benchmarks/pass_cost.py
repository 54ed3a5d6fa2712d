"""What one compiled pass and one fit cost, beside reading X once (`X.sum()`).

Run by hand: ``python benchmarks/pass_cost.py``. Medians of interleaved runs in one process.
"""

import platform
import time
import tracemalloc

import numpy as np
import sklearn

from sklearn_sgdlin import SGDLinearRegressor, __version__
from sklearn_sgdlin._loss import SQUARED_ERROR
from sklearn_sgdlin._metric import Metric, Moments
from sklearn_sgdlin._rows import Rows

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
    start, rule = np.zeros(n_features + 1), (1.0, 0.0, True)
    orders = {"file order": rows.order(), "shuffled": rows.order(rng)}
    functions = {"X.sum()": reference.sum} | {
        name: lambda order=order: rows.sweep(order, SQUARED_ERROR, rule, 0, start)
        for name, order in orders.items()
    }
    times = medians(functions)
    unit = times.pop("X.sum()")
    for name, seconds in times.items():
        print(
            f"{n_rows:9,} x {n_features:<5} {np.dtype(dtype).name}  pass, {name:<11}"
            f" {seconds / unit:5.2f} x X.sum() of float64  ({1e3 * seconds:.1f} ms)"
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
    for dtype in (np.float64, np.float32):
        for size in ((2_000_000, 10), (500_000, 100), (50_000, 1000)):
            memory(generator, *size, dtype)

"""Squared error at the speed of memory: threads, memory layouts, several targets, wide rows.

Run by hand: ``python benchmarks/cores.py``; it takes some minutes. `compare.py` prints the same
lines. The time of ``X.sum()`` is that of reading X once in one thread.
"""

from contextlib import nullcontext
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
from sklearn.linear_model import LinearRegression, Ridge
from suite import columns_of_any_unit
from threadpoolctl import threadpool_limits
from timing import medians

from sklearn_sgdlin import SGDLinearRegressor

# Threads of BLAS spin for a while after a call, and would take a core from whatever runs next.
medians = partial(medians, pause=0.3)

SIZES = [(500_000, 100), (5_000_000, 10), (100_000, 250), (50_000, 1000)]


def fit(X, y, limit=None, **settings):
    """Fit with default settings but for those given, with at most so many threads, if limited."""
    with nullcontext() if limit is None else threadpool_limits(limit):
        return SGDLinearRegressor(random_state=0, **settings).fit(X, y)


def passes_and_peers(fewer, budget):
    """Whole fits in units of one reading of X, and of other solvers, with all threads."""
    for n_rows, n_features in SIZES if fewer == 1 else SIZES[:2]:
        X, y = columns_of_any_unit(np.random.default_rng(0), max(n_rows // fewer, 500), n_features)
        seconds = medians(
            {
                "ours": partial(fit, X, y),
                "one thread": partial(fit, X, y, 1),
                "sum": X.sum,
                "Ridge": partial(Ridge().fit, X, y),
                "LinearRegression": partial(LinearRegression().fit, X, y),
            },
            budget,
        )
        ours = seconds["ours"]
        yield (
            f"{len(y):,} x {n_features}: a fit takes {ours / seconds['sum']:.1f} x X.sum(), in one "
            f"thread {seconds['one thread'] / ours:.2f} x as long, Ridge "
            f"{seconds['Ridge'] / ours:.1f} x, LinearRegression "
            f"{seconds['LinearRegression'] / ours:.1f} x"
        )


def layouts(fewer, budget):
    """Memory layouts and types in units of the same numbers as a C-ordered array."""
    rng = np.random.default_rng(0)
    X = rng.integers(-1000, 1000, size=(max(500_000 // fewer, 500), 30)).astype(float)
    y = X @ rng.standard_normal(30) + rng.standard_normal(len(X))
    columns = {f"c{j}": X[:, j].copy() for j in range(30)}
    frame = pd.DataFrame(columns)
    tables = {
        "C order": X,
        "Fortran order": np.asfortranarray(X),
        "int64": X.astype(np.int64),
        "float32": X.astype(np.float32),
        "pandas": frame,
        "pandas of one array": pd.DataFrame(X),
        "pandas, nullable": frame.convert_dtypes(),
        "pandas with Arrow": frame.convert_dtypes(dtype_backend="pyarrow"),
        "polars": pl.DataFrame(columns),
    }
    seconds = medians({name: partial(fit, table, y) for name, table in tables.items()}, budget)
    ratios = [f"{name} {took / seconds['C order']:.2f}" for name, took in seconds.items()]
    yield f"{len(X):,} x 30, time in units of C order: {', '.join(ratios[1:])}"


def targets(fewer, budget):
    """Fits of several targets against Ridge."""
    for n_rows, n_features, n_targets in ((20_000, 200, 50), (5000, 1000, 200), (2000, 20, 1000)):
        rng = np.random.default_rng(0)
        few = 1 if fewer == 1 else 10
        X = rng.standard_normal((n_rows // few, n_features // few))
        Y = X @ rng.standard_normal((n_features // few, n_targets // few))
        Y += rng.standard_normal(Y.shape)
        seconds = medians({"ours": partial(fit, X, Y), "Ridge": partial(Ridge().fit, X, Y)}, budget)
        yield (
            f"{X.shape[0]:,} x {X.shape[1]} x {Y.shape[1]} targets: Ridge takes "
            f"{seconds['Ridge'] / seconds['ours']:.2f} x the time"
        )


def wide(fewer, budget):
    """Few rows with an l2 penalty against Ridge."""
    few = 1 if fewer == 1 else 20
    for n_rows, n_features in ((3000, 3000), (2000, 8000)):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n_rows // few, n_features // few))
        y = X[:, 0] + rng.standard_normal(len(X))
        ridge = Ridge(alpha=1e-4 * len(X))
        seconds = medians(
            {"ours": partial(fit, X, y, penalty="l2"), "Ridge": partial(ridge.fit, X, y)}, budget
        )
        yield (
            f"{X.shape[0]:,} x {X.shape[1]:,} with l2: Ridge takes "
            f"{seconds['Ridge'] / seconds['ours']:.2f} x the time"
        )


def two_threads(fewer, budget):
    """What two threads gain, for a solver of each kind."""
    kinds = {
        "one pass": ((500_000, 100), {}),
        "sweeps of SGD": ((500_000, 50), {"solver": "sgd", "max_iter": 3, "tol": None}),
        "Hessian-vector products": ((50_000, 1000), {"solver": "newton-cg"}),
        "huber": ((500_000, 20), {"loss": "huber"}),
    }
    for name, (shape, settings) in kinds.items():
        X, y = columns_of_any_unit(np.random.default_rng(0), max(shape[0] // fewer, 500), shape[1])
        runs = {limit: partial(fit, X, y, limit, **settings) for limit in (1, 2)}
        seconds = medians(runs, 2 * budget)
        yield f"{name}, {len(y):,} x {shape[1]}: two threads gain {seconds[1] / seconds[2]:.2f} x"


def all_lines(fewer, budget):
    """Yield all measures as lines of text."""
    for measure in (passes_and_peers, layouts, targets, wide, two_threads):
        yield from measure(fewer, budget)


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        for line in all_lines(1, 3.0):
            print(line, flush=True)

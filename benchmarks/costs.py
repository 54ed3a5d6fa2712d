"""What the estimator costs by itself: passes, growth with the data, threads, memory, small calls.

Each function measures one of these and yields lines of a Markdown list.
"""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from joblib import parallel_config
from sklearn.linear_model import LinearRegression, Ridge, SGDRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.utils.validation import validate_data
from suite import columns_of_any_unit, hashed
from threadpoolctl import threadpool_limits
from timing import medians, slope

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._fit import epochs
from sklearn_sgdlin._validation import validated
from sklearn_sgdlin.data.csr import SparseRows
from sklearn_sgdlin.data.dense import Rows
from sklearn_sgdlin.model.loss import SQUARED_ERROR
from sklearn_sgdlin.model.moments import Moments
from sklearn_sgdlin.model.objective import Objective
from sklearn_sgdlin.model.scaling import Scaling

WORKERS = ("threads", "threading"), ("processes", "loky")
RULE = (1.0, 0.0, True, 1.0)  # learning_rate, power_t, implicit, norm


def sweeps(rows, rng):
    """One pass over the rows in each order, as functions without arguments."""
    objective = Objective.of(SQUARED_ERROR, 0.0, 0.0, False, rows.scaling.scale)
    start = np.zeros(rows.n_coordinates)
    orders = {"file order": rows.order(), "shuffled": rows.order(rng)}
    return {
        name: lambda order=order: rows.sweep(order, objective, RULE, 0, start)
        for name, order in orders.items()
    }


def passes(fewer, budget):
    """One dense pass in units of reading X once."""
    rng = np.random.default_rng(0)
    for n_rows, n_features in ((5_000_000, 10), (500_000, 100), (50_000, 1000)):
        X, y = columns_of_any_unit(rng, n_rows // fewer, n_features)
        functions = {"sum": X.sum}
        for dtype in ("float64", "float32"):
            rows = Rows(
                X.astype(dtype, copy=False), y, None, Scaling.from_moments(Moments.of(X), True)
            )
            functions |= {f"{dtype}, {name}": f for name, f in sweeps(rows, rng).items()}
        seconds = medians(functions, budget)
        unit = seconds.pop("sum")
        costs = "; ".join(f"{name} {took / unit:.2f}" for name, took in seconds.items())
        share = seconds["float32, shuffled"] / seconds["float64, shuffled"]
        yield (
            f"pass over {len(y):,} x {n_features}, in units of `X.sum()` of float64: {costs}; "
            f"float32 / float64, shuffled: {share:.2f}"
        )


def sparse_passes(fewer, budget):
    """One sparse pass, by stored entry, in units of the sum of the entries."""
    rng = np.random.default_rng(0)
    for n_features in (10_000, 1_000_000):
        X, y = hashed(rng, 200_000 // fewer, n_features, 10)
        rows = SparseRows(X, y, None, Scaling.from_moments(Moments.of(X), True))
        seconds = medians({"sum": X.data.sum} | sweeps(rows, rng), budget)
        unit = seconds.pop("sum")
        costs = "; ".join(
            f"{name} {took / unit:.1f} ({1e9 * took / X.nnz:.1f} ns an entry)"
            for name, took in seconds.items()
        )
        yield f"pass over CSR {len(y):,} x {n_features:,}, in units of `X.data.sum()`: {costs}"


def growth(fewer, budget, curves):
    """Seconds an epoch against n, d and nnz over three decades, with the slopes.

    The sizes and seconds go into `curves`, for the picture.
    """
    rng = np.random.default_rng(0)
    scales = np.geomspace(1, 1000, 7) if fewer == 1 else [1, 10]
    wide = 20_000 // fewer
    makers = {
        "n": (3_000, lambda n: columns_of_any_unit(rng, int(n), 20)),
        "d": (3, lambda d: columns_of_any_unit(rng, wide, int(d))),
        "nnz": (wide, lambda nnz: hashed(rng, wide, 10_000 // fewer, round(nnz / wide))),
    }
    for name, (least, make) in makers.items():
        sizes, seconds = [], []
        for scale in scales:
            X, y = make(least * scale)
            model = SGDLinearRegressor(random_state=0)
            took = medians({"": lambda m=model, X=X, y=y: m.fit(X, y)}, budget, most=5)[""]
            sizes.append({"n": len(y), "d": X.shape[1]}.get(name) or X.nnz)
            seconds.append(took / model.n_iter_)
        curves[name] = sizes, seconds
        upper = slice((len(sizes) - 1) // 2, None)
        yield (
            f"an epoch against {name}, {sizes[0]:,} to {sizes[-1]:,}: slope "
            f"{slope(sizes, seconds):.2f}, upper half {slope(sizes[upper], seconds[upper]):.2f}"
        )


def threads(fewer, budget):
    """Two fits at a time against one: in threads, and as a grid search runs them.

    Processes, joblib's default, map X anew for each fit; threads need not. The same search over
    `Ridge` stands beside it.
    """
    rates = [0.1, 0.3, 1.0, 3.0]
    ours, ridge = SGDLinearRegressor(random_state=0), Ridge()
    sizes = (500_000, 50), (100_000, 100), (20_000, 200)
    for n_rows, n_features in sizes if fewer == 1 else sizes[:1]:
        X, y = columns_of_any_unit(np.random.default_rng(0), n_rows // fewer, n_features)

        def fit(_=None, X=X, y=y):
            SGDLinearRegressor(random_state=0).fit(X, y)

        # Within a limit set here, as in compare.py, fits in other threads cannot set theirs to one.
        with ThreadPoolExecutor(2) as pool, threadpool_limits(1):
            functions = {"one": fit, "two": lambda pool=pool, fit=fit: [*pool.map(fit, range(2))]}
            seconds = medians(functions, 2 * budget)
        both = seconds["two"] / seconds["one"]
        gains = []
        for workers, backend in WORKERS[: 2 if fewer == 1 else 1]:
            gain = search_gain(ours, {"learning_rate": rates}, X, y, budget, backend)
            of_ridge = search_gain(ridge, {"alpha": rates}, X, y, budget, backend)
            gains.append(f"in {workers} {gain:.2f} x (Ridge {of_ridge:.2f} x)")
        yield (
            f"{len(y):,} x {n_features}: two fits in two threads take {both:.2f} x one; "
            f"GridSearchCV(n_jobs=2) over {len(rates)} rates (alphas) and 10 folds is faster "
            f"than n_jobs=1 {'; '.join(gains)}"
        )
    if fewer > 1:
        return  # processes take seconds to start
    longer = SGDLinearRegressor(loss="huber", random_state=0)
    gain = search_gain(longer, {"learning_rate": rates}, X, y, budget, "loky")
    yield f"the last search with loss='huber', whose fits take longer, in processes: {gain:.2f} x"


def search_gain(model, grid, X, y, budget, backend):
    """How many times as fast a grid search in 10 folds is with two workers as with one."""

    def search(n_jobs, n_rows=None):
        GridSearchCV(model, grid, cv=10, n_jobs=n_jobs).fit(X[:n_rows], y[:n_rows])

    with parallel_config(backend), threadpool_limits(1):  # as many as a process has of two
        search(2, 1000)  # starts the workers
        functions = {n_jobs: lambda n_jobs=n_jobs: search(n_jobs) for n_jobs in (1, 2)}
        seconds = medians(functions, 2 * budget, most=5)
    return seconds[1] / seconds[2]


def memory(fewer):
    """Peak of what fit allocates, beyond X and y."""
    rng = np.random.default_rng(0)
    for n_rows, n_features in ((2_000_000, 10), (500_000, 100), (50_000, 1000)):
        X, y = columns_of_any_unit(rng, n_rows // fewer, n_features)
        weight = rng.uniform(size=len(y))
        peaks = []
        for sample_weight in (None, weight):
            tracemalloc.start()
            SGDLinearRegressor(random_state=0).fit(X, y, sample_weight)
            peaks.append(tracemalloc.get_traced_memory()[1] / len(y))
            tracemalloc.stop()
        yield (
            f"fit of {len(y):,} x {n_features} allocates at most {peaks[0]:.1f} bytes a row "
            f"beyond X and y, {peaks[1]:.1f} with weights"
        )


def small(fewer, budget):
    """Streams of single rows against SGDRegressor."""
    rng = np.random.default_rng(0)
    calls = 10_000 // fewer
    for kind in ("dense", "CSR"):
        X, y = (
            columns_of_any_unit(rng, calls, 10) if kind == "dense" else hashed(rng, calls, 100, 10)
        )
        rows = [(X[i : i + 1], y[i : i + 1]) for i in range(calls)]

        def stream(model, rows=rows):
            for x, target in rows:
                model.partial_fit(x, target)

        models = {"ours": SGDLinearRegressor(), "SGDRegressor": SGDRegressor(eta0=1e-12)}
        seconds = medians(
            {name: lambda m=model: stream(m) for name, model in models.items()}, budget, most=5
        )
        yield (
            f"{calls:,} calls of partial_fit with one row ({kind}): "
            f"{seconds['ours'] / seconds['SGDRegressor']:.2f} x SGDRegressor's "
            f"({1e6 * seconds['ours'] / calls:.0f} µs a call)"
        )


def small_fits(fewer, budget):
    """Fits and predictions of few rows against LinearRegression, and where their time goes."""
    for n_rows, n_features in ((100, 5), (442, 10), (1000, 20)):
        X, y = columns_of_any_unit(np.random.default_rng(0), n_rows, n_features)
        ours, least_squares = SGDLinearRegressor(), LinearRegression()
        settings = ours._settings()

        def validate(model=ours, X=X, y=y):
            model._validate_params()
            validated(model, X, y, None, reset=True)

        functions = {
            "ours": lambda m=ours, X=X, y=y: m.fit(X, y),
            "its validation": validate,
            "its solver": lambda s=settings, X=X, y=y: list(epochs(s, X, y, None, 0)),
            "LinearRegression": lambda m=least_squares, X=X, y=y: m.fit(X, y),
            "scikit-learn's validation": lambda m=least_squares, X=X, y=y: validate_data(m, X, y),
        }
        fits = medians(functions, budget, most=1000 // fewer)
        models = {"ours": ours, "LinearRegression": least_squares}
        predictions = medians(
            {name: lambda m=m, X=X: m.predict(X) for name, m in models.items()},
            budget,
            most=1000 // fewer,
        )
        parts = ", ".join(f"{name} {1e6 * took:.0f}" for name, took in fits.items())
        gain, faster = (s["LinearRegression"] / s["ours"] for s in (fits, predictions))
        yield (
            f"fit of {n_rows} x {n_features}: LinearRegression takes {gain:.2f} x as long, its "
            f"`predict` {faster:.2f} x (µs of `fit`: {parts})"
        )

"""Squared error from one pass over the rows: of any layout, in threads, for all targets."""

import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.linear_model import LinearRegression, Ridge
from threadpoolctl import threadpool_limits

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._tuning import Tuning
from sklearn_sgdlin.data import one_pass
from sklearn_sgdlin.data.layouts import Frame, take
from sklearn_sgdlin.data.one_pass import column_products


def whole_numbers(rng, n_rows=5000, n_features=7):
    """Data that every layout and type below holds exactly."""
    X = rng.integers(-1000, 1000, size=(n_rows, n_features)).astype(float)
    return X, X @ rng.normal(size=n_features) + rng.normal(size=n_rows)


def frame_of_blocks(X):
    return pd.DataFrame({f"c{j}": X[:, j].copy() for j in range(X.shape[1])})


def mixed(X):
    frame = frame_of_blocks(X)
    return frame.astype({"c0": "float32", "c1": "int16", "c2": "Int64"})


def readable_types(X):
    return frame_of_blocks(X).astype({"c0": "float32", "c1": "int32", "c2": "int64"})


def reversed_view(X):
    return np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]


def memory_map(X):
    return np.asfortranarray(X).view(np.memmap)


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "float32": lambda X: X.astype(np.float32),
    "float32, Fortran order": lambda X: np.asfortranarray(X, dtype=np.float32),
    "int64": lambda X: X.astype(np.int64),
    "int32, Fortran order": lambda X: np.asfortranarray(X, dtype=np.int32),
    "int16": lambda X: X.astype(np.int16),
    "other byte order": lambda X: X.astype(X.dtype.newbyteorder()),
    "every second column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "negative strides": reversed_view,
    "memory map": memory_map,
    "CSR": csr_array,
    "pandas, one block": pd.DataFrame,
    "pandas, many blocks": frame_of_blocks,
    "pandas, several types": mixed,
    "pandas, several types that are read as they are": readable_types,
    "pandas, nullable": lambda X: frame_of_blocks(X).astype("Float64"),
    "pandas, Arrow": lambda X: frame_of_blocks(X).convert_dtypes(dtype_backend="pyarrow"),
    "polars": lambda X: pl.DataFrame(X),
    "polars, integers": lambda X: pl.DataFrame(X.astype(np.int64)),
    "polars, chunks": lambda X: pl.concat(
        [pl.DataFrame(X[:100]), pl.DataFrame(X[100:])], rechunk=False
    ),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_model(rng, layout, weighted):
    X, y = whole_numbers(rng)
    weight = rng.random(len(y)) if weighted else None
    expected = SGDLinearRegressor().fit(X, y, weight)
    model = SGDLinearRegressor().fit(LAYOUTS[layout](X), y, weight)
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    assert model.intercept_ == expected.intercept_


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in ("float32", "CSR")])
def test_no_layout_is_copied_whole(rng, layout):
    X, y = whole_numbers(rng, 100_000, 20)
    X = LAYOUTS[layout](X)
    tracemalloc.start()
    try:
        SGDLinearRegressor().fit(X, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A copy would take 16 MB; tiles of two threads and what checks of y take are less than half.
    assert peak < 8e6


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_solvers_read_every_layout(rng, layout):
    X, y = whole_numbers(rng, 300)
    expected = SGDLinearRegressor(solver="sgd", random_state=0).fit(X, y)
    model = SGDLinearRegressor(solver="sgd", random_state=0).fit(LAYOUTS[layout](X), y)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", ["Fortran order", "CSR", "polars", "pandas, many blocks"])
def test_what_is_not_finite_is_refused_in_every_layout(rng, layout, bad):
    X, y = whole_numbers(rng)
    X[-1, 3] = bad
    model = SGDLinearRegressor()
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
        model.fit(LAYOUTS[layout](X), y)
    assert not hasattr(model, "coef_")


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_rows_of_a_frame_of_small_integers_are_float64(rng, frame):
    X = rng.integers(-100, 100, size=(20, 3)).astype(np.int8)
    rows = take(Frame(frame(X)), np.array([3, 1]))
    np.testing.assert_array_equal(rows, X[[3, 1]])
    assert rows.dtype == np.float64


@pytest.mark.parametrize("dtype", ["Float64", "Int64", "float64[pyarrow]"])
def test_missing_values_are_refused(rng, dtype):
    X, y = whole_numbers(rng)
    X = frame_of_blocks(X).astype({"c1": dtype})
    X.loc[17, "c1"] = pd.NA
    with pytest.raises(ValueError, match="Input X contains NaN"):
        SGDLinearRegressor().fit(X, y)


@pytest.mark.parametrize("n_features", [3, 1030])
@pytest.mark.parametrize("n_targets", [1, 4])
def test_same_bits_on_any_number_of_threads(rng, n_features, n_targets):
    X = rng.normal(size=(4000, n_features))
    y = X[:, :1] + rng.normal(size=(4000, n_targets))
    models = []
    for n_threads in (1, 2, 3, 8):
        model = SGDLinearRegressor(random_state=0)
        model._tuning = Tuning(min_range_entries=1000, max_unlimited_products=0)
        with threadpool_limits(n_threads, user_api="blas"):
            models.append(model.fit(X, y))
    for model in models[1:]:
        np.testing.assert_array_equal(model.coef_, models[0].coef_)
        np.testing.assert_array_equal(model.intercept_, models[0].intercept_)


def test_small_data_start_no_threads(rng, monkeypatch):
    monkeypatch.setattr("sklearn_sgdlin.linalg.threads.ThreadPoolExecutor", None)
    X, y = whole_numbers(rng)
    SGDLinearRegressor().fit(X, y)


@given(
    n_rows=st.integers(1, 700),
    n_features=st.integers(1, 40) | st.integers(250, 260),
    n_targets=st.integers(1, 5) | st.integers(200, 205),
    weighted=st.booleans(),
    order=st.sampled_from("CF"),
    seed=st.integers(0, 2**16),
)
def test_products_are_those_of_long_double(n_rows, n_features, n_targets, weighted, order, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features)) * 10.0 ** rng.integers(-5, 5, size=n_features)
    X = np.asarray(X + 10.0 ** rng.integers(-5, 5, size=n_features), order=order)
    targets = rng.normal(size=(n_rows, n_targets)) + 1e3
    weight = rng.random(n_rows) * rng.integers(0, 2, size=n_rows) if weighted else None
    if weighted:
        weight[rng.integers(n_rows)] = 1.0
    products = column_products(X, targets, weight, Tuning(min_range_entries=500))
    exact = np.column_stack([X, targets]).astype(np.longdouble)
    h = np.ones(n_rows) if weight is None else weight
    mean = h @ exact / h.sum()
    centred = exact - mean
    sums = (centred * h[:, np.newaxis]).T @ centred
    size = np.sqrt(np.multiply.outer(sums.diagonal(), sums.diagonal())) + 1e-25 * np.abs(
        np.multiply.outer(mean, mean)
    )
    error = np.abs(products.sums - sums[:n_features]) / size[:n_features]
    assert error.max() < 1e-9
    np.testing.assert_allclose(products.moments.mean, mean.astype(float), rtol=1e-12)
    assert products.moments.rows == np.count_nonzero(h)


@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("n_features", [254, 255, 256, 1022, 1023, 1024])
def test_products_on_both_sides_of_the_limits_of_compiled_loops(rng, n_features, n_targets):
    X, targets = rng.normal(size=(300, n_features)), rng.normal(size=(300, n_targets))
    weight = rng.random(300)
    products = column_products(X, targets, weight, Tuning())
    rows = np.column_stack([X, targets]) - products.moments.mean
    expected = (rows * weight[:, np.newaxis]).T @ rows
    np.testing.assert_allclose(products.sums, expected[:n_features], rtol=0, atol=1e-9)


@pytest.mark.parametrize("far", [1e3, 1e9])
def test_a_sample_far_from_the_mean_costs_no_digits(rng, far, monkeypatch):
    # The evenly spaced rows whose mean the columns are shifted by are all outliers.
    X = rng.normal(size=(100_000, 3))
    sampled = np.linspace(0, len(X) - 1, one_pass.SHIFT_ROWS).astype(int)
    weight = np.ones(len(X))
    weight[sampled[1:]] = 1e-12
    X[sampled[1:]] += far
    y = X @ [1.0, 2.0, 3.0] + rng.normal(size=len(X))
    kept = np.setdiff1d(np.arange(len(X)), sampled[1:])
    model = SGDLinearRegressor().fit(X, y, weight)
    expected = LinearRegression().fit(X, y, weight)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-7)
    if far == 1e3:
        np.testing.assert_allclose(model.coef_, [1, 2, 3], atol=0.05)
    assert len(kept) > 99_000


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("penalty", [None, "l2"])
def test_many_targets_have_the_optimum_each(rng, fit_intercept, penalty):
    n_targets = 30
    X = rng.normal(size=(500, 6)) * [1, 10, 100, 1e3, 1e-3, 1] + [0, 5, 0, 1e4, 0, 1]
    Y = X @ rng.normal(size=(6, n_targets)) + rng.normal(size=(500, n_targets))
    Y[:, 3] = 7.0
    Y[:, 4] = X[:, 0]  # no noise
    Y[:, 5] *= 1e8
    model = SGDLinearRegressor(penalty=penalty, alpha=0.1, fit_intercept=fit_intercept).fit(X, Y)
    if penalty:
        expected = Ridge(alpha=0.1 * len(X), fit_intercept=fit_intercept).fit(X, Y).predict(X)
    else:
        columns = np.column_stack([X / np.abs(X).max(axis=0), np.full(len(X), fit_intercept)])
        expected = columns @ np.linalg.lstsq(columns, Y, rcond=1e-14)[0]
    size = np.std(Y, axis=0) + np.abs(Y).max(axis=0)
    assert (np.abs(model.predict(X) - expected) / size).max() < 1e-9
    assert (model.stop_reason_, model.n_iter_) == ("converged", 1)
    residual = Y - model.predict(X)
    loss = (residual**2).mean(axis=0) / 2
    if penalty:
        loss += 0.1 * (model.coef_**2).sum(axis=1) / 2
    np.testing.assert_allclose(model.loss_curve_, [loss.mean()], rtol=1e-9)


def test_a_stream_of_many_targets_goes_on_from_the_products(rng):
    X = rng.normal(size=(400, 5))
    Y = X @ rng.normal(size=(5, 4)) + rng.normal(size=(400, 4))
    model = SGDLinearRegressor().fit(X[:200], Y[:200]).partial_fit(X[200:], Y[200:])
    np.testing.assert_allclose(model.coef_, LinearRegression().fit(X, Y).coef_, rtol=1e-9)


@pytest.mark.parametrize("kind", [np.asarray, csr_array])
def test_few_rows_are_factorised_without_products_of_their_columns(rng, monkeypatch, kind):
    # Their matrix would be singular, and large where columns are many.
    monkeypatch.setattr(one_pass, "add_cross_products", None)
    monkeypatch.setattr("sklearn_sgdlin.methods.hessian.gram", None)
    X, y = rng.normal(size=(30, 60)), rng.normal(size=30)
    weight = np.append(np.ones(20), np.zeros(10))
    model = SGDLinearRegressor(solver="newton-cholesky")
    np.testing.assert_allclose(model.fit(kind(X), y).predict(X), y, atol=1e-8)
    np.testing.assert_allclose(model.fit(kind(X), y, weight).predict(X[:20]), y[:20], atol=1e-8)

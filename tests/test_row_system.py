"""One unknown per row: dual ridge regression, and minimum-norm least squares."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from sklearn_sgdlin import SGDLinearRegressor, _solvers
from sklearn_sgdlin._tuning import Tuning
from sklearn_sgdlin.data.csr import make_rows
from sklearn_sgdlin.data.dense import Rows
from sklearn_sgdlin.data.sorted_csc import SortedColumns
from sklearn_sgdlin.linalg.blocks import chunk_rows
from sklearn_sgdlin.methods.row_system import (
    BLOCK_COLUMNS,
    MIN_THREADED_ROWS,
    DenseKernel,
    RowSystem,
    add_lower_products,
)
from sklearn_sgdlin.methods.sparse_dual import SparseKernel
from sklearn_sgdlin.model.moments import Moments
from sklearn_sgdlin.model.scaling import Scaling
from tests.data import pairs

OPTIONS = {"random_state": 0}
USUAL, FEW_FREQUENT = Tuning(), Tuning(max_frequent_columns=50)


def words(rng, n_rows, n_features, per_row=20):
    """Weights of words of very different frequency."""
    columns = (n_features * rng.random((n_rows, per_row)) ** 6).astype(np.int64).ravel()
    values = rng.lognormal(size=columns.size)
    return csr_array(
        (values, (np.repeat(np.arange(n_rows), per_row), columns)), shape=(n_rows, n_features)
    )


def rare(rng, n_rows, n_features):
    """The same, in units of six decades, the frequent columns anywhere."""
    X = words(rng, n_rows, n_features)
    X.indices[:] = rng.permutation(n_features)[X.indices]
    X.data *= 10.0 ** rng.uniform(-3, 3, n_features)[X.indices]
    X.sum_duplicates()
    return X


def far(rng, n_rows, n_features):
    """Dense columns, whose mean is a hundred deviations."""
    return rng.normal(size=(n_rows, n_features)) + 100


def repeated(rng, n_rows, n_features):
    """Each row twice, and constant columns."""
    X = rng.normal(size=(-(-n_rows // 2), n_features))
    X[:, :3] = 0.1
    return np.repeat(X, 2, axis=0)[:n_rows]


def target(rng, X):
    signal = X @ rng.normal(size=X.shape[1])
    return 5 * signal.std() + signal + 0.5 * signal.std() * rng.normal(size=len(signal))


def centred(X, weight, fit_intercept):
    dense = X.toarray() if isinstance(X, csr_array) else np.asarray(X, dtype=np.float64)
    mean = weight @ dense / weight.sum() if fit_intercept else np.zeros(X.shape[1])
    return np.sqrt(weight)[:, np.newaxis] * (dense - mean), mean


def rows_of(X, weight, fit_intercept=True):
    scaling = Scaling.from_moments(Moments.of(X, weight), fit_intercept)
    return make_rows(X, np.zeros(X.shape[0]), weight, scaling)


def kernel_of(X, weight, l2, fit_intercept=True, tuning=USUAL):
    rows = rows_of(X, weight, fit_intercept)
    if isinstance(X, csr_array):
        return SparseKernel(SortedColumns(X, weight), rows, l2, tuning)
    return DenseKernel(rows, l2, tuning)


def coef_of(kernel, rows, dual_coef):
    return rows.scaling.to_original(kernel.apply_transpose(dual_coef))[0]


def objective(model, X, y, weight, l2):
    residual = y - X @ model.coef_ - model.intercept_
    return weight @ residual**2 / weight.sum() / 2 + l2 * model.coef_ @ model.coef_ / 2


def least(X, y, weight, l2, fit_intercept):
    """The objective of the optimum, from the dense system."""
    Z, mean = centred(X, weight, fit_intercept)
    level = weight @ y / weight.sum() if fit_intercept else 0.0
    K = Z @ Z.T / l2 + weight.sum() * np.eye(len(y))
    model = SGDLinearRegressor()
    model.coef_ = Z.T @ np.linalg.solve(K, np.sqrt(weight) * (y - level)) / l2
    model.intercept_ = level - mean @ model.coef_
    return objective(model, X, y, weight, l2)


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sorted_columns_are_those_of_the_rows(rng, dtype, index):
    X, weight = rare(rng, 80, 400).astype(dtype), rng.exponential(size=80)
    X.data[X.indptr[5] : X.indptr[7]] = 0
    X.eliminate_zeros()  # two rows without an entry
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    columns = SortedColumns(X, weight)
    dense, order = X.toarray().astype(np.float64), columns.order
    written = np.sqrt(weight)[:, np.newaxis] * dense[:, order]
    np.testing.assert_allclose(columns.columns.toarray(), written, rtol=1e-15)
    assert columns.columns.has_sorted_indices
    np.testing.assert_array_equal(columns.frequency, (dense != 0).sum(axis=0)[order])
    assert (columns.frequency[:-1] >= 0.9 * columns.frequency[1:]).all()
    np.testing.assert_allclose(columns.moments.mean, weight @ dense / weight.sum(), rtol=1e-12)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("make", [words, rare, far, repeated])
def test_products_are_those_of_the_matrices(rng, make, fit_intercept):
    X, weight, l2 = make(rng, 60, 400), rng.exponential(size=60) * (rng.random(60) < 0.8), 0.1
    kernel = kernel_of(X, weight, l2, fit_intercept, FEW_FREQUENT)
    Z, _ = centred(X, weight, fit_intercept)
    matrix, values = Z @ Z.T / l2 + weight.sum() * np.eye(60), rng.normal(size=60)
    close = np.testing.assert_allclose
    coef = coef_of(kernel, rows_of(X, weight, fit_intercept), values)
    close(coef, values @ Z / l2, rtol=1e-9, atol=1e-10 * np.abs(Z).max() / l2)
    product = matrix @ values
    if isinstance(X, csr_array):
        product -= kernel.residual_matvec(values)  # leaves the matrix near it
    close(kernel.solve(product), values, rtol=1e-7, atol=1e-7)


def test_the_matrix_near_it_is_exact_but_for_rare_columns_and_these_but_for_a_diagonal(rng):
    X, values = words(rng, 60, 400), rng.normal(size=60)
    kernel = kernel_of(X, np.ones(60), 0.1, tuning=FEW_FREQUENT)
    Z, _ = centred(X, np.ones(60), True)
    few = np.argsort(-Z.var(axis=0))[: len(kernel.frequent_columns.centre)]
    others = np.delete(Z, few, axis=1)
    assert others.shape[1] >= 350
    product = others @ others.T / 0.1
    expected = product @ values - (kernel.diagonal - kernel.ridge) * values
    np.testing.assert_allclose(kernel.residual_matvec(values), expected, rtol=1e-9)
    diagonal = product.diagonal() + kernel.ridge
    np.testing.assert_array_equal(np.argsort(kernel.diagonal), np.argsort(diagonal))
    assert np.ptp(np.log(kernel.diagonal)) < np.ptp(np.log(diagonal))
    assert diagonal.min() < np.median(kernel.diagonal) < diagonal.max()


@given(st.integers(0, 2**32 - 1), st.floats(1e-4, 1e3))
def test_the_gap_bounds_the_excess_wherever_the_point_is(seed, l2):
    rng = np.random.default_rng(seed)
    X = words(rng, 12, 30, 5)
    y, weight = target(rng, X), rng.exponential(size=12)
    scaling = Scaling.from_moments(Moments.of(X, weight), True)
    rows = Rows(X.toarray(), y, weight, scaling)
    kernel = kernel_of(X, weight, l2)
    system = RowSystem(rows, kernel, 0.0)
    system.start(np.zeros(31))
    point = rng.normal(size=12) * np.abs(y).max() / weight.sum()
    Z, _ = centred(X, weight, True)
    gap, loss = system.gap(point, system.y - Z @ (Z.T @ point) / l2 - kernel.ridge * point)
    model = SGDLinearRegressor()
    theta = system.theta + kernel.apply_transpose(point)
    model.coef_, model.intercept_ = scaling.to_original(theta)
    np.testing.assert_allclose(loss, objective(model, X, y, weight, l2), rtol=1e-9)
    assert loss - least(X, y, weight, l2, True) <= gap * (1 + 1e-9)


@pytest.mark.parametrize(
    ("make", "alpha", "kind"),
    pairs(
        [words, rare, far, repeated],
        [1e-8, 1e-4, 1.0, 100.0],
        ["plain", "weights", "no intercept", "float32"],
    ),
)
def test_the_optimum_whatever_the_rows(rng, make, alpha, kind):
    n_rows, n_features = 200, 2000
    X = make(rng, n_rows, n_features)
    if kind == "float32":
        X = X.astype(np.float32)
    y, weight = target(rng, X.astype(np.float64)), np.ones(n_rows)
    if kind == "weights":
        weight = rng.exponential(size=n_rows) * (rng.random(n_rows) < 0.8)
    model = SGDLinearRegressor(
        penalty="l2", alpha=alpha, fit_intercept=kind != "no intercept", random_state=0
    )
    model.fit(X, y, sample_weight=weight)
    X = X.astype(np.float64)
    best = least(X, y, weight, alpha, model.fit_intercept)
    assert objective(model, X, y, weight, alpha) <= best * (1 + 2e-4)
    assert model.stop_reason_ == "converged"
    # Multipliers of repeated rows cancel in the coefficients. What their roundings add up to is
    # bounded by eps times the condition of the system: 3e-6 with alpha=1e-8.
    reached = objective(model, X, y, weight, alpha)
    assert model.loss_curve_[-1] == pytest.approx(reached, rel=1e-5)


def test_a_small_tol_is_reached(rng):
    X = words(rng, 800, 3000)
    y = target(rng, X)
    model = SGDLinearRegressor(penalty="l2", tol=1e-6, random_state=0).fit(X, y)
    best = least(X, y, np.ones(800), 1e-4, True)
    assert objective(model, X, y, np.ones(800), 1e-4) <= best * (1 + 1e-11)


@pytest.mark.parametrize(("make", "penalty"), [(words, "l2"), (far, "l2"), (far, None)])
def test_targets_share_the_kernel(rng, make, penalty, monkeypatch):
    X = make(rng, 150, 1500)
    Y = np.column_stack([target(rng, X) for _ in range(3)])
    built = []
    for name in "DenseKernel", "SparseKernel":
        kernel = getattr(_solvers, name)
        monkeypatch.setattr(
            _solvers, name, lambda *args, kernel=kernel: built.append(kernel(*args)) or built[-1]
        )
    together = SGDLinearRegressor(penalty=penalty, random_state=0).fit(X, Y)
    assert len(built) == 1
    for y, coef in zip(Y.T, together.coef_, strict=True):
        alone = SGDLinearRegressor(penalty=penalty, random_state=0).fit(X, y)
        np.testing.assert_array_equal(alone.coef_, coef)


@pytest.mark.parametrize("make", [words, far])
def test_weight_two_is_the_row_twice(rng, make):
    X = make(rng, 100, 4500)
    y, twice = target(rng, X), rng.random(100) < 0.5
    rows = np.concatenate([np.arange(100), np.flatnonzero(twice)])
    model = SGDLinearRegressor(penalty="l2", tol=1e-6, random_state=0)
    weighted = model.fit(X, y, sample_weight=1.0 + twice).coef_
    written = model.fit(X[rows], y[rows]).coef_
    np.testing.assert_allclose(weighted, written, rtol=1e-4, atol=1e-6 * np.abs(written).max())


@pytest.mark.parametrize(
    "settings",
    [
        {"penalty": None},
        {"penalty": "l2", "loss": "huber"},
        {"penalty": "l2", "update": "explicit"},
        {"penalty": "l2", "average": False},
        {"penalty": "l2", "alpha": 1e-18},
        {"penalty": "elasticnet"},
    ],
)
def test_where_it_is_of_no_use(rng, settings):
    X = words(rng, 50, 4500)
    y = np.asarray(X.sum(axis=1)).ravel()
    assert SGDLinearRegressor(max_iter=1, tol=None, **settings).fit(X, y).solver_ != "dual"
    assert SGDLinearRegressor(penalty="l2").fit(X, y).solver_ == "dual"


def test_a_singular_dual_system_is_left_to_another_solver(rng):
    X = np.tile(rng.normal(size=(30, 100)), (2, 1))
    y = rng.normal(size=60)
    options = {"penalty": "l2", "alpha": 1e-18, "random_state": 0}
    model = SGDLinearRegressor(**options).fit(X, y)
    assert model.solver_ != "dual"
    assert "singular" in model.solver_reason_
    with pytest.raises(ValueError, match=r"solver='dual' is not available .* singular"):
        SGDLinearRegressor(solver="dual", **options).fit(X, y)


def test_a_dense_kernel_of_more_columns_than_are_added_at_a_time(rng):
    X, weight, values = far(rng, 30, 10_000), rng.exponential(size=30), rng.normal(size=30)
    assert X.shape[1] > 2 * max(chunk_rows(30), BLOCK_COLUMNS)
    kernel = kernel_of(X, weight, 0.1)
    Z, _ = centred(X, weight, True)
    matrix = Z @ Z.T / 0.1 + weight.sum() * np.eye(30)
    np.testing.assert_allclose(kernel.solve(matrix @ values), values, rtol=1e-7, atol=1e-9)
    coef = coef_of(kernel, rows_of(X, weight), values)
    np.testing.assert_allclose(coef, values @ Z / 0.1, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_ones", [0, 1, 50])
def test_no_column_to_learn_from(rng, n_ones, fit_intercept):
    X = csr_array(
        (np.ones(n_ones), (np.arange(n_ones), np.zeros(n_ones, dtype=int))), shape=(50, 4500)
    )
    y, ones = rng.normal(size=50) + 3, np.ones(50)
    model = SGDLinearRegressor(penalty="l2", fit_intercept=fit_intercept, random_state=0).fit(X, y)
    best = least(X, y, ones, 1e-4, fit_intercept)
    assert objective(model, X, y, ones, 1e-4) <= best * (1 + 2e-4)


def data(rng, kind, n_rows=60, n_features=300):
    """Columns in any units, and far from zero."""
    X = rng.normal(size=(n_rows, n_features)) + 10 * rng.normal(size=n_features)
    X *= 10.0 ** rng.uniform(-4, 4, n_features)
    if kind == "repeated":  # rows whose targets no model can meet, and constant columns
        X[n_rows // 2 :] = X[: n_rows - n_rows // 2]
        X[:, :3] = 0.1
    y = (X / X.std(axis=0).clip(1e-300)) @ rng.normal(size=n_features) + 100
    return X, y + rng.normal(size=n_rows)


def nearest(X, y, weight, fit_intercept, start=None):
    """Coefficients and intercept, by a pseudo-inverse of all rows."""
    scaling = Scaling.from_moments(Moments.of(X, weight), fit_intercept)
    last = np.full((len(y), 1), scaling.scale[-1])
    z = np.hstack([(X - scaling.centre) * scaling.scale[:-1], last])
    root = np.sqrt(weight)
    constant = np.zeros(X.shape[1]), weight @ y / weight.sum() if fit_intercept else 0.0
    theta = scaling.to_scaled(*(constant if start is None else start))
    step = np.linalg.pinv(z * root[:, np.newaxis], rcond=1e-7) @ (root * (y - z @ theta))
    return scaling.to_original(theta + step)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", ["plain", "repeated", "weights", "float32"])
def test_it_is_the_nearest(rng, kind, fit_intercept):
    X, y = data(rng, kind)
    weight = rng.exponential(size=60) * (rng.random(60) < 0.8) if kind == "weights" else None
    if kind == "float32":
        X = X.astype(np.float32)
    model = SGDLinearRegressor(fit_intercept=fit_intercept, **OPTIONS).fit(X, y, weight)
    weight = np.ones(60) if weight is None else weight
    coef, intercept = nearest(X.astype(float), y, weight, fit_intercept)
    spread = X.std(axis=0, dtype=float)
    close = 1e-6 * np.abs(coef * spread).max()
    np.testing.assert_allclose(model.coef_ * spread, coef * spread, rtol=0, atol=close)
    assert model.intercept_ == pytest.approx(intercept, rel=1e-6, abs=1e-6 * np.abs(y).max())
    assert model.stop_reason_ == "converged"
    assert model.n_iter_ == 1
    if kind != "repeated":
        seen = weight > 0
        np.testing.assert_allclose(model.predict(X)[seen], y[seen], rtol=1e-9)


@pytest.mark.parametrize("n_rows", [250, 257])
def test_rows_far_from_zero_are_met_to_the_last_digits(rng, n_rows):
    X = rng.normal(size=(n_rows, 257)) + 10.0 ** rng.uniform(-3, 4, 257)
    y = rng.normal(size=n_rows)
    model = SGDLinearRegressor(fit_intercept=False, **OPTIONS).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, atol=1e-6)
    assert model.n_iter_ == 1


def test_it_is_where_steps_of_sgd_lead(rng):
    X, y = data(rng, "plain", 40)
    model = SGDLinearRegressor(**OPTIONS).fit(X, y)
    steps = SGDLinearRegressor(average=False, max_iter=3000, tol=None, **OPTIONS).fit(X, y)
    spread = X.std(axis=0)
    close = 1e-3 * np.abs(model.coef_ * spread).max()
    np.testing.assert_allclose(steps.coef_ * spread, model.coef_ * spread, rtol=0, atol=close)


def test_a_warm_start_moves_no_further_than_it_must(rng):
    X, y = data(rng, "plain")
    model = SGDLinearRegressor(warm_start=True, **OPTIONS).fit(X, y + 50 * rng.normal(size=60))
    start = model.coef_.copy(), model.intercept_
    coef, intercept = nearest(X, y, np.ones(60), True, start)
    model.fit(X, y)
    spread = X.std(axis=0)
    close = 1e-6 * np.abs(coef * spread).max()
    np.testing.assert_allclose(model.coef_ * spread, coef * spread, rtol=0, atol=close)
    assert model.intercept_ == pytest.approx(intercept, rel=1e-6, abs=1e-6 * np.abs(y).max())


@pytest.mark.parametrize(
    "options", [{"penalty": "l2"}, {"loss": "huber"}, {"update": "explicit"}, {"average": False}]
)
def test_where_the_minimum_norm_is_of_no_use(rng, options):
    X, y = data(rng, "plain")
    assert SGDLinearRegressor(max_iter=1, tol=None, **options).fit(X, y).solver_ != "min-norm"
    assert SGDLinearRegressor().fit(X, y).solver_ == "min-norm"


@pytest.mark.parametrize("distance", [0.0, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2])
@pytest.mark.parametrize("n_near", [1, 25])
def test_rows_that_are_nearly_equal(rng, n_near, distance):
    X = rng.normal(size=(50, 400))
    X[-n_near:] = X[:n_near] + distance * rng.normal(size=(n_near, 400))
    y = rng.normal(size=50)
    model = SGDLinearRegressor(fit_intercept=False, **OPTIONS).fit(X, y)
    assert model.stop_reason_ == "converged"
    scale = Scaling.from_moments(Moments.of(X, None), False).scale[:-1]
    basis, size, rows = np.linalg.svd(X * scale, full_matrices=False)
    seen = size > 1e-12 * size[0]
    expected = ((y @ basis[:, seen]) / size[seen]) @ rows[seen] * scale
    close = max(1e-9, 1e-14 / distance if distance else 0.0) * np.abs(expected).max()
    np.testing.assert_allclose(model.coef_, expected, rtol=0, atol=close)
    residual, least = y - X @ model.coef_, y - basis[:, seen] @ (basis[:, seen].T @ y)
    rounding = 1e-13 * np.abs(expected).max()
    assert np.linalg.norm(residual) <= np.linalg.norm(least) * (1 + 1e-9) + 100 * rounding


def test_rows_of_weight_zero_change_nothing(rng, monkeypatch):
    """Nor do they, or rows equal to the mean, make it go the longer way."""
    X, y = data(rng, "plain")
    weight = (np.arange(60) % 3 > 0).astype(float)
    few = SGDLinearRegressor(**OPTIONS).fit(X[weight > 0], y[weight > 0])
    monkeypatch.setattr(DenseKernel, "_solve_by_reflections", None)
    all_rows = SGDLinearRegressor(**OPTIONS).fit(X, y, weight)
    close = 1e-8 * np.abs(few.coef_).max()
    np.testing.assert_allclose(all_rows.coef_, few.coef_, rtol=1e-6, atol=close)


@pytest.mark.parametrize("repeated", [False, True])
def test_columns_are_not_copied_all_at_once(rng, repeated):
    X = rng.normal(size=(20, 100_000))
    if repeated:
        X[1] = X[0]
    y = rng.normal(size=20)
    tracemalloc.start()
    SGDLinearRegressor(**OPTIONS).fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes


def test_matrix_of_many_rows_is_the_same_on_any_number_of_threads(rng):
    z, found = rng.normal(size=(MIN_THREADED_ROWS + 3, 5)), []
    for n_threads in (1, 2):
        matrix = np.zeros((len(z), len(z)), order="F")
        with threadpool_limits(n_threads, user_api="blas"):
            add_lower_products(z, matrix)
        found.append(np.tril(matrix))
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[0], np.tril(z @ z.T), atol=1e-13)

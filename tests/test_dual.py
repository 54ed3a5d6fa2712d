"""Fewer rows than columns: systems of rows, and the optimum they lead to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._fit import Shared
from sklearn_sgdlin.data.dense import Rows
from sklearn_sgdlin.data.sorted_csc import SortedColumns
from sklearn_sgdlin.methods import dual
from sklearn_sgdlin.methods.dual import DenseSystem, DualEpoch, SparseSystem
from sklearn_sgdlin.methods.min_norm import NearestSystem
from sklearn_sgdlin.model.moments import Moments
from sklearn_sgdlin.model.scaling import Scaling


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


def system_of(X, weight, l2, fit_intercept=True):
    model = SGDLinearRegressor(penalty="l2", alpha=l2, fit_intercept=fit_intercept)
    if isinstance(X, csr_array):
        columns = SortedColumns(X, weight)
        return SparseSystem.of(columns, weight, columns.moments, model._settings())
    return DenseSystem.of(X, weight, Moments.of(X, weight), model._settings())


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
def test_products_are_those_of_the_matrices(rng, make, fit_intercept, monkeypatch):
    monkeypatch.setattr(dual, "SHARED", 50)
    X, weight, l2 = make(rng, 60, 400), rng.exponential(size=60) * (rng.random(60) < 0.8), 0.1
    system = system_of(X, weight, l2, fit_intercept)
    Z, mean = centred(X, weight, fit_intercept)
    matrix, values = Z @ Z.T / l2 + weight.sum() * np.eye(60), rng.normal(size=60)
    close = np.testing.assert_allclose
    close(system.centre, mean, rtol=1e-12, atol=1e-15)
    close(system.times(values), matrix @ values, rtol=1e-9, atol=1e-9 * np.abs(matrix).max())
    close(system.coef(values), values @ Z / l2, rtol=1e-9, atol=1e-10 * np.abs(Z).max() / l2)
    back = system.solve(system.times(values) - system.beside(values))  # of M
    close(back, values, rtol=1e-7, atol=1e-7)


def test_the_matrix_near_it_is_exact_but_for_the_others_and_these_but_for_a_diagonal(
    rng, monkeypatch
):
    monkeypatch.setattr(dual, "SHARED", 50)
    X, values = words(rng, 60, 400), rng.normal(size=60)
    system = system_of(X, np.ones(60), 0.1)
    Z, _ = centred(X, np.ones(60), True)
    few = np.argsort(-Z.var(axis=0))[: len(system.shared.centre)]
    others = np.delete(Z, few, axis=1)
    assert others.shape[1] >= 350
    product = others @ others.T / 0.1
    expected = product @ values - (system.own - system.weight) * values
    np.testing.assert_allclose(system.beside(values), expected, rtol=1e-9)
    diagonal = product.diagonal() + system.weight
    np.testing.assert_array_equal(np.argsort(system.own), np.argsort(diagonal))
    assert np.ptp(np.log(system.own)) < np.ptp(np.log(diagonal))
    assert diagonal.min() < np.median(system.own) < diagonal.max()


@given(st.integers(0, 2**32 - 1), st.floats(1e-4, 1e3))
def test_the_gap_bounds_the_excess_wherever_the_point_is(seed, l2):
    rng = np.random.default_rng(seed)
    X = words(rng, 12, 30, 5)
    y, weight = target(rng, X), rng.exponential(size=12)
    system = system_of(X, weight, l2)
    scaling = Scaling.from_moments(Moments.of(X, weight), True)
    epoch = DualEpoch(Rows(X.toarray(), y, weight, scaling), system, 0.0)
    point = rng.normal(size=12) * np.abs(y).max() / weight.sum()
    gap, loss = epoch._gap(point, epoch.y - system.times(point))
    model = SGDLinearRegressor()
    model.coef_ = system.coef(point)
    model.intercept_ = epoch.mean - system.centre @ model.coef_
    np.testing.assert_allclose(loss, objective(model, X, y, weight, l2), rtol=1e-9)
    assert loss - least(X, y, weight, l2, True) <= gap * (1 + 1e-9)


@pytest.mark.parametrize("kind", ["plain", "weights", "no intercept", "float32"])
@pytest.mark.parametrize("alpha", [1e-8, 1e-4, 1.0, 100.0])
@pytest.mark.parametrize("make", [words, rare, far, repeated])
def test_the_optimum_whatever_the_rows(rng, make, alpha, kind):
    n_rows, n_features = 300, 4500
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
    X = words(rng, 2000, 6000)
    y = target(rng, X)
    model = SGDLinearRegressor(penalty="l2", tol=1e-6, random_state=0).fit(X, y)
    best = least(X, y, np.ones(2000), 1e-4, True)
    assert objective(model, X, y, np.ones(2000), 1e-4) <= best * (1 + 1e-11)


@pytest.mark.parametrize("make", [words, far])
def test_targets_share_the_system(rng, make, monkeypatch):
    X = make(rng, 200, 4500)
    Y = np.column_stack([target(rng, X) for _ in range(3)])
    built = []
    factorise = dual.DualSystem._factorise
    monkeypatch.setattr(dual.DualSystem, "_factorise", lambda *args: built.append(factorise(*args)))
    together = SGDLinearRegressor(penalty="l2", random_state=0).fit(X, Y)
    assert len(built) == 1
    for y, coef in zip(Y.T, together.coef_, strict=True):
        alone = SGDLinearRegressor(penalty="l2", random_state=0).fit(X, y)
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
    shared = Shared(SGDLinearRegressor(**settings)._settings(), X, None, 1.0, 0)
    assert shared.dual is None
    shared = Shared(SGDLinearRegressor(penalty="l2")._settings(), X, None, 1.0, 0)
    assert isinstance(shared.dual, SparseSystem)


@pytest.mark.parametrize(
    ("n_rows", "n_features", "serves"),
    [
        (20, 64, False),
        (20, 65, True),
        (65, 65, True),
        (66, 65, False),
        (4096, 4096, True),
        (4097, 4100, False),
    ],
)
def test_dense_rows_are_unknowns_where_they_are_few(n_rows, n_features, serves):
    X = np.broadcast_to(0.0, (n_rows, n_features))
    settings = SGDLinearRegressor(penalty="l2")._settings()
    assert dual.kind_of_system(X, settings) is (DenseSystem if serves else None)
    assert NearestSystem.serves(X, SGDLinearRegressor()._settings()) == serves


def test_a_dense_system_of_more_columns_than_are_added_at_a_time(rng, monkeypatch):
    monkeypatch.setattr(dual, "BLOCK_COLUMNS", 7)
    monkeypatch.setattr(dual, "chunk_rows", lambda n_columns: 1)
    X, weight, values = far(rng, 30, 100), rng.exponential(size=30), rng.normal(size=30)
    system = system_of(X, weight, 0.1)
    Z, _ = centred(X, weight, True)
    matrix = Z @ Z.T / 0.1 + weight.sum() * np.eye(30)
    np.testing.assert_allclose(system.times(values), matrix @ values, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(system.solve(matrix @ values), values, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(system.coef(values), values @ Z / 0.1, rtol=1e-9, atol=1e-9)


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

"""Columns that are combinations of others, nearly or exactly, and columns of little spread."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array, random_array, vstack

from sklearn_sgdlin import SGDLinearRegressor


def scaled_least_squares(X, y, weight=None, l2=0.0):
    """Coefficients of least squares, the shortest ones in columns of unit variance."""
    weight = np.ones(len(y)) if weight is None else weight
    root = np.sqrt(weight / weight.sum())
    centred = X - np.average(X, axis=0, weights=weight)
    scale = np.sqrt(root**2 @ centred**2)
    scale[scale <= 1e-14 * np.abs(X).max(axis=0)] = np.inf
    rows = root[:, np.newaxis] * centred / scale
    values = root * (y - np.average(y, weights=weight))
    if l2:
        rows = np.vstack([rows, np.diag(np.sqrt(l2) / scale)])
        values = np.append(values, np.zeros(X.shape[1]))
    return np.linalg.lstsq(rows, values, rcond=1e-13)[0] / scale


def streamed(X, y, chunk, **options):
    model = SGDLinearRegressor(random_state=0, **options)
    for start in range(0, len(y), chunk):
        model.partial_fit(X[start : start + chunk], y[start : start + chunk])
    return model


def dependent_data(rng, n_rows=200):
    X = rng.normal(size=(n_rows, 4)) * [1.0, 1e3, 1e-3, 1.0]
    X = np.column_stack([X, X[:, 0], 2 * X[:, 1] - 1e6 * X[:, 2], np.full(n_rows, 0.1)])
    return X, rng.normal(size=n_rows) + 3 * X[:, 0]


@pytest.mark.parametrize("spread", [17.0, 0.017, 1e-3, 1e-5])
def test_a_column_of_little_spread_is_no_constant(rng, spread):
    distance = rng.normal(size=20_000)
    X = np.column_stack([1.7e9 + spread * distance, rng.normal(size=20_000)])
    y = 3 * (X[:, 0] - 1.7e9) / spread + X[:, 1] + 0.1 * rng.normal(size=20_000)
    for model in [SGDLinearRegressor(random_state=0).fit(X, y), streamed(X, y, 1000)]:
        assert np.mean((y - model.predict(X)) ** 2) < 0.015


@pytest.mark.parametrize("kind", [np.asarray, csr_array])
def test_a_column_that_differs_by_rounding_errors_is_constant(rng, kind):
    X = np.column_stack([0.1 + 1e-16 * rng.integers(0, 2, 5000), rng.normal(size=5000)])
    y = X[:, 1] + 0.1 * rng.normal(size=5000)
    for model in [SGDLinearRegressor(random_state=0).fit(kind(X), y), streamed(kind(X), y, 100)]:
        assert model.coef_[0] == 0.0


@pytest.mark.parametrize("tol", [1e-2, 1e-8])
@pytest.mark.parametrize("l2", [0.0, 1e-14, 1e-10])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_powers_of_years(rng, tol, l2, noise):
    years = np.arange(1900.0, 2021.0)
    X = years[:, np.newaxis] ** np.arange(1, 6)
    y = np.sin((years - 1900) / 20) + noise * rng.normal(size=len(years))
    expected = X @ scaled_least_squares(X, y, l2=l2)
    expected += np.mean(y - expected)
    options = {"penalty": "l2", "alpha": l2, "tol": tol, "random_state": 0}
    model = SGDLinearRegressor(**options).fit(X, y)
    assert model.stop_reason_ == "converged"
    distance = np.sqrt(np.mean((model.predict(X) - expected) ** 2))
    assert distance <= 1e-4 * np.std(y - expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_dependent_columns_have_the_shortest_coefficients(rng, weighted):
    X, y = dependent_data(rng)
    weight = rng.integers(0, 3, len(y)).astype(float) if weighted else None
    expected = scaled_least_squares(X, y, weight)
    models = [SGDLinearRegressor(random_state=seed).fit(X, y, weight) for seed in range(3)]
    models.append(SGDLinearRegressor(random_state=0).fit(csr_array(X), y, weight))
    models.append(SGDLinearRegressor(random_state=0).partial_fit(X, y, weight))
    if weight is None:
        models += [streamed(X, y, 1), streamed(X, y, 7)]
    for model in models:
        assert_allclose(model.coef_, expected, rtol=1e-10)
        assert_allclose(model.coef_[4], model.coef_[0], rtol=1e-12)


@pytest.mark.parametrize("n_features", [30, 300])
def test_rows_of_no_weight_do_not_count(rng, n_features):
    # Fewer rows of weight than columns: of all models without an error, the shortest.
    X, y = rng.normal(size=(320, n_features)) + 1, rng.normal(size=320)
    weight = np.zeros(320)
    weight[:20] = rng.uniform(1, 2, size=20)
    model = SGDLinearRegressor(random_state=0).fit(X, y, weight)
    alone = SGDLinearRegressor(random_state=0).fit(X[:20], y[:20], weight[:20])
    assert_allclose(model.coef_, alone.coef_, atol=1e-10 * np.abs(alone.coef_).max())


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("degenerate", [False, True])
def test_square_sparse_rows(rng, fit_intercept, degenerate):
    X = csr_array(random_array((300, 300), density=0.05, rng=rng))
    if degenerate:
        X = csr_array(vstack([X[:150], X[:150]]))
    y = rng.normal(size=300)
    model = SGDLinearRegressor(fit_intercept=fit_intercept, random_state=0).fit(X, y)
    dense = SGDLinearRegressor(fit_intercept=fit_intercept, random_state=0).fit(X.toarray(), y)
    assert model.stop_reason_ == "converged"
    assert_allclose(model.coef_, dense.coef_, atol=1e-7 * np.abs(dense.coef_).max())


def test_nearly_dependent_columns_in_a_stream_after_a_fit(rng):
    X = rng.normal(size=(600, 3))
    X = np.column_stack([X, X[:, 0] + 1e-9 * rng.normal(size=600)])
    y = X[:, 1] + 1e9 * (X[:, 3] - X[:, 0]) + rng.normal(size=600)
    model = SGDLinearRegressor(random_state=0).fit(X[:300], y[:300])
    model.partial_fit(X[300:], y[300:])
    whole = SGDLinearRegressor(random_state=0, tol=1e-6).fit(X, y)
    assert_allclose(model.predict(X), whole.predict(X), atol=1e-4)


@pytest.mark.parametrize("seed", range(2))
def test_many_groups_of_a_category(seed):
    # Each row is in one of 2000 groups: with an intercept, one column is a combination of others.
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 2000, 20_000)
    X = csr_array((np.ones(20_000), group, np.arange(20_001)), shape=(20_000, 2000))
    y = rng.normal(size=2000)[group] + rng.normal(size=20_000)
    model = SGDLinearRegressor(tol=1e-5, random_state=0).fit(X, y)
    assert (model.solver_, model.stop_reason_) == ("newton-cg", "converged")
    mean = np.bincount(group, y) / np.bincount(group)
    excess = np.mean((model.predict(X) - mean[group]) ** 2)
    assert excess <= 1e-10 * np.mean((y - mean[group]) ** 2)

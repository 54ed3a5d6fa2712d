"""Fewer rows than columns without a penalty: the nearest of all models with the least loss."""

import tracemalloc

import numpy as np
import pytest

from sklearn_sgdlin import SGDLinearRegressor, _fit
from sklearn_sgdlin.methods import min_norm
from sklearn_sgdlin.model.moments import Moments
from sklearn_sgdlin.model.scaling import Scaling

OPTIONS = {"random_state": 0}


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


def test_targets_share_the_system(rng, monkeypatch):
    X, y = data(rng, "plain")
    Y, built = np.column_stack([y, y[::-1]]), []

    class Watched(min_norm.NearestSystem):
        def __init__(self, rows):
            built.append(self)
            super().__init__(rows)

    monkeypatch.setattr(_fit, "NearestSystem", Watched)
    together = SGDLinearRegressor(**OPTIONS).fit(X, Y)
    assert len(built) == 1
    for target, coef in zip(Y.T, together.coef_, strict=True):
        alone = SGDLinearRegressor(**OPTIONS).fit(X, target)
        np.testing.assert_array_equal(alone.coef_, coef)


@pytest.mark.parametrize(
    "options", [{"penalty": "l2"}, {"loss": "huber"}, {"update": "explicit"}, {"average": False}]
)
def test_where_it_is_of_no_use(rng, options, monkeypatch):
    def unexpected(*args):
        raise AssertionError

    monkeypatch.setattr(min_norm.NearestSystem, "__init__", unexpected)
    X, y = data(rng, "plain")
    SGDLinearRegressor(max_iter=2, tol=None, learning_rate=1e-3, **options, **OPTIONS).fit(X, y)
    with pytest.raises(AssertionError):
        SGDLinearRegressor(**OPTIONS).fit(X, y)


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
    monkeypatch.setattr(min_norm.NearestSystem, "_by_reflections", None)
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

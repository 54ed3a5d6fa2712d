"""Laws of the method that hold on any data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, SGDRegressor

from sklearn_sgdlin import SGDLinearRegressor
from tests.data import load

TEXTBOOK = {
    "update": "explicit",
    "precondition": False,
    "average": False,
    "schedule": "constant",
    "shuffle": False,
    "learning_rate": 0.01,
}


@pytest.mark.parametrize("n_epochs", [1, 2, 7])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_textbook_mode_walks_the_path_of_sgdregressor(rng, n_epochs, weighted, fit_intercept):
    X = rng.normal(size=(200, 5))
    y = X @ rng.normal(size=5) + 3 + rng.normal(size=200)
    weight = rng.uniform(0, 2, 200) if weighted else None
    theirs = SGDRegressor(
        learning_rate="constant",
        eta0=0.01,
        alpha=0,
        penalty=None,
        shuffle=False,
        fit_intercept=fit_intercept,
    )
    for _ in range(n_epochs):
        theirs.partial_fit(X, y, sample_weight=weight)
    ours = SGDLinearRegressor(**TEXTBOOK, fit_intercept=fit_intercept, max_iter=n_epochs, tol=None)
    chunkwise = clone(ours)
    ours.fit(X, y, sample_weight=weight)
    for _ in range(n_epochs):
        chunkwise.partial_fit(X, y, sample_weight=weight)
    for model in (ours, chunkwise):
        np.testing.assert_allclose(model.coef_, theirs.coef_, rtol=1e-9)
        np.testing.assert_allclose(model.intercept_, theirs.intercept_[0], rtol=1e-9, atol=1e-12)
    assert ours.t_ == chunkwise.t_ == n_epochs * len(y)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**16),
    exponents=st.lists(st.integers(-30, 30), min_size=4, max_size=4),
    y_exponent=st.integers(-30, 30),
)
def test_units_do_not_matter(seed, exponents, y_exponent):
    # Powers of two change no rounding, so the path is the same to the last bit but for
    # the order of sums; shifts round, and only the model stays the same.
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4))
    y = X @ rng.normal(size=4) + rng.normal(size=300)
    unit, y_unit = 2.0 ** np.array(exponents), 2.0**y_exponent
    for options in ({}, {"average": False, "max_iter": 3, "tol": None}):
        model = SGDLinearRegressor(random_state=0, **options)
        plain = clone(model).fit(X, y)
        scaled = clone(model).fit(X * unit, y * y_unit)
        np.testing.assert_allclose(
            scaled.predict(X * unit) / y_unit, plain.predict(X), rtol=1e-9, atol=1e-9
        )
        assert scaled.n_iter_ == plain.n_iter_
        moved = clone(model).fit(X + 100, y - 50)
        # Where the loss is exact to 1e-15, the minimum is exact to the square root of that.
        np.testing.assert_allclose(moved.predict(X + 100) + 50, plain.predict(X), atol=1e-6)
        assert moved.n_iter_ == plain.n_iter_


@settings(max_examples=25)
@given(seed=st.integers(0, 2**16))
def test_weight_is_repetition_and_zero_weight_is_absence(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(80, 5)) * [1e-3, 1, 1e3, 1, 1], rng.normal(size=80)
    weight = rng.integers(0, 4, 80)
    weighted = SGDLinearRegressor(tol=1e-8, random_state=0).fit(X, y, sample_weight=weight)
    repeated = SGDLinearRegressor(tol=1e-8, random_state=0).fit(
        X.repeat(weight, axis=0), y.repeat(weight)
    )
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-6)
    np.testing.assert_allclose(weighted.loss_curve_[-1], repeated.loss_curve_[-1], rtol=1e-9)


@pytest.mark.parametrize("factor", [1e-100, 1.0, 1e100])
def test_only_relative_weights_matter(rng, factor):
    X = rng.normal(size=(2000, 5)) * 1e3
    y = X @ rng.normal(size=5) + 100 * rng.normal(size=2000)
    weight = np.where(rng.random(2000) < 0.1, 1e6, 1.0)
    model = SGDLinearRegressor(random_state=0).fit(X, y, sample_weight=factor * weight)
    exact = LinearRegression().fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=1e-3)


def test_float32_input_gives_the_float64_model():
    X, y = load("normal")
    X = X.astype(np.float32)
    single = SGDLinearRegressor(random_state=0).fit(X, y)
    double = SGDLinearRegressor(random_state=0).fit(X.astype(np.float64), y)
    np.testing.assert_allclose(single.coef_, double.coef_, rtol=1e-9)
    assert single.predict(X).dtype == single.coef_.dtype == np.float64


def test_order_of_rows_matters_little(rng):
    X, y = load("sorted by y")
    shuffled = rng.permutation(len(y))
    first = SGDLinearRegressor(random_state=0).fit(X, y)
    second = SGDLinearRegressor(random_state=0).fit(X[shuffled], y[shuffled])
    np.testing.assert_allclose(first.predict(X), second.predict(X), atol=1e-2 * y.std())


def test_same_seed_same_model_and_other_seed_other_path():
    X, y = load("normal")
    options = {"average": False, "max_iter": 2, "tol": None}
    first, again, other = (
        SGDLinearRegressor(random_state=seed, **options).fit(X, y).coef_ for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-6


def test_weights_of_one_chunk_count_against_those_of_another(rng):
    # Heavy rows after light ones: the scaling is that of the heavy ones.
    X, y = rng.normal(size=(400, 2)), rng.normal(size=400)
    X[200:] += 10
    model = SGDLinearRegressor(random_state=0)
    model.partial_fit(X[:200], y[:200], sample_weight=np.full(200, 1e-3))
    model.partial_fit(X[200:], y[200:], sample_weight=np.full(200, 1e3))
    weight = np.repeat([1e-3, 1e3], 200)
    expected = np.average(X, axis=0, weights=weight)
    np.testing.assert_allclose(
        model._state.moments.mean, [*expected, np.average(y, weights=weight)]
    )

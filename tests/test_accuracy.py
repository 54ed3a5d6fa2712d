"""What the estimator promises on raw data with default settings."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_squared_error

from sklearn_sgdlin import SGDLinearRegressor
from tests.data import MAKERS, least_squares_mse, load


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", MAKERS)
def test_least_squares_in_at_most_five_epochs(name, seed):
    X, y = load(name)
    model = SGDLinearRegressor(random_state=seed).fit(X, y)
    mse = mean_squared_error(y, model.predict(X))
    tolerance = 1e-4 if X.shape[1] <= 30 and len(X) <= 10_000 else 1e-3
    assert mse <= least_squares_mse(X, y) * (1 + tolerance)
    assert mse <= mean_squared_error(y, LinearRegression().fit(X, y).predict(X)) * (1 + tolerance)
    assert model.n_iter_ <= 5
    assert model.stop_reason_ == "converged"


@pytest.mark.parametrize("name", ["normal", "autoregressive", "far from zero", "sorted by y"])
def test_tight_tolerance_gives_the_coefficients(name):
    X, y = load(name)
    model = SGDLinearRegressor(tol=1e-10, random_state=0).fit(X, y)
    exact = LinearRegression().fit(X, y)
    scale = np.abs(exact.coef_).max()
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=1e-6, atol=1e-6 * scale)
    np.testing.assert_allclose(model.intercept_, exact.intercept_, rtol=1e-6)


@pytest.mark.parametrize(
    ("n_rows", "n_features"), [(1, 1), (2, 1), (2, 7), (12, 12), (40, 40), (60, 300)]
)
def test_interpolates_where_it_can(rng, n_rows, n_features):
    X = rng.normal(size=(n_rows, n_features)) * 10.0 ** rng.integers(-4, 5, n_features)
    y = 100 * rng.normal(size=n_rows)
    model = SGDLinearRegressor(random_state=0).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, atol=1e-6 * np.abs(y).max())


@pytest.mark.parametrize("learning_rate", np.logspace(-3, 3, 7))
@pytest.mark.parametrize("name", ["collinear", "heavy tails", "rare binary", "sorted by y"])
def test_any_learning_rate_will_do(name, learning_rate):
    X, y = load(name)
    model = SGDLinearRegressor(learning_rate=learning_rate, random_state=0).fit(X, y)
    best = 1 - least_squares_mse(X, y) / y.var()
    assert model.score(X, y) >= best - 0.02


@pytest.mark.parametrize("learning_rate", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("schedule", ["adaptive", "constant", "invscaling"])
@pytest.mark.parametrize("average", [True, False])
def test_no_learning_rate_is_worse_than_the_mean(learning_rate, schedule, average):
    X, y = load("normal")
    model = SGDLinearRegressor(
        learning_rate=learning_rate,
        schedule=schedule,
        average=average,
        tol=None,
        max_iter=20,
        random_state=0,
    ).fit(X, y)
    assert model.score(X, y) > 0


def test_tutorial_ends_at_least_squares():
    # y = x^2 by a line, at the rate 0.1 and 100 epochs of the tutorial: no NaN here.
    x = np.arange(1.0, 101.0)[:, None]
    y = x.ravel() ** 2
    model = SGDLinearRegressor(learning_rate=0.1, max_iter=100, tol=None, random_state=0)
    model.fit(x, y)
    assert len(model.loss_curve_) == model.n_iter_ == 100
    np.testing.assert_allclose(mean_squared_error(y, model.predict(x)), 555277.8, rtol=1e-2)


def test_raw_diabetes_is_the_least_squares_model():
    X, y = load_diabetes(scaled=False, return_X_y=True)
    model = SGDLinearRegressor(random_state=0).fit(X, y)
    exact = LinearRegression().fit(X, y)
    assert model.score(X, y) >= exact.score(X, y) - 1e-4

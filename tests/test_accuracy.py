"""What the estimator promises on raw data: with default settings, and of SGD at any rate."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_squared_error

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._tuning import Tuning
from sklearn_sgdlin.data.dense import Rows
from sklearn_sgdlin.model.loss import LOSSES
from tests.data import MAKERS, least_squares_mse, load


@pytest.mark.parametrize("name", MAKERS)
def test_least_squares_in_at_most_five_epochs(name):
    X, y = load(name)
    model = SGDLinearRegressor(random_state=0).fit(X, y)
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


# ---------------------------------------------------------------- SGD at any rate

RATES = np.logspace(-3, 3, 7)
KINKED = [{"loss": loss} for loss in LOSSES if loss != "squared_error"]
KINKED += [{"penalty": "l1"}, {"penalty": "elasticnet"}, {"positive": True}]


def walk(X, y, learning_rate="auto", **options):
    """The model of 20 epochs of SGD."""
    options = {"max_iter": 20, "tol": None, "random_state": 0, **options}
    return SGDLinearRegressor(solver="sgd", learning_rate=learning_rate, **options).fit(X, y)


def assert_different(curves):
    """What the first epoch leaves of the excess differs from curve to curve."""
    least = min(curve[-1] for curve in curves)
    for first, second in pairwise(sorted(curve[0] - least for curve in curves)):
        assert second > first * (1 + 1e-3)


@pytest.mark.parametrize("name", MAKERS)
def test_sgd_at_any_rate_ends_at_least_squares(name):
    X, y = load(name)
    assert len(X) >= 10 * X.shape[1]
    least, curves = least_squares_mse(X, y), []
    for rate in RATES[::3]:
        model = walk(X, y, rate)
        assert mean_squared_error(y, model.predict(X)) <= least * (1 + 1e-3)
        assert model.t_ == 20 * len(X)
        curves.append(np.array(model.loss_curve_))
        assert np.all(np.diff(curves[-1]) <= 1e-9 * curves[-1][:-1])  # but for rounding
    if X.shape[1] == 1:
        return  # the first direction leads to the optimum
    for curve in curves:
        assert curve[0] > curve[-1] * (1 + 1e-5)
    assert_different(curves)


@pytest.mark.parametrize("name", MAKERS)
def test_sgd_that_says_converged_is_within_tol(name):
    X, y = load(name)
    least = least_squares_mse(X, y)
    for rate in RATES[::6]:
        model = SGDLinearRegressor(learning_rate=rate, random_state=0).fit(X, y)
        assert model.solver_ == "sgd"
        assert model.stop_reason_ in ("converged", "stalled")  # stalled where nothing proves it
        within = 1e-4 if model.stop_reason_ == "converged" else 1e-3
        assert mean_squared_error(y, model.predict(X)) <= least * (1 + within)


@pytest.mark.parametrize(
    ("options", "name"),
    list(zip(KINKED, 3 * ["collinear", "heavy tails", "log-normal"], strict=False)),
    ids=str,
)
def test_sgd_at_any_rate_is_near_the_best_with_other_losses_and_penalties(options, name):
    X, y = (array[:600] for array in load(name))
    options = {"epsilon": 0.1 * y.std(), "alpha": 0.01, **options}
    best, curves = SGDLinearRegressor(random_state=0, **options).fit(X, y).score(X, y), []
    for rate in RATES[::3]:
        model = walk(X, y, rate, **options)
        assert model.score(X, y) >= best - 0.02
        curves.append(np.array(model.loss_curve_))
        assert np.all(np.diff(curves[-1]) <= 1e-10 * curves[-1][:-1])
        assert curves[-1][0] > curves[-1][-1] or "positive" in options
    if curves[0][0] > (1 + 1e-6) * curves[0][-1]:  # else the first epoch has led to the optimum
        assert_different(curves)


@pytest.mark.parametrize("options", [{}, {"penalty": "l2", "alpha": 0.1}, *KINKED], ids=str)
def test_sgd_on_sparse_rows_is_sgd_on_dense_rows(rng, options):
    X = np.where(rng.random((1500, 12)) < 0.3, rng.normal(size=(1500, 12)) + 10, 0.0)
    y = X @ rng.normal(size=12) + 5 * rng.normal(size=1500)
    dense, sparse = (walk(rows, y, 0.1, max_iter=5, **options) for rows in (X, csr_array(X)))
    np.testing.assert_allclose(sparse.loss_curve_, dense.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(sparse.predict(X), dense.predict(X), atol=1e-4 * y.std())


@pytest.mark.parametrize("kind", [np.asarray, csr_array])
@pytest.mark.parametrize("options", [{}, {"loss": "huber"}, {"penalty": "l1"}], ids=str)
def test_sgd_of_several_targets_is_that_of_each(rng, options, kind):
    X = rng.normal(size=(500, 6)) * np.logspace(-2, 2, 6)
    Y = np.column_stack([X[:, 0], X @ np.logspace(2, -2, 6), 1e6 * X[:, 1]])
    Y += Y.std(axis=0) * rng.normal(size=Y.shape)
    options = {"max_iter": 4, **options}
    model = walk(kind(X), Y, 0.1, **options)
    curves = []
    for k in range(3):
        alone = walk(kind(X), np.ascontiguousarray(Y[:, k]), 0.1, **options)
        np.testing.assert_array_equal(model.coef_[k], alone.coef_)
        curves.append(alone.loss_curve_)
    np.testing.assert_allclose(model.loss_curve_, np.mean(curves, axis=0))


def test_a_search_over_the_rate_compares_different_models():
    X, y = load("digits")
    models = [walk(X, y, rate, max_iter=2) for rate in RATES]
    assert min(np.abs(a.coef_ - b.coef_).max() for a, b in pairwise(models)) > 1e-6


@pytest.mark.parametrize(
    ("shape", "options", "tuning", "solver"),
    [
        ((500, 30), {}, Tuning(), "newton-cholesky"),
        ((500, 30), {}, Tuning(cheap_hessian_features=0, cheap_hessian_products=0), "newton-cg"),
        ((70, 80), {}, Tuning(), "min-norm"),
        ((70, 80), {"penalty": "l2"}, Tuning(), "dual"),
    ],
)
def test_solvers_that_need_no_steps_take_none(rng, monkeypatch, shape, options, tuning, solver):
    def unexpected(*args, **options):
        raise AssertionError("a sweep that nobody asked for")

    monkeypatch.setattr(Rows, "sweep", unexpected)
    X = rng.normal(size=shape)
    y = X[:, 0] + rng.normal(size=len(X))
    model = SGDLinearRegressor(random_state=0, **options)
    model._tuning = tuning
    model.fit(X, y)
    assert (model.solver_, model.t_, model.learning_rates_) == (solver, 0, [])
    with pytest.raises(AssertionError, match="nobody asked"):
        clone(model).set_params(solver="sgd").fit(X, y)


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


@pytest.mark.parametrize("rate", [1e-3, 1.0, 1e3])
def test_sgd_of_nearly_dependent_powers_at_any_rate(rng, rate):
    # Directions of later epochs are nearly those of earlier ones.
    x = rng.uniform(1, 2, size=400)
    X = np.vander(x, 9, increasing=True)[:, 1:]
    y = np.sin(3 * x) + 0.1 * rng.normal(size=400)
    z = X - X.mean(axis=0)
    z /= z.std(axis=0)
    residual = y - y.mean()
    residual -= z @ np.linalg.lstsq(z, residual, rcond=1e-13)[0]
    model = SGDLinearRegressor(learning_rate=rate, max_iter=20, tol=None, random_state=0).fit(X, y)
    assert model.loss_curve_[-1] <= np.mean(residual**2) / 2 * (1 + 1e-3)


@pytest.mark.parametrize("solver", ["auto", "newton-cholesky", "newton-cg", "sgd"])
def test_a_loss_far_below_that_of_a_constant_keeps_its_digits(rng, solver):
    # It is the difference of two numbers that agree in all of theirs.
    model = SGDLinearRegressor(solver=solver, max_iter=1, tol=None, random_state=0)
    for _ in range(5):
        X = rng.normal(size=(1000, 8))
        y = 1e6 * X @ rng.normal(size=8) + 1e-2 * rng.normal(size=1000)
        loss = np.mean((y - model.fit(X, y).predict(X)) ** 2) / 2
        np.testing.assert_allclose(model.loss_curve_[-1], loss, rtol=1e-4)

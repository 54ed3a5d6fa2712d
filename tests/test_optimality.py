"""Models that say "converged" are near the optimum, as independent solvers find it."""

import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import HuberRegressor, Lasso

from benchmarks.optimality import EXCESS, check
from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin.model.loss import LOSSES
from tests.data import pairs

KINKED = [*({"loss": loss} for loss in LOSSES if loss != "squared_error")]
KINKED += [{"penalty": "l1"}, {"penalty": "elasticnet"}, {"positive": True}]


@pytest.mark.parametrize("batch", range(10))  # of a hundred problems each
def test_random_problems(batch):
    for seed in range(100 * batch, 100 * (batch + 1)):
        problem, model, excess = check(seed, max_rows=100, max_columns=30)
        if model.stop_reason_ == "converged":
            assert excess <= max(EXCESS, problem.parameters["tol"] ** 2), seed
        if problem.parameters["positive"]:
            assert np.all(model.coef_ >= 0), seed


def test_l1_above_any_slope_of_many_columns():
    # What steps leave of a coordinate that is zero at the optimum would cost more than all rows.
    _, model, excess = check(280)
    assert model.stop_reason_ == "converged"
    assert not model.coef_.any()
    assert excess <= EXCESS


@pytest.mark.parametrize("tol", [1e-2, 1e-10])
def test_l1_on_columns_of_very_different_scale(rng, tol):
    X = rng.normal(size=(100, 3)) * [1e-4, 1, 1e4]
    y = X @ [1e4, 1, 1e-4] + rng.normal(size=100)
    model = SGDLinearRegressor(penalty="l1", alpha=100, tol=tol)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # rounding errors may be above 1e-10
        model.fit(X, y)
    best = Lasso(alpha=100, tol=1e-12, max_iter=100_000).fit(X, y)
    values = [
        np.mean((y - m.predict(X)) ** 2) / 2 + 100 * np.abs(m.coef_).sum() for m in (model, best)
    ]
    assert values[0] <= values[1] * (1 + 1e-4)


@pytest.mark.parametrize("alpha", [1e4, 1e6])
def test_intercept_where_the_penalty_leaves_no_coefficient(rng, alpha):
    X, y = rng.normal(size=(200, 3)), rng.exponential(10, size=200)
    model = SGDLinearRegressor("quantile", quantile=0.9, penalty="l1", alpha=alpha).fit(X, y)
    assert not model.coef_.any()
    loss = [
        np.maximum(0.9 * e, -0.1 * e).mean() for e in (y - model.intercept_, y - np.sort(y)[179])
    ]
    assert loss[0] <= loss[1] * (1 + 1e-4)


@pytest.mark.parametrize(
    ("options", "fit_intercept", "sparse", "size"),
    pairs(KINKED, [True, False], [False, True], [0.0, 1e-170, 1e-160, 1e-150]),
)
def test_rows_without_numbers_whose_squares_count(rng, options, fit_intercept, sparse, size):
    X = size * rng.normal(size=(50, 3))
    model = SGDLinearRegressor(fit_intercept=fit_intercept, random_state=0, **options)
    model.fit(csr_array(X) if sparse else X, np.arange(50.0))
    assert not model.coef_.any()
    assert model.stop_reason_ == "converged"


@pytest.mark.parametrize("loss", ["huber", "quantile", "epsilon_insensitive"])
@pytest.mark.parametrize("outlier", [1e4, 1e8, 1e12])
def test_one_gross_outlier(rng, loss, outlier):
    X = rng.normal(size=(500, 5))
    y = X @ np.arange(5.0) + rng.normal(size=500)
    y[0] += outlier
    model = SGDLinearRegressor(loss, epsilon=1.35, random_state=0).fit(X, y)
    better = SGDLinearRegressor(loss, epsilon=1.35, random_state=0, tol=1e-6).fit(X, y)
    np.testing.assert_allclose(model.coef_, better.coef_, atol=0.02)
    np.testing.assert_allclose(model.intercept_, better.intercept_, atol=0.02)


def test_huber_with_a_gross_outlier_is_that_of_its_data_without(rng):
    X = rng.normal(size=(500, 5))
    y = X @ np.arange(5.0) + rng.normal(size=500)
    clean = HuberRegressor(alpha=0).fit(X, y)
    y[0] = 1e9
    model = SGDLinearRegressor("huber", epsilon=1.35 * clean.scale_, random_state=0).fit(X, y)
    np.testing.assert_allclose(model.coef_, clean.coef_, atol=0.02)


@pytest.mark.parametrize("options", [*KINKED, {"penalty": "l1", "alpha": 0.0}])
@pytest.mark.parametrize("target", ["linear", "zero", "constant", "tiny"])
def test_nothing_left_to_learn(rng, options, target):
    # Warnings are errors: no division by a residual that is 0.
    X = rng.normal(size=(300, 5))
    y = {"linear": X @ np.arange(5.0), "zero": 0.0, "constant": 1.0, "tiny": 1e-300}[target]
    y = np.broadcast_to(y, 300)
    model = SGDLinearRegressor(random_state=0, **options).fit(X, y)
    assert model.stop_reason_ == "converged"
    if options.get("penalty") is None:
        zone = 0.1 if "insensitive" in options.get("loss", "") else 1e-6
        assert np.all(np.abs(y - model.predict(X)) <= zone * (1 + 1e-6))


def test_many_columns_of_few_rows_take_no_matrix(rng):
    # The factors of a matrix of columns cost more here than all the rest.
    X, y = rng.normal(size=(10, 4000)), rng.normal(size=10)
    model = SGDLinearRegressor(penalty="l1", alpha=0.1, random_state=0).fit(X, y)
    best = Lasso(alpha=0.1, tol=1e-10, max_iter=100_000).fit(X, y)
    values = [
        np.mean((y - m.predict(X)) ** 2) / 2 + 0.1 * np.abs(m.coef_).sum() for m in (model, best)
    ]
    assert values[0] <= values[1] * (1 + 1e-4)


@pytest.mark.parametrize("options", KINKED)
def test_one_weight_beyond_all_others(rng, options):
    X, weight = rng.normal(size=(50, 3)), np.ones(50)
    weight[3] = 1e300
    y = X @ np.ones(3) + rng.normal(size=50)
    model = SGDLinearRegressor(random_state=0, **options).fit(X, y, weight)
    zone = 0.1 if "insensitive" in options.get("loss", "") else 0.0
    assert abs(y[3] - model.predict(X[3:4])[0]) <= zone + 1e-9


@pytest.mark.parametrize("loss", ["huber", "quantile", "epsilon_insensitive"])
@pytest.mark.parametrize("outlier", [1e3, 1e9])
def test_a_tenth_of_gross_outliers(loss, outlier):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(500, 5))
    y = X @ np.arange(1.0, 6) + rng.normal(size=500)
    y[:50] = outlier * rng.uniform(0.5, 1, 50)
    model = SGDLinearRegressor(loss, epsilon=1.35, random_state=0).fit(X, y)
    better = SGDLinearRegressor(loss, epsilon=1.35, random_state=0, tol=1e-6).fit(X, y)
    np.testing.assert_allclose(model.coef_, better.coef_, atol=0.03)


@pytest.mark.parametrize("seed", range(140, 144))
@pytest.mark.parametrize("alpha", [1e-120, 1e-60])
def test_a_penalty_that_is_next_to_nothing(seed, alpha):
    X, y = np.random.default_rng(seed).normal(size=(50, 3)), np.arange(50.0)
    options = {"penalty": "elasticnet", "positive": True, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = SGDLinearRegressor(alpha=alpha, **options).fit(X, y)
    best = SGDLinearRegressor(positive=True, random_state=0).fit(X, y)
    near = 1e-4 if model.stop_reason_ == "converged" else 1e-2
    assert model.loss_curve_[-1] <= best.loss_curve_[-1] * (1 + near)

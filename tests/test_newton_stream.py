"""Streams of other losses than squared error: Newton steps towards the optimum of all rows."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone

from sklearn_sgdlin import SGDLinearRegressor
from tests.data import learn

LOSSES = [
    {"loss": "huber", "epsilon": 1.35},
    {"loss": "quantile", "quantile": 0.05},
    {"loss": "quantile", "quantile": 0.5},
    {"loss": "quantile", "quantile": 0.95},
    {"loss": "epsilon_insensitive", "epsilon": 0.5},
    {"loss": "squared_epsilon_insensitive", "epsilon": 0.5},
]


def make(rng, n_rows, n_features, noise=1.0, outliers=0.0):
    X = rng.normal(size=(n_rows, n_features))
    y = X @ rng.normal(size=n_features) / np.sqrt(n_features) + noise * rng.normal(size=n_rows)
    return X, y + 30 * (rng.random(n_rows) < outliers)


def mean_loss(model, X, y):
    return model._settings().loss.value(y - model.predict(X)).mean()


def excess(model, X, y, fitted=None):
    fitted = fitted or SGDLinearRegressor(**model.get_params()).set_params(tol=1e-4).fit(X, y)
    return mean_loss(model, X, y) / mean_loss(fitted, X, y) - 1


@pytest.mark.parametrize("outliers", [0.0, 0.1])
@pytest.mark.parametrize(
    "options", LOSSES, ids=lambda options: "-".join(map(str, options.values()))
)
def test_a_stream_is_near_the_optimum_of_its_rows(rng, options, outliers):
    X, y = make(rng, 2000, 3, outliers=outliers)
    model = learn(SGDLinearRegressor(**options, random_state=0), X[:290], y[:290], 29)
    assert model.solver_ == "newton-cholesky"
    assert excess(model, X[:290], y[:290]) < 1e-2
    assert excess(learn(model, X[290:], y[290:], 100), X, y) < 1e-3


@pytest.mark.parametrize(("level", "noise"), [(0.01, 0.001), (0.99, 3.0)])
def test_levels_near_0_and_1(rng, level, noise):
    X, y = make(rng, 3000, 3, noise)
    model = SGDLinearRegressor("quantile", quantile=level, random_state=0)
    learn(model, X, y, 500)
    assert excess(model, X, y) < 2e-3
    assert np.mean(y < model.predict(X)) == pytest.approx(level, abs=0.01)


def test_single_rows_lead_as_near_as_chunks(rng):
    X, y = make(rng, 400, 2)
    model = learn(SGDLinearRegressor("quantile", random_state=0), X, y, 1)
    assert excess(model, X, y) < 1e-2
    assert model._state.newton.kept == ()  # the first rows are no longer needed
    assert len(pickle.dumps(model)) < 30_000


def test_the_reason_says_after_how_many_rows_newton_steps_begin(rng):
    X, y = make(rng, 60, 3)
    model = learn(SGDLinearRegressor("huber", random_state=0), X[:5], y[:5], 1)
    (number,) = re.findall(r"after (\d+) rows by SGD", model.solver_reason_)
    learn(model, X[5 : int(number) - 1], y[5 : int(number) - 1], 1)
    assert len(model._state.newton.kept) > 10  # the first rows, until the optimum of all is found
    model.partial_fit(X[:1], y[:1])
    assert len(model._state.newton.kept) < 3


@pytest.mark.parametrize("options", LOSSES[:2])
def test_weights_count_relative_to_each_other(rng, options):
    X, y = make(rng, 400, 3)
    weight = rng.integers(0, 4, size=400).astype(float)
    models = [
        learn(SGDLinearRegressor(**options, random_state=0), X, y, 50, unit * weight)
        for unit in (1.0, 1e-200)
    ]
    repeated = np.repeat(np.arange(400), weight.astype(int))
    assert excess(models[0], X[repeated], y[repeated]) < 2e-2
    np.testing.assert_allclose(models[0].coef_, models[1].coef_, rtol=1e-6)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_penalty(rng, penalty):
    X, y = make(rng, 2000, 5)
    settings = {"loss": "huber", "penalty": penalty, "alpha": 0.3, "random_state": 0}
    model = learn(SGDLinearRegressor(**settings), X, y, 100)
    fitted = SGDLinearRegressor(**settings, tol=1e-5).fit(X, y)
    assert np.abs(model.coef_ - fitted.coef_).max() < 0.01
    assert_array_equal(model.coef_ == 0, fitted.coef_ == 0)
    assert (fitted.coef_ == 0).any() == (penalty == "l1")


def test_merged_streams_are_near_the_optimum_of_all_rows(rng):
    X, y = make(rng, 3000, 3)
    first, second, few = (
        learn(SGDLinearRegressor("quantile", quantile=0.2, random_state=0), X[part], y[part], 100)
        for part in (slice(1400), slice(1400, 2990), slice(2990, None))
    )
    assert excess(first.merge(second).merge(few), X, y) < 2e-3
    assert first.solver_ == "newton-cholesky"
    few.merge(SGDLinearRegressor("quantile", quantile=0.2, random_state=0).fit(X, y))
    assert few.solver_ == "newton-cholesky"
    assert excess(few, X, y) < 2e-3


def test_steps_of_sgd_in_between_do_not_drop_the_sums(rng):
    X, y = make(rng, 1000, 3)
    model = learn(SGDLinearRegressor("huber", random_state=0), X[:500], y[:500], 50)
    model.set_params(average=False).partial_fit(X[500:510], y[500:510])
    assert model.solver_ == "sgd"
    learn(model.set_params(average=True), X[510:], y[510:], 70)
    assert model.solver_ == "newton-cholesky"
    assert excess(model, X, y) < 1e-3
    model.set_params(loss="quantile").partial_fit(X[:10], y[:10])  # these sums say nothing of it
    assert model.solver_ == "sgd"


def test_a_stream_goes_on_from_a_model_of_the_user(rng):
    X, y = make(rng, 300, 3)
    model = SGDLinearRegressor("huber", random_state=0)
    model.coef_, model.intercept_ = np.array([9.0, 0.0, 0.0]), 0.0
    model.partial_fit(X[:1], y[:1])
    assert model.solver_ == "sgd"
    assert model.coef_[0] > 7


def test_all_residuals_move_away_from_the_kinks(rng):
    # The density at the kinks is 0 then, and steps by its inverse would have no bound.
    X, y = make(rng, 900, 3, noise=0.01)
    y[600:] += 1000
    model = learn(SGDLinearRegressor("quantile", random_state=0), X[:600], y[:600], 50)
    for start in range(600, 900, 50):
        model.partial_fit(X[start : start + 50], y[start : start + 50])
        assert np.abs(model.predict(X) - 500).max() < 1500


def test_most_rows_are_fitted_exactly(rng):
    # The residuals of the others tell how long steps must be.
    X = (rng.random((1500, 2)) < 0.05).astype(float)
    y = 5 + X @ [2.0, -1.0] + X.any(axis=1) * rng.normal(size=1500)
    model = learn(SGDLinearRegressor("quantile", random_state=0), X, y, 20)
    np.testing.assert_allclose(model.coef_, [2, -1], atol=0.7)
    assert model.intercept_ == pytest.approx(5)


@pytest.mark.parametrize("loss", ["huber", "quantile", "squared_epsilon_insensitive"])
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_columns_and_targets(loss, value):
    X, y = np.full((100, 2), value), np.full(100, 7.0)
    model = learn(SGDLinearRegressor(loss, random_state=0), X, y, 10)
    assert_array_equal(model.coef_, 0)
    assert model.intercept_ == pytest.approx(7)


@pytest.mark.parametrize("options", LOSSES, ids=str)
@pytest.mark.parametrize("chunk", [1, 20, 100])
def test_columns_that_are_dependent_at_first(rng, options, chunk):
    """Slow waves, which hardly differ from parabolas in the first rows, lead predictions astray."""
    time = np.arange(1200)[:, np.newaxis]
    X = np.sin(time / rng.uniform(3, 300, 20) + rng.uniform(0, 6, 20))
    y = X @ rng.normal(size=20) / 5 + 0.1 * rng.normal(size=1200)
    model = learn(SGDLinearRegressor(**options, random_state=0), X, y, chunk)
    # An extreme quantile of the first rows may extrapolate badly to the last ones; a model that
    # does not recover is wrong by many powers of ten.
    extreme = options.get("quantile", 0.5) != 0.5
    assert np.abs(y - model.predict(X)).mean() < (100 if extreme else 1) * y.std()


@pytest.mark.parametrize("n_first", [100, 1500])
@pytest.mark.parametrize("unit", [1.0, 1e-200, 1e5])
def test_weights_of_a_fit_count_beside_those_of_the_stream(rng, n_first, unit):
    X, y = make(rng, 3000, 3)
    y[:n_first] += 2
    weight = np.where(np.arange(3000) < n_first, 3000 / n_first, 1.0)
    weight[::3] = 0.0
    model = SGDLinearRegressor("huber", random_state=0)
    stream = learn(clone(model), X, y, 100, unit * weight)
    model.fit(X[:n_first], y[:n_first], unit * weight[:n_first])
    learn(model, X[n_first:], y[n_first:], 100, unit * weight[n_first:])
    assert abs(model.intercept_ - stream.intercept_) < 0.1


@pytest.mark.parametrize("n_fitted", [50, 1500])
@pytest.mark.parametrize(
    "options", LOSSES, ids=lambda options: "-".join(map(str, options.values()))
)
def test_a_stream_after_a_fit_stays_at_the_optimum(rng, options, n_fitted):
    X, y = make(rng, 3000, 3)
    models = []
    for chunk in (1, 40, 1000):
        model = SGDLinearRegressor(**options, random_state=0).fit(X[:n_fitted], y[:n_fitted])
        part = slice(n_fitted, n_fitted + 1)
        model.partial_fit(X[part], y[part])
        assert excess(model, X[: n_fitted + 1], y[: n_fitted + 1]) < 1e-3
        models.append(learn(model, X[n_fitted + 1 :], y[n_fitted + 1 :], chunk))
        assert model.solver_ == "newton-cholesky"
        assert excess(model, X, y) < 2e-3
    for model in models[1:]:
        np.testing.assert_allclose(model.coef_, models[0].coef_, atol=0.1)


@pytest.mark.parametrize("level", [0.01, 0.99])
def test_levels_near_0_and_1_after_a_fit(rng, level):
    X, y = make(rng, 4000, 3)
    model = SGDLinearRegressor("quantile", quantile=level, random_state=0).fit(X[:1000], y[:1000])
    learn(model, X[1000:], y[1000:], 100)
    assert excess(model, X, y) < 2e-3
    assert np.mean(y < model.predict(X)) == pytest.approx(level, abs=0.01)


@pytest.mark.parametrize("penalty", [{"penalty": "l1"}, {"penalty": "l2"}, {"positive": True}])
@pytest.mark.parametrize("weighted", [False, True])
def test_penalties_and_rare_columns_after_a_fit(rng, penalty, weighted):
    # A sample of the rows of the fit has no entry in the first column.
    X, y = make(rng, 20_000, 4)
    X[:, 0] = 0.0
    X[rng.choice(20_000, 4, replace=False), 0] = 1.0
    y += 100 * X[:, 0]
    weight = rng.exponential(size=20_000) if weighted else None
    model = SGDLinearRegressor("huber", **penalty, alpha=1e-3, random_state=0, tol=1e-4)
    fitted = model.fit(X, y, weight).coef_.copy()
    model.partial_fit(X[:1], y[:1])
    assert model.solver_ == "newton-cholesky"
    np.testing.assert_allclose(model.coef_, fitted, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("n_fitted", [50, 600])
def test_several_targets_and_sparse_rows_after_a_fit(rng, n_fitted):
    X, y = make(rng, 1000, 3)
    X[np.abs(X) < 0.5] = 0.0
    Y = np.column_stack([y, -2 * y, y**2])
    alone = [
        learn(SGDLinearRegressor("huber", random_state=0).fit(X[:n_fitted], z[:n_fitted]),
              X[n_fitted:], z[n_fitted:], 50)
        for z in Y.T
    ]  # fmt: skip
    together = SGDLinearRegressor("huber", random_state=0).fit(
        csr_array(X[:n_fitted]), Y[:n_fitted]
    )
    learn(together, csr_array(X[n_fitted:]), Y[n_fitted:], 50)
    assert together.solver_ == "newton-cholesky"
    np.testing.assert_allclose(together.coef_, [model.coef_ for model in alone], rtol=0.02)


@pytest.mark.parametrize("n_fitted", [50, 600])
def test_pickle_after_a_fit_changes_no_bit(rng, n_fitted):
    X, y = make(rng, 1000, 3)
    model = SGDLinearRegressor("quantile", random_state=0).fit(X[:n_fitted], y[:n_fitted])
    copy = pickle.loads(pickle.dumps(model))
    for one in (model, copy):
        learn(one, X[n_fitted:], y[n_fitted:], 70)
    assert_array_equal(model.coef_, copy.coef_)


def test_fits_are_merged_as_their_rows(rng):
    X, y = make(rng, 4000, 3)
    for n_first in (30, 2000):
        first, second = (
            SGDLinearRegressor("huber", random_state=0).fit(X[part], y[part])
            for part in (slice(n_first), slice(n_first, None))
        )
        assert first.merge(second).solver_ == "newton-cholesky"
        assert excess(first, X, y) < 1e-3


def test_a_fit_by_sgd_or_of_many_columns_is_followed_by_sgd(rng):
    X, y = make(rng, 400, 301)
    model = SGDLinearRegressor("huber", random_state=0, solver="sgd").fit(X[:, :3], y)
    assert model.partial_fit(X[:5, :3], y[:5]).solver_ == "sgd"
    assert SGDLinearRegressor("huber", random_state=0).fit(X, y).partial_fit(X, y).solver_ == "sgd"


@pytest.mark.parametrize("n_fitted", [50, 600])
def test_rows_of_any_layout_are_followed_by_the_same_stream(rng, n_fitted):
    X, y = np.round(10 * rng.normal(size=(700, 3))), rng.normal(size=700)
    layouts = [X, np.asfortranarray(X), X.astype(np.int64), pd.DataFrame(X, columns=list("abc"))]
    coefs = []
    for rows in layouts:
        model = SGDLinearRegressor("huber", random_state=0).fit(rows[:n_fitted], y[:n_fitted])
        coefs.append(model.partial_fit(rows[n_fitted:], y[n_fitted:]).coef_)
        assert model.solver_ == "newton-cholesky"
    for coef in coefs[1:]:
        np.testing.assert_allclose(coef, coefs[0], rtol=1e-6, atol=1e-9)


def test_weights_too_small_for_the_curvature_are_an_error(rng):
    X, y = make(rng, 300, 2)
    model = SGDLinearRegressor("huber", random_state=0)
    with pytest.raises(ValueError, match="Rescale y or sample_weight"):
        model.partial_fit(X, 1e100 * y, np.full(300, 1e-307))
    assert not hasattr(model, "coef_")

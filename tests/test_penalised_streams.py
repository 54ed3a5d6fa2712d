"""Law: steps of the penalty and of the loss balance, whatever the weights, chunks and units."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array
from sklearn.base import clone

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin.methods.face import minimise_in_set
from sklearn_sgdlin.model.loss import LOSSES, make_loss
from tests.data import learn, pairs

PENALTIES = {
    "l1": {"penalty": "l1"},
    "l2": {"penalty": "l2"},
    "elasticnet": {"penalty": "elasticnet", "l1_ratio": 0.5},
    "positive": {"positive": True},
}
KINKED = ["quantile", "epsilon_insensitive"]
SHARES = {"l1": (1.0, 0.0), "l2": (0.0, 1.0), "elasticnet": (0.5, 0.5), None: (0.0, 0.0)}


def make(rng, n_rows, coef):
    X = rng.normal(size=(n_rows, len(coef)))
    return X, X @ coef + rng.normal(size=n_rows)


def objective(model, X, y, sample_weight=None):
    loss = make_loss(model.loss, model.epsilon, model.quantile)
    l1, l2 = (model.alpha * share for share in SHARES[model.penalty])
    coef = model.coef_
    value = np.average(loss.value(y - model.predict(X)), weights=sample_weight)
    return value + l1 * np.abs(coef).sum() + l2 * coef @ coef / 2


def excess(models, X, y, sample_weight=None):
    """How far the objective of the worst of some models is above the least, as a share of it."""
    best = SGDLinearRegressor(**models[0].get_params()).set_params(average=True, tol=1e-4)
    least = objective(best.fit(X, y, sample_weight), X, y, sample_weight)
    return max(objective(model, X, y, sample_weight) for model in models) / least - 1


def options(loss, penalty):
    return {
        "loss": loss,
        "epsilon": 1.35 if loss == "huber" else 0.1,
        "alpha": 0.1 if loss in ("quantile", "epsilon_insensitive") else 0.5,
        "random_state": 0,
        **PENALTIES[penalty],
    }


# Steps of the loss know no penalty, and those of the penalty no loss: two losses for each penalty,
# a smooth one and one with kinks, and each loss at least once.
SOME = [
    (loss, penalty)
    for i, penalty in enumerate(PENALTIES)
    for loss in (["squared_error", "huber", "squared_epsilon_insensitive"][i % 3], KINKED[i % 2])
]


@pytest.mark.parametrize(("loss", "penalty"), SOME)
def test_one_pass_reaches_the_optimum_in_chunks_of_any_size(rng, loss, penalty):
    X, y = make(rng, 5000, [1.0, -2.0, 3.0])
    model = SGDLinearRegressor(**options(loss, penalty))
    models = [learn(clone(model), X, y, chunk) for chunk in (50, 5000)]
    models.append(learn(model, csr_array(X), y, 500))
    assert excess(models, X, y) < 4e-3


def test_rows_one_by_one_lead_where_chunks_lead(rng):
    X, y = make(rng, 1500, [1.0, -2.0, 3.0])
    model = learn(SGDLinearRegressor(**options("huber", "l1")), X, y, 1)
    assert excess([model], X, y) < 1e-2


@pytest.mark.parametrize(("loss", "penalty"), [each for each in SOME if each[1] != "positive"])
def test_scale_of_weights_is_without_effect(rng, loss, penalty):
    X, y = make(rng, 1000, [1.0, -2.0, 3.0])
    weight = rng.exponential(size=len(y))

    def coefficients(factor):
        stream = SGDLinearRegressor(**options(loss, penalty))
        last = SGDLinearRegressor(**options(loss, penalty), average=False, max_iter=3, tol=None)
        last.fit(X, y, sample_weight=factor * weight)
        learn(stream, X, y, 100, factor * weight)
        return np.append(stream.coef_, last.coef_)

    expected = coefficients(1.0)
    for factor in (0.01, 2.0**60):
        assert_allclose(coefficients(factor), expected, rtol=1e-9)


@pytest.mark.parametrize("weights", ["one is heavy", "heavy-tailed"])
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_heavy_rows_do_not_add_to_the_penalty(rng, weights, loss):
    X, y = make(rng, 10_000, [1.0, -2.0, 3.0])
    weight = np.ones(len(y))
    if weights == "one is heavy":
        weight[5] = 100.0
    else:
        weight = rng.exponential(size=len(y)) ** 3
    last = SGDLinearRegressor(**options(loss, "l2") | {"alpha": 0.1}, average=False)
    assert excess([last.fit(X, y, weight)], X, y, weight) < 5e-3
    stream = SGDLinearRegressor(**options(loss, "l1") | {"alpha": 0.1})
    assert excess([learn(stream, X, y, 500, weight)], X, y, weight) < 1e-2


@pytest.mark.parametrize(
    ("loss", "unit", "kind"), pairs(list(LOSSES), [1e-14, 1e14], [np.asarray, csr_array])
)
def test_bounds_hold_exactly_in_a_stream(rng, loss, unit, kind):
    X = rng.normal(size=(300, 6)) * (rng.random((300, 6)) < 0.5)
    y = X @ [1.0, -1.0, 0.0, 0.0, -1e-3, 2.0] + rng.normal(size=300)
    X *= unit
    for average in (True, False):
        model = SGDLinearRegressor(loss=loss, positive=True, average=average, random_state=0)
        for start in range(0, len(y), 30):
            model.partial_fit(kind(X[start : start + 30]), y[start : start + 30])
            assert (model.coef_ >= 0).all()
            assert not np.signbit(model.coef_).any()


@pytest.mark.parametrize(
    ("penalty", "fit_first", "fit_intercept"),
    pairs(["l1", "elasticnet", "positive"], [False, True], [False, True]),
)
def test_stream_of_few_columns_is_fit_with_its_zeros(rng, penalty, fit_first, fit_intercept):
    coef = np.where(rng.random(12) < 0.5, 0.0, rng.normal(size=12))
    X, y = make(rng, 600, coef)
    X = np.column_stack([X * np.logspace(-3, 3, 12), np.full(600, 7.0)]) + 2.0
    given = {"random_state": 0, "fit_intercept": fit_intercept, **PENALTIES[penalty]}
    given |= {"alpha": 1e-2, "tol": 1e-8}
    whole = SGDLinearRegressor(**given).fit(X, y)
    model = SGDLinearRegressor(**given)
    n_first = 200 if fit_first else 0
    if fit_first:
        model.fit(X[:n_first], y[:n_first])
    learn(model, X[n_first:], y[n_first:], 23)
    assert_allclose(model.predict(X), whole.predict(X), atol=1e-6 * y.std())
    np.testing.assert_array_equal(model.coef_ == 0, whole.coef_ == 0)


@pytest.mark.parametrize("lower", [0.0, -np.inf])
@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_optimum_of_products_meets_its_conditions(rng, lower, weight):
    for _ in range(50):
        n_rows, n_columns = rng.integers(1, 30, 2)
        X = rng.normal(size=(n_rows, n_columns))
        X[:, -1] = X[:, 0] + X[:, n_columns // 2]  # dependent
        X /= np.sqrt(np.mean(X**2, axis=0))
        y = rng.normal(size=n_rows)
        hessian, slope = X.T @ X / n_rows, X.T @ y / n_rows
        start = np.maximum(rng.normal(size=n_columns) * (rng.random(n_columns) < 0.5), lower)
        penalty = np.full(n_columns, weight), np.zeros(n_columns), np.full(n_columns, lower)
        x = minimise_in_set(hessian, slope - hessian @ start, start, penalty, y @ y / n_rows / 2)
        gradient = slope - hessian @ x
        assert (x >= lower).all()
        pull = gradient if lower == 0 else np.abs(gradient)
        assert (pull <= weight + 1e-8).all()
        assert_allclose(gradient[x != 0], (weight * np.sign(x))[x != 0], atol=1e-8)

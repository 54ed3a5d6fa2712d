"""Sums of products of a stream are as good as its triangular factor, and give way to it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._tuning import Tuning
from sklearn_sgdlin.inference import coef_inference
from sklearn_sgdlin.model.summed_products import SummedProducts
from tests.data import learn


def stream(X, y, weight=None, *, in_sums, chunk=50, **options):
    """A stream whose products are sums where columns allow it, or a factor."""
    model = SGDLinearRegressor(**options)
    model._tuning = Tuning(min_summed_features=1 if in_sums else 10**6)
    return learn(model, X, y, chunk, weight)


def is_summed(model):
    return isinstance(model._learned.settled.cross_products, SummedProducts)


@pytest.fixture
def data(rng):
    X = rng.normal(size=(600, 8)) * np.logspace(-4, 4, 8) + np.logspace(-3, 3, 8)
    X[:, 3] = 7.0  # constant
    y = X @ np.logspace(4, -4, 8) + rng.normal(size=600)
    return X, y, rng.integers(0, 3, 600).astype(float)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"penalty": "l2", "alpha": 0.1},
        {"penalty": "l1", "alpha": 0.1},
        {"half_life": 100},
        {"fit_intercept": False},
    ],
    ids=str,
)
def test_sums_lead_to_the_model_of_the_factor(data, options):
    X, y, weight = data
    summed, factorised = (stream(X, y, weight, in_sums=s, **options) for s in (True, False))
    assert is_summed(summed)
    assert not is_summed(factorised)
    assert_allclose(summed.predict(X), factorised.predict(X), rtol=1e-9, atol=1e-9)


def test_standard_errors_and_merges_are_those_of_the_factor(rng):
    X = rng.normal(size=(600, 5))
    y = X.sum(axis=1) + rng.normal(size=600)
    errors, predictions = [], []
    for in_sums in (True, False):
        first, second = (stream(X[i::2], y[i::2], in_sums=in_sums) for i in (0, 1))
        errors.append(coef_inference(first).std_error)
        predictions.append(first.merge(second).predict(X))
    assert_allclose(errors[0], errors[1], rtol=1e-9)
    assert_allclose(predictions[0], predictions[1], rtol=1e-9)


def test_columns_that_become_nearly_dependent_lose_no_digits(rng):
    X = rng.normal(size=(600, 5))
    X[300:] *= 1e5
    X[300:, 4] = X[300:, 3] + 1e-2 * rng.normal(size=300)  # 1e-7 of the column
    y = X.sum(axis=1) + rng.normal(size=600)
    before = stream(X[:300], y[:300], in_sums=True)
    after = stream(X, y, in_sums=True)
    assert is_summed(before)
    assert not is_summed(after)
    expected = np.linalg.lstsq(np.column_stack([X, np.ones(600)]), y)[0][:-1]
    assert_allclose(after.coef_, expected, rtol=1e-7)


def test_a_target_without_noise_is_found_to_rounding(rng):
    X = rng.normal(size=(600, 5))
    model = stream(X, X.sum(axis=1), in_sums=True)
    assert_allclose(model.coef_, 1.0, rtol=1e-13)
    assert coef_inference(model).std_error.max() < 1e-12

"""A path: fits for one penalty after the other are those of each penalty alone."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._fit import epochs
from sklearn_sgdlin._path import path
from sklearn_sgdlin._tuning import Tuning
from sklearn_sgdlin.data import one_pass

SETS = Tuning(cheap_hessian_features=0, set_products_per_entry=2.0)
PENALTIES = [(0.3, 0.0), (0.1, 0.0), (0.1, 0.1), (0.02, 0.3), (0.0, 0.1), (0.05, 0.0)]


def data(n_rows, n_features, n_targets=None):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_features)) * (rng.random((n_rows, n_features)) < 0.5)
    coef = rng.normal(size=(n_features, n_targets or 1)) * (rng.random((n_features, 1)) < 0.2)
    y = 2 + X @ coef + 0.5 * rng.normal(size=(n_rows, 1))
    return X, y if n_targets else y[:, 0]


def settings_of(loss="squared_error", tuning=None, **options):
    model = SGDLinearRegressor(loss, tol=1e-6, random_state=0, **options)
    model._tuning = tuning or Tuning()
    return [replace(model._settings(), l1=l1, l2=l2) for l1, l2 in PENALTIES]


@pytest.mark.parametrize("tuning", [Tuning(), SETS], ids=["all columns", "sets"])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_targets", [None, 2])
def test_each_model_is_that_of_its_penalty_alone(tuning, sparse, weighted, n_targets):
    X, y = data(80, 60, n_targets)
    weight = np.random.default_rng(1).integers(0, 3, len(y)) * 1.0 if weighted else None
    X = csr_array(X) if sparse else X
    for (l1, l2), epoch in zip(
        PENALTIES, path(settings_of(tuning=tuning), X, y, weight, 0), strict=True
    ):
        alone = SGDLinearRegressor(
            penalty="elasticnet", alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), tol=1e-6, random_state=0
        ).fit(X, y, weight)
        assert epoch.stop_reason == "converged"
        np.testing.assert_allclose(epoch.state.returned_coef, alone.coef_, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(epoch.state.returned_intercept, alone.intercept_, atol=1e-5)


@pytest.mark.parametrize("n_targets", [None, 2])
def test_a_set_that_is_too_large_is_left_to_interior_point_for_each_penalty(n_targets):
    X, y = data(80, 60, n_targets)
    tuning = replace(SETS, max_hessian_features=12)
    grid = [s for s in settings_of(tuning=tuning, solver="coordinate-descent") if s.l1]
    solvers = set()
    for settings, epoch in zip(grid, path(grid, X, y, None, 0), strict=True):
        solvers.add(epoch.choice.solver)
        *_, alone = epochs(settings, X, y, None, 0)
        for own, other in [
            (epoch.state.returned_coef, alone.state.returned_coef),
            (epoch.state.returned_intercept, alone.state.returned_intercept),
        ]:
            np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-5)
    assert solvers == {"coordinate-descent", "interior-point"}


def test_a_path_serves_every_loss():
    X, y = data(50, 5)
    for (l1, l2), epoch in zip(PENALTIES, path(settings_of("huber"), X, y, None, 0), strict=True):
        alone = SGDLinearRegressor(
            "huber", penalty="elasticnet", alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), tol=1e-6
        ).fit(X, y)
        np.testing.assert_allclose(epoch.state.coef, alone.coef_, atol=1e-4)


def test_products_of_columns_are_summed_up_once(monkeypatch):
    passes = []
    monkeypatch.setattr(one_pass, "sums_of_rows", _counted(one_pass.sums_of_rows, passes))
    X, y = data(80, 10)
    assert len(list(path(settings_of(), X, y, None, 0))) == len(PENALTIES)
    assert len(passes) == 1


def _counted(function, calls):
    def counted(*args):
        calls.append(args)
        return function(*args)

    return counted

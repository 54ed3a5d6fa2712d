"""Data at the edges: exact fits, huge numbers, constant columns."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin.model.scaling import effective_l2


@pytest.mark.parametrize("seed", range(5))
def test_the_curve_of_sgd_never_rises_where_only_rounding_errors_are_left(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(16, 20))
    y = X @ rng.normal(size=20) + 3
    model = SGDLinearRegressor(solver="sgd", max_iter=40, tol=None, random_state=0).fit(X, y)
    assert model.loss_curve_[-1] < 1e-25
    assert (np.diff(model.loss_curve_) <= 0).all()


@pytest.mark.parametrize("size", [1e-240, 1.0, 1e240])
@pytest.mark.parametrize("n_columns", [1, 3])
def test_the_effective_penalty_of_as_many_columns_as_rows(size, n_columns):
    variance, l2 = np.append(np.full(n_columns, size), np.zeros(9)), 1e-40 * size
    # As many columns vary as there are rows, so that l2 = effective**2 / (variance + effective).
    np.testing.assert_allclose(effective_l2(variance, l2, n_columns), 1e-20 * size, rtol=0.05)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("kind", [np.asarray, csr_array])
def test_the_dual_of_columns_that_do_not_vary_is_the_mean(kind, value):
    X, y = np.full((3, 5), value), np.array([1.0, 2.0, 6.0])
    model = SGDLinearRegressor(solver="dual", penalty="l2").fit(kind(X), y)
    np.testing.assert_array_equal(model.coef_, 0.0)
    np.testing.assert_allclose(model.intercept_, 3.0, rtol=1e-15)

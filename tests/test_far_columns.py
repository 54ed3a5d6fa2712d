"""Sparse columns far from zero, as time stamps are: what dense rows find, sparse rows find."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin.data.csr import SparseRows
from sklearn_sgdlin.data.dense import Rows
from sklearn_sgdlin.model.loss import LOSSES, make_loss
from sklearn_sgdlin.model.moments import Moments
from sklearn_sgdlin.model.objective import Objective
from sklearn_sgdlin.model.scaling import Scaling

from . import reference_sweep

EPOCH = 1.7e9  # seconds of a time stamp


def time_stamps(rng, n_rows, spread):
    """A column far from zero, an ordinary one, and one of rare entries."""
    X = np.column_stack([EPOCH + spread * rng.normal(size=n_rows), rng.normal(size=n_rows)])
    X = np.column_stack([X, np.where(rng.random(n_rows) < 0.1, 3.0, 0.0)])
    return X, 3 * (X[:, 0] - EPOCH) / spread + X[:, 1] + 0.1 * rng.normal(size=n_rows)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("spread", [17.0, 0.017])
def test_fit_and_stream_of_a_time_stamp(rng, loss, spread):
    X, y = time_stamps(rng, 2000, spread)
    X = csr_array(X)
    model = SGDLinearRegressor(loss=loss, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.998
    assert np.isfinite(model.loss_curve_).all()
    for chunk in (100, 1000):
        model = SGDLinearRegressor(loss=loss, random_state=0)
        for start in range(0, len(y), chunk):
            model.partial_fit(X[start : start + chunk], y[start : start + chunk])
        assert model.score(X, y) > 0.998


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lacking", [0, 5])
def test_sums_and_steps_are_those_of_dense_rows(rng, dtype, lacking):
    X, y = time_stamps(rng, 300, 1e4)
    X = X.astype(dtype)
    weight = rng.uniform(1, 2, size=300)
    weight[:lacking] = X[:lacking, 0] = 0.0  # rows of no weight may lack the column
    scaling = Scaling.from_moments(Moments.of(X.astype(float), weight), fit_intercept=True)
    objective = Objective.of(make_loss("huber"), 1e-3, 1e-3, False, scaling.scale)
    dense = Rows(X, y, weight, scaling)
    sparse = SparseRows(csr_array(X), y, weight, scaling)
    assert sparse.X.nnz < X.size
    start, order, rule = rng.normal(size=4), dense.order(), (1.0, 0.0, True, 0.7)
    for ours, theirs in zip(
        sparse.sweep(order, objective, rule, 0, start),
        dense.sweep(order, objective, rule, 0, start),
        strict=True,
    ):
        assert_allclose(ours, theirs, rtol=0, atol=1e-10)
    for ours, theirs in zip(
        sparse.products(start, residuals=True), dense.products(start, residuals=True), strict=True
    ):
        assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    for (z, _, h), (expected, _, _) in zip(sparse.chunks(), dense.chunks(), strict=True):
        expected = expected.z
        assert_allclose((z @ start)[lacking:], (expected @ start)[lacking:], atol=1e-10)
        assert_allclose(z.gram(h), (expected.T * h) @ expected, atol=1e-9)
        assert_allclose(z.column_squares(h), h @ expected**2, atol=1e-9)
        assert_allclose(z.rmatvec(h * y), expected.T @ (h * y), atol=1e-9)


def test_near_columns_are_read_where_they_are(rng):
    X = csr_array(rng.normal(size=(50, 4)) + 3.0)
    scaling = Scaling.from_moments(Moments.of(X), fit_intercept=True)
    assert SparseRows(X, np.zeros(50), None, scaling).X is X


def test_sweep_of_a_far_column_is_the_naive_loop(rng):
    X, y = time_stamps(rng, 100, 17.0)
    scaling = Scaling.from_moments(Moments.of(X), fit_intercept=True)
    objective = Objective.of(make_loss("squared_error"), 0.0, 0.0, False, scaling.scale)
    rows, rule = SparseRows(csr_array(X), y, None, scaling), (1.0, 0.0, True, 1.0)
    theta, mean, _ = rows.sweep(rows.order(), objective, rule, 0, np.zeros(4))
    args = X, y, None, range(100), scaling, objective, rule, 0, np.zeros(4)
    for ours, theirs in zip((theta, mean), reference_sweep.sweep(*args), strict=True):
        assert_allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_system_of_fewer_rows_than_columns(rng, weighted):
    X, y = time_stamps(rng, 60, 17.0)
    X = np.column_stack([X, np.where(rng.random((60, 5000)) < 1e-2, 1.0, 0.0)])
    weight = rng.uniform(0.5, 2, 60) if weighted else None
    dense, sparse = (
        SGDLinearRegressor(penalty="l2", alpha=1e-5, tol=1e-6).fit(kind(X), y, weight)
        for kind in (np.asarray, csr_array)
    )
    assert_allclose(sparse.predict(X), dense.predict(X), atol=1e-4)

"""Squared error with l1, elastic net or non-negative coefficients: the optimum, exactly."""

import numpy as np
import pytest
from scipy.optimize import nnls
from scipy.sparse import csr_array
from sklearn.linear_model import ElasticNet, Lasso
from sklearn_sgdlin.kernels.coordinate_descent import (
    descend,
    descend_columns,
    descend_sparse,
    squared_error_gap,
)

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._tuning import Tuning
from tests.data import pairs

SHAPES = [(300, 20), (60, 400), (400, 400), (1, 5), (5, 1)]
PENALTIES = [
    {"penalty": "l1"},
    {"penalty": "elasticnet", "l1_ratio": 0.6},
    {"penalty": "l1", "positive": True},
    {"penalty": "l2", "positive": True},
]
SETS = Tuning(cheap_hessian_features=0, set_products_per_entry=0.5)  # many growths of small sets


def data(n_rows, n_features, seed=0, share=0.2):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features)) * (rng.random((n_rows, n_features)) < 0.7)
    X += rng.normal(size=(n_rows, 1)) * rng.random(n_features)
    coef = rng.normal(size=n_features) * (rng.random(n_features) < share)
    return X, 3 + X @ coef + 0.5 * rng.normal(size=n_rows)


def largest_alpha(X, y):
    return max(np.abs((X - X.mean(axis=0)).T @ (y - y.mean())).max() / len(y), 1e-3)


def fitted(X, y, weight=None, tuning=None, **options):
    model = SGDLinearRegressor(random_state=0, **options)
    if tuning is not None:
        model._tuning = tuning
    model.fit(X, y, weight)
    assert model.solver_ == "coordinate-descent"
    return model


def penalty_of(model):
    share = {"l1": 1.0, "l2": 0.0, "elasticnet": model.l1_ratio, None: 0.0}[model.penalty]
    alpha = model.alpha if model.penalty is not None else 0.0
    return alpha * share, alpha * (1 - share)


def assert_optimal(model, X, y, weight=None, tolerance=1e-8):
    """The slopes of all columns are what l1, l2 and bounds allow (KKT conditions)."""
    weight = np.ones(len(y)) if weight is None else weight
    weight = weight / weight.sum()
    residual = y - X @ model.coef_ - model.intercept_
    assert abs(weight @ residual) <= tolerance * (1 + np.abs(y).max())
    l1, l2 = penalty_of(model)
    centred = X - weight @ X
    slope = centred.T @ (weight * residual) - l2 * model.coef_
    unit = np.sqrt((weight @ centred**2) * (weight @ (y - weight @ y) ** 2)) + 1e-300
    positive, negative = model.coef_ > 0, model.coef_ < 0
    assert (np.abs(slope - l1)[positive] <= tolerance * unit[positive]).all()
    assert (np.abs(slope + l1)[negative] <= tolerance * unit[negative]).all()
    assert (slope <= l1 + tolerance * unit).all()
    if model.positive:
        assert not negative.any()
    else:
        assert (slope >= -l1 - tolerance * unit).all()


@pytest.mark.parametrize(
    ("shape", "options", "tuning", "share"),
    pairs(SHAPES, PENALTIES, [Tuning(), SETS], [0.5, 0.05, 1e-3]),
)
def test_no_column_violates_the_conditions_of_the_optimum(shape, options, tuning, share):
    X, y = data(*shape)
    alpha = share * largest_alpha(X, y)
    model = fitted(X, y, tuning=tuning, alpha=alpha, **options)
    assert model.stop_reason_ == "converged"
    assert_optimal(model, X, y)


@pytest.mark.parametrize("shape", [(300, 20), (60, 400)], ids=str)
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_zeros_are_those_of_scikit_learn(shape, l1_ratio):
    X, y = data(*shape)
    alpha = 0.1 * largest_alpha(X, y)
    peer = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-12, max_iter=10**6).fit(X, y)
    model = fitted(X, y, penalty="elasticnet", alpha=alpha, l1_ratio=l1_ratio)
    np.testing.assert_array_equal(model.coef_ == 0, peer.coef_ == 0)
    np.testing.assert_allclose(model.coef_, peer.coef_, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("options", PENALTIES, ids=str)
@pytest.mark.parametrize("tuning", [Tuning(), SETS], ids=["all columns", "sets"])
@pytest.mark.parametrize("weighted", [False, True])
def test_sparse_rows_give_the_same_model(options, tuning, weighted):
    X, y = data(80, 300)
    weight = np.random.default_rng(1).integers(0, 3, len(y)) * 1.0 if weighted else None
    alpha = 0.05 * largest_alpha(X, y)
    dense = fitted(X, y, weight, tuning, alpha=alpha, **options)
    rare = fitted(csr_array(X), y, weight, tuning, alpha=alpha, **options)
    np.testing.assert_allclose(rare.coef_, dense.coef_, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(rare.coef_ == 0, dense.coef_ == 0)
    assert_optimal(dense, X, y, weight)


@pytest.mark.parametrize("tuning", [Tuning(), SETS], ids=["all columns", "sets"])
def test_a_weight_is_a_row_written_so_often(tuning):
    X, y = data(60, 40)
    weight = np.random.default_rng(1).integers(0, 4, len(y))
    options = {"penalty": "l1", "alpha": 0.05 * largest_alpha(X, y), "tuning": tuning}
    weighted = fitted(X, y, weight * 1.0, **options)
    repeated = fitted(np.repeat(X, weight, axis=0), np.repeat(y, weight), **options)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-8, atol=1e-10)


def test_without_a_penalty_it_is_non_negative_least_squares():
    X, y = data(200, 30)
    model = fitted(X, y, penalty=None, positive=True, fit_intercept=False)
    np.testing.assert_allclose(model.coef_, nnls(X, y)[0], atol=1e-10)
    assert (model.coef_ >= 0).all()
    assert model.stop_reason_ == "converged"


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("tuning", [Tuning(), SETS], ids=["all columns", "sets"])
def test_units_and_means_of_columns_change_little(tuning, sparse):
    X, y = data(100, 30)
    rng = np.random.default_rng(2)
    scale, alpha = 10.0 ** rng.integers(-6, 7, 30), 1e-9
    if not sparse:
        X = X + 1e4 * rng.normal(size=30)
    scaled = csr_array(X * scale) if sparse else X * scale
    model = fitted(scaled, y, tuning=tuning, penalty="l1", alpha=alpha)
    assert model.stop_reason_ == "converged"
    weight = np.full(len(y), 1 / len(y))
    least = fitted(X, y, tuning=tuning, penalty="l1", alpha=1e-12)
    square = weight @ (y - scaled @ model.coef_ - model.intercept_) ** 2
    assert square <= (1 + 1e-3) * (weight @ (y - X @ least.coef_ - least.intercept_) ** 2)


def test_copies_and_constants_among_the_columns():
    X, y = data(50, 20)
    X = np.column_stack([X, X[:, :5], np.ones(50), 2 * X[:, 0] - X[:, 1]])
    for tuning in (Tuning(), SETS):
        model = fitted(X, y, tuning=tuning, penalty="l1", alpha=0.01)
        assert_optimal(model, X, y)
        assert model.coef_[25] == 0


@pytest.mark.parametrize("share", [100.0, 1.0 + 1e-9])
def test_above_the_largest_alpha_all_are_zero(share):
    X, y = data(50, 300)
    model = fitted(X, y, penalty="l1", alpha=share * largest_alpha(X, y))
    assert not model.coef_.any()
    np.testing.assert_allclose(model.intercept_, y.mean())
    assert model.stop_reason_ == "converged"


@pytest.mark.parametrize("tuning", [Tuning(), SETS], ids=["all columns", "sets"])
def test_several_targets_are_as_if_alone(tuning):
    X, y = data(80, 60)
    Y = np.column_stack([y, y[::-1], X[:, 0]])
    together = fitted(X, Y, tuning=tuning, penalty="l1", alpha=0.05)
    for k in range(3):
        alone = fitted(X, Y[:, k], tuning=tuning, penalty="l1", alpha=0.05)
        np.testing.assert_allclose(together.coef_[k], alone.coef_, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("sparse", [False, True])
def test_warm_starts_lead_to_the_same_optimum(sparse):
    X, y = data(60, 300)
    storage = csr_array(X) if sparse else X
    model = SGDLinearRegressor(penalty="l1", warm_start=True, random_state=0)
    for share in (0.5, 0.2, 0.05, 0.3):
        model.set_params(alpha=share * largest_alpha(X, y)).fit(storage, y)
        assert_optimal(model, X, y)


def test_a_stream_goes_on_from_the_products():
    X, y = data(200, 20)
    options = {"penalty": "l1", "alpha": 0.05}
    model = fitted(X[:150], y[:150], **options).partial_fit(X[150:], y[150:])
    assert model.solver_ == "newton-cholesky"
    np.testing.assert_allclose(model.coef_, fitted(X, y, **options).coef_, rtol=1e-6, atol=1e-8)


def test_the_largest_sets_are_left_to_interior_points():
    X, y = data(100, 300)
    alpha = 0.01 * largest_alpha(X, y)
    small = Tuning(cheap_hessian_features=0, max_hessian_features=20)
    model = SGDLinearRegressor(penalty="l1", alpha=alpha, random_state=0)
    model._tuning = small
    model.fit(X, y)
    assert model.solver_ == "interior-point"
    assert "more than 20 columns" in model.solver_reason_
    peer = Lasso(alpha=alpha, tol=1e-10, max_iter=10**6).fit(X, y)

    def value(model):
        residual = y - X @ model.coef_ - model.intercept_
        return residual @ residual / 2 / len(y) + alpha * np.abs(model.coef_).sum()

    assert value(model) <= value(peer) * (1 + 1e-4)


def test_a_compiled_epoch_is_the_loop_of_the_textbook():
    X, y = data(30, 8)
    gram, slope = X.T @ X / 30, X.T @ y / 30
    l1, l2, floor = np.full(8, 0.05), np.full(8, 0.1), np.full(8, -np.inf)
    floor[:3] = 0.0
    expected, theta = np.zeros(8), np.zeros(8)
    for _ in range(3):
        for j in range(8):
            t = slope[j] - gram[j] @ expected + gram[j, j] * expected[j]
            t = np.sign(t) * max(abs(t) - l1[j], 0.0) / (gram[j, j] + l2[j])
            expected[j] = max(t, floor[j])
    left = slope.copy()
    epochs = descend(gram, gram.diagonal().copy(), (l1, l2, floor), theta, left, 3, 0.0)
    assert epochs == 3
    np.testing.assert_allclose(theta, expected, rtol=1e-12)
    np.testing.assert_allclose(left, slope - gram @ theta, atol=1e-12)
    columns, sparse = csr_array(X).tocsc(), np.zeros(8)
    ones, residual = np.ones(8), y / 30
    scaling = np.zeros(8), ones, X.mean(axis=0), gram.diagonal().copy(), 30.0
    arrays = columns.data, columns.indices, columns.indptr
    order = np.arange(8)
    descend_sparse(*arrays, order, scaling, (l1, l2, floor), sparse, residual, 0.0, 3, 0.0)
    np.testing.assert_allclose(sparse, expected, rtol=1e-12)
    curvature, penalty = gram.diagonal().copy(), (l1, l2, floor)
    for number, tolerance in [(np.float64, 1e-12), (np.float32, 1e-5)]:
        theta, change, values = np.zeros(8), np.zeros(30, number), X.T.astype(number, order="C")
        descend_columns(values, order, slope, curvature, penalty, theta, change, 0.1, 30.0, 3, -1)
        np.testing.assert_allclose(theta, expected, rtol=tolerance)
        np.testing.assert_allclose(change, -X @ theta / 30 / 0.1, rtol=1e3 * tolerance)


@pytest.mark.parametrize("floor", [-np.inf, 0.0])
@pytest.mark.parametrize("share", [0.3, 1e-3])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_the_gap_is_above_what_is_left_of_the_objective(floor, share, l2):
    X, y = data(40, 10)
    gram, slope = X.T @ X / 40, X.T @ y / 40
    curvature, l1 = gram.diagonal().copy(), np.full(10, share * np.abs(slope).max())
    penalty = l1, np.full(10, l2), np.full(10, floor)
    theta, left, gaps, values = np.zeros(10), slope.copy(), [], []
    for _ in range(400):
        square = np.mean((y - X @ theta) ** 2)
        gaps.append(squared_error_gap(theta, slope - gram @ theta, square, penalty, curvature))
        values.append(square / 2 + l1 @ np.abs(theta) + l2 * theta @ theta / 2)
        descend(gram, curvature, penalty, theta, left, 1, 0.0)
    above = np.array(values) - values[-1]
    assert (np.array(gaps) >= above - 1e-12 * values[-1]).all()
    assert gaps[-1] <= 1e-8 * values[-1]

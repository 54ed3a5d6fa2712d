"""Losses with curvature by Newton steps: the optimum that interior-point steps find, and sooner."""

import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin.data.dense import Rows
from sklearn_sgdlin.data.partitions import InMemory
from sklearn_sgdlin.kernels import losses
from sklearn_sgdlin.methods.multipliers import N_EXPONENTS
from sklearn_sgdlin.methods.semismooth_newton import SemismoothNewton
from sklearn_sgdlin.model.loss import make_loss
from sklearn_sgdlin.model.moments import Moments
from sklearn_sgdlin.model.objective import Objective
from sklearn_sgdlin.model.scaling import Scaling
from tests.reference_kkt import residual_exponent

LOSSES = [
    *({"loss": "huber", "epsilon": epsilon} for epsilon in (0.05, 1.0, 1e3)),
    *({"loss": "squared_epsilon_insensitive", "epsilon": epsilon} for epsilon in (0.0, 0.5, 2.0)),
]
PENALTIES = [{"penalty": None}, {"penalty": "l2", "alpha": 0.1}]


def line(rng, n_rows, n_features, scale=3):
    X = rng.normal(size=(n_rows, n_features)) * np.logspace(-scale, scale, n_features) + 5
    return X, X @ (1 / X.std(axis=0)) + rng.standard_t(3, size=n_rows)


def fitted(X, y, weight=None, **options):
    return SGDLinearRegressor(random_state=0, **options).fit(X, y, weight)


@pytest.mark.parametrize("options", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_compiled_pieces_are_those_of_the_loss(rng, options, weighted):
    loss, n_rows = make_loss(options["loss"], options["epsilon"]), 100
    y, prediction = rng.normal(size=(2, n_rows))
    y[:3] = prediction[:3]
    y[3] += 1e100
    weight = rng.integers(0, 3, n_rows) * 1.0 if weighted else np.ones(n_rows)
    share = weight / 7
    before = rng.random(n_rows) < 0.5
    curved, histogram = before.copy(), np.zeros(N_EXPONENTS)
    residual, vectors = np.empty(n_rows), np.empty((2, n_rows))
    size, value, n_changed = losses.evaluate(
        loss, y, prediction, weight, 7.0, curved, residual, vectors, histogram
    )
    np.testing.assert_allclose(value, share @ loss.value(residual))
    np.testing.assert_allclose(size, share @ np.abs(residual))
    np.testing.assert_array_equal(residual, y - prediction)
    np.testing.assert_array_equal(curved, loss.curvature(residual) > 0)
    np.testing.assert_allclose(vectors[0], share * loss.multiplier(residual))
    change = share * (curved.astype(float) - before) / loss.compliance
    np.testing.assert_allclose(vectors[1], change)
    assert n_changed == np.count_nonzero(change)
    expected = np.bincount(residual_exponent(residual), share, N_EXPONENTS)
    np.testing.assert_allclose(histogram, expected if np.isfinite(loss.bound) else 0.0)


@pytest.mark.parametrize("options", LOSSES)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("n_rows", [60, 8000])
def test_optimum_of_interior_point(rng, options, penalty, n_rows):
    X, y = line(rng, n_rows, 6)
    model = fitted(X, y, **options, **penalty)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of a tolerance near rounding errors
        best = fitted(X, y, solver="interior-point", tol=1e-7, max_iter=200, **options, **penalty)
    assert model.solver_ == "newton-cholesky"
    assert model.stop_reason_ == "converged"
    if options["epsilon"] > 0.05 or n_rows > 60:  # else but three rows are in the curved piece
        assert model.n_iter_ == 1
        assert "took over" not in model.solver_reason_
    np.testing.assert_allclose(model.loss_curve_[-1], best.loss_curve_[-1], rtol=1e-4)
    exact = fitted(X, y, tol=1e-7, **options, **penalty)
    np.testing.assert_allclose(exact.loss_curve_[-1], best.loss_curve_[-1], rtol=1e-9)


@pytest.mark.parametrize("options", LOSSES)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_storage_weights_and_repetitions(rng, options, fit_intercept):
    X, y = line(rng, 900, 4, scale=1)
    X = np.where(rng.random(X.shape) < 0.4, X, 0.0)
    weight = rng.integers(0, 4, 900).astype(float)
    options = {**options, "fit_intercept": fit_intercept, "tol": 1e-8}
    often = np.repeat(np.arange(900), weight.astype(int))
    first = fitted(X, y, weight, **options)
    assert first.stop_reason_ == "converged"
    for other in (
        fitted(csr_array(X), y, weight, **options),
        fitted(X[often], y[often], **options),
        fitted(X[::-1], y[::-1], 7 * weight[::-1], **options),
    ):
        np.testing.assert_allclose(other.loss_curve_[-1], first.loss_curve_[-1], rtol=1e-9)
        np.testing.assert_allclose(other.predict(X), first.predict(X), atol=1e-5)


@pytest.mark.parametrize("options", LOSSES)
@pytest.mark.parametrize("kind", ["twins", "constant", "outliers", "far row", "no noise", "zero"])
def test_data_that_Newton_steps_may_not_like(rng, options, kind):
    X, y = line(rng, 400, 4)
    if kind == "twins":
        X = np.column_stack([X, X])
    elif kind == "constant":
        X = np.column_stack([X, np.full(400, 7.0)])
    elif kind == "outliers":
        y[:40] += 1e9
    elif kind == "far row":
        X[3] *= 1e6
    elif kind == "no noise":
        y = X @ np.ones(4)
    elif kind == "zero":
        y = np.zeros(400)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = fitted(X, y, **options)
        best = fitted(X, y, solver="interior-point", tol=1e-6, max_iter=200, **options)
        usual = fitted(X, y, solver="interior-point", **options)
    if usual.stop_reason_ == "converged" and kind != "far row":  # which rounding errors decide
        assert model.stop_reason_ == "converged"
    if model.stop_reason_ == "converged":
        least = best.loss_curve_[-1] + 1e-12 * np.var(y)
        assert model.loss_curve_[-1] <= least * (1 + 1e-4)


def test_parts_and_a_search_along_the_step(rng):
    # From far away hardly any row is in the curved piece, and full steps go too far.
    X, y = line(rng, 500, 4)
    loss = make_loss("huber", epsilon=0.3)
    scaling = Scaling.from_moments(Moments.of(X), True)
    objective = Objective.of(loss, 0.0, 0.0, False, scaling.scale)
    start, results = 20 * rng.normal(size=5), []
    for n_parts in (1, 3):
        parts = np.array_split(np.arange(500), n_parts)
        rows = InMemory([Rows(X[part], y[part], None, scaling) for part in parts])
        solver = SemismoothNewton(rows, objective, 1e-6, None, 0)
        results.append(solver._newton_steps(start))
    for result in results:
        assert result.distance <= 1e-6
        np.testing.assert_allclose(result.theta, results[0].theta, atol=1e-8)


def test_few_rows_in_a_curved_piece_are_told(rng):
    # Nearly absolute errors: where Newton steps give up, the reason says who took over.
    X, y = line(rng, 300, 5)
    y[:30] += 1e9
    model = fitted(X, y, loss="huber", epsilon=1e-7)
    assert model.stop_reason_ == "converged"
    best = fitted(X, y, loss="huber", epsilon=1e-7, solver="interior-point", tol=1e-6)
    assert model.loss_curve_[-1] <= best.loss_curve_[-1] * (1 + 1e-4)
    assert "interior-point steps took over" in model.solver_reason_

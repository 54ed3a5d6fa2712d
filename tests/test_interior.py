"""Interior-point steps: the multipliers prove how near the optimum is, on any data."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linprog
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet
from sklearn_sgdlin.kernels.kkt import Sides, correct, evaluate, predict

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._tuning import Tuning
from sklearn_sgdlin.data.csr import SparseRows
from sklearn_sgdlin.data.dense import Rows
from sklearn_sgdlin.data.partitions import InMemory
from sklearn_sgdlin.linalg import blocks
from sklearn_sgdlin.methods.duality_gap import DualityGap
from sklearn_sgdlin.methods.interior_point import InteriorPoint
from sklearn_sgdlin.methods.multipliers import (
    FRACTION_TO_BOUNDARY,
    N_EXPONENTS,
    MultiplierBounds,
)
from sklearn_sgdlin.methods.penalty_kkt import PenaltyKKT
from sklearn_sgdlin.methods.predictor_corrector import PrimalDualIterate
from sklearn_sgdlin.model.loss import LOSSES, make_loss
from sklearn_sgdlin.model.moments import Moments
from sklearn_sgdlin.model.objective import Objective
from sklearn_sgdlin.model.scaling import Scaling
from tests.data import pairs
from tests.reference_kkt import LinearizedKKT, cost

LOSS_ROWS = {name: make_loss(name, epsilon=0.3, quantile=0.8) for name in LOSSES}
residuals = st.one_of(st.floats(-10, 10), st.sampled_from([-0.3, 0.0, 0.3]))
PENALTIES = {"none": (0.0, 0.0, False), "l1": (0.1, 0.0, False), "positive": (0.0, 0.01, True)}


def make_iterate(rng, name, penalty, weighted=False):
    X, y = rng.normal(size=(300, 6)), rng.normal(size=300)
    h = rng.uniform(0.1, 2, 300) if weighted else None
    scaling = Scaling.from_moments(Moments.of(X, h), True)
    l1, l2, positive = PENALTIES[penalty]
    objective = Objective.of(LOSS_ROWS[name], l1, l2, positive, scaling.scale)
    return PrimalDualIterate(InMemory.of(X, y, h, scaling), objective, np.zeros(7))


@pytest.mark.parametrize("name", LOSSES)
@given(residual=residuals)
def test_both_sides_of_a_dead_zone_add_up_to_the_loss(name, residual):
    bounds = MultiplierBounds.from_loss(LOSS_ROWS[name])
    value = cost(bounds, residual - bounds.offset).sum()
    np.testing.assert_allclose(value, LOSS_ROWS[name].value(residual), atol=1e-12)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "squared_error"])
@given(residual=residuals, complementarity=st.floats(1e-6, 10))
def test_initial_point_is_inside_and_fits_the_residual(name, residual, complementarity):
    bounds = MultiplierBounds.from_loss(LOSS_ROWS[name])
    outside = np.atleast_2d(residual - bounds.offset)
    m, u, v = bounds.initial_point(outside, complementarity, 1.0)
    assert np.all((bounds.lower < m) & (m < bounds.upper))
    assert m.sum() == 0
    assert np.all((u > 0) == np.isfinite(bounds.upper))
    assert np.all((v > 0) == np.isfinite(bounds.lower))
    both = np.isfinite(bounds.lower) & np.isfinite(bounds.upper)
    fit = np.broadcast_to(outside - bounds.compliance * m - u + v, outside.shape)[0, both]
    np.testing.assert_allclose(fit, 0.0, atol=1e-9)


@pytest.mark.parametrize("name", ["huber", "squared_epsilon_insensitive", "quantile"])
@pytest.mark.parametrize("target", [0.0, 0.3])
def test_steps_solve_the_linear_conditions(rng, name, target):
    bounds = MultiplierBounds.from_loss(LOSS_ROWS[name])
    outside = rng.normal(size=(5, 1)) - bounds.offset
    m, u, v = point = bounds.initial_point(outside, 0.5, 1.0)
    kkt, response = LinearizedKKT(bounds, outside, point), rng.normal(size=5)
    affine = none = kkt.affine_step(response)
    step = affine
    if target == 0:
        none = np.zeros_like(affine)  # the affine step knows no second-order terms
    else:
        step = kkt.corrector_step(response, affine, target)
    dm, du, dv = step
    fit = outside - response[:, None] - bounds.compliance * (m + dm) - (u + du) + (v + dv)
    np.testing.assert_allclose(fit, 0.0, atol=1e-12)
    for slack, change, gap, opening, second_order in [
        (u, du, bounds.upper - m, -dm, -none[0] * none[1]),
        (v, dv, m - bounds.lower, dm, none[0] * none[2]),
    ]:
        bounded = np.isfinite(gap)
        slack, change, gap, opening, second_order = (
            array[bounded] for array in (slack, change, gap, opening, second_order)
        )
        linear = (slack + change) * gap + slack * opening + second_order
        np.testing.assert_allclose(linear, target, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "penalty", "weighted"), pairs(list(LOSSES), list(PENALTIES), [False, True])
)
def test_gap_bounds_the_distance_to_the_least_objective(rng, name, penalty, weighted):
    if (name, penalty) == ("squared_error", "none"):
        return  # has no kinks: that of the search
    iterate = make_iterate(rng, name, penalty, weighted)
    seen = []
    for _ in range(40):
        value, gap = iterate.evaluate()
        seen.append((value, gap))
        if not iterate.system.complementarity > 1e-12:
            break
        iterate.step()
    least = seen[-1][0]
    np.testing.assert_allclose(iterate.objective.value(iterate.rows, iterate.theta), least)
    assert seen[-1][1] < 1e-6 * least
    feasible = seen[len(seen) // 2 :]  # earlier the slacks do not fit the residuals yet
    assert all(value - gap <= least * (1 + 1e-6) for value, gap in feasible)


@pytest.mark.parametrize("alpha", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize("positive", [False, True])
def test_multipliers_bound_the_excess_of_any_model(rng, alpha, l1_ratio, positive):
    X = rng.normal(size=(100, 5)) - 1
    y = X @ [3.0, -2.0, 1.0, 0.0, 0.0] + rng.normal(size=100)
    parameters = {"alpha": alpha, "l1_ratio": l1_ratio, "fit_intercept": False}
    peer = ElasticNet(**parameters, positive=positive, tol=1e-10).fit(X, y)
    l1, l2 = np.full(5, alpha * l1_ratio), np.full(5, alpha * (1 - l1_ratio))
    floor = np.full(5, 0.0 if positive else -np.inf)
    objective = Objective(LOSS_ROWS["squared_error"], l1, l2, floor)

    def value(coef):
        return np.mean((y - X @ coef) ** 2) / 2 + l1 @ np.abs(coef) + l2 @ coef**2 / 2

    certificate = DualityGap(objective, 1.0, 1e-12)
    for theta in (np.zeros(5), np.ones(5), peer.coef_, peer.coef_ + 1e-3):
        # Multipliers of squared error are the residuals, and those at the model have no gap.
        system = SimpleNamespace(slope=X.T @ (y - X @ theta) / 100, gap=0.0)
        bound = certificate.bound(theta, np.zeros(5), system, value(theta))
        assert bound >= (value(theta) - value(peer.coef_)) * (1 - 1e-6)
        assert bound < 1e-6 or theta is not peer.coef_


def two_partitions(X, y, weight, scaling):
    halves = slice(None, len(y) // 2), slice(len(y) // 2, None)
    return InMemory([Rows(X[half], y[half], weight[half], scaling) for half in halves])


@pytest.mark.parametrize("matrix", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_conditions_do_not_depend_on_where_rows_lie(rng, name, matrix):
    X, y, weight = rng.normal(size=(300, 6)), rng.normal(size=300), rng.uniform(0.1, 2, 300)
    scaling = Scaling.from_moments(Moments.of(X, weight), True)
    objective = Objective.of(LOSS_ROWS[name], 0.1, 0.0, False, scaling.scale)
    iterates = [
        PrimalDualIterate(kind(X, y, weight, scaling), objective, np.zeros(7), matrix)
        for kind in (InMemory.of, two_partitions)
    ]
    for _ in range(4):
        np.testing.assert_allclose(*[iterate.evaluate() for iterate in iterates], rtol=1e-9)
        for iterate in iterates:
            iterate.step()
        np.testing.assert_allclose(*[iterate.theta for iterate in iterates], atol=1e-9)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("positive", [False, True])
def test_penalty_of_linear_functions_of_the_unknowns(rng, name, positive):
    # theta = origin + directions @ unknowns, of which there are as many: the same optimum.
    X, y = rng.normal(size=(300, 6)), rng.normal(size=300)
    rows = InMemory.of(X, y, None, Scaling.identity(6, True))
    l1, floor = np.append(rng.uniform(0.01, 0.1, 6), 0.0), np.full(7, -np.inf)
    floor[:3] = 0.0 if positive else -np.inf
    objective = Objective(LOSS_ROWS[name], l1, np.zeros(7), floor)
    origin, directions = rng.normal(size=7), np.linalg.qr(rng.normal(size=(7, 7)))[0]
    z = np.column_stack([X, np.ones(300)])
    no_intercept = Scaling(np.zeros(7), np.append(np.ones(7), 0.0))
    seen = InMemory.of(z @ directions, y - z @ origin, None, no_intercept)
    smooth = Objective(LOSS_ROWS[name], np.zeros(8), np.zeros(8), np.full(8, -np.inf))
    operator = np.column_stack([directions, np.zeros(7)])
    penalty = PenaltyKKT(objective, operator, -origin)
    in_span = PrimalDualIterate(seen, smooth, np.zeros(8), penalty=penalty)
    reference = PrimalDualIterate(rows, objective, np.zeros(7))
    for iterate in (in_span, reference):
        for _ in range(30):
            value, gap = iterate.evaluate()
            if gap < 1e-7 * value:
                break
            iterate.step()
        assert gap < 1e-7 * value
    np.testing.assert_allclose(in_span.value, reference.value, rtol=1e-6)
    theta = origin + operator @ in_span.theta
    assert objective.value(rows, np.maximum(theta, floor)) <= reference.value * (1 + 1e-6)


def test_a_sweep_is_taken_only_where_it_is_the_start(rng):
    X, y = rng.normal(size=(300, 6)), rng.normal(size=300)
    rows, sweeps = InMemory.of(X, y, None, Scaling.identity(6, True)), []

    def sweep(theta):
        sweeps.append(theta)
        return theta[:, np.newaxis], theta[:, np.newaxis] + 0.01

    for most, expected in [(6, 1), (5, 0)]:
        objective = Objective.of(LOSS_ROWS["huber"], 0.01, 0.0, False, np.ones(7))
        solver, theta = (
            InteriorPoint(rows, objective, 1e-6, Tuning(max_hessian_features=most)),
            np.zeros(7),
        )
        sweeps.clear()
        for _ in range(4):
            theta, value, _ = solver.run(theta, sweep)
        assert len(sweeps) == expected
        assert value == objective.value(rows, theta)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", LOSSES)
def test_products_with_the_hessian_are_as_good_as_the_matrix(rng, name, penalty):
    if (name, penalty) == ("squared_error", "none"):
        return
    X, y = rng.normal(size=(400, 8)), rng.normal(size=400)
    l1, _, positive = PENALTIES[penalty]
    model = SGDLinearRegressor(
        name, penalty="l1", alpha=l1, positive=positive, epsilon=0.3, quantile=0.8, random_state=0
    )
    model.set_params(solver="interior-point")
    reference = clone(model).fit(X, y)
    model._tuning = Tuning(max_hessian_features=0)
    for data in (X, csr_array(X)):
        model.fit(data, y)
        assert model.loss_curve_[-1] < reference.loss_curve_[-1] * (1 + 1e-5)
        assert model.stop_reason_ == "converged"
        if name == "squared_error":  # solved so far that zeros are clear
            np.testing.assert_array_equal(model.coef_ == 0, reference.coef_ == 0)


@given(rows=hnp.arrays(float, (7, 3), elements=st.floats(-4, 4)), seed=st.integers(0, 99))
def test_squares_are_the_diagonal_of_the_gram_matrix(rows, seed):
    rng = np.random.default_rng(seed)
    weight, scaling = rng.uniform(size=7), Scaling(rng.normal(size=3), rng.uniform(0.1, 2, size=4))
    for kind in (
        Rows(rows, weight, None, scaling),
        SparseRows(csr_array(rows), weight, None, scaling),
    ):
        for z, _, _ in kind.chunks():
            np.testing.assert_allclose(
                z.column_squares(weight), np.diag(z.gram(weight)), atol=1e-12
            )


@pytest.mark.parametrize("level", [0.01, 0.5, 0.97])
def test_quantiles_of_a_target_of_few_values(rng, level):
    X = np.column_stack([rng.integers(0, 3, 800), rng.normal(size=(800, 3))])
    y = np.round(np.exp(0.5 * X[:, 1] + rng.normal(size=800)))
    model = SGDLinearRegressor("quantile", quantile=level, random_state=0).fit(X, y)
    z = np.column_stack([X, np.ones(800)])
    eye = np.eye(800)
    best = linprog(
        np.concatenate([np.zeros(5), np.full(800, level), np.full(800, 1 - level)]) / 800,
        A_eq=np.hstack([z, eye, -eye]),
        b_eq=y,
        bounds=[(None, None)] * 5 + [(0, None)] * 1600,
    )
    e = y - model.predict(X)
    assert np.maximum(level * e, (level - 1) * e).mean() < best.fun * (1 + 1e-4)


@pytest.mark.parametrize("matrix", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_penalised_data_of_many_columns(rng, loss, matrix):
    # Few columns matter: as near the optimum as in narrow data, zeros exactly zero.
    X = rng.normal(size=(100, 200))
    y = X[:, :12] @ rng.uniform(1, 2, 12) + rng.normal(size=100)
    options = {"penalty": "l1", "alpha": 0.05, "epsilon": 1.0}
    model = SGDLinearRegressor(loss, random_state=0, **options)
    better = SGDLinearRegressor(loss, random_state=1, tol=1e-5, **options)
    model._tuning = better._tuning = Tuning() if matrix else Tuning(max_hessian_features=150)
    with warnings.catch_warnings():
        if not matrix:  # products alone find the optimum, but cannot always prove it
            warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
        better.fit(X, y)
    assert model.loss_curve_[-1] < better.loss_curve_[-1] * (1 + 1e-3)
    assert 12 <= np.count_nonzero(model.coef_) < 100


@pytest.mark.parametrize("loss", ["huber", "quantile", "epsilon_insensitive"])
@pytest.mark.parametrize("kind", [np.asarray, csr_array])
def test_rows_in_chunks_are_all_rows(rng, monkeypatch, loss, kind):
    X = rng.normal(size=(300, 4))
    y = X @ np.ones(4) + rng.normal(size=300)
    model = SGDLinearRegressor(loss, tol=1e-6, max_iter=1000, solver="interior-point")
    expected = clone(model).fit(kind(X), y)
    monkeypatch.setattr(blocks, "CHUNK_BYTES", 37 * 5 * 8)  # 37 rows at a time
    model.fit(kind(X), y)
    np.testing.assert_allclose(model.loss_curve_[-1], expected.loss_curve_[-1], rtol=1e-8)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-4)


def test_no_warning_where_nothing_is_left_to_gain(rng):
    X = rng.normal(size=(600, 5))
    y = X @ np.ones(5) + rng.normal(size=600)
    model = SGDLinearRegressor("huber", tol=None, max_iter=30, random_state=0).fit(X, y)
    assert model.loss_curve_[-1] == pytest.approx(min(model.loss_curve_), rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_penalty_beyond_all_bounds_leaves_the_constant(rng, loss):
    X = rng.normal(size=(200, 3))
    y = X @ np.ones(3) + rng.normal(size=200)
    model = SGDLinearRegressor(loss, penalty="l1", alpha=1e308, random_state=0).fit(X, y)
    assert not model.coef_.any()


@pytest.mark.parametrize("penalty", ["l1", "elasticnet"])
def test_steps_end_where_only_rounding_errors_are_left(rng, penalty):
    # Of columns that depend on each other, and of a tolerance that cannot be met.
    X = rng.normal(size=(1200, 5)) @ rng.normal(size=(5, 12)) * np.logspace(-4, 6, 12)
    y = X @ (1 / X.std(axis=0)) + 1e3 * rng.normal(size=1200)
    options = {"penalty": penalty, "alpha": 1e-6, "max_iter": 20}
    model = SGDLinearRegressor(tol=1e-12, random_state=0, **options).fit(X, y)
    usual = SGDLinearRegressor(random_state=0, **options).fit(X, y)
    assert model.loss_curve_[-1] <= usual.loss_curve_[-1] * (1 + 1e-9)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "squared_error"])
def test_compiled_rows_of_a_step_follow_the_conditions(rng, name):
    bounds = MultiplierBounds.from_loss(LOSS_ROWS[name])
    residual, share = rng.normal(size=50), rng.uniform(0.1, 1, 50)
    residual[:2] = 0.0, 0.3  # at kinks
    outside = residual[:, np.newaxis] - bounds.offset
    point = bounds.initial_point(outside, 0.5, 1.0)
    kkt, (affine, corrector) = LinearizedKKT(bounds, outside, point), rng.normal(size=(2, 50))
    sides = Sides(
        *map(np.atleast_2d, (bounds.offset, bounds.lower, bounds.upper)), bounds.compliance, point
    )
    curvature, vectors, histogram = np.empty(50), np.empty((2, 50)), np.zeros(N_EXPONENTS)
    sums = evaluate(sides, residual, share, curvature, vectors, histogram)
    cost, gap = kkt.cost_and_gap()
    np.testing.assert_allclose(sums, [share @ cost, share @ gap, share @ kkt.complementarity()])
    np.testing.assert_allclose(curvature, share * kkt.curvature.sum(axis=1))
    change = (kkt.curvature * kkt.multiplier_residual).sum(axis=1)
    np.testing.assert_allclose(vectors, share * [kkt.multiplier.sum(axis=1), change], atol=1e-14)
    counted = np.bincount(kkt.residual_exponent(), weights=share, minlength=N_EXPONENTS)
    np.testing.assert_allclose(histogram, counted)

    step = kkt.affine_step(affine)
    *inverse, after = predict(sides, affine, residual, share, vectors)
    np.testing.assert_allclose(
        1 / np.maximum(inverse, FRACTION_TO_BOUNDARY), kkt.max_step_lengths(step)
    )
    np.testing.assert_allclose(after, kkt.complementarity_after(step) @ share, atol=1e-14)
    np.testing.assert_allclose(vectors.T, share[:, np.newaxis] * kkt.corrector_terms(step))

    steps = np.empty_like(point)
    inverse = correct(sides, affine, corrector, residual, 0.2, steps)
    expected = kkt.corrector_step(corrector, step, 0.2)
    np.testing.assert_allclose(steps, expected, atol=1e-14)
    np.testing.assert_allclose(
        1 / np.maximum(inverse, FRACTION_TO_BOUNDARY), kkt.max_step_lengths(expected)
    )


@pytest.mark.parametrize("name", ["quantile", "epsilon_insensitive"])
def test_central_points_have_a_common_complementarity(rng, name):
    bounds = MultiplierBounds.from_loss(LOSS_ROWS[name])
    outside = rng.normal(size=(50, 1)) - bounds.offset
    m, u, v = bounds.central_point(outside, 0.1)
    np.testing.assert_allclose(u - v, outside, atol=1e-12)
    np.testing.assert_allclose(u * (bounds.upper - m), 0.1)
    np.testing.assert_allclose(v * (m - bounds.lower), 0.1)

from functools import partial

import numpy as np
import pytest
from sklearn_sgdlin.linalg.hessian_estimate import HessianEstimate
from sklearn_sgdlin.methods.search import (
    SearchSubspace,
    gradient_and_hessian_products,
    hessian_times,
)

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin.data.dense import DenseChunk
from sklearn_sgdlin.data.partitions import InMemory
from sklearn_sgdlin.linalg import cg, hessian_estimate
from sklearn_sgdlin.linalg.cg import conjugate_gradient, extrapolate_remaining_decrease
from sklearn_sgdlin.linalg.eigenvalue_bound import SmallestEigenvalueBound
from sklearn_sgdlin.model.loss import SQUARED_ERROR
from sklearn_sgdlin.model.moments import Moments
from sklearn_sgdlin.model.objective import Objective
from sklearn_sgdlin.model.scaling import Scaling


@pytest.fixture(params=[False, True], ids=["plain", "weighted"])
def rows(request, rng):
    X = rng.normal(size=(4000, 6)) @ rng.normal(size=(6, 6)) + 3
    weight = rng.uniform(0, 3, 4000) if request.param else None
    y = X @ rng.normal(size=6) + rng.normal(size=4000)
    return InMemory.of(X, y, weight, Scaling.from_moments(Moments.of(X, weight), True))


def ridge(rows):
    return Objective.of(SQUARED_ERROR, 0.0, 0.3, False, rows.scaling.scale)


def penalty_root(rows):
    """Rows that add the penalty to a sum of squares."""
    return np.diag(np.sqrt(ridge(rows).l2))


def dense(rows):
    (rows,) = rows.parts
    z = rows.scaling.scale * np.column_stack([rows.X - rows.scaling.centre, np.ones(rows.n_rows)])
    h = np.ones(rows.n_rows) if rows.sample_weight is None else rows.sample_weight
    return z, h / h.sum()


def test_survey_is_loss_gradient_and_hessian_products(rows, rng):
    z, h = dense(rows)
    theta, directions = rng.normal(size=7), rng.normal(size=(7, 3))
    loss, gradient, images = gradient_and_hessian_products(rows, ridge(rows), theta, directions)
    residual = rows.parts[0].y - z @ theta
    l2 = ridge(rows).l2
    np.testing.assert_allclose(loss, ((h * residual**2).sum() + l2 @ theta**2) / 2)
    np.testing.assert_allclose(loss, ridge(rows).value(rows, theta))
    np.testing.assert_allclose(gradient, l2 * theta - z.T @ (h * residual), atol=1e-12)
    hessian = z.T @ (h[:, None] * z) + np.diag(l2)
    np.testing.assert_allclose(images, hessian @ directions, atol=1e-12)


def test_search_finds_the_minimum_over_the_span_of_all_directions(rows, rng):
    z, h = dense(rows)
    theta, span, seen = np.zeros(7), SearchSubspace(7), np.empty((7, 0))
    for _ in range(3):
        directions = rng.normal(size=(7, 2))
        seen = np.column_stack([seen, directions])
        loss, gradient, images = gradient_and_hessian_products(rows, ridge(rows), theta, directions)
        span.add(directions, images)
        step, _, decrease = span.search(gradient)
        theta = theta + step
        root = np.sqrt(h)
        system = np.vstack([root[:, None] * z, penalty_root(rows)]) @ seen
        best = (
            seen
            @ np.linalg.lstsq(system, np.append(root * rows.parts[0].y, np.zeros(7)), rcond=1e-12)[
                0
            ]
        )
        np.testing.assert_allclose(theta, best, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(ridge(rows).value(rows, theta), loss - decrease)


def test_search_ignores_directions_that_lead_nowhere(rows, rng):
    # Zero, twice the same, and a combination of others: the minimum is that of the rest.
    good = rng.normal(size=(7, 2))
    doubled = np.column_stack([np.zeros(7), good, good[:, 0], good.sum(axis=1)])
    steps = []
    for directions in (good, doubled):
        _, gradient, images = gradient_and_hessian_products(
            rows, ridge(rows), np.zeros(7), directions
        )
        span = SearchSubspace(7)
        span.add(directions, images)
        steps.append(span.search(gradient)[0])
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("solve", [None, lambda gradient: gradient / np.arange(1, 8)])
def test_conjugate_steps_end_at_the_minimum(rows, solve):
    _, gradient, _ = gradient_and_hessian_products(rows, ridge(rows), np.zeros(7), np.empty((7, 0)))
    times = partial(hessian_times, rows, ridge(rows))
    step, change, direction, image, decreases, _ = conjugate_gradient(times, gradient, 0.0, solve)
    np.testing.assert_allclose(gradient + change, 0.0, atol=1e-9)
    value = ridge(rows).value
    np.testing.assert_allclose(value(rows, step), value(rows, np.zeros(7)) - sum(decreases))
    np.testing.assert_allclose(image, hessian_times(rows, ridge(rows), direction))


def test_conjugate_steps_end_where_little_is_left(rows, monkeypatch):
    monkeypatch.setattr(cg, "DECREASE_WINDOW", 2)
    _, gradient, _ = gradient_and_hessian_products(rows, ridge(rows), np.zeros(7), np.empty((7, 0)))
    times = partial(hessian_times, rows, ridge(rows))
    two_steps, *_, left = conjugate_gradient(times, gradient, 1e300)
    assert two_steps.any()
    no_step, *_, more = conjugate_gradient(times, gradient, 1e300, lambda g: g)
    assert not no_step.any()
    assert more == pytest.approx(gradient @ gradient / 2, rel=1e-14)
    assert 0 < left < np.inf
    assert not conjugate_gradient(times, 0 * gradient, 0.0)[0].any()


def lanczos(eigenvalues, seed=0):
    """Lanczos steps with a diagonal matrix, until they end."""
    least = SmallestEigenvalueBound(len(eigenvalues), seed)
    n_steps = 0
    while least.open and n_steps < 60:
        least.add(eigenvalues * least.vector)
        n_steps += 1
    return least, n_steps


def test_least_curvature_of_eigenvalues_that_are_not_far_apart(rng):
    eigenvalues = rng.uniform(0.5, 1.5, 800)
    least, n_steps = lanczos(eigenvalues)
    assert n_steps <= 8
    assert 0.8 * eigenvalues.min() <= least.value <= 1.4 * eigenvalues.min()


@pytest.mark.parametrize("eigenvalue", [0.0, 1.0])
def test_least_curvature_of_equal_eigenvalues(eigenvalue):
    least, n_steps = lanczos(np.full(20, eigenvalue))
    assert n_steps == (2 if eigenvalue == 0 else 1)
    # A Ritz value of one step is a sum of 20 squares: exact to so many roundings.
    assert least.value == (None if eigenvalue == 0 else pytest.approx(0.8, rel=1e-14))


@pytest.mark.parametrize("spread", [1e-3, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("seed", range(20))
def test_least_curvature_finds_one_that_is_far_from_the_others(rng, spread, seed):
    # Two columns that are nearly the same, among many that are not.
    eigenvalues = 1 + spread * rng.uniform(-1, 1, 1000)
    eigenvalues[500] = 1e-6
    least, _ = lanczos(eigenvalues, seed=seed)
    assert least.far
    assert least.value is None


def test_conjugate_steps_end_by_the_least_curvature(rng):
    eigenvalues = rng.uniform(0.5, 1.5, 800)
    gradient = rng.normal(size=800)
    least = SmallestEigenvalueBound(800, 0)
    *_, decreases, left = conjugate_gradient(
        lambda directions: (eigenvalues * directions.T).T, gradient, 1e-6, least=least
    )
    excess = gradient @ (gradient / eigenvalues) / 2 - sum(decreases)
    assert excess <= left <= 1e-6


@pytest.mark.parametrize("patient", [True, False])
def test_conjugate_steps_go_on_where_eigenvalues_are_far_apart_if_they_must(rng, patient):
    eigenvalues = np.logspace(-6, 0, 300)
    gradient = rng.normal(size=300)
    least = SmallestEigenvalueBound(300, 0)
    vectors = []

    def times(directions):
        vectors.append(directions.ndim)
        return (eigenvalues * directions.T).T

    conjugate_gradient(times, gradient, 1e-9, most=20, least=least, patient=patient)
    assert least.far
    assert (len(vectors) == 20) == patient
    assert vectors.count(2) < 5  # a random vector as well, as long as that may help


def test_what_is_left_of_a_geometric_series():
    decreases = list(0.97 ** np.arange(40))
    assert extrapolate_remaining_decrease(decreases) == pytest.approx(0.97**40 / 0.03)
    few = decreases[:5]  # to tell how fast they fall
    assert extrapolate_remaining_decrease(few) == pytest.approx(sum(few), rel=1e-14)
    fast = list(0.5 ** np.arange(40))
    assert extrapolate_remaining_decrease(fast) == pytest.approx(sum(fast[-10:]), rel=1e-14)
    assert extrapolate_remaining_decrease(decreases[::-1]) == np.inf


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_newton_steps_reach_the_optimum_of_nearly_dependent_columns(rng, offset):
    # The factor of the Hessian is good to a few digits only: one step is not enough.
    X = rng.normal(size=(3000, 6)) + offset
    X = np.column_stack([X, X[:, :3] + 1e-5 * rng.normal(size=(3000, 3))])
    y = 1e4 * (X[:, 0] - X[:, 6]) + X[:, 3] + 0.01 * rng.normal(size=3000)
    model = SGDLinearRegressor(random_state=0).fit(X, y)
    residual = y - model.predict(X)
    z = X - X.mean(axis=0)
    least = np.mean((y - y.mean() - z @ np.linalg.lstsq(z, y - y.mean(), rcond=1e-14)[0]) ** 2)
    assert np.mean(residual**2) <= least * (1 + 1e-3)
    assert model.loss_curve_[-1] == pytest.approx(np.mean(residual**2) / 2, rel=1e-3)


def filled(sketch, z):
    for part in np.array_split(z, 20):
        sketch.add(DenseChunk(part))
    return sketch


@pytest.mark.parametrize("exact", [True, False])
def test_sketch_solves_with_the_hessian(rng, monkeypatch, exact):
    if not exact:
        monkeypatch.setattr(hessian_estimate, "CHEAP_COORDINATES", 0)
        monkeypatch.setattr(hessian_estimate, "CHEAP_WORK", 0)
    z = rng.normal(size=(40_000, 20)) @ rng.normal(size=(20, 20))
    hessian = z.T @ z / len(z)
    sketch = filled(HessianEstimate(len(z), 20, 0), z)
    assert sketch.exact == exact
    sketch.finish(len(z), np.zeros(20))
    inverse = np.column_stack([sketch.solve(column) for column in np.eye(20)])
    spread = np.abs(np.linalg.eigvals(inverse @ hessian) - 1).max()
    assert spread < (1e-6 if exact else 0.4)


@pytest.mark.parametrize("n_rows", [8, 25])
def test_sketch_of_less_rows_than_columns_is_a_pseudo_inverse(rng, n_rows):
    z = rng.normal(size=(n_rows, 30))
    sketch = HessianEstimate(n_rows, 30, 0)
    sketch.add(DenseChunk(z))
    gradient = z.T @ rng.normal(size=n_rows)
    sketch.finish(n_rows, np.zeros(30))
    # Eigenvalues are above 1e-4 of the largest, or rounding errors, a few times 1e-16 of it.
    expected = np.linalg.pinv(z.T @ z / n_rows, rcond=1e-10) @ gradient
    np.testing.assert_allclose(sketch.solve(gradient), expected, rtol=1e-8, atol=1e-10)


def test_sketch_sees_a_column_that_few_rows_have(rng, monkeypatch):
    monkeypatch.setattr(hessian_estimate, "CHEAP_COORDINATES", 0)
    monkeypatch.setattr(hessian_estimate, "CHEAP_WORK", 0)
    z = rng.normal(size=(50_000, 5))
    z[:, 4] = 0
    z[[7, 123, 40_000], 4] = 100.0
    sketch = filled(HessianEstimate(len(z), 5, 0), z)
    sketch.finish(1.0, np.zeros(5))
    np.testing.assert_allclose(sketch.total[4, 4], 3e4, rtol=0.3)

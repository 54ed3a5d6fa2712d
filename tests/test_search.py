import warnings
from functools import partial

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._tuning import Tuning
from sklearn_sgdlin.data.partitions import InMemory
from sklearn_sgdlin.linalg.cg import (
    DECREASE_WINDOW,
    conjugate_gradient,
    extrapolate_remaining_decrease,
)
from sklearn_sgdlin.linalg.eigenvalue_bound import SmallestEigenvalueBound
from sklearn_sgdlin.methods.hessian import Hessian
from sklearn_sgdlin.methods.subspace import (
    SearchSubspace,
    gradient_and_hessian_products,
    hessian_product,
)
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
        step, _, decrease = span.minimize(gradient)
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
        steps.append(span.minimize(gradient)[0])
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("preconditioner", [None, lambda gradient: gradient / np.arange(1, 8)])
def test_conjugate_gradients_end_at_the_minimum(rows, preconditioner):
    _, gradient, _ = gradient_and_hessian_products(rows, ridge(rows), np.zeros(7), np.empty((7, 0)))
    product = partial(hessian_product, rows, ridge(rows))
    result = conjugate_gradient(product, gradient, 0.0, preconditioner=preconditioner, max_iter=30)
    np.testing.assert_allclose(gradient + result.change, 0.0, atol=1e-9)
    value, decrease = ridge(rows).value, sum(result.decreases)
    np.testing.assert_allclose(value(rows, result.step), value(rows, np.zeros(7)) - decrease)
    np.testing.assert_allclose(result.image, product(result.direction))


def test_conjugate_gradients_end_where_little_is_left(rows):
    _, gradient, _ = gradient_and_hessian_products(rows, ridge(rows), np.zeros(7), np.empty((7, 0)))
    minimize = partial(conjugate_gradient, partial(hessian_product, rows, ridge(rows)), max_iter=30)
    no_step = minimize(gradient, 1e300, preconditioner=lambda gradient: gradient)
    assert not no_step.step.any()
    assert no_step.remaining == pytest.approx(gradient @ gradient / 2, rel=1e-14)
    assert not minimize(0 * gradient, 0.0).step.any()


def test_conjugate_gradients_go_on_until_decreases_tell_what_is_left(rng):
    eigenvalues = np.logspace(-6, 0, 300)
    gradient = rng.normal(size=300)
    one_window = conjugate_gradient(eigenvalues.__mul__, gradient, 1e8, max_iter=30)
    assert len(one_window.decreases) == DECREASE_WINDOW
    assert 0 < one_window.remaining <= 1e8


def lanczos(eigenvalues, seed=0):
    """Lanczos steps with a diagonal matrix, until they end."""
    bound = SmallestEigenvalueBound(len(eigenvalues), seed)
    n_steps = 0
    while bound.undecided and n_steps < 60:
        bound.add(eigenvalues * bound.vector)
        n_steps += 1
    return bound, n_steps


def test_bound_of_eigenvalues_that_are_not_far_apart(rng):
    eigenvalues = rng.uniform(0.5, 1.5, 800)
    bound, n_steps = lanczos(eigenvalues)
    assert n_steps <= 8
    assert 0.8 * eigenvalues.min() <= bound.lower_bound <= 1.4 * eigenvalues.min()


@pytest.mark.parametrize("eigenvalue", [0.0, 1.0])
def test_bound_of_equal_eigenvalues(eigenvalue):
    bound, n_steps = lanczos(np.full(20, eigenvalue))
    assert n_steps == (2 if eigenvalue == 0 else 1)
    # A Ritz value of one step is a sum of 20 squares: exact to so many roundings.
    assert bound.lower_bound == (None if eigenvalue == 0 else pytest.approx(0.8, rel=1e-14))


@pytest.mark.parametrize("spread", [1e-3, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_one_eigenvalue_far_from_the_others_is_found(rng, spread, seed):
    # Two columns that are nearly the same, among many that are not.
    eigenvalues = 1 + spread * rng.uniform(-1, 1, 1000)
    eigenvalues[500] = 1e-6
    bound, _ = lanczos(eigenvalues, seed=seed)
    assert bound.ill_conditioned
    assert bound.lower_bound is None


def test_conjugate_gradients_end_by_the_bound_of_the_smallest_eigenvalue(rng):
    eigenvalues = rng.uniform(0.5, 1.5, 800)
    gradient = rng.normal(size=800)
    result = conjugate_gradient(
        lambda directions: (eigenvalues * directions.T).T,
        gradient,
        1e-6,
        max_iter=30,
        eigenvalue_bound=SmallestEigenvalueBound(800, 0),
    )
    excess = gradient @ (gradient / eigenvalues) / 2 - sum(result.decreases)
    assert excess <= result.remaining <= 1e-6


@pytest.mark.parametrize("go_on", [True, False])
def test_conjugate_gradients_go_on_where_eigenvalues_are_far_apart_if_they_must(rng, go_on):
    eigenvalues = np.logspace(-6, 0, 300)
    bound = SmallestEigenvalueBound(300, 0)
    vectors = []

    def product(directions):
        vectors.append(directions.ndim)
        return (eigenvalues * directions.T).T

    conjugate_gradient(
        product,
        rng.normal(size=300),
        1e-9,
        max_iter=20,
        eigenvalue_bound=bound,
        continue_if_ill_conditioned=go_on,
    )
    assert bound.ill_conditioned
    assert (len(vectors) == 20) == go_on
    assert vectors.count(2) < 5  # a random vector as well, as long as that may help


def test_what_is_left_of_a_geometric_series():
    decreases = list(0.97 ** np.arange(40))
    assert extrapolate_remaining_decrease(decreases) == pytest.approx(0.97**40 / 0.03)
    few = decreases[:5]  # to tell how fast they fall
    assert extrapolate_remaining_decrease(few) == pytest.approx(sum(few), rel=1e-14)
    fast = list(0.5 ** np.arange(40))
    assert extrapolate_remaining_decrease(fast) == pytest.approx(sum(fast[-10:]), rel=1e-14)
    assert extrapolate_remaining_decrease(decreases[::-1]) == np.inf
    # A fall within the last iterations does not hide the plateau that they belong to.
    plateau = [1.0] * 30 + [0.9] * 25 + [0.1] * 5
    assert extrapolate_remaining_decrease(plateau) > 30


def test_conjugate_gradients_do_not_end_on_a_plateau(rng):
    first = rng.normal(size=(4000, 100))
    twins = first + rng.normal(size=(4000, 100)) * 10 ** rng.uniform(-3, 0, 100)
    X = np.hstack([first, twins])
    y = X @ rng.normal(size=200) + rng.normal(size=4000)
    z = X - X.mean(axis=0)
    residual = y - y.mean()
    residual = residual - z @ np.linalg.lstsq(z, residual, rcond=1e-13)[0]
    model = SGDLinearRegressor(solver="newton-cg", max_iter=40, random_state=0)
    model._tuning = Tuning(max_hessian_features=0)  # no Hessian: the decreases tell what is left
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    excess = model.loss_curve_[-1] / (residual @ residual / 8000) - 1
    assert excess < 1e-3 or model.stop_reason_ != "converged"


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


def rows_of(X):
    moments = Moments.of(X, None)
    return InMemory.of(X, np.zeros(len(X)), None, Scaling.from_moments(moments, fit_intercept=True))


@pytest.mark.parametrize("n_sums", [None, 1000])
def test_hessian_is_that_of_the_rows(rng, n_sums):
    rows = rows_of(rng.normal(size=(40_000, 20)) @ rng.normal(size=(20, 20)))
    z, h = dense(rows)
    hessian = Hessian(rows.n_rows, 21, n_sums)
    assert hessian.exact == (n_sums is None)
    hessian.prepare(rows, np.zeros(21))
    inverse = np.column_stack([hessian.solve(column) for column in np.eye(21)])
    spread = np.abs(np.linalg.eigvals(inverse @ (z.T * h) @ z) - 1).max()
    assert spread < (1e-6 if n_sums is None else 0.4)


@pytest.mark.parametrize("n_rows", [8, 25])
def test_hessian_of_fewer_rows_than_columns_has_a_pseudo_inverse(rng, n_rows):
    rows = rows_of(rng.normal(size=(n_rows, 30)))
    z, h = dense(rows)
    hessian = Hessian(n_rows, 31)
    hessian.prepare(rows, np.zeros(31))
    gradient = z.T @ rng.normal(size=n_rows)
    # Eigenvalues are above 1e-4 of the largest, or rounding errors, a few times 1e-16 of it.
    expected = np.linalg.pinv((z.T * h) @ z, rcond=1e-10) @ gradient
    np.testing.assert_allclose(hessian.solve(gradient), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("affordable", [False, True])
def test_a_hessian_is_made_only_where_its_products_are_affordable(rng, monkeypatch, affordable):
    prepared, prepare = [], Hessian.prepare
    monkeypatch.setattr(Hessian, "prepare", lambda *args: prepared.append(args) or prepare(*args))
    X = rng.normal(size=(600, 30)) @ rng.normal(size=(30, 30))
    model = SGDLinearRegressor(solver="newton-cg", tol=1e-6, max_iter=100, random_state=0)
    most = 600 * 31 * 31 - (not affordable)  # a sum of 600 products for each entry
    model._tuning = Tuning(
        hessian_products_per_entry=0.0, products_per_dense_entry=0.0, min_hessian_products=most
    )
    model.fit(X, X @ rng.normal(size=30) + rng.normal(size=600))
    assert bool(prepared) == affordable


def test_estimated_hessian_sees_a_column_that_few_rows_have(rng):
    X = rng.normal(size=(50_000, 5))
    X[:, 4] = 0
    X[[7, 123, 40_000], 4] = 100.0
    rows = rows_of(X)
    z, _ = dense(rows)
    hessian = Hessian(rows.n_rows, 6, 1000)
    hessian.prepare(rows, np.zeros(6))
    np.testing.assert_allclose(hessian.total[4, 4], np.mean(z[:, 4] ** 2), rtol=0.3)


@pytest.mark.parametrize("preconditioned", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_conjugate_gradients_end_where_rounding_errors_are_left(preconditioned, seed):
    # Dependent columns, and all other eigenvalues alike: two iterations leave rounding errors,
    # with a part that no step reduces.
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(300, 200)))[0]
    solution = basis @ rng.normal(size=200)
    inverse = basis @ basis.T + 1e12 * (np.eye(300) - basis @ basis.T)
    result = conjugate_gradient(
        lambda direction: basis @ (basis.T @ direction),
        -solution,
        1e-12,
        preconditioner=(lambda residual: inverse @ residual) if preconditioned else None,
        max_iter=30,
    )
    assert len(result.decreases) < DECREASE_WINDOW
    assert 0 <= result.remaining <= 1e-6
    np.testing.assert_allclose(basis @ (basis.T @ result.step), solution, atol=1e-8)

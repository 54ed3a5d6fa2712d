import numpy as np
import pytest

from sklearn_sgdlin._loss import SQUARED_ERROR
from sklearn_sgdlin._metric import Metric, Moments
from sklearn_sgdlin._rows import Rows
from sklearn_sgdlin._search import CurvatureSketch, Span, survey


@pytest.fixture(params=[False, True], ids=["plain", "weighted"])
def rows(request, rng):
    X = rng.normal(size=(4000, 6)) @ rng.normal(size=(6, 6)) + 3
    weight = rng.uniform(0, 3, 4000) if request.param else None
    y = X @ rng.normal(size=6) + rng.normal(size=4000)
    return Rows(X, y, weight, Metric.standard(Moments.of(X, weight), True))


def dense(rows):
    z = rows.metric.scale * np.column_stack([rows.X - rows.metric.centre, np.ones(rows.n_rows)])
    h = np.ones(rows.n_rows) if rows.sample_weight is None else rows.sample_weight
    return z, h / h.sum()


def test_survey_is_loss_gradient_and_hessian_products(rows, rng):
    z, h = dense(rows)
    theta, directions = rng.normal(size=7), rng.normal(size=(7, 3))
    loss, gradient, images = survey(rows, theta, directions)
    residual = rows.y - z @ theta
    np.testing.assert_allclose(loss, (h * residual**2).sum() / 2)
    np.testing.assert_allclose(loss, rows.objective(theta, SQUARED_ERROR))
    np.testing.assert_allclose(gradient, -z.T @ (h * residual), atol=1e-12)
    np.testing.assert_allclose(images, z.T @ (h[:, None] * (z @ directions)), atol=1e-12)


def test_search_finds_the_minimum_over_the_span_of_all_directions(rows, rng):
    z, h = dense(rows)
    theta, span, seen = np.zeros(7), Span(7), np.empty((7, 0))
    for _ in range(3):
        directions = rng.normal(size=(7, 2))
        seen = np.column_stack([seen, directions])
        loss, gradient, images = survey(rows, theta, directions)
        step, _, decrease = span.search(gradient, directions, images)
        theta = theta + step
        root = np.sqrt(h)[:, None]
        best = seen @ np.linalg.lstsq(root * (z @ seen), root[:, 0] * rows.y)[0]
        np.testing.assert_allclose(theta, best, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(rows.objective(theta, SQUARED_ERROR), loss - decrease)


def test_search_ignores_directions_that_lead_nowhere(rows, rng):
    # Zero, twice the same, and a combination of others: the minimum is that of the rest.
    good = rng.normal(size=(7, 2))
    doubled = np.column_stack([np.zeros(7), good, good[:, 0], good.sum(axis=1)])
    steps = []
    for directions in (good, doubled):
        _, gradient, images = survey(rows, np.zeros(7), directions)
        steps.append(Span(7).search(gradient, directions, images)[0])
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("n_rows", [50, 40_000])
def test_sketch_solves_with_the_hessian(rng, n_rows):
    n_coordinates = 20
    z = rng.normal(size=(n_rows, n_coordinates)) @ rng.normal(size=(n_coordinates, n_coordinates))
    hessian = z.T @ z / n_rows
    sketch = CurvatureSketch(n_rows, n_coordinates, rng)
    for part in np.array_split(z, 20):
        sketch.add(part)
    inverse = np.column_stack(
        [sketch.factorise(n_rows)(column) for column in np.eye(n_coordinates)]
    )
    eigenvalues = np.linalg.eigvals(inverse @ hessian).real
    few_rows_are_exact = n_rows == 50
    spread = 1e-6 if few_rows_are_exact else 0.4
    assert np.all(np.abs(eigenvalues - 1) < spread)


def test_sketch_of_less_rows_than_columns_is_a_pseudo_inverse(rng):
    z = rng.normal(size=(8, 30))
    sketch = CurvatureSketch(8, 30, rng)
    sketch.add(z)
    gradient = z.T @ rng.normal(size=8)
    np.testing.assert_allclose(
        sketch.factorise(8)(gradient), np.linalg.pinv(z.T @ z / 8) @ gradient, rtol=1e-9
    )


def test_sketch_sees_a_column_that_few_rows_have(rng):
    z = rng.normal(size=(50_000, 5))
    z[:, 4] = 0
    z[[7, 123, 40_000], 4] = 100.0
    sketch = CurvatureSketch(len(z), 5, rng)
    for part in np.array_split(z, 50):
        sketch.add(part)
    np.testing.assert_allclose(sketch.hessian[4, 4], 3e4, rtol=0.3)

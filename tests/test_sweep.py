"""Law: the compiled sweep is the naive loop, and the implicit step solves its own problem."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from sklearn_sgdlin._loss import SQUARED_ERROR, Loss
from sklearn_sgdlin._metric import Metric, Moments
from sklearn_sgdlin._rows import Rows
from tests import naive

# Every shape a row of the loss table can have, not only those with a name.
SHAPES = {
    "quadratic": SQUARED_ERROR,
    "bounded": Loss(0.0, 1.0, -0.7, 0.7),
    "dead zone": Loss(0.4, 0.5, -np.inf, np.inf),
    "dead zone, linear": Loss(0.4, 0.0, -1.0, 1.0),
    "tilted": Loss(0.0, 0.0, -0.3, 0.7),
}
SCHEDULES = {
    "implicit": (1.0, 0.0, True),
    "explicit": (0.1, 0.0, False),
    "invscaling": (2.0, 0.5, True),
}


def rows_of(rng, n_rows, n_features, dtype=np.float64, weighted=False):
    X = (
        rng.normal(size=(n_rows, n_features)) * 10.0 ** rng.integers(-3, 4, n_features)
        + rng.normal(size=n_features)
    ).astype(dtype)
    y = rng.normal(size=n_rows)
    weight = (
        np.maximum(rng.integers(0, 4, n_rows), 1.0 * (np.arange(n_rows) == 0)) if weighted else None
    )
    metric = Metric.standard(Moments.of(X, weight), fit_intercept=True)
    return Rows(X, y, weight, metric)


def visited(rows, order):
    """Rows in the order of the sweep, and the steps at which its tiles end."""
    blocks, within = order
    sequence, ends = [], []
    per_tile = len(within) // rows._block_rows
    for first in range(0, len(blocks), per_tile):
        tile = [
            row
            for k in blocks[first : first + per_tile]
            for row in range(k * rows._block_rows, min((k + 1) * rows._block_rows, rows.n_rows))
        ]
        sequence += [tile[position] for position in within if position < len(tile)]
        ends.append(len(sequence))
    return sequence, ends


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (300, 12), (5000, 9)])
def test_sweep_equals_naive_loop(rng, shape, schedule, dtype, weighted, size):
    rows = rows_of(rng, *size, dtype, weighted)
    loss, rule = SHAPES[shape], SCHEDULES[schedule]
    order = rows.order(rng)
    sequence, ends = visited(rows, order)
    start = rng.normal(size=rows.n_coordinates)
    expected, expected_mean = naive.sweep(
        rows.X.astype(float),
        rows.y,
        rows.sample_weight,
        sequence,
        rows.metric,
        loss,
        rule,
        10,
        start,
        restarts=ends,
    )
    theta, mean, averaged = rows.sweep(order, loss, rule, 10, start)
    assert averaged == rows.n_rows
    np.testing.assert_allclose(theta, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_allclose(mean, expected_mean, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("residual", [-3.0, -0.5, 0.1, 0.45, 2.0])
@pytest.mark.parametrize("rate", [1e-3, 1.0, 1e3])
def test_implicit_step_minimises_its_proximal_problem(shape, residual, rate):
    # A step along z from theta = 0 to a z minimises l(y - a z'z) + a^2 z'z / (2 rate).
    loss = SHAPES[shape]
    z = np.array([0.6, -0.3, 1.1])
    rows = Rows(z[None, :2], np.array([residual]), None, Metric(np.zeros(2), np.r_[1.0, 1.0, 1.1]))
    theta, _, _ = rows.sweep(rows.order(), loss, (rate, 0.0, True), 0, np.zeros(3))
    norm = z @ z

    def problem(a):
        return float(loss.value(residual - a * norm)) + a**2 * norm / (2 * rate)

    best = minimize_scalar(problem, bounds=(-10.0, 10.0), options={"xatol": 1e-12}).fun
    length = theta @ z / norm
    np.testing.assert_allclose(theta, length * z, atol=1e-14)
    assert problem(length) <= best + 1e-12


@pytest.mark.parametrize(
    ("n_rows", "n_features"), [(1, 1), (2, 5), (700, 1), (5000, 3), (3000, 700)]
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_order_visits_every_row_once(rng, n_rows, n_features, shuffle):
    rows = Rows(
        np.zeros((n_rows, n_features)), np.zeros(n_rows), None, Metric.textbook(n_features, True)
    )
    sequence, _ = visited(rows, rows.order(rng if shuffle else None))
    assert sorted(sequence) == list(range(n_rows))
    if n_rows > 2:
        assert shuffle == (sequence != sorted(sequence))


def test_shuffled_tiles_mix_the_whole_file(rng):
    # In a sorted file each tile must hold rows from everywhere, in no order.
    rows = Rows(np.zeros((200_000, 5)), np.zeros(200_000), None, Metric.textbook(5, True))
    sequence, ends = visited(rows, rows.order(rng))
    tile = np.array(sequence[: ends[0]])
    assert np.ptp(tile) > 150_000
    assert abs(np.corrcoef(tile[1:], tile[:-1])[0, 1]) < 0.1


def test_nan_stays_visible(rng):
    rows = rows_of(rng, 50, 4)
    rows.X[3, 2] = np.nan
    theta, _, _ = rows.sweep(rows.order(), SQUARED_ERROR, (1.0, 0.0, True), 0, np.zeros(5))
    assert np.isnan(theta).any()

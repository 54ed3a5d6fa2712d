"""Law: the compiled sweep is the naive loop, and the implicit step solves its own problem."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array, random_array

from sklearn_sgdlin.data.csr import SparseRows
from sklearn_sgdlin.data.dense import Rows
from sklearn_sgdlin.model.loss import LOSSES as LOSS_NAMES
from sklearn_sgdlin.model.loss import make_loss
from sklearn_sgdlin.model.moments import Moments
from sklearn_sgdlin.model.objective import Objective
from sklearn_sgdlin.model.scaling import Scaling
from tests import reference_sweep
from tests.data import pairs

LOSSES = {name: make_loss(name, epsilon=0.4, quantile=0.3) for name in LOSS_NAMES}
PENALTIES = {
    "none": (0.0, 0.0, False),
    "l1": (0.05, 0.0, False),
    "l2": (0.0, 0.2, False),
    "elasticnet, positive": (0.02, 0.1, True),
}
SCHEDULES = {
    "implicit": (1.0, 0.0, True, 0.7),
    "explicit": (0.1, 0.0, False, 0.7),
    "invscaling": (2.0, 0.5, True, 0.7),
}


def problem(rng, n_rows, n_features, loss, penalty="none", dtype=np.float64, weighted=False):
    """Rows whose columns are half zeros, and the objective on them."""
    X = rng.normal(size=(n_rows, n_features)) * 10.0 ** rng.integers(-3, 4, n_features)
    X = np.where(rng.random(X.shape) < 0.5, X + 1.0, 0.0).astype(dtype)
    y = rng.normal(size=n_rows)
    weight = None
    if weighted:
        weight = rng.integers(0, 4, n_rows).astype(float)
        weight[0] = 1.0
    scaling = Scaling.from_moments(Moments.of(X, weight), fit_intercept=True)
    return Rows(X, y, weight, scaling), Objective.of(loss, *PENALTIES[penalty], scaling.scale)


def visited(rows, order):
    """Rows in the order of the sweep, and the steps at which its tiles end."""
    blocks, within = order
    sequence, ends = [], []
    per_tile = len(within) // rows.tiling.block_rows
    for first in range(0, len(blocks), per_tile):
        tile = [
            row
            for k in blocks[first : first + per_tile]
            for row in range(
                k * rows.tiling.block_rows, min((k + 1) * rows.tiling.block_rows, rows.n_rows)
            )
        ]
        sequence += [tile[position] for position in within if position < len(tile)]
        ends.append(len(sequence))
    return sequence, ends


@pytest.mark.parametrize(
    ("loss", "penalty", "schedule", "dtype", "size"),
    pairs(
        list(LOSSES),
        list(PENALTIES),
        list(SCHEDULES),
        [np.float32, np.float64],
        [(1, 1), (7, 3), (300, 12), (2500, 9)],
    ),
)
def test_sweep_equals_naive_loop(rng, loss, penalty, schedule, dtype, size):
    rows, objective = problem(rng, *size, LOSSES[loss], penalty, dtype, weighted=size[0] == 300)
    rule, order = SCHEDULES[schedule], rows.order(rng)
    sequence, ends = visited(rows, order)
    start = rng.normal(size=rows.n_coordinates)

    def expect(*turns):
        return reference_sweep.sweep(
            rows.X.astype(float),
            rows.y,
            rows.sample_weight,
            sequence,
            rows.scaling,
            objective,
            rule,
            10,
            start,
            *turns,
        )

    sparse = SparseRows(csr_array(rows.X), rows.y, rows.sample_weight, rows.scaling)
    for kind in (rows, sparse):
        expected = expect(16, kind.penalty_every, ends)
        theta, mean, averaged = kind.sweep(order, objective, rule, 10, start)
        scale = np.abs(expected[0]).max()
        assert averaged == rows.n_rows
        np.testing.assert_allclose(theta, expected[0], rtol=0, atol=1e-12 * scale)
        np.testing.assert_allclose(mean, expected[1], rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize(
    ("loss", "penalty", "schedule"), pairs(list(LOSSES), list(PENALTIES), list(SCHEDULES))
)
def test_sparse_rows_that_pay_the_penalty_of_their_columns(rng, loss, penalty, schedule):
    rows, objective = problem(rng, 300, 12, LOSSES[loss], penalty, weighted=True)
    sparse = SparseRows(csr_array(rows.X), rows.y, rows.sample_weight, rows.scaling)
    sparse.penalty_every = 0
    rule, order, start = SCHEDULES[schedule], sparse.order(rng), rng.normal(size=13)
    if penalty != "none":
        start[:-1] = np.maximum(start[:-1], objective.floor[:-1])
    sequence, ends = visited(sparse, order)
    expected = reference_sweep.sweep(
        rows.X, rows.y, rows.sample_weight, sequence, rows.scaling, objective, rule, 10, start,
        16, 0, ends,
    )  # fmt: skip
    theta, mean, _ = sparse.sweep(order, objective, rule, 10, start)
    scale = np.abs(expected[0]).max()
    np.testing.assert_allclose(theta, expected[0], rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(mean, expected[1], rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_average_of_a_stream_is_the_same_for_sparse_rows(rng, index):
    rows, objective = problem(rng, 500, 8, LOSSES["squared_error"])
    matrix = csr_array(rows.X)
    matrix.indices, matrix.indptr = matrix.indices.astype(index), matrix.indptr.astype(index)
    sparse = SparseRows(matrix, rows.y, None, rows.scaling)
    start, mean, order = rng.normal(size=9), rng.normal(size=9), rows.order(rng)
    for averaged in (0.0, 700.0):
        results = [
            kind.sweep(
                order,
                objective,
                (1.0, 0.0, True, 1.0),
                0,
                start,
                mean,
                average_rows=averaged,
                forget=3.0,
            )
            for kind in (rows, sparse)
        ]
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("shuffle", [False, True])
def test_wide_sparse_rows_of_any_length_in_many_tiles(rng, shuffle, penalty):
    X = np.where(rng.random((70, 5000)) < np.logspace(-4, -1, 70)[:, None], 1.0, 0.0)
    X[rng.random(70) < 0.3] = 0.0
    y = rng.normal(size=70)
    rows = SparseRows(csr_array(X), y, None, Scaling.from_moments(Moments.of(X), True))
    objective = Objective.of(LOSSES["huber"], *PENALTIES[penalty], rows.scaling.scale)
    order = rows.order(rng if shuffle else None)
    sequence, ends = visited(rows, order)
    assert len(ends) > 5
    # The penalty has its turn once in so many sparse rows that it costs no more than they do.
    turns = (16, 2, ends) if penalty == "none" else (rows.penalty_every, rows.penalty_every)
    start, rule = rng.normal(size=5001), (1.0, 0.0, True, 1.0)
    expected = reference_sweep.sweep(
        X, y, None, sequence, rows.scaling, objective, rule, 0, start, *turns
    )
    theta, mean, _ = rows.sweep(order, objective, rule, 0, start)
    np.testing.assert_allclose(theta, expected[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(mean, expected[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("residual", [-3.0, -0.5, 0.1, 0.45, 2.0])
@pytest.mark.parametrize("rate", [1e-3, 1.0, 1e3])
def test_implicit_step_minimises_its_proximal_problem(loss, residual, rate):
    # A step along z from theta = 0 to a z minimises l(y - a z'z) + a^2 z'z / (2 rate).
    loss = LOSSES[loss]
    z = np.array([0.6, -0.3, 1.1])
    rows = Rows(z[None, :2], np.array([residual]), None, Scaling(np.zeros(2), np.r_[1.0, 1.0, 1.1]))
    objective = Objective.of(loss, 0.0, 0.0, False, rows.scaling.scale)
    theta, _, _ = rows.sweep(rows.order(), objective, (rate, 0.0, True, 1.0), 0, np.zeros(3))
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
        np.zeros((n_rows, n_features)), np.zeros(n_rows), None, Scaling.identity(n_features, True)
    )
    sequence, _ = visited(rows, rows.order(rng if shuffle else None))
    assert sorted(sequence) == list(range(n_rows))
    if n_rows > 2:
        assert shuffle == (sequence != sorted(sequence))


def test_shuffled_tiles_mix_the_whole_file(rng):
    # In a sorted file each tile must hold rows from everywhere, in no order.
    rows = Rows(np.zeros((200_000, 5)), np.zeros(200_000), None, Scaling.identity(5, True))
    sequence, ends = visited(rows, rows.order(rng))
    tile = np.array(sequence[: ends[0]])
    assert np.ptp(tile) > 150_000
    assert abs(np.corrcoef(tile[1:], tile[:-1])[0, 1]) < 0.1


def test_nan_stays_visible(rng):
    rows, objective = problem(rng, 50, 4, LOSSES["squared_error"])
    rows.X[3, 2] = np.nan
    for kind in (rows, SparseRows(csr_array(rows.X), rows.y, None, rows.scaling)):
        theta, _, _ = kind.sweep(kind.order(), objective, (1.0, 0.0, True, 1.0), 0, np.zeros(5))
        assert np.isnan(theta).any()


@pytest.mark.parametrize("n_rows", [1, 4, 7, 1003])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_products_are_sums_of_rows_times_responses(rng, n_rows, dtype, weighted, kind):
    X = (rng.normal(size=(n_rows, 5)) * [1, 1, 10, 1e3, 1e-3] + 3).astype(dtype)
    y = rng.normal(size=n_rows)
    weight = rng.uniform(size=n_rows) if weighted else None
    scaling = Scaling(rng.normal(size=5), rng.uniform(0.5, 2, 6))
    rows = (
        SparseRows(csr_array(X), y, weight, scaling)
        if kind == "sparse"
        else Rows(X, y, weight, scaling)
    )
    z = scaling.scale * np.column_stack([X - scaling.centre, np.ones(n_rows)])
    h = np.ones(n_rows) if weight is None else weight
    points = rng.normal(size=(6, 3))
    square, totals = rows.products(points, residuals=True)
    response = z @ points
    response[:, 0] += y
    scale = 1e-11 * np.abs(z).T @ np.abs(response)
    np.testing.assert_allclose(square, h @ response[:, 0] ** 2, rtol=1e-10)
    assert (np.abs(totals - z.T @ (h[:, None] * response)) <= scale).all()
    square, total = rows.products(points[:, 2])
    assert square == 0
    assert (np.abs(total - z.T @ (h * response[:, 2])) <= scale[:, 2]).all()


def test_products_of_sparse_rows_with_more_columns_than_the_cache_holds(rng):
    X = random_array((50, 20_000), density=1e-2, rng=rng, format="csr")
    X.data[:] = rng.normal(size=X.nnz)
    scaling = Scaling(rng.normal(size=20_000), rng.uniform(0.5, 2, 20_001))
    rows = SparseRows(X, rng.normal(size=50), None, scaling)
    z = scaling.scale * np.column_stack([X.toarray() - scaling.centre, np.ones(50)])
    points = rng.normal(size=(20_001, 3))
    _, totals = rows.products(points)
    np.testing.assert_allclose(totals, z.T @ (z @ points), rtol=1e-9, atol=1e-7)

"""Rows far from a kink are left out: the optimum is that of all rows, on any data."""

import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._tuning import Tuning
from sklearn_sgdlin.data.dense import Rows
from sklearn_sgdlin.data.partitions import InMemory, SelectedRows
from sklearn_sgdlin.methods import row_reduction
from sklearn_sgdlin.methods.row_reduction import RowReduction
from sklearn_sgdlin.model.loss import make_loss
from sklearn_sgdlin.model.moments import Moments
from sklearn_sgdlin.model.objective import Objective
from sklearn_sgdlin.model.scaling import Scaling

REDUCED = Tuning(min_reduced_rows=300, min_reduced_rows_per_column=20)
ALL_ROWS = Tuning(min_reduced_rows=10**9)
LOSSES = [
    *({"loss": "quantile", "quantile": level} for level in (0.01, 0.05, 0.5, 0.9, 0.99)),
    {"loss": "epsilon_insensitive", "epsilon": 0.5},
    {"loss": "epsilon_insensitive", "epsilon": 0.0},
]


def fitted(X, y, weight=None, tuning=REDUCED, **options):
    model = SGDLinearRegressor(random_state=0, **options)
    model._tuning = tuning
    return model.fit(X, y, weight)


def excess(X, y, weight=None, **options):
    """How far the objective is above that of all rows, relative to it."""
    model = fitted(X, y, weight, **options)
    best = fitted(X, y, weight, ALL_ROWS, **options | {"tol": 1e-5, "max_iter": 200})
    assert model.stop_reason_ == "converged"
    assert "A sample of" in model.solver_reason_
    assert "A sample of" not in best.solver_reason_
    return model.loss_curve_[-1] / best.loss_curve_[-1] - 1


def line(rng, n_rows, n_features):
    X = rng.normal(size=(n_rows, n_features)) * np.logspace(-3, 3, n_features) + 5
    return X, X @ (1 / X.std(axis=0)) + rng.standard_t(3, size=n_rows)


def some_losses(cases):
    """Two of the losses for each case, and each loss for some."""
    return [(case, LOSSES[(2 * i + k) % 7]) for i, case in enumerate(cases) for k in range(2)]


@pytest.mark.parametrize(
    ("penalty", "options"), some_losses([None, "l1", "l2", "elasticnet", "positive"])
)
def test_optimum_of_all_rows(rng, penalty, options):
    X, y = line(rng, 4000, 6)
    X /= X.std(axis=0)
    more = {"positive": True} if penalty == "positive" else {"penalty": penalty, "alpha": 0.05}
    assert abs(excess(X, y, **options, **more)) < 1e-4
    assert abs(excess(X, y, tol=1e-4, **options, **more)) < 1e-7


@pytest.mark.parametrize("options", LOSSES)
def test_sparse_and_single_precision(rng, options):
    X, y = line(rng, 3000, 5)
    X = np.where(rng.random(X.shape) < 0.3, X, 0.0).astype(np.float32)
    dense, sparse, double = (
        fitted(kind, y, tol=1e-5, **options) for kind in (X, csr_array(X), X.astype(float))
    )
    for model in (sparse, double):
        np.testing.assert_allclose(model.loss_curve_[-1], dense.loss_curve_[-1], rtol=1e-9)


@pytest.mark.parametrize("options", LOSSES)
def test_weights_are_repetitions(rng, options):
    X, y = line(rng, 2000, 4)
    weight = rng.integers(0, 4, 2000).astype(float)
    often = np.repeat(np.arange(2000), weight.astype(int))
    weighted = fitted(X, y, weight, tol=1e-5, **options)
    repeated = fitted(X[often], y[often], tol=1e-5, **options)
    np.testing.assert_allclose(weighted.loss_curve_[-1], repeated.loss_curve_[-1], rtol=1e-8)


def sorted_by_target(rng, X, y):
    order = np.argsort(y)
    return X[order], y[order]


def heavy_tails(rng, X, y):
    return X * rng.standard_t(1.5, size=(len(y), 1)), y + rng.standard_cauchy(len(y))


def group_apart(rng, X, y):
    # So few rows that a sample may have none, but they alone tell one coefficient.
    X, y = np.column_stack([X, np.zeros(len(y))]), y.copy()
    X[:5, -1], y[:5] = 1e3, y[:5] + 1e5 + rng.normal(size=5)
    return X, y


def outlier(rng, X, y):
    y = y.copy()
    y[7] += 1e12
    return X, y


def far_row(rng, X, y):
    X = X.copy()
    X[3] *= 1e6
    return X, y


def few_values(rng, X, y):
    return np.round(X / X.std(axis=0)), np.round(y)


def constant_column(rng, X, y):
    return np.column_stack([X, np.full(len(y), 3.0)]), y


def repeated_rows(rng, X, y):
    index = rng.integers(0, len(y) // 20, len(y))
    return X[index], y[index]


def twin_columns(rng, X, y):
    return np.column_stack([X, X[:, :2]]), y


def two_groups(rng, X, y):
    # What one half of the rows asks for is far from what the other does, in blocks.
    y = y.copy()
    y[: len(y) // 2] += 50
    return X, y


def without_noise(rng, X, y):
    return X, X @ np.ones(X.shape[1])


HARD = [
    sorted_by_target, heavy_tails, group_apart, outlier, far_row, few_values, constant_column,
    repeated_rows, twin_columns, two_groups,
]  # fmt: skip


@pytest.mark.parametrize(("make", "options"), some_losses(HARD))
def test_data_that_mislead_a_sample(rng, make, options):
    X, y = make(rng, *line(rng, 3000, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model, other = fitted(X, y, **options), fitted(X, y, None, ALL_ROWS, **options)
        best = fitted(X, y, None, ALL_ROWS, tol=1e-5, max_iter=200, **options)
    if other.stop_reason_ == "converged":  # all that all rows can prove
        assert model.stop_reason_ == "converged"
    if model.stop_reason_ == "converged":
        assert model.loss_curve_[-1] <= best.loss_curve_[-1] * (1 + 1e-4)
    assert model.loss_curve_[-1] <= other.loss_curve_[-1] * (1 + 1e-3)


@pytest.mark.parametrize("options", LOSSES)
def test_nothing_left_to_learn(rng, options):
    X, y = without_noise(rng, *line(rng, 3000, 4))
    model = fitted(X, y, **options)
    assert model.stop_reason_ == "converged"
    assert np.abs(y - model.predict(X)).max() <= 1e-6 + options.get("epsilon", 0.0) * (1 + 1e-6)


@pytest.mark.parametrize("options", LOSSES)
def test_one_weight_beyond_all_others(rng, options):
    X, y = line(rng, 3000, 3)
    weight = np.ones(3000)
    weight[5] = 1e300
    model = fitted(X, y, weight, **options)
    zone = options.get("epsilon", 0.0)
    assert abs(y[5] - model.predict(X[5:6])[0]) <= zone + 1e-6 * np.abs(y).max()


@pytest.mark.parametrize("n_parts", [1, 3])
def test_partitions_and_multipliers_of_the_wrong_sign(rng, n_parts):
    # A sample of one group of rows only: the others are found by the pass over all rows.
    X, y = line(rng, 3000, 4)
    y[:1000] += 3
    scaling = Scaling.from_moments(Moments.of(X), True)
    loss = make_loss("quantile", quantile=0.3)
    objective = Objective.of(loss, 0.0, 0.0, False, scaling.scale)
    rows = InMemory(
        [Rows(X[part], y[part], None, scaling) for part in np.array_split(np.arange(3000), n_parts)]
    )
    solver = RowReduction(rows, objective, 1e-4, REDUCED, 0)
    theta, value, distance = solver.run(np.zeros(5), None)
    assert distance <= 1e-4
    best = fitted(X, y, None, ALL_ROWS, loss="quantile", quantile=0.3, tol=1e-6)
    np.testing.assert_allclose(value, best.loss_curve_[-1], rtol=1e-7)
    np.testing.assert_allclose(objective.value(rows, theta), value, rtol=1e-12)
    assert solver.selected.n_rows < 1500
    assert solver.all_rows is None


def reduction(X, y, loss, **options):
    """The solver after a run, and its result."""
    rows = InMemory.of(X, y, None, Scaling.from_moments(Moments.of(X), True))
    objective = Objective.of(make_loss(loss, **options), 0.0, 0.0, False, rows.scaling.scale)
    solver = RowReduction(rows, objective, 1e-4, REDUCED, 0)
    return solver, solver.run(np.zeros(rows.n_coordinates), None)


@pytest.mark.parametrize("options", [LOSSES[0], LOSSES[5]])
def test_rows_with_a_wrong_multiplier_join_those_selected(rng, monkeypatch, options):
    selected = []

    def counted(rows, total_weight, linear):
        selected.append(rows)
        return SelectedRows(rows, total_weight, linear)

    monkeypatch.setattr(row_reduction, "SelectedRows", counted)
    monkeypatch.setattr(row_reduction, "DEVIATIONS", 1.0)  # a band that is often too narrow
    X, y = line(rng, 3000, 4)
    solver, result = reduction(X, y, **options)
    assert len(selected) > 1
    assert solver.all_rows is None
    best = fitted(X, y, None, ALL_ROWS, tol=1e-6, max_iter=200, **options)
    assert result.loss <= best.loss_curve_[-1] * (1 + 1e-6)


def test_a_selection_of_most_rows_is_given_up(rng, monkeypatch):
    monkeypatch.setattr(row_reduction, "MAX_SELECTED", 0.0)
    solver, _ = reduction(*line(rng, 3000, 4), "quantile")
    assert solver.all_rows is not None


def test_a_band_that_is_too_narrow(rng, monkeypatch):
    X, y = line(rng, 5000, 4)
    monkeypatch.setattr("sklearn_sgdlin.methods.row_reduction.DEVIATIONS", 0.05)
    assert excess(X, y, loss="quantile", tol=1e-3) < 1e-6

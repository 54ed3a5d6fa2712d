"""Ranges of rows in threads: the same bits on any number of them, and none for small data."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._tuning import Tuning
from sklearn_sgdlin.data import row_ranges
from sklearn_sgdlin.data.dense import Rows
from sklearn_sgdlin.data.row_ranges import RowRanges, moments_of, n_ranges, rows_in_memory
from sklearn_sgdlin.linalg import threads
from sklearn_sgdlin.methods.hessian import gram, signed_gram
from sklearn_sgdlin.methods.subspace import quadratic_sums
from sklearn_sgdlin.model.loss import LOSSES, SQUARED_ERROR
from sklearn_sgdlin.model.moments import Moments
from sklearn_sgdlin.model.objective import Objective
from sklearn_sgdlin.model.scaling import Scaling

N_ROWS, N_FEATURES = 800, 6
USUAL = Tuning()
CUT = replace(
    USUAL, min_range_entries=500, max_ranges=4, max_unlimited_products=0, max_merged_entries=0
)
WHOLE = replace(CUT, max_ranges=1)
KINDS = {"dense": np.asarray, "sparse": csr_array}
SETTINGS = {
    "newton-cholesky": {"solver": "newton-cholesky"},
    "newton-cg": {"solver": "newton-cg", "penalty": "l2"},
    "sgd": {"solver": "sgd"},
    "sgd, textbook": {"average": False, "update": "explicit", "learning_rate": 0.05},
    "sgd, units of the data": {"precondition": False, "learning_rate": 0.1},
    "l1": {"penalty": "l1", "alpha": 0.05},
    "sgd, l1": {"solver": "sgd", "penalty": "l1", "alpha": 0.05},
    "positive": {"positive": True, "penalty": "elasticnet", "alpha": 0.02},
    **{loss: {"loss": loss} for loss in LOSSES},
    **{f"sgd, {loss}": {"loss": loss, "solver": "sgd"} for loss in LOSSES},
}

if not any(each["user_api"] == "blas" for each in threadpool_info()):
    pytest.skip("threadpoolctl knows no BLAS here", allow_module_level=True)


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def data(rng, n_rows=N_ROWS, n_features=N_FEATURES):
    X = rng.normal(size=(n_rows, n_features)) * 10.0 ** rng.integers(-2, 3, n_features)
    X[rng.random(X.shape) < 0.3] = 0.0
    y = X @ (rng.normal(size=n_features) / X.std(axis=0)) + rng.standard_t(3, size=n_rows)
    return X, y, rng.uniform(0.5, 2.0, n_rows)


def estimator(tuning=CUT, **settings):
    model = SGDLinearRegressor(random_state=0, **{"max_iter": 5, "tol": 1e-3, **settings})
    model._tuning = tuning
    return model


@pytest.fixture
def started(monkeypatch):
    """Pools of threads that ranges of rows have started."""
    starts = []

    def counted(*args, **options):
        starts.append(args)
        return ThreadPoolExecutor(*args, **options)

    monkeypatch.setattr(threads, "ThreadPoolExecutor", counted)
    return starts


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("kind", "name"),
    [(list(KINDS)[i % 2], name) for i, name in enumerate(SETTINGS)]
    + [("sparse", "newton-cholesky"), ("dense", "newton-cg"), ("sparse", "sgd")],
    indirect=["kind"],
)
def test_a_model_is_the_same_bits_on_any_number_of_threads(kind, name, rng, started):
    X, y, weight = data(rng)
    models = []
    for number in (1, 3):
        with threadpool_limits(number, user_api="blas"):
            models.append(estimator(**SETTINGS[name]).fit(kind(X), y, weight))
        assert bool(started) == (number > 1)
    assert_array_equal(models[1].coef_, models[0].coef_)
    assert models[1].intercept_ == models[0].intercept_
    assert models[1].loss_curve_ == models[0].loss_curve_
    # And it leads where all rows lead.
    models[1] = estimator(WHOLE, **SETTINGS[name]).fit(kind(X), y, weight)
    losses = [model.loss_curve_[-1] for model in models]
    assert_allclose(*losses, rtol=2e-6 if models[0].solver_ != "sgd" else 1e-3)
    cut, whole = (model.predict(X) for model in models)
    deviation = np.sqrt(np.average((cut - whole) ** 2, weights=weight))
    assert deviation <= 0.1 * np.std(y - whole)


@pytest.mark.parametrize("name", ["sgd, textbook", "sgd, units of the data"])
def test_a_textbook_sweep_is_one_path_over_all_rows(name, rng):
    X, y, _ = data(rng)
    settings = {**SETTINGS[name], "average": False, "max_iter": 2, "tol": None}
    cut, whole = (estimator(tuning, **settings).fit(X, y) for tuning in (CUT, WHOLE))
    if name == "sgd, textbook":
        assert_allclose(cut.coef_, whole.coef_, rtol=1e-9)  # moments differ by rounding errors
    else:
        assert_array_equal(cut.coef_, whole.coef_)


@pytest.mark.parametrize("rate", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("rows_per_feature", [10, 100])
def test_sgd_on_ranges_is_near_the_optimum_after_20_epochs_at_any_rate(rate, rows_per_feature, rng):
    X, y, _ = data(rng, 60 * rows_per_feature, 60)
    model = estimator(learning_rate=rate, tol=None, max_iter=20).fit(X, y)
    least = estimator(solver="newton-cholesky").fit(X, y).loss_curve_[-1]
    assert model.loss_curve_[-1] <= (1 + 1e-3) * least
    assert (np.diff(model.loss_curve_) <= 1e-12 * least).all()


def test_small_data_start_no_thread(kind, started, rng):
    X, y, _ = data(rng, USUAL.min_range_entries // N_FEATURES)
    with threadpool_limits(8, user_api="blas"):
        for name in ("newton-cg", "sgd", "huber", "l1"):
            estimator(USUAL, **{**SETTINGS[name], "max_iter": 1, "tol": None}).fit(kind(X), y)
    assert not started


def test_blas_has_its_threads_again(rng):
    X, y, _ = data(rng)
    with threadpool_limits(3, user_api="blas"):
        estimator().fit(X, y)
        blas = [each for each in threadpool_info() if each["user_api"] == "blas"]
        assert {each["num_threads"] for each in blas} == {3}


def test_fits_in_threads_of_a_grid_search_share_the_threads_of_blas(rng, monkeypatch):
    running, most, lock = 0, 0, threading.Lock()
    task = row_ranges.RowRanges._map

    def counted(self, function):
        def counting(part):
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            try:
                return function(part)
            finally:
                with lock:
                    running -= 1

        return task(self, counting)

    monkeypatch.setattr(row_ranges.RowRanges, "_map", counted)
    X, y, _ = data(rng)
    grid = {"alpha": np.logspace(-4, 0, 8)}
    search = GridSearchCV(estimator(penalty="l2", loss="huber"), grid, n_jobs=2, cv=2)
    with threadpool_limits(2, user_api="blas"), parallel_config("threading"):
        search.fit(X, y)
    assert most <= 3  # one fit may begin while the pass of another has two threads


class Failure(Exception):
    pass


@pytest.mark.parametrize("error", [Failure, KeyboardInterrupt])
@pytest.mark.parametrize("first_row", [0, 600])
def test_an_error_in_a_range_leaves_the_model(error, first_row, rng, monkeypatch, started):
    X, y, _ = data(rng)
    model = estimator(loss="quantile").fit(X, y)
    before = vars(model).copy()
    order = Rows.order

    def fails(self, rng=None):
        if self.first_row == first_row:
            raise error
        return order(self, rng)

    monkeypatch.setattr(Rows, "order", fails)
    with threadpool_limits(2, user_api="blas"), pytest.raises(error):
        model.fit(X, 2 * y)
    assert vars(model) == before
    assert started
    assert started
    assert not any(thread.name.startswith("sklearn_sgdlin") for thread in threading.enumerate())


def test_warnings_that_a_caller_ignores_are_ignored_in_threads():
    def overflow(number):
        return np.float64(1e308) * 10.0

    with np.errstate(over="ignore"):
        results = list(threads.map_in_threads(overflow, range(8), 4))
    assert results == [np.inf] * 8


def ranges_of(kind, rng):
    X, y, weight = data(rng)
    scaling = Scaling.from_moments(Moments.of(X, weight), True)
    options = {"tuning": CUT, "one_path": False}
    rows = rows_in_memory(kind(X), y, weight, scaling, **options)
    whole = rows_in_memory(kind(X), y, weight, scaling, **{**options, "tuning": WHOLE})
    assert isinstance(rows, RowRanges)
    return rows, whole


def test_ranges_are_all_rows(kind, rng):
    rows, whole = ranges_of(kind, rng)
    assert [part.first_row for part in rows.parts] == [0, 200, 400, 600]
    for name in ("n_rows", "n_entries", "n_coordinates"):
        assert getattr(rows, name) == getattr(whole, name)
    theta, directions = rng.normal(size=7), rng.normal(size=(7, 3))
    for ours, theirs in zip(
        rows.sum(quadratic_sums, theta, directions),
        whole.sum(quadratic_sums, theta, directions),
        strict=True,
    ):
        assert_allclose(ours, theirs, rtol=1e-11)
    assert_allclose(rows.sum(gram), whole.sum(gram), rtol=1e-10, atol=1e-9)
    points = rng.normal(size=(7, 2))
    assert_allclose(
        rows.mean_loss(points, SQUARED_ERROR), whole.mean_loss(points, SQUARED_ERROR), rtol=1e-12
    )


def test_moments_of_ranges_are_those_of_all_rows(kind, rng):
    X, _, weight = data(rng)
    for sample_weight in (None, weight, np.where(np.arange(N_ROWS) < 500, 0.0, weight)):
        ours = moments_of(kind(X), sample_weight, CUT)
        theirs = Moments.of(kind(X), sample_weight)
        assert ours.rows == theirs.rows
        for name in ("weight", "mean", "sum_of_squares"):
            assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_in_any_range_is_refused(kind, bad, rng):
    X, y, _ = data(rng)
    X[-1, 2] = bad
    for settings in ({}, {"loss": "huber"}):
        with pytest.raises(ValueError, match="Input X contains"):
            estimator(**settings).fit(kind(X), y)


def test_a_sweep_of_ranges_is_the_mean_of_their_paths(kind, rng):
    rows, _ = ranges_of(kind, rng)
    objective = Objective.of(SQUARED_ERROR, 0.0, 0.3, False, rows.scaling.scale)
    theta, rule = rng.normal(size=7), (0.5, 0.0, True, 1.0)
    ends, averages = rows.sweep(None, objective, rule, 0, theta)
    paths = [part.sweep(part.order(), objective, rule, 0, theta) for part in rows.parts]
    weights = [part.weight for part in rows.parts]
    assert ends.shape == averages.shape == (7, 1)
    for ours, points in zip((ends, averages), list(zip(*paths, strict=True))[:2], strict=True):
        expected = np.average(points, axis=0, weights=weights)
        assert_allclose(ours[:, 0], expected, rtol=1e-12, atol=1e-14)


def test_paths_are_long_for_the_number_of_coordinates(rng):
    X, y, _ = data(rng, 900, 40)
    scaling = Scaling.from_moments(Moments.of(X), True)
    rows = rows_in_memory(X, y, None, scaling, tuning=CUT, one_path=False)
    assert len(rows.parts) == 4
    assert [path.n_rows for path in rows._paths()] == [450] * 2


def test_signs_of_ranges_differ(rng):
    """Equal ranges with equal signs would have equal errors, which do not average out."""
    X = np.tile(rng.normal(size=(500, 3)), (4, 1))
    scaling = Scaling.from_moments(Moments.of(X), True)
    rows = rows_in_memory(X, X[:, 0], None, scaling, tuning=CUT, one_path=False)
    first, second = (signed_gram(part, 0.1, 0) for part in rows.parts[:2])
    assert np.abs(first - second).max() > 1e-3 * np.abs(first).max()


@pytest.mark.parametrize(
    ("n_rows", "n_features", "n_entries", "sparse", "expected"),
    [
        (1000, 10, 10_000, False, 1),
        (100_000, 10, 2 * USUAL.min_range_entries - 1, False, 1),
        (100_000, 10, 2 * USUAL.min_range_entries, False, 2),
        (500_000, 50, 25_000_000, False, 16),
        (5_000, 4_000, 20_000_000, False, 1),
        (100_000, 1_000_000, 10_000_000, True, 1),
        (100_000, 100_000, 10_000_000, True, 8),
    ],
)
def test_number_of_ranges(n_rows, n_features, n_entries, sparse, expected):
    assert n_ranges(n_rows, n_entries, n_features + 1, sparse, USUAL) == expected

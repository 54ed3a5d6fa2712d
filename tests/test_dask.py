"""The estimator on a cluster: real worker processes on the loopback, bounded in time."""

import gc
import os
import pickle
import signal
import threading
import time
from contextlib import contextmanager, nullcontext
from importlib import metadata

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV

reason = 'needs pip install "sklearn-sgdlin[dask]"'
dask = pytest.importorskip("dask", reason=reason)
da = pytest.importorskip("dask.array", reason=reason)
distributed = pytest.importorskip("distributed", reason=reason)

import joblib  # noqa: E402
import pandas as pd  # noqa: E402

from sklearn_sgdlin import SGDLinearRegressor  # noqa: E402
from sklearn_sgdlin._tuning import Tuning  # noqa: E402
from sklearn_sgdlin.dask import DaskSGDLinearRegressor  # noqa: E402
from sklearn_sgdlin.data import dask_partitions  # noqa: E402
from sklearn_sgdlin.inference import coef_inference  # noqa: E402

from .data import load  # noqa: E402
from .test_losses_and_penalties import objective  # noqa: E402

SECONDS = 100  # a test that is not over by then hangs
pytestmark = [
    pytest.mark.filterwarnings("ignore:Sending large graph"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # sockets of distributed
]


@pytest.fixture(autouse=True)
def bounded_in_time():
    def hangs(*_):
        raise AssertionError(f"hangs: no end within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@contextmanager
def connect(n_workers, processes=True):
    """A cluster whose sockets are gone when it is: those of a lost worker nobody closes."""
    cluster = distributed.LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        processes=processes,
        host="127.0.0.1",
        protocol="tcp://",
        dashboard_address="127.0.0.1:0",
    )
    try:
        with cluster:
            yield cluster
    finally:
        gc.collect()  # which warns here, where it is ignored, and not in another test


@pytest.fixture(scope="module")
def client():
    with connect(2) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def many():
    """As many workers as partitions, so threads instead of processes."""
    with connect(16, processes=False) as cluster, distributed.Client(cluster) as client:
        yield client


def cut(array, n_parts):
    """A dask array of so many partitions."""
    n_rows = -(-len(array) // n_parts)
    return da.from_array(array, chunks=(n_rows, *array.shape[1:]))


def ordered(X, y, order):
    order = np.argsort(y) if order == "sorted" else np.random.default_rng(0).permutation(len(y))
    return X[order], y[order]


def delayed(arrays):
    return [dask.delayed(array) for array in arrays]


# ---------------------------------------------------------------- quality

FAMILY = [
    {"penalty": "l2", "alpha": 1e-2},
    {"penalty": "l1", "alpha": 1e-2},
    {"positive": True},
    {"loss": "huber", "epsilon": 0.5},
    {"loss": "quantile", "quantile": 0.8},
    {"loss": "epsilon_insensitive"},
]


@pytest.mark.parametrize("order", ["shuffled", "sorted"])
@pytest.mark.parametrize("name", ["normal wide", "autoregressive", "rare binary", "digits"])
def test_as_near_the_optimum_as_on_one_machine_in_few_rounds(client, many, name, order):
    X, y = ordered(*load(name), order)
    local = SGDLinearRegressor(random_state=0).fit(X, y)
    least = objective(local, X, y, local.coef_, local.intercept_)
    for cluster, n_parts in [(client, 2), (client, 4), (client, 16), (many, 4), (many, 16)]:
        model = DaskSGDLinearRegressor(client=cluster, random_state=0)
        model._tuning = Tuning(max_cluster_hessian_features=0)
        model.fit(cut(X, n_parts), cut(y, n_parts))
        reached = objective(model, X, y, model.coef_, model.intercept_)
        assert reached <= least * (1 + 1e-3)
        assert model.stop_reason_ == "converged"
        assert model.n_iter_ <= (15 if order == "sorted" else 2 * local.n_iter_)


@pytest.mark.parametrize("order", ["shuffled", "sorted"])
@pytest.mark.parametrize("member", FAMILY, ids=str)
def test_every_loss_and_penalty_reaches_the_objective_of_one_machine(client, member, order):
    X, y = ordered(*load("rare binary"), order)
    y = y / y.std()
    local = SGDLinearRegressor(random_state=0, **member).fit(X, y)
    least = objective(local, X, y, local.coef_, local.intercept_)
    for n_parts in (2, 16):
        model = DaskSGDLinearRegressor(client=client, random_state=0, **member)
        model.fit(cut(X, n_parts), cut(y, n_parts))
        assert objective(model, X, y, model.coef_, model.intercept_) <= least * (1 + 1e-3)
        assert model.n_iter_ <= 2 * local.n_iter_


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_l1_in_the_units_of_large_columns(client, loss, share):
    rng = np.random.default_rng(0)
    X = 100 * rng.normal(size=(400, 3))
    y = X @ [1, 0.5, 0] + rng.normal(size=400)
    options = {"penalty": "l1", "epsilon": 1.0, "precondition": False, "random_state": 0}
    options["alpha"] = share * (1e4 if loss == "squared_error" else 50)
    local = SGDLinearRegressor(loss, **options).fit(X, y)
    model = DaskSGDLinearRegressor(loss, client=client, **options).fit(cut(X, 2), cut(y, 2))
    assert model.solver_ == local.solver_ == "sgd"
    assert model.stop_reason_ == "stalled"  # its search does not know the distance
    np.testing.assert_allclose(model.coef_, local.coef_, atol=1e-3)
    np.testing.assert_array_equal(model.coef_ == 0, local.coef_ == 0)


@pytest.mark.parametrize("loss", ["squared_error", "quantile"])
def test_kinks_without_a_matrix(client, loss):
    X, y = load("rare binary")
    model = DaskSGDLinearRegressor(loss, penalty="l1", client=client, alpha=1e-2, random_state=0)
    model._tuning = Tuning(max_hessian_features=0)
    model.fit(cut(X, 4), cut(y / y.std(), 4))
    local = SGDLinearRegressor(loss, penalty="l1", alpha=1e-2, random_state=0).fit(X, y / y.std())
    least = objective(local, X, y / y.std(), local.coef_, local.intercept_)
    assert objective(model, X, y / y.std(), model.coef_, model.intercept_) <= least * (1 + 1e-3)
    assert model.stop_reason_ == "converged"


@pytest.mark.parametrize("solver", ["newton-cg", "newton-cholesky"])
def test_partitions_that_lack_a_category(many, rng, solver):
    # Each worker's own Hessian is singular where all its rows agree.
    category = np.repeat(np.arange(16), 200)
    X = np.column_stack([np.eye(16)[category], rng.normal(size=(3200, 10))])
    y = rng.normal(size=3200) + 3 * category + X[:, 16:].sum(axis=1)
    least = np.mean((y - X @ np.linalg.lstsq(X, y, rcond=1e-12)[0]) ** 2)
    model = DaskSGDLinearRegressor(client=many, solver=solver, random_state=0)
    model.fit(cut(X, 16), cut(y, 16))
    assert np.mean((y - model.to_local().predict(X)) ** 2) <= least * (1 + 1e-3)
    assert model.n_iter_ <= 15


def test_more_columns_than_a_matrix_is_kept_for(client, rng):
    X = rng.normal(size=(4000, 1500))
    y = X[:, :20].sum(axis=1) + rng.normal(size=4000)
    member = {"penalty": "l2", "alpha": 1.0, "random_state": 0}
    local = SGDLinearRegressor(**member).fit(X, y)
    model = DaskSGDLinearRegressor(client=client, **member).fit(cut(X, 4), cut(y, 4))
    least = objective(local, X, y, local.coef_, local.intercept_)
    assert objective(model, X, y, model.coef_, model.intercept_) <= least * (1 + 1e-3)


def test_weights_are_those_of_one_machine(client, rng):
    X, y = load("normal")
    weight = rng.integers(1, 4, len(y)).astype(float)
    model = DaskSGDLinearRegressor(client=client, tol=1e-6, random_state=0)
    model.fit(cut(X, 4), cut(y, 4), sample_weight=cut(weight, 4))
    local = SGDLinearRegressor(tol=1e-6, random_state=0).fit(X, y, weight)
    assert_allclose(model.coef_, local.coef_, rtol=1e-5)
    assert_allclose(
        model.score(cut(X, 4), cut(y, 4), cut(weight, 4)), local.score(X, y, weight), rtol=1e-6
    )


@pytest.mark.parametrize("order", ["shuffled", "sorted"])
@pytest.mark.parametrize("name", ["collinear", "rare binary", "constant, duplicate", "digits"])
def test_few_columns_take_one_round_wherever_the_rows_lie(client, many, name, order):
    X, y = ordered(*load(name), order)
    for member in ({}, {"penalty": "l2", "alpha": 1e-2}):
        local = SGDLinearRegressor(random_state=0, **member).fit(X, y)
        prediction = local.predict(X)
        for cluster, n_parts in [(client, 2), (client, 5), (many, 16)]:
            model = DaskSGDLinearRegressor(client=cluster, random_state=0, **member)
            model.fit(cut(X, n_parts), cut(y, n_parts))
            assert model.n_iter_ == 1
            assert_allclose(model.to_local().predict(X), prediction, atol=1e-8 * y.std())


# ---------------------------------------------------------------- forms of the data


@pytest.mark.parametrize("form", ["array", "float32", "dataframe", "delayed", "sparse"])
def test_every_form_of_data(client, form):
    dd = pytest.importorskip("dask.dataframe", reason=reason)
    X, y = load("normal")
    parts = np.array_split(X, 4), np.array_split(y, 4)
    frame = pd.DataFrame(X, columns=[f"column {j}" for j in range(X.shape[1])])
    frames = dd.from_pandas(frame.assign(y=y), npartitions=4)
    given_X, given_y = {
        "array": (cut(X, 4), cut(y, 4)),
        "float32": (cut(X.astype(np.float32), 4), cut(y, 4)),
        "dataframe": (frames[frame.columns.tolist()], frames["y"]),
        "delayed": (delayed(parts[0]), delayed(parts[1])),
        "sparse": (delayed([csr_array(part) for part in parts[0]]), delayed(parts[1])),
    }[form]
    model = DaskSGDLinearRegressor(client=client, random_state=0).fit(given_X, given_y)
    local = SGDLinearRegressor(random_state=0).fit(X, y)
    prediction = model.predict(given_X)
    assert isinstance(prediction, da.Array)
    shown = frame if form == "dataframe" else X
    assert_allclose(prediction.compute(), model.predict(shown), rtol=1e-5)
    assert_allclose(prediction.compute(), local.predict(X), atol=2e-2 * y.std())
    assert_allclose(model.score(given_X, given_y), local.score(X, y), atol=1e-3)
    if form == "dataframe":
        assert_array_equal(model.feature_names_in_, frame.columns)


def test_several_targets(client, rng):
    X, y = load("normal")
    Y = np.column_stack([y, X[:, 0] + rng.normal(size=len(X))])
    model = DaskSGDLinearRegressor(client=client, tol=1e-6, random_state=0).fit(
        cut(X, 3), cut(Y, 3)
    )
    local = SGDLinearRegressor(tol=1e-6, random_state=0).fit(X, Y)
    assert_allclose(model.coef_, local.coef_, atol=1e-4 * np.abs(local.coef_).max())
    prediction = model.predict(cut(X, 3))
    assert prediction.shape == Y.shape
    assert_allclose(prediction.compute(), model.predict(X))
    score = r2_score(Y, model.predict(X))
    assert_allclose(model.score(cut(X, 3), cut(Y, 3)), score)


def test_partitions_that_lie_on_several_workers(client):
    X, y = load("normal")
    workers = list(client.nthreads())
    parts_X = [client.scatter(part, broadcast=True, hash=False) for part in np.array_split(X, 4)]
    parts_y = [
        client.scatter(part, workers=workers[:1], hash=False) for part in np.array_split(y, 4)
    ]
    cluster = dask_partitions.Cluster(
        client,
        {number: (*part, None) for number, part in enumerate(zip(parts_X, parts_y, strict=True))},
    )
    cluster.release()
    assert [len(numbers) for numbers in cluster.numbers.values()] == [2, 2]
    model = DaskSGDLinearRegressor(client=client, random_state=0).fit(parts_X, parts_y)
    local = SGDLinearRegressor(random_state=0).fit(X, y)
    assert_allclose(model.predict(X), local.predict(X), atol=1e-8 * y.std())


def test_local_model_is_the_same_and_needs_no_cluster(client):
    X, y = load("normal")
    model = DaskSGDLinearRegressor(client=client, alpha=0.5, random_state=0)
    model.fit(cut(X, 2), cut(y, 2))
    local = pickle.loads(pickle.dumps(model.to_local()))
    assert type(local) is SGDLinearRegressor
    assert local.alpha == 0.5
    assert_array_equal(local.predict(X), model.predict(X))
    new = np.column_stack([X[:100, 1:], X[:100, 0]]), -y[:100]
    local.partial_fit(*new)
    assert local.t_ == model.t_ == 0  # no steps are taken where columns are few
    both = SGDLinearRegressor(random_state=0).fit(np.vstack([X, new[0]]), np.append(y, new[1]))
    assert_allclose(local.coef_, both.coef_, rtol=1e-6)


def test_clone_shares_the_client_and_pickle_leaves_it(client):
    model = DaskSGDLinearRegressor(client=client, alpha=0.5)
    assert clone(model).client is client
    assert clone(model).alpha == 0.5
    assert pickle.loads(pickle.dumps(model)).client is None


def test_last_client_made_is_taken(client):
    X, y = load("one column")
    with client.as_current():
        model = DaskSGDLinearRegressor(random_state=0).fit(cut(X, 2), cut(y, 2))
    assert model.stop_reason_ == "converged"


def test_the_course_of_a_fit_is_that_of_one_machine(client, capsys):
    X, y = load("autoregressive")
    model = DaskSGDLinearRegressor("quantile", client=client, random_state=0, verbose=1)
    model.fit(cut(X, 4), cut(y, 4))
    assert capsys.readouterr().out.count("epoch") == model.n_iter_ == len(model.loss_curve_)
    assert model.t_ == len(y)  # of the only sweep
    again = clone(model).fit(cut(X, 4), cut(y, 4))
    model.set_params(warm_start=True).fit(cut(X, 4), cut(y, 4))
    assert model.loss_curve_[0] < again.loss_curve_[0]
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        again.set_params(max_iter=1, tol=1e-9).fit(cut(X, 4), cut(y, 4))


@pytest.fixture(scope="module")
def frame(client):
    """A quarter of its rows have weight, so two of four partitions have none."""
    dd = pytest.importorskip("dask.dataframe", reason=reason)
    X, y = load("far from zero")
    frame = pd.DataFrame(X, columns=[*"abcde"])
    weight = np.where(np.arange(len(y)) < len(y) / 4 + 1, 1.0, 0.0)
    return dd.from_pandas(frame.assign(y=y, twice=2 * y, same=7.0, weight=weight), npartitions=4)


@pytest.mark.parametrize("options", [{}, {"loss": "huber"}, {"early_stopping": True}], ids=str)
def test_partitions_without_rows_or_weight_are_no_rows(client, frame, options):
    X, kept = [*"abcde"], frame[frame.weight > 0]
    rows = kept.compute()
    model = DaskSGDLinearRegressor(client=client, random_state=0, **options)
    local = SGDLinearRegressor(random_state=0, **options).fit(rows[X], rows.y)
    for data, weight in [(kept, None), (frame, frame.weight)]:
        model.fit(data[X], data.y, weight)
        if "early_stopping" in options:  # by other rows, so after other epochs
            assert model.score(rows[X], rows.y) == pytest.approx(local.score(rows[X], rows.y), 0.01)
        else:
            expected = local.predict(rows[X])
            assert_allclose(model.predict(rows[X]), expected, atol=0.05 * rows.y.std())
        assert_allclose(model.score(data[X], data.y, weight), model.score(rows[X], rows.y))
    assert_allclose(model.predict(kept[X]).compute(), model.predict(rows[X]))


def test_all_partitions_without_rows_or_weight_are_an_error(client, frame):
    X, none = [*"abcde"], frame[frame.weight > 1]
    model = DaskSGDLinearRegressor(client=client)
    for call in (model.fit, clone(model).fit(frame[X], frame.y).score):
        for data, weight in [(none, None), (frame, 0 * frame.weight)]:
            with pytest.raises(ValueError, match=r"Found 0 sample\(s\)"):
                call(data[X], data.y, weight)
    assert not hasattr(model, "coef_")


def test_score_is_that_of_scikit_learn(client, frame):
    X, y = [*"abcde"], ["y", "same", "twice"]
    rows = frame.compute()
    for targets in (y, "same"):
        model = DaskSGDLinearRegressor(client=client, random_state=0)
        model.fit(frame[X], frame[targets])
        assert_allclose(model.score(frame[X], frame[targets]), model.score(rows[X], rows[targets]))
        model.intercept_ = model.intercept_ + 1
        assert_allclose(model.score(frame[X], frame[targets]), model.score(rows[X], rows[targets]))
    assert_allclose(model.score(frame[X], frame[["same"]]), model.score(rows[X], rows[["same"]]))
    with pytest.raises(ValueError, match=r"In partition .: y has 3 targets, but .* fitted to 1"):
        model.score(frame[X], frame[y])
    first = frame.partitions[0].loc[:0]
    with pytest.warns(UndefinedMetricWarning, match="less than two samples"):
        assert np.isnan(model.score(first[X], first.same))


def test_one_partition_needs_no_list_and_y_is_needed(client):
    X, y = load("one column")
    local = SGDLinearRegressor(random_state=0).fit(X, y)
    model = DaskSGDLinearRegressor(client=client, random_state=0)
    for one_X, one_y in [delayed([X, y]), [client.scatter(a, hash=False) for a in (X, y)]]:
        model.fit(one_X, one_y)
        assert_allclose(model.coef_, local.coef_)
        assert_allclose(client.compute(model.predict(one_X)).result(), local.predict(X))
        assert_allclose(model.score(one_X, one_y), local.score(X, y))
        for call in (model.fit, model.score):
            with pytest.raises(ValueError, match="requires y to be passed"):
                call(one_X, None)


def install(version):
    """Let a worker have another version of the package, or none; return how it was."""

    def found(name):
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    before, metadata.version = metadata.version, version if callable(version) else found
    return before


@pytest.mark.parametrize("version", [None, "0.0.1"])
def test_workers_without_the_same_version_are_named(client, version):
    X, y = load("one column")
    data = placed(client, X), placed(client, y)
    model = DaskSGDLinearRegressor(client=client).fit(*data)
    worker = list(client.nthreads())[1]
    before = client.run(install, version, workers=[worker])[worker]
    try:
        for call in (model.fit, model.score, lambda X, y: model.predict(X)):
            with pytest.raises(RuntimeError, match=rf"{worker} has {version or 'no version'} of"):
                call(*data)
    finally:
        client.run(install, before, workers=[worker])
    model.fit(*data)


def actors(dask_scheduler):
    return [key for key in dask_scheduler.tasks if str(key).startswith("PartitionActor")]


@pytest.mark.parametrize("broken", [False, True])
def test_workers_keep_nothing_after_a_fit(client, broken):
    X, y = load("normal")
    X[100, 0] = np.nan if broken else 0.0
    model = DaskSGDLinearRegressor(client=client)
    with pytest.raises(ValueError, match="NaN") if broken else nullcontext():
        model.fit(cut(X, 4), cut(y, 4))
    for _ in range(100):  # the scheduler is told, and does it when it comes to it
        if not client.run_on_scheduler(actors):
            return
        time.sleep(0.05)
    raise AssertionError(client.run_on_scheduler(actors))


@pytest.mark.parametrize("given", [True, False])
def test_early_stopping(client, given):
    X, y = load("autoregressive")
    model = DaskSGDLinearRegressor(client=client, early_stopping=True, random_state=0)
    validation = {"X_val": X[2500:], "y_val": y[2500:]} if given else {}
    model.fit(cut(X[:2500], 4), cut(y[:2500], 4), **validation)
    assert model.stop_reason_ == "early_stopping"
    assert len(model.validation_scores_) == model.n_iter_
    if given:
        residual = y[2500:] - model.predict(X[2500:])
        assert_allclose(max(model.validation_scores_), -np.mean(residual**2) / 2)
    else:
        assert model.t_ < model.n_iter_ * 2500
        with pytest.raises(ValueError, match="scoring='r2' needs X_val and y_val"):
            model.set_params(scoring="r2").fit(cut(X, 4), cut(y, 4))


def test_rows_held_out_are_validated(client):
    # With half of the rows held out, a row of the two is found by either part.
    model = DaskSGDLinearRegressor(
        client=client, early_stopping=True, validation_fraction=0.5, max_iter=1, random_state=0
    )
    for bad in range(6):
        X = np.arange(6.0)[:, np.newaxis]
        X[bad] = np.nan
        with pytest.raises(ValueError, match="In partition 1: Input X contains NaN"):
            model.fit(delayed([np.ones((4, 1)), X]), delayed([np.ones(4), np.ones(6)]))


# ---------------------------------------------------------------- messages


@pytest.fixture
def messages(monkeypatch):
    """Mean bytes sent to a worker and back from it, call by call."""
    calls = []
    each = dask_partitions.Cluster.each

    def counted(self, task, args):
        answers = each(self, task, args)
        size = sum(array.nbytes for array in arrays_in([*args, *answers]))
        calls.append((task.__name__, size / len(answers)))
        return answers

    monkeypatch.setattr(dask_partitions.Cluster, "each", counted)
    return calls


def placed(client, array):
    """As many partitions on each worker."""
    workers = list(client.nthreads())
    return [
        client.scatter(part, workers=[workers[number % len(workers)]], hash=False)
        for number, part in enumerate(np.array_split(array, 16))
    ]


def arrays_in(value):
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple | list):
        for member in value:
            yield from arrays_in(member)


def calls_in_three_rounds(client, messages, rng, n_rows, n_features):
    """Bytes to and from a worker, call by call."""
    messages.clear()
    X = rng.normal(size=(n_rows, n_features))
    y = X.sum(axis=1) + rng.normal(size=n_rows)
    model = DaskSGDLinearRegressor(client=client, max_iter=3, tol=None, random_state=0)
    model.fit(placed(client, X), placed(client, y))
    return [size for name, size in messages if name == "_with_rows"]


@pytest.mark.parametrize("pool", ["client", "many"])
def test_a_round_sends_a_few_vectors_to_each_worker(pool, request, messages, rng):
    client = request.getfixturevalue(pool)
    n_features, largest = 400, []
    for n_rows in (4000, 16_000):
        calls = calls_in_three_rounds(client, messages, rng, n_rows, n_features)
        # sweep, survey, newton and three times images and newton
        assert len(calls) <= 9 * 3
        largest.append(max(calls))
        assert sum(calls) / 3 <= 200 * (n_features + 1) * 8 < n_features**2 * 8
    assert largest[0] == largest[1]


def test_few_columns_take_one_matrix_and_then_a_few_vectors(many, messages, rng):
    sizes = [calls_in_three_rounds(many, messages, rng, n_rows, 100) for n_rows in (4000, 16_000)]
    assert sizes[0] == sizes[1]
    vector = (100 + 1) * 8
    hessian, *others = sizes[0]
    assert hessian <= 101 * vector
    assert len(others) == 3
    assert max(others) <= 3 * vector


# ---------------------------------------------------------------- faults


def test_killed_worker_is_an_error_that_names_its_partitions_and_the_next_fit_works():
    X, y = load("normal wide")
    with connect(2) as cluster, distributed.Client(cluster) as client:
        model = DaskSGDLinearRegressor(client=client, random_state=0).fit(cut(X, 8), cut(y, 8))
        before = model.coef_.copy()
        victim = next(iter(client.run(os.getpid).values()))
        endless = model.set_params(tol=None, max_iter=10**9)
        data = placed(client, X), placed(client, y)
        killer = threading.Timer(1.0, os.kill, (victim, signal.SIGKILL))
        killer.start()
        with pytest.raises(RuntimeError, match=r"that held the partitions \[\d.*\] was lost"):
            endless.fit(*data)
        assert_array_equal(model.coef_, before)
        model.set_params(tol=1e-2, max_iter=100).fit(cut(X, 8), cut(y, 8))
        assert_allclose(model.predict(X), X @ before + model.intercept_, atol=0.1 * y.std())


def test_worker_that_answers_no_more_is_an_error_when_the_scheduler_gives_it_up():
    X, y = load("normal")
    with (
        dask.config.set({"distributed.scheduler.worker-ttl": "3s"}),
        connect(2) as cluster,
        distributed.Client(cluster) as client,
    ):
        cluster.scheduler.worker_ttl = SECONDS  # on a busy machine sound workers are late, too
        data = placed(client, X), placed(client, y)
        victim = next(iter(client.run(os.getpid).values()))
        model = DaskSGDLinearRegressor(client=client).fit(*data)
        model.set_params(tol=None, max_iter=10**9)
        cluster.scheduler.worker_ttl = 3
        threading.Timer(1.0, os.kill, (victim, signal.SIGSTOP)).start()
        with pytest.raises(RuntimeError, match="was lost, so the fit was given up"):
            model.fit(*data)


def test_unfitted_stays_unfitted_if_the_fit_fails(client):
    X, y = load("one column")
    X[500] = np.nan
    model = DaskSGDLinearRegressor(client=client)
    with pytest.raises(ValueError, match="In partition 2: Input X contains NaN"):
        model.fit(cut(X, 4), cut(y, 4))
    assert not hasattr(model, "coef_")


def broken(kind, X, y):
    parts_X, parts_y = np.array_split(X, 4), np.array_split(y, 4)
    if kind == "NaN":
        parts_y[2] = parts_y[2] * np.nan
    elif kind == "dtype":
        parts_X[2] = np.full(parts_X[2].shape, "word", dtype=object)
    elif kind == "columns":
        parts_X[2] = parts_X[2][:, :-1]
    elif kind == "empty":
        parts_X[2] = parts_X[2][:0]  # but of y it is not
    elif kind == "rows":
        parts_y[2] = parts_y[2][:-1]
    elif kind == "names":
        parts_X = [pd.DataFrame(part, columns=[*"abcde"]) for part in parts_X]
        parts_X[2] = parts_X[2].rename(columns={"a": "z"})
    return delayed(parts_X), delayed(parts_y)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("NaN", "Input y contains NaN"),
        ("dtype", "could not convert string"),
        ("columns", "X has 4 columns .*but X has 5 columns .*in partition 0"),
        ("empty", r"Found array with 0 sample\(s\)"),
        ("rows", "inconsistent numbers of samples"),
        ("names", r"5 columns \(z, b"),
    ],
)
def test_a_broken_partition_is_named(client, kind, message):
    X, y = load("far from zero")
    with pytest.raises(ValueError, match=f"In partition 2: .*{message}"):
        DaskSGDLinearRegressor(client=client).fit(*broken(kind, X, y))


def test_a_partition_that_does_not_load_is_named(client):
    X, y = load("one column")

    def fails():
        raise OSError("no such file")

    parts_X = [dask.delayed(X), dask.delayed(fails)()]
    with pytest.raises(RuntimeError, match=r"Partition 1 did not load: OSError.*no such file"):
        DaskSGDLinearRegressor(client=client).fit(parts_X, delayed([y, y]))


def test_scattered_data_that_are_gone_are_named(client):
    X, y = load("one column")
    parts_X, parts_y = ([client.scatter(part, hash=False)] for part in (X, y))
    parts_y[0].cancel()
    with pytest.raises(RuntimeError, match="Partition 0 did not load: 'cancelled'"):
        DaskSGDLinearRegressor(client=client).fit(parts_X, parts_y)


def test_data_that_are_lost_while_the_workers_take_hold_of_them_are_an_error(client):
    X, y = (client.scatter(array, hash=False) for array in load("one column"))
    y.cancel()
    with pytest.raises(RuntimeError, match=r"that held the partitions \[0\] was lost"):
        dask_partitions.Cluster(client, {0: (X, y, None)})


def test_collections_that_do_not_fit_together_are_named(client):
    X, y = load("far from zero")
    model = DaskSGDLinearRegressor(client=client)
    with pytest.raises(ValueError, match="y has 3 partitions, but X has 4"):
        model.fit(cut(X, 4), cut(y, 3))
    with pytest.raises(ValueError, match=r"X has 2 chunks of columns.*X.rechunk\(\{1: -1\}\)"):
        model.fit(cut(X, 4).rechunk({1: 3}), cut(y, 4))
    with pytest.raises(TypeError, match=r"got ndarray\. Use SGDLinearRegressor"):
        model.fit(X, y)
    with pytest.raises(TypeError, match="partial_fit takes a chunk in memory"):
        model.partial_fit(cut(X, 4), cut(y, 4))


# ---------------------------------------------------------------- company


def test_incremental_of_dask_ml(client):
    wrappers = pytest.importorskip("dask_ml.wrappers", reason=reason)
    X, y = ordered(*load("normal"), "shuffled")
    model = wrappers.Incremental(SGDLinearRegressor(random_state=0))
    with client.as_current():
        model.fit(cut(X, 10), cut(y, 10))
        prediction = model.predict(cut(X, 10)).compute()
    stream = SGDLinearRegressor(random_state=0)
    for chunk_X, chunk_y in zip(np.array_split(X, 10), np.array_split(y, 10), strict=True):
        stream.partial_fit(chunk_X, chunk_y)
    assert model.estimator_.solver_ == stream.solver_ == "newton-cholesky"
    assert r2_score(y, prediction) > stream.score(X, y) - 1e-2


def test_grid_search_under_joblib(client):
    X, y = load("normal")
    search = GridSearchCV(
        SGDLinearRegressor(penalty="l2", random_state=0), {"alpha": [1e-4, 1.0, 100.0]}, cv=3
    )
    with client.as_current(), joblib.parallel_config(backend="dask"):
        search.fit(X, y)
    assert search.best_params_ == {"alpha": 1e-4}
    assert search.best_score_ == pytest.approx(clone(search).fit(X, y).best_score_)


@pytest.mark.parametrize("loss", ["squared_error", "huber", "quantile"])
def test_standard_errors_are_those_in_memory(client, frame, loss):
    """Without the rows, and by sums over partitions, two of which have no weight."""
    parameters = {"loss": loss, "epsilon": 1.0, "tol": 1e-8, "random_state": 0}
    rows = frame[[*"abcde"]], frame.y, frame.weight
    model = DaskSGDLinearRegressor(client=client, **parameters).fit(*rows)
    in_memory = [part.compute() for part in rows]
    for cov_type in ["nonrobust", "HC1"] + ["HC3"] * (loss != "quantile"):
        expected = coef_inference(model.to_local(), *in_memory, cov_type=cov_type)
        result = coef_inference(model, *rows, cov_type=cov_type)
        assert_allclose(result.std_error, expected.std_error, rtol=1e-8)
    if loss == "squared_error":
        assert_allclose(
            coef_inference(model).std_error,
            coef_inference(model, *rows).std_error,
            rtol=1e-8,
        )
    with pytest.raises(ValueError, match="groups in memory"):
        coef_inference(model, *rows, cov_type="cluster", groups=in_memory[2])
    with pytest.raises(ValueError, match="from the optimum"):
        coef_inference(model, rows[0], frame.twice, frame.weight)

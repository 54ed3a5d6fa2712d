"""While a model trains, BLAS runs in one thread; before and after in as many as the user wants."""

import gc
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from threading import Barrier, Event

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from sklearn_sgdlin import SGDLinearRegressor, _exact_fit
from sklearn_sgdlin._tuning import Tuning
from sklearn_sgdlin.data import one_pass
from sklearn_sgdlin.linalg.blas import OneThread, available_threads
from sklearn_sgdlin.linalg.threads import map_in_threads
from sklearn_sgdlin.methods.hessian import Hessian
from sklearn_sgdlin.model import cross_products

SMALL, WIDE = Tuning().max_unlimited_products, 400


def blas_threads():
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


if not blas_threads():
    pytest.skip("threadpoolctl knows no BLAS here", allow_module_level=True)


@pytest.fixture
def seen(monkeypatch):
    """Threads of BLAS wherever a fit and a stream multiply matrices."""
    numbers = []

    def watched(function):
        def watching(*args):
            numbers.append(blas_threads())
            return function(*args)

        return watching

    monkeypatch.setattr(one_pass, "add_cross_products", watched(one_pass.add_cross_products))
    monkeypatch.setattr(Hessian, "prepare", watched(Hessian.prepare))
    monkeypatch.setattr(
        cross_products, "_approximate_mean", watched(cross_products._approximate_mean)
    )
    return numbers


@pytest.mark.parametrize(
    ("method", "n_rows", "n_features", "threads"),
    [
        ("fit", 2 * SMALL // 40**2, 40, 1),
        ("fit", SMALL // (2 * 40**2), 40, 2),
        ("fit", WIDE + 10, WIDE - 1, 1),
        ("fit", WIDE + 10, WIDE, 2),
        ("partial_fit", 2 * SMALL // 40**2, 40, 1),
        ("partial_fit", SMALL // (2 * 40**2), 40, 2),
    ],
)
def test_one_thread_where_more_would_wait(seen, method, n_rows, n_features, threads):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_rows, n_features)), rng.normal(size=n_rows)
    model = SGDLinearRegressor(random_state=0)
    model._tuning = Tuning(min_blas_threads_features=WIDE)
    with threadpool_limits(2, user_api="blas"):
        getattr(model, method)(X, y)
        assert blas_threads() == {2}
    assert seen
    assert all(number == {threads} for number in seen)


def test_an_error_gives_them_back(monkeypatch):
    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_exact_fit, "solve_normal_equations", fail)
    X = np.random.default_rng(0).normal(size=(2 * SMALL // 40**2, 40))
    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(KeyboardInterrupt):
            SGDLinearRegressor().fit(X, X[:, 0])
        assert blas_threads() == {2}


def set_blas_threads(number):
    """Set it for the process, as an environment variable would, but without a context."""
    for blas in ThreadpoolController().select(user_api="blas").lib_controllers:
        blas.set_num_threads(number)
        if hasattr(blas, "clear_controlling_thread"):
            blas.clear_controlling_thread()


@pytest.fixture
def before():
    """Number of threads that BLAS has in this process."""
    (number,) = blas_threads()
    set_blas_threads(3)
    yield {3}
    set_blas_threads(number)


def columns(rng):
    return rng.normal(size=(2 * SMALL // 40**2, 40))


def use_at_random(rng, barrier):
    """Enter and leave contexts and fits at random: nested, and some of them by an error."""
    X = columns(rng)
    barrier.wait()
    for _ in range(10):
        with suppress(ZeroDivisionError), OneThread():
            time.sleep(1e-3 * rng.random())
            with OneThread():
                assert blas_threads() == {1}
            SGDLinearRegressor(random_state=0, max_iter=1, tol=None).fit(X, X[:, 0])
            assert blas_threads() == {1}
            raise ZeroDivisionError
        time.sleep(1e-3 * rng.random())


def test_many_threads_in_random_order(before):
    barrier = Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        random = [np.random.default_rng(seed) for seed in range(4)]
        list(pool.map(use_at_random, random, [barrier] * 4))
    assert blas_threads() == before


def test_the_last_of_two_that_overlap_restores(before):
    first, second = OneThread(), OneThread()
    first.__enter__()
    second.__enter__()
    first.__exit__()
    assert blas_threads() == {1}
    second.__exit__()
    assert blas_threads() == before


def test_a_grid_search_in_threads(before, rng):
    X = columns(rng)
    search = GridSearchCV(
        SGDLinearRegressor(max_iter=1, tol=None), {"learning_rate": [0.1, 1.0, 10.0]}, n_jobs=2
    )
    with parallel_config("threading"):
        search.fit(X, X[:, 0])
    assert blas_threads() == before


@pytest.mark.parametrize("limit", [1, 2])
def test_a_limit_around_fits_in_threads(before, limit, rng):
    X = columns(rng)
    with threadpool_limits(limit):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda y: SGDLinearRegressor().fit(X, y), X.T[:6]))
        SGDLinearRegressor().fit(X, X[:, 0])
        assert blas_threads() == {limit}
    assert blas_threads() == before


def test_limits_of_the_user_within_the_threads(before, rng):
    X = columns(rng)

    def limited(y):
        with threadpool_limits(1):
            SGDLinearRegressor().fit(X, y)

    with ThreadPoolExecutor(1) as pool:
        list(pool.map(limited, X.T[:6]))
    assert blas_threads() == before


def test_openmp_is_left_alone():
    before = threadpool_info()
    with OneThread():
        pass
    assert threadpool_info() == before


def test_one_that_was_interrupted_before_its_end_is_forgotten(before):
    OneThread().__enter__()  # as an interrupt within `with` may leave it
    gc.collect()
    with OneThread():
        assert blas_threads() == {1}
    assert blas_threads() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("within", [False, True])
def test_a_child_does_not_wait_for_threads_that_only_its_parent_has(before, within):
    entered, leave = Event(), Event()

    def stay():
        with OneThread():
            entered.set()
            assert leave.wait(5)

    with ThreadPoolExecutor(1) as pool:
        staying = pool.submit(stay)
        assert entered.wait(5)
        with OneThread() if within else nullcontext():
            child = os.fork()
            if child == 0:
                in_child = {1} if within else before
                os._exit(0 if blas_threads() == in_child else 1)
            assert os.waitpid(child, 0)[1] == 0
        assert blas_threads() == {1}
        leave.set()
        staying.result()
    assert blas_threads() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_of_a_thread_within_restores_at_its_end(before):
    context = OneThread()
    with context:
        child = os.fork()
        if child == 0:
            context.__exit__()
            os._exit(0 if blas_threads() == before else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert blas_threads() == before


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_results_of_threads_come_in_order(n_threads):
    def task(item):
        time.sleep(0.002 * (5 - item % 5))
        return item

    assert list(map_in_threads(task, range(17), n_threads)) == list(range(17))


@pytest.mark.parametrize("n_threads", [1, 3])
def test_an_error_in_a_thread_is_raised_and_ends_the_others(n_threads):
    begun = []

    def task(item):
        begun.append(item)
        if item == 2:
            raise ZeroDivisionError
        return item

    with pytest.raises(ZeroDivisionError):
        list(map_in_threads(task, range(100), n_threads))
    assert len(begun) < 100


def test_ranges_get_the_threads_that_blas_gave_up(before):
    assert available_threads() == 1
    with OneThread(), OneThread():
        assert {available_threads()} == before
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(available_threads).result() == 1
    assert available_threads() == 1


def test_fits_at_the_same_time_share_the_threads(before):
    barrier = Barrier(2)

    def share():
        with OneThread():
            barrier.wait()
            number = available_threads()
            barrier.wait()
            return number

    with ThreadPoolExecutor(2) as pool:
        numbers = [future.result() for future in [pool.submit(share) for _ in range(2)]]
    assert numbers == [1, 1]

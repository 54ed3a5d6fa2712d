"""While a model trains, BLAS runs in one thread; before and after in as many as the user wants."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_sgdlin import SGDLinearRegressor, _scatter, _training
from sklearn_sgdlin._threads import SMALL, WIDE


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

    monkeypatch.setattr(_training.CurvatureSketch, "fill", watched(_training.CurvatureSketch.fill))
    monkeypatch.setattr(_scatter, "_near_mean", watched(_scatter._near_mean))
    return numbers


@pytest.mark.parametrize(
    ("method", "n_rows", "n_features", "threads"),
    [
        ("fit", 2 * SMALL // 40, 40, 1),
        ("fit", SMALL // 80, 40, 2),
        ("fit", WIDE + 10, WIDE, 2),
        ("partial_fit", 2 * SMALL // 40, 40, 1),
        ("partial_fit", SMALL // 80, 40, 2),
    ],
)
def test_one_thread_where_more_would_wait(seen, method, n_rows, n_features, threads):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_rows, n_features)), rng.normal(size=n_rows)
    with threadpool_limits(2, user_api="blas"):
        getattr(SGDLinearRegressor(random_state=0), method)(X, y)
        assert blas_threads() == {2}
    assert seen
    assert all(number == {threads} for number in seen)


def test_an_error_gives_them_back(monkeypatch):
    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_training.SearchingEpoch, "run", fail)
    X = np.random.default_rng(0).normal(size=(2 * SMALL // 40, 40))
    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(KeyboardInterrupt):
            SGDLinearRegressor().fit(X, X[:, 0])
        assert blas_threads() == {2}

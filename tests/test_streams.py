"""Streams in earnest: chunks of any size, drift, growing columns, files larger than memory."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sklearn_sgdlin import SGDLinearRegressor

from .data import least_squares_mse

MAKERS = {
    "normal": lambda rng, n, d: rng.normal(size=(n, d)),
    "raw": lambda rng, n, d: rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * 1e3 + 1e4,
    "heavy tails": lambda rng, n, d: rng.standard_t(2.5, size=(n, d)),
    "log-normal": lambda rng, n, d: rng.lognormal(0, 1.5, size=(n, d)),
}


def make(rng, n_rows, n_features, kind="normal"):
    X = MAKERS[kind](rng, n_rows, n_features)
    signal = (X - X.mean(axis=0)) / X.std(axis=0) @ rng.normal(size=n_features)
    return X, signal + signal.std() * rng.normal(size=n_rows)


def learn(X, y, chunk, model=None):
    model = SGDLinearRegressor(random_state=0) if model is None else model
    for start in range(0, len(y), chunk):
        model.partial_fit(X[start : start + chunk], y[start : start + chunk])
    return model


@pytest.mark.parametrize("kind", MAKERS)
def test_one_pass_in_chunks_of_any_size_is_close_to_least_squares(rng, kind):
    X, y = make(rng, 15_000, 10, kind)
    X, X_new, y, y_new = X[:10_000], X[10_000:], y[:10_000], y[10_000:]
    scores = []
    for chunk in (1, 100, 10_000):
        model = learn(X, y, chunk)
        excess = np.mean((y - model.predict(X)) ** 2) / least_squares_mse(X, y) - 1
        assert excess < 1e-2
        assert model.t_ == len(y)
        scores.append(model.score(X_new, y_new))
    assert np.ptp(scores) < 5e-3


def test_first_chunk_of_one_row(rng):
    X, y = make(rng, 10_001, 5, "raw")
    model = learn(X[:1], y[:1], 1)
    assert model.predict(X[:1]) == pytest.approx(y[:1])
    learn(X[1:], y[1:], 10_000, model)
    assert np.mean((y - model.predict(X)) ** 2) < least_squares_mse(X, y) * 1.02


def state_of(model):
    """All numbers that a stream carries on."""
    state = dict(vars(model._state))
    moments = vars(state.pop("moments"))
    return np.hstack([value for part in (state, moments) for value in part.values()])


@pytest.mark.parametrize("options", [{}, {"average": False}, {"loss": "huber", "penalty": "l1"}])
@pytest.mark.parametrize("first", [1, 500])
def test_pickle_in_mid_stream_changes_no_bit(rng, options, first):
    X, y = make(rng, 1000, 5, "raw")
    through, copied = (SGDLinearRegressor(random_state=0, **options) for _ in range(2))
    for part in (slice(0, first), slice(first, first + 7), slice(first + 7, None)):
        through.partial_fit(X[part], y[part])
        copied = pickle.loads(pickle.dumps(copied)).partial_fit(X[part], y[part])
    assert_array_equal(through.coef_, copied.coef_)
    assert_array_equal(state_of(through), state_of(copied))


@pytest.mark.parametrize("columns", [slice(None), [0]], ids=["all", "one"])
@pytest.mark.parametrize("chunk", [1, 100])
def test_columns_that_grow_a_thousandfold_do_no_lasting_harm(rng, columns, chunk):
    n_before, coef = 2000, rng.normal(size=5)
    X = rng.normal(size=(8 * n_before, 5))
    X[n_before:, columns] *= 1000
    y = X @ coef + rng.normal(size=len(X))
    new = np.arange(len(X)) > n_before
    model = learn(X[: 2 * n_before], y[: 2 * n_before], chunk)
    assert model.score(X[new], y[new]) > 0.99
    learn(X[2 * n_before :], y[2 * n_before :], chunk, model)
    # The noise has variance 1, a millionth of that of the columns that grew.
    assert np.mean((X[new] @ (model.coef_ - coef) + model.intercept_) ** 2) < 0.05


@pytest.mark.parametrize("chunk", [1, 10])
def test_last_iterate_follows_a_drift(rng, chunk):
    n_features = 10
    X = rng.normal(size=(6000, n_features)) * np.logspace(-3, 3, n_features)
    before, after = rng.normal(size=(2, n_features)) / np.logspace(-3, 3, n_features)
    y = X @ before + 0.1 * rng.normal(size=len(X))
    model = learn(X[:3000], y[:3000], chunk, SGDLinearRegressor(average=False, random_state=0))
    changed = X @ after + 5
    relearned = slice(3000, 3000 + 10 * n_features)
    assert model.score(X, changed) < 0
    learn(X[relearned], changed[relearned], chunk, model)
    assert model.score(X, changed) > 0.95


def test_fit_starts_afresh_and_partial_fit_goes_on(rng):
    X, y = make(rng, 2000, 5)
    model = learn(X, -y, 100)
    fitted = SGDLinearRegressor(random_state=0).fit(X, y)
    assert_array_equal(model.fit(X, y).coef_, fitted.coef_)
    assert model.t_ == fitted.t_ == 2000 * fitted.n_iter_
    model.partial_fit(X[:10], y[:10])
    assert model.t_ == fitted.t_ + 10
    assert model._state.moments.rows == 2010
    assert np.abs(model.coef_ - fitted.coef_).max() < 1e-2 * np.abs(fitted.coef_).max()


MEMMAP = """
import resource, sys
from pathlib import Path
import numpy as np
from sklearn_sgdlin import SGDLinearRegressor

def taken():  # memory of its own, without pages of mapped files
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()

X = np.memmap(sys.argv[1], mode="r", dtype="f8", shape=(1_000_000, 50))
y = X[:, 0] + np.random.default_rng(0).normal(size=len(X))
resource.setrlimit(resource.RLIMIT_DATA, (taken() + 200 * 10**6,) * 2)
model = SGDLinearRegressor(random_state=0).fit(X, y)
print(model.stop_reason_, model.score(X[:10_000], y[:10_000]) > 0.4)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is kept by Linux only")
def test_fit_of_a_memmap_takes_less_than_200_megabytes_of_its_own(rng, tmp_path):
    path = tmp_path / "X"
    X = np.memmap(path, mode="w+", dtype="f8", shape=(1_000_000, 50))
    for start in range(0, len(X), 10_000):
        X[start : start + 10_000] = rng.normal(size=(10_000, 50))
    X.flush()
    out = subprocess.check_output([sys.executable, "-c", MEMMAP, str(path)], text=True)
    assert out.split() == ["converged", "True"]

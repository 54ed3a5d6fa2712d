"""Streams of sparse rows with many columns: a chunk changes the columns of its entries alone."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, hstack

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin.model.loss import make_loss
from sklearn_sgdlin.model.sparse_state import SparseState

N_COLUMNS = 2000

SETTINGS = [
    {},
    {"penalty": "l2", "alpha": 1e-3},
    {"penalty": "l1", "alpha": 1e-4, "fit_intercept": False},
    {"loss": "huber", "epsilon": 1.0, "average": False},
    {"loss": "quantile", "quantile": 0.8, "positive": True},
]


def one_hot(rng, n_rows, n_columns=N_COLUMNS):
    """Rows with one entry each, and a target of which they tell the mean."""
    category = rng.integers(0, n_columns, n_rows)
    X = csr_array((np.ones(n_rows), (np.arange(n_rows), category)), shape=(n_rows, n_columns))
    return X, 1 + rng.normal(size=n_columns)[category] + 0.5 * rng.normal(size=n_rows)


def text(rng, n_rows, n_columns=N_COLUMNS, n_words=20):
    """Rows of word frequencies, where few words are frequent and most are rare."""
    word = (n_columns ** rng.random((n_rows, n_words))).astype(int) - 1
    row = np.repeat(np.arange(n_rows), n_words)
    X = csr_array((np.ones(row.size) / n_words, (row, word.ravel())), shape=(n_rows, n_columns))
    X.sum_duplicates()
    return X, X @ rng.normal(scale=5, size=n_columns) + 0.1 * rng.normal(size=n_rows)


def learn(X, y, chunk, model, weight=None):
    for start in range(0, len(y), chunk):
        part = slice(start, start + chunk)
        model.partial_fit(X[part], y[part], None if weight is None else weight[part])
    return model


def numbers_of(model):
    """All arrays of a stream, as copies."""
    state = model._state
    return [*(array.copy() for array in state.columns), model.coef_.copy(), state.residuals]


@pytest.mark.parametrize("options", SETTINGS)
@pytest.mark.parametrize("n_rows", [1, 50])
def test_a_chunk_changes_the_columns_of_its_entries_alone(rng, options, n_rows):
    X, y = text(rng, 300 + n_rows)
    model = learn(X[:300], y[:300], 50, SGDLinearRegressor(random_state=0, **options))
    assert isinstance(model._state, SparseState)
    before = numbers_of(model)
    chunk = X[300:]
    model.partial_fit(chunk, y[300:])
    others = np.setdiff1d(np.arange(N_COLUMNS), np.append(chunk.indices, model._state.far))
    for old, new in zip(before[:-1], numbers_of(model)[:-1], strict=True):
        assert_array_equal(old[others], new[others])
        assert np.any(old != new)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e200])
def test_a_failed_chunk_changes_nothing(rng, wrong):
    X, y = text(rng, 120)
    model = learn(X[:100], y[:100], 20, SGDLinearRegressor(random_state=0))
    before, state = numbers_of(model), model._state
    X = X[100:].copy()
    X.data[-1] = wrong
    with pytest.raises(ValueError, match="Input X contains"):
        model.partial_fit(X, y[100:])
    with pytest.raises(ValueError, match="Input y contains"):
        model.partial_fit(X[:1], [wrong])
    assert model._state is state
    for old, new in zip(before, numbers_of(model), strict=True):
        assert_array_equal(old, new)


def test_an_interrupt_while_a_chunk_is_written_changes_nothing(rng, monkeypatch):
    X, y = text(rng, 120)
    model = learn(X[:100], y[:100], 20, SGDLinearRegressor(random_state=0))
    before, write = numbers_of(model), SparseState._write

    def interrupted(self, numbers, columns):
        write(self, numbers, columns)
        if columns is self.update.columns:
            raise KeyboardInterrupt

    monkeypatch.setattr(SparseState, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X[100:], y[100:])
    for old, new in zip(before, numbers_of(model), strict=True):
        assert_array_equal(old, new)


@pytest.mark.parametrize("chunk", [100, 5000])
@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({"penalty": "l2"}, {"solver": "newton-cg"}),
        ({"penalty": "l1"}, {}),
        ({"penalty": "elasticnet", "alpha": 1e-3}, {}),
        ({"penalty": "l2", "loss": "huber", "epsilon": 1.0}, {}),
    ],
)
def test_five_passes_end_at_the_optimum_of_fit(rng, options, least, chunk):
    X, y = one_hot(rng, 10_000, 1000)
    options = {"alpha": 1e-4, "random_state": 0} | options
    model = SGDLinearRegressor(solver="sgd", **options)
    for _ in range(5):
        order = rng.permutation(len(y))
        learn(X[order], y[order], chunk, model)
    assert isinstance(model._state, SparseState)
    loss = make_loss(options.get("loss", "squared_error"), options.get("epsilon", 0.1))
    l1_ratio = {"l2": 0.0, "l1": 1.0, "elasticnet": 0.15}[options["penalty"]]
    penalty = l1_ratio * np.abs(model.coef_).sum() + (1 - l1_ratio) / 2 * model.coef_ @ model.coef_
    objective = loss.value(y - model.predict(X)).mean() + options["alpha"] * penalty
    optimum = SGDLinearRegressor(tol=1e-4, **options, **least).fit(X, y)
    assert objective < 1.01 * optimum.loss_curve_[-1]


@pytest.mark.parametrize("options", SETTINGS)
def test_more_columns_than_have_entries_change_nothing(rng, options):
    X, y = text(rng, 600)
    wide = csr_array((X.data, 500 * X.indices, X.indptr), shape=(600, 500 * N_COLUMNS))
    narrow, wide = (
        learn(rows, y, 100, SGDLinearRegressor(random_state=0, **options)) for rows in (X, wide)
    )
    assert_array_equal(wide.coef_[::500], narrow.coef_)
    assert np.count_nonzero(wide.coef_) == np.count_nonzero(narrow.coef_)
    assert wide.intercept_ == narrow.intercept_


@pytest.mark.parametrize("options", SETTINGS)
def test_pickle_in_mid_stream_changes_no_bit(rng, options):
    X, y = text(rng, 400)
    through, copied = (SGDLinearRegressor(random_state=0, **options) for _ in range(2))
    for part in (slice(0, 1), slice(1, 200), slice(200, 400)):
        through.partial_fit(X[part], y[part])
        copied = deepcopy(pickle.loads(pickle.dumps(copied))).partial_fit(X[part], y[part])
    for ours, theirs in zip(numbers_of(through), numbers_of(copied), strict=True):
        assert_array_equal(ours, theirs)


def test_zeros_without_weight_and_units_of_weights_change_nothing(rng):
    X, y = text(rng, 400)
    weight = rng.uniform(0.5, 2, 400)
    model = learn(X, y, 100, SGDLinearRegressor(random_state=0, shuffle=False), weight)
    dense = SGDLinearRegressor(random_state=0, shuffle=False).partial_fit(
        X[:100], y[:100], weight[:100]
    )
    learn(X[100:].toarray(), y[100:], 100, dense, weight[100:])
    assert_allclose(dense.coef_, model.coef_, rtol=1e-9, atol=1e-12)
    scaled = learn(X, y, 100, SGDLinearRegressor(random_state=0, shuffle=False), 1e6 * weight)
    assert_allclose(scaled.coef_, model.coef_, rtol=1e-9, atol=1e-12)


def test_columns_far_from_zero_are_centred(rng):
    X, y = one_hot(rng, 10_000, 1000)
    numeric = np.column_stack([2000 + 5 * rng.normal(size=10_000), rng.normal(size=10_000)])
    X = csr_array(hstack([X, numeric]))
    y = y + 0.5 * (numeric[:, 0] - 2000) + numeric[:, 1]
    model = SGDLinearRegressor(random_state=0, solver="sgd")
    learn(X[:8000], y[:8000], 200, model)
    assert_array_equal(model._state.far, [1000])
    assert_allclose(model.coef_[1000:], [0.5, 1], rtol=0.1)  # of 8 rows a column
    assert np.mean((y[8000:] - model.predict(X[8000:])) ** 2) < 0.5  # noise 0.25, y 8.5


@pytest.mark.parametrize("n_columns", [1, 2])
def test_first_rows_predict_within_reason(rng, n_columns):
    numeric = 1e4 + rng.normal(size=(60, n_columns))
    X = csr_array(hstack([text(rng, 60)[0], numeric]))
    y = numeric.sum(axis=1) + 5 * (X[:, [0]].toarray()[:, 0]) + rng.normal(size=60)
    model = SGDLinearRegressor(random_state=0)
    for i in range(60):
        if i:
            assert abs(model.predict(X[[i]])[0] - y[:i].mean()) < 10 * n_columns + 20
        model.partial_fit(X[[i]], y[i : i + 1])


def test_a_stream_goes_on_from_a_fit(rng):
    X, y = text(rng, 4000)
    model = SGDLinearRegressor(penalty="l2", alpha=1e-5, random_state=0).fit(X[:3000], y[:3000])
    before = model.score(X[3000:], y[3000:])
    fitted = model.coef_
    learn(X[3000:3500], y[3000:3500], 100, model)
    assert isinstance(model._state, SparseState)
    assert model.coef_ is not fitted
    assert model.score(X[3500:], y[3500:]) > before - 0.02


def test_several_targets_are_learned_as_if_alone(rng):
    X, y = text(rng, 400)
    both = learn(X, np.column_stack([y, -2 * y]), 100, SGDLinearRegressor(random_state=0))
    for target, values in enumerate((y, -2 * y)):
        alone = learn(X, values, 100, SGDLinearRegressor(random_state=0))
        assert_array_equal(both.coef_[target], alone.coef_)


def test_rows_without_entries_move_the_intercept(rng):
    model = SGDLinearRegressor(random_state=0)
    for _ in range(20):
        model.partial_fit(csr_array((10, N_COLUMNS)), 3 + 0.1 * rng.normal(size=10))
    assert not model.coef_.any()
    assert abs(model.intercept_ - 3) < 0.1

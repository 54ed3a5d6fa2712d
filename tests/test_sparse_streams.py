"""Streams of sparse rows with many columns: a chunk changes the columns of its entries alone."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from copy import copy, deepcopy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, hstack

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin.model.loss import make_loss
from sklearn_sgdlin.model.sparse_columns import Columns
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
    return [*state.version.columns, model.coef_.copy(), state.residuals]


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
    for number, (old, new) in enumerate(zip(before[:-1], numbers_of(model)[:-1], strict=True)):
        assert_array_equal(old[others], new[others])
        assert np.any(old != new) or Columns._fields[number] == "given_coef"


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


@pytest.mark.parametrize("after", range(4))
def test_an_interrupt_while_a_chunk_is_written_changes_nothing(rng, monkeypatch, after):
    X, y = text(rng, 120)
    model = learn(X[:100], y[:100], 20, SGDLinearRegressor(random_state=0))
    expected = numbers_of(deepcopy(model).partial_fit(X[100:], y[100:]))
    model.partial_fit(X[100:], y[100:])

    def interrupted(self, numbers, columns):
        monkeypatch.undo()
        for array, values in list(zip(self, columns, strict=True))[:after]:
            array[numbers] = values
        raise KeyboardInterrupt

    monkeypatch.setattr(Columns, "put", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _ = model.coef_
    for old, new in zip(expected, numbers_of(model), strict=True):
        assert_array_equal(old, new)


@pytest.mark.parametrize("look", [True, False])
def test_a_call_that_fails_at_its_end_changes_nothing(rng, monkeypatch, look):
    X, y = text(rng, 120)
    model = learn(X[:100], y[:100], 20, SGDLinearRegressor(random_state=0))
    before = numbers_of(deepcopy(model))

    def interrupted(self, loss, choice):
        if look:
            assert np.any(self.coef_ != before[-2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SGDLinearRegressor, "_publish_chunk", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(X[100:], y[100:])
    for old, new in zip(before, numbers_of(model), strict=True):
        assert_array_equal(old, new)


@pytest.mark.parametrize("look", [True, False])
def test_a_shallow_copy_goes_its_own_way(rng, look):
    X, y = text(rng, 300)
    model = learn(X[:100], y[:100], 50, SGDLinearRegressor(random_state=0))
    twins = [model, copy(model), SGDLinearRegressor(random_state=0)]
    vars(twins[2]).update(vars(model))  # shares the state itself
    expected = [deepcopy(model) for _ in twins]
    for number, part in enumerate([slice(100, 200), slice(200, 300), slice(150, 250)] * 3):
        for models in (twins, expected):
            models[number % 3].partial_fit(X[part], y[part])
            if look:
                _ = models[(number + 1) % 3].coef_
    for ours, theirs in zip(twins, expected, strict=True):
        for one, other in zip(numbers_of(ours), numbers_of(theirs), strict=True):
            assert_array_equal(one, other)


def test_threads_that_look_at_one_model_see_the_same(rng):
    X, y = text(rng, 400)
    model = learn(X, y, 40, SGDLinearRegressor(random_state=0))
    expected = deepcopy(model).predict(X)
    with ThreadPoolExecutor(4) as pool:
        for prediction in pool.map(lambda _: model.predict(X), range(8)):
            assert_array_equal(prediction, expected)


@pytest.mark.parametrize("options", SETTINGS)
def test_to_look_at_a_model_changes_no_bit(rng, options):
    X, y = text(rng, 300)
    looked, alone = (SGDLinearRegressor(random_state=0, **options) for _ in range(2))
    for start in (0, 1, 2, *range(50, 300, 50)):
        looked.partial_fit(X[start : start + 50], y[start : start + 50]).predict(X[:1])
        alone.partial_fit(X[start : start + 50], y[start : start + 50])
    assert "model" not in vars(looked._learned)  # a copy of all columns, for those who ask for it
    for ours, theirs in zip(numbers_of(looked), numbers_of(alone), strict=True):
        assert_array_equal(ours, theirs)
    assert looked.loss_curve_ == alone.loss_curve_


@pytest.mark.parametrize(
    ("options", "least", "chunk"),
    [
        ({"penalty": "l2"}, {"solver": "newton-cg"}, 5000),
        ({"penalty": "l1"}, {}, 5000),
        ({"penalty": "elasticnet", "alpha": 1e-3}, {}, 200),
        ({"penalty": "l2", "loss": "huber", "epsilon": 1.0}, {}, 5000),
    ],
)
def test_five_passes_end_at_the_optimum_of_fit(rng, options, least, chunk):
    X, y = one_hot(rng, 10_000, 1001)
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
    X, y = text(rng, 2000)
    model = SGDLinearRegressor(penalty="l2", alpha=1e-5, random_state=0).fit(X[:1000], y[:1000])
    before = model.score(X[1000:], y[1000:])
    fitted = model.coef_
    learn(X[1000:1500], y[1000:1500], 100, model)
    assert isinstance(model._state, SparseState)
    assert model.coef_ is not fitted
    assert model.score(X[1500:], y[1500:]) > before - 0.02


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


@pytest.mark.parametrize("average", [True, False])
def test_merged_streams_know_the_columns_of_both(rng, average):
    options = {"average": average, "random_state": 0, "solver": "sgd"}
    X, y = one_hot(rng, 4000, 1200)
    first = X.indices < 600
    a, b = (learn(X[p], y[p], 100, SGDLinearRegressor(**options)) for p in (first, ~first))
    assert isinstance(a._state, SparseState)
    expected = a.coef_ + b.coef_
    rows = a.t_ + b.t_
    intercept = (a.t_ * a.intercept_ + b.t_ * b.intercept_) / rows
    assert a.merge(b) is a
    assert_allclose(a.coef_, expected, rtol=1e-12)
    assert_allclose(a.intercept_, intercept, rtol=1e-12)
    assert (a.t_, a._state.n_columns) == (rows, np.unique(X.indices).size)
    assert_allclose(a._state.version.columns.weight, X.sum(axis=0))
    other = b.coef_.copy()
    assert isinstance(a.partial_fit(X[:100], y[:100])._state, SparseState)
    assert_array_equal(b.coef_, other)


def test_equal_halves_of_a_stream_merge_into_their_mean(rng):
    X, y = text(rng, 2000)
    numeric = 1e4 + rng.normal(size=2000)
    X, y = csr_array(hstack([X, numeric[:, np.newaxis]])), y + numeric
    a, b = (learn(X[i::2], y[i::2], 100, SGDLinearRegressor(random_state=i)) for i in range(2))
    predictions = [model.predict(X) for model in (a, b)]
    errors = [np.mean((prediction - y) ** 2) for prediction in predictions]
    c = a.merge(b)
    assert c._state.far[-1] == N_COLUMNS
    assert np.mean((c.predict(X) - y) ** 2) < max(errors)
    dense = SGDLinearRegressor(random_state=0).partial_fit(X[:100].toarray(), y[:100])
    assert isinstance(dense.merge(b)._state, SparseState)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("n_targets", [0, 2])
def test_a_stream_goes_on_from_a_model_that_was_set(rng, known, n_targets):
    X, y = text(rng, 600)
    y = np.column_stack([y, -y]) if n_targets else y
    best = learn(X, y, 50, SGDLinearRegressor(random_state=0))
    model = SGDLinearRegressor(random_state=0, learning_rate=1e-4)
    if known:
        learn(X, -y, 50, model)
    model.coef_, model.intercept_ = best.coef_.copy(), best.intercept_
    model.partial_fit(X[:50], y[:50])
    assert not np.shares_memory(model.coef_, best.coef_)
    assert np.abs(model.predict(X) - best.predict(X)).max() < 0.01 * np.std(y)
    light = best.to_predictor().set_params(learning_rate=1e-4).partial_fit(X[:50], y[:50])
    assert np.abs(light.predict(X) - best.predict(X)).max() < 0.01 * np.std(y)


@pytest.mark.parametrize("later", [{"half_life": 100.0}, {"precondition": False}])
def test_settings_that_change_all_columns_may_be_set_in_mid_stream(rng, later):
    X, y = text(rng, 900)
    model = learn(X[:300], y[:300], 50, SGDLinearRegressor(random_state=0))
    weight, moments = np.ones(300), model._state.dense().moments
    assert_allclose(moments.mean[:-1], X[:300].mean(axis=0), atol=1e-15)
    variance = np.average(X[:300].toarray() ** 2, axis=0, weights=weight) - moments.mean[:-1] ** 2
    assert_allclose(moments.sum_of_squares[:-1] / 300, variance, atol=1e-15)
    before = model.score(X[300:], y[300:])
    learn(X[300:600], y[300:600], 50, model.set_params(**later))
    assert not model._state.sparse
    assert model.score(X[600:], y[600:]) > before - 0.1
    learn(X[600:], y[600:], 50, model.set_params(half_life=None, precondition=True))
    assert model._state.sparse


def test_a_half_life_follows_a_drift(rng):
    X, y = one_hot(rng, 6000, 1100)
    y[3000:] = 5 - y[3000:]
    forgets = learn(X, y, 500, SGDLinearRegressor(random_state=0, half_life=500.0, solver="sgd"))
    keeps = learn(X, y, 500, SGDLinearRegressor(random_state=0, solver="sgd"))
    assert forgets.intercept_ > 3 > keeps.intercept_ + 0.1

"""Laws of streams: the optimum of all rows, however they are cut, looked at or merged."""

import copy
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import lstsq
from scipy.sparse import csr_array, random_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._tuning import Tuning
from tests.data import learn

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=8)


def make(rng, n_rows, n_features, decades=6):
    """Rows in units of some decades, far from zero, and targets with noise."""
    X = rng.normal(size=(n_rows, n_features)) + 0.3 * rng.normal(size=(n_rows, 1)) + 3
    y = X @ rng.normal(size=n_features) + rng.normal(size=n_rows)
    return X * np.logspace(-decades, decades, n_features), y


def weighted_least_squares(X, y, weight, l2=0.0):
    """Predictions of ridge regression with an intercept, by a dense solver of its own."""
    weight = np.ones(len(y)) if weight is None else weight
    mean, target = np.average(X, axis=0, weights=weight), np.average(y, weights=weight)
    root = np.sqrt(weight / weight.sum())[:, np.newaxis]
    rows, values = root * (X - mean), root[:, 0] * (y - target)
    if l2:
        rows = np.vstack([rows, np.sqrt(l2) * np.eye(X.shape[1])])
        values = np.append(values, np.zeros(X.shape[1]))
    norm = np.linalg.norm(rows, axis=0)
    coef = lstsq(rows / norm, values, cond=1e-12, lapack_driver="gelsy")[0] / norm
    return target + (X - mean) @ coef


def numbers(model):
    """All that a stream carries on, in an order of its own."""
    learned = model._learned
    arrays = [chunk for waiting in learned.waiting for chunk in waiting if chunk is not None]
    state = learned.state
    sums = state.cross_products
    arrays += [sums.triangle, sums.moments.mean, sums.moments.sum_of_squares, *state[1:]]
    return np.hstack([np.ravel(array) for array in arrays if array is not None])


# ---------------------------------------------------------------- the optimum of all rows


@hypothesis.settings(max_examples=25)
@hypothesis.given(
    sizes=SIZES,
    n_features=st.sampled_from([1, 3, 20, 70]),
    l2=st.sampled_from([0.0, 1e-3]),
    weighted=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_stream_is_least_squares_on_all_rows(sizes, n_features, l2, weighted, seed):
    rng = np.random.default_rng(seed)
    X, y = make(rng, 3 * n_features + 30, n_features, decades=0 if l2 else 6)
    weight = rng.exponential(size=len(y)) + 0.1 if weighted else None
    model = SGDLinearRegressor(penalty="l2", alpha=l2)
    learn(model, X, y, sizes, weight)
    expected = weighted_least_squares(X, y, weight, l2)
    assert_allclose(model.predict(X), expected, rtol=0, atol=1e-9 * np.std(y))
    assert (model.solver_, model.t_) == ("newton-cholesky", 0)


@pytest.mark.parametrize(("n_features", "sizes"), [(100, [32]), (300, [700]), (1000, [1000])])
def test_up_to_a_thousand_columns(rng, n_features, sizes):
    X, y = make(rng, 2 * n_features + 50, n_features)
    model = learn(SGDLinearRegressor(), X, y, sizes)
    expected = weighted_least_squares(X, y, None)
    assert_allclose(model.predict(X), expected, rtol=0, atol=1e-9 * np.std(y))


@pytest.mark.parametrize("options", [{"penalty": "l1"}, {"positive": True}])
def test_many_columns_with_kinks(rng, options):
    X, y = make(rng, 700, 120, decades=1)
    whole = SGDLinearRegressor(alpha=0.05, tol=1e-9, **options).fit(X, y)
    model = learn(SGDLinearRegressor(alpha=0.05, **options), X, y, [50])
    assert_allclose(model.predict(X), whole.predict(X), rtol=0, atol=1e-6 * np.std(y))
    assert_array_equal(model.coef_ == 0, whole.coef_ == 0)


def test_dependent_columns_of_dummies(rng):
    group = rng.integers(40, size=900)
    X = np.column_stack([np.eye(40)[group], rng.normal(size=900)])
    y = group + X[:, -1] + rng.normal(size=900)
    model = learn(SGDLinearRegressor(), X, y, [7])
    expected = weighted_least_squares(X, y, None)
    assert_allclose(model.predict(X), expected, rtol=0, atol=1e-9 * np.std(y))


@hypothesis.settings(max_examples=20)
@hypothesis.given(
    n_features=st.integers(1, 8),
    seed=st.integers(0, 99),
    half_life=st.sampled_from([None, 5.0]),
    unit=st.sampled_from([1e-100, 1.0, 1e100]),
)
def test_the_first_rows_are_sane(n_features, seed, half_life, unit):
    rng = np.random.default_rng(seed)
    X, y = make(rng, 4 * n_features, n_features, decades=0)
    X, model = unit * X, SGDLinearRegressor(half_life=half_life)
    for row in range(len(y)):
        model.partial_fit(X[row : row + 1], y[row : row + 1])
        predicted = model.predict(X)
        assert np.abs(predicted - y[: row + 1].mean()).max() < 30 * np.abs(y - y.mean()).max()
    assert np.isfinite(model.loss_curve_).all()


# ---------------------------------------------------------------- what is solved, and when


@pytest.mark.parametrize("options", [{}, {"penalty": "l1"}, {"half_life": 500.0}])
@pytest.mark.parametrize("size", [1, 5])
def test_to_look_at_a_model_changes_no_bit(rng, options, size):
    X, y = make(rng, 250, 4)
    looked, alone = (SGDLinearRegressor(random_state=0, **options) for _ in range(2))
    unsolved = 0
    for start in range(0, len(y), size):
        part = slice(start, start + size)
        looked.partial_fit(X[part], y[part]).predict(X[part])
        alone.partial_fit(X[part], y[part])
        if start % 3 == 0:
            alone = pickle.loads(pickle.dumps(alone))
        unsolved += alone._learned.n_unsolved
    assert unsolved
    assert_array_equal(numbers(looked), numbers(alone))
    assert looked.loss_curve_ == alone.loss_curve_
    assert_array_equal(looked.coef_, alone.coef_)


def test_the_progressive_loss_lacks_few_rows(rng):
    X, y = make(rng, 700, 5)
    model, losses = SGDLinearRegressor(), []
    for row in range(len(y)):
        part = slice(row, row + 1)
        losses.append(((y[part] - model.predict(X[part])) ** 2 / 2)[0] if row else y[0] ** 2 / 2)
        model.partial_fit(X[part], y[part])
    assert np.mean(model.loss_curve_[100:]) == pytest.approx(np.mean(losses[100:]), rel=1e-2)


def test_waiting_rows_belong_to_the_model(rng):
    X, y = make(rng, 400, 3)
    expected = learn(SGDLinearRegressor(), X, y, [1]).coef_
    model, row, target = SGDLinearRegressor(), np.empty((1, 3)), np.empty(1)
    for x, value in zip(X, y, strict=True):
        row[:], target[:] = x, value
        twin = copy.copy(model)
        model.partial_fit(row, target)
        if vars(twin):  # a shallow copy goes its own way
            twin.partial_fit(-row, target)
    assert_array_equal(model.coef_, expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
@pytest.mark.parametrize("what", ["X", "y", "sample_weight"])
def test_a_bad_row_is_refused_by_the_call_that_brings_it(rng, bad, what):
    X, y = make(rng, 120, 3, decades=0)
    model = learn(SGDLinearRegressor(), X, y, [1])
    before, given = dict(vars(model)), {"X": X[:1], "y": y[:1], "sample_weight": np.ones(1)}
    given[what] = np.full_like(given[what], bad)
    if (what, bad) == ("sample_weight", 1e200):  # of no more use, but valid
        model.partial_fit(**given)
        assert np.isfinite(model.coef_).all()
        return
    with pytest.raises(ValueError, match=r"contains|too large"):
        model.partial_fit(**given)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())


@pytest.mark.parametrize("kind", [np.asarray, csr_array, np.float32, pd.DataFrame])
def test_waiting_rows_of_any_kind(rng, kind):
    X, y = make(rng, 100, 3, decades=0)
    model = learn(SGDLinearRegressor(), X, y, [1])
    names = {} if kind is not pd.DataFrame else {"columns": ["a", "b", "c"]}
    mixed, weight = SGDLinearRegressor(), np.ones(len(y))
    for row in range(len(y)):
        part = slice(row, row + 1)
        mixed.partial_fit(kind(X[part], **names), y[part], weight[part] if row % 2 else None)
    tolerance = 1e-5 if kind is np.float32 else 1e-9
    assert_allclose(mixed.predict(kind(X, **names)), model.predict(X), rtol=tolerance)


def test_a_large_sparse_chunk_stays_sparse(rng):
    X = random_array((20_000, 500), density=0.002, format="csr", rng=rng)
    y = rng.normal(size=20_000)
    model = SGDLinearRegressor().partial_fit(X[:2000], y[:2000]).partial_fit(X[:1], y[:1])
    assert model._learned.waiting
    tracemalloc.start()
    model.partial_fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # half of the dense rows


def test_threads_that_look_at_one_model_see_the_same(rng):
    X, y = make(rng, 300, 30)
    model = learn(SGDLinearRegressor(), X, y, [3])
    with ThreadPoolExecutor(4) as pool:
        predictions = list(pool.map(lambda _: model.predict(X), range(8)))
    for prediction in predictions:
        assert_array_equal(prediction, predictions[0])


def test_changed_parameters_hold_from_the_next_chunk_on(rng):
    X, y = make(rng, 503, 3, decades=0)
    model = learn(SGDLinearRegressor(), X[:500], y[:500], [1])
    before = model.coef_.copy()
    model.set_params(penalty="l2", alpha=10.0)
    assert_array_equal(pickle.loads(pickle.dumps(model)).coef_, before)
    model.partial_fit(X[500:501], y[500:501])
    assert np.abs(model.coef_).max() < 0.5 * np.abs(before).max()
    model.set_params(learning_rate=0.1).partial_fit(X[501:502], y[501:502])
    assert (model.solver_, model.t_) == ("sgd", 1)
    model.set_params(learning_rate="auto", penalty=None).partial_fit(X[502:], y[502:])
    expected = weighted_least_squares(X, y, None)
    assert_allclose(model.predict(X), expected, rtol=0, atol=1e-9 * np.std(y))


def test_several_targets_share_the_limit(rng):
    X, Y = rng.normal(size=(60, 8)), rng.normal(size=(60, 4))
    for limit, solver in ((16, "newton-cholesky"), (15, "sgd")):
        model = SGDLinearRegressor(random_state=0)
        model._tuning = Tuning(max_stream_features=limit)
        assert learn(model, X, Y, [1]).solver_ == solver
    model = learn(SGDLinearRegressor(), X, Y, [1, 20])
    for number, y in enumerate(Y.T):
        assert_allclose(model.coef_[number], learn(SGDLinearRegressor(), X, y, [9]).coef_)


# ---------------------------------------------------------------- forgetting


def recursive_least_squares(X, y, factor, n_first):
    """Predictions by RLS with a forgetting factor, started from the first rows."""
    rows = np.column_stack([X, np.ones(len(y))])
    weight = factor ** np.arange(n_first)[::-1]
    P = np.linalg.inv((weight * rows[:n_first].T) @ rows[:n_first])
    theta = P @ (weight * rows[:n_first].T) @ y[:n_first]
    for x, value in zip(rows[n_first:], y[n_first:], strict=True):
        gain = P @ x / (factor + x @ P @ x)
        theta = theta + gain * (value - x @ theta)
        P = (P - np.outer(gain, x @ P)) / factor
        P = (P + P.T) / 2
    return rows @ theta


@pytest.mark.parametrize("sizes", [[1], [30], [7, 100]])
@pytest.mark.parametrize("half_life", [6.0, 20.0, 200.0])
def test_a_half_life_is_recursive_least_squares(rng, half_life, sizes):
    X, y = make(rng, 600, 5, decades=0)
    y[300:] -= 4 * X[300:, 0]  # a drift
    model = learn(SGDLinearRegressor(half_life=half_life), X, y, sizes)
    expected = recursive_least_squares(X, y, 0.5 ** (1 / half_life), 40)
    assert_allclose(model.predict(X), expected, rtol=0, atol=1e-8 * np.std(y))


@pytest.mark.parametrize("penalty", [None, "l1"])
def test_a_very_long_half_life_forgets_nothing(rng, penalty):
    X, y = make(rng, 60, 3)
    options = {"penalty": penalty, "alpha": 0.01}
    model = learn(SGDLinearRegressor(half_life=1e18, **options), X, y, [5])
    expected = learn(SGDLinearRegressor(**options), X, y, [5])
    assert_allclose(model.predict(X), expected.predict(X), rtol=1e-8)


def test_rows_of_weight_zero_let_none_age(rng):
    X, y = make(rng, 300, 3, decades=0)
    weight = (rng.random(300) < 0.5).astype(float)
    model = learn(SGDLinearRegressor(half_life=30.0), X, y, [11], weight)
    kept = learn(SGDLinearRegressor(half_life=30.0), X[weight > 0], y[weight > 0], [11])
    assert_allclose(model.coef_, kept.coef_, rtol=1e-9)


@pytest.mark.parametrize(
    ("loss", "size", "n_rows"),
    [
        ("squared_error", 1, 60),
        ("huber", 1, 60),
        ("squared_error", 500, 1550),
        ("quantile", 500, 1550),
    ],
)
def test_endless_forgetting_keeps_numbers_in_bounds(rng, loss, size, n_rows):
    X, y = make(rng, n_rows, 2, decades=0)
    model = learn(SGDLinearRegressor(loss, half_life=1.5, random_state=0), X, y, [size])
    state = model._state
    # 1550 rows are more than a thousand half-lives: the first ones weigh less than any number.
    assert np.isfinite(model.coef_).all()
    counted = 1 / (1 - 0.5 ** (1 / 1.5))
    assert state.moments.rows == pytest.approx(counted)
    assert state.moments.weight == pytest.approx(counted)
    assert state.rows_seen == pytest.approx(counted)
    assert state.average_rows == pytest.approx(counted)


def test_a_fit_is_forgotten_by_the_stream_after_it(rng):
    X, y = make(rng, 2000, 3, decades=0)
    model = SGDLinearRegressor(half_life=10.0).fit(X[:1500], -y[:1500])
    whole = SGDLinearRegressor().fit(X[:1500], -y[:1500])
    assert_array_equal(model.coef_, whole.coef_)
    learn(model, X[1500:], y[1500:], [3])
    alone = learn(SGDLinearRegressor(half_life=10.0), X[1500:], y[1500:], [3])
    assert_allclose(model.predict(X), alone.predict(X), rtol=0, atol=1e-8 * np.std(y))


@pytest.mark.parametrize("loss", ["squared_error", "squared_epsilon_insensitive"])
@pytest.mark.parametrize("size", [10, 1000])
def test_paths_follow_a_drift(rng, loss, size):
    X = rng.normal(size=(2000, 3))
    y = X @ [1.0, 2.0, 3.0] + 0.1 * rng.normal(size=2000)
    y[1000:] = 5 - y[1000:]
    forgets, keeps = (
        learn(SGDLinearRegressor(loss, half_life=h, learning_rate=1.0), X[:1400], y[:1400], [size])
        for h in (50.0, None)
    )
    assert keeps.solver_ == forgets.solver_ == "sgd"
    assert forgets.score(X[1400:], y[1400:]) > 0.98 > keeps.score(X[1400:], y[1400:])


# ---------------------------------------------------------------- merging


@hypothesis.settings(max_examples=25)
@hypothesis.given(
    sizes=SIZES,
    share=st.floats(0.02, 0.98),
    penalty=st.sampled_from([None, "l2", "l1"]),
    weighted=st.booleans(),
    seed=st.integers(0, 99),
)
def test_merged_streams_are_one_stream(sizes, share, penalty, weighted, seed):
    rng = np.random.default_rng(seed)
    X, y = make(rng, 200, 6, decades=2)
    weight = rng.exponential(size=len(y)) + 0.1 if weighted else None
    whole = learn(SGDLinearRegressor(penalty=penalty), X, y, [200], weight)
    cut = 1 + int(share * 198)
    models = [
        learn(clone(whole), X[part], y[part], sizes, None if weight is None else weight[part])
        for part in (slice(cut), slice(cut, None))
    ]
    assert models[0].merge(models[1]) is models[0]
    assert_allclose(models[0].predict(X), whole.predict(X), rtol=0, atol=1e-8 * np.std(y))
    assert models[0]._state.moments.rows == 200


def test_a_merged_stream_goes_on(rng):
    X, Y = rng.normal(size=(400, 4)), rng.normal(size=(400, 2))
    a, b = (learn(SGDLinearRegressor(), X[i:300:2], Y[i:300:2], [10]) for i in range(2))
    other = b.coef_.copy()
    learn(a.merge(b), X[300:], Y[300:], [1])
    assert_allclose(a.coef_, learn(SGDLinearRegressor(), X, Y, [400]).coef_, rtol=1e-9)
    assert_array_equal(b.coef_, other)


@pytest.mark.parametrize("path", [{"solver": "sgd"}, {"average": False}])
def test_merged_paths_are_averaged_by_rows(rng, path):
    X, y = make(rng, 900, 3, decades=0)
    a, b = (
        learn(SGDLinearRegressor("huber", random_state=i, **path), X[p], y[p], [50])
        for i, p in enumerate([slice(600), slice(600, None)])
    )
    expected = (2 * a.coef_ + b.coef_) / 3, (2 * a.intercept_ + b.intercept_) / 3
    a.merge(b)
    assert_allclose(a.coef_, expected[0])
    assert a.intercept_ == pytest.approx(expected[1])
    assert (a.t_, a.solver_) == (900, "sgd")
    assert a.partial_fit(X[:5], y[:5]).t_ == 905


def test_models_that_do_not_fit_each_other_are_not_merged(rng):
    X, y = make(rng, 60, 3, decades=0)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = SGDLinearRegressor().partial_fit(X, y)
    changed = clone(model).partial_fit(X, y)
    changed.coef_ = 2 * changed.coef_
    before = dict(vars(model))
    cases = [
        (SGDLinearRegressor(half_life=9.0).partial_fit(X, y), ValueError, "same half_life.*9.0"),
        (clone(model).partial_fit(X[:, :2], y), ValueError, r"\(3,\) and \(2,\)"),
        (clone(model).partial_fit(X, np.c_[y, y]), ValueError, r"\(2, 3\)"),
        (clone(model).partial_fit(frame, y), ValueError, "feature names"),
        (changed, ValueError, "was set"),
        (model.to_predictor(), ValueError, "dropped its state"),
        (clone(model), NotFittedError, "not fitted"),
        (None, TypeError, "NoneType"),
    ]
    for other, error, text in cases:
        with pytest.raises(error, match=text):
            model.merge(other)
    assert all(vars(model)[name] is value for name, value in before.items())


# ---------------------------------------------------------------- models of the user


@pytest.mark.parametrize("options", [{"loss": "huber"}, {}, {"average": False}])
@pytest.mark.parametrize("known", [False, True])
def test_a_path_goes_on_from_a_model_that_was_set(rng, options, known):
    X, y = make(rng, 300, 3, decades=0)
    model = SGDLinearRegressor(random_state=0, learning_rate=1e-4, **options)
    if known:
        learn(model, X, -y, [30])
    best = SGDLinearRegressor().fit(X, y)
    model.coef_, model.intercept_ = best.coef_, best.intercept_
    loss = np.mean((y[:5] - best.predict(X[:5])) ** 2) / 2
    model.partial_fit(X[:5], y[:5])
    if "loss" not in options:
        assert model.loss_curve_[-1] == pytest.approx(loss)
    assert model.score(X, y) > 0.9 * best.score(X, y)
    model.coef_ = best.coef_[:2]
    with pytest.raises(ValueError, match=r"coef_ has the shape \(2,\)"):
        model.partial_fit(X, y)


@pytest.mark.parametrize("kind", [np.asarray, csr_array])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_first_rows_do_not_take_away_a_model_that_was_set(rng, kind, size):
    X = np.zeros((60, 1200))
    X[:, :20] = rng.normal(size=(60, 20)) * (rng.random((60, 20)) < 0.3)
    X[:, 0] += 100
    coef = rng.normal(size=1200)
    model = SGDLinearRegressor(random_state=0)
    model.coef_, model.intercept_ = coef, 3.0
    y = X @ coef + 3 + 1e-3 * rng.normal(size=60)
    model = learn(model.to_predictor(), kind(X), y, [size])
    assert_allclose(model.predict(X), y, rtol=0, atol=0.02)
    assert_array_equal(model.coef_[20:], coef[20:])


@pytest.mark.parametrize("learn_first", ["fit", "partial_fit", None])
def test_the_optimum_of_all_rows_does_not_go_on_from_a_model_that_was_set(rng, learn_first):
    X, y = make(rng, 300, 3, decades=0)
    model = SGDLinearRegressor()
    if learn_first:
        getattr(model, learn_first)(X, y)
    model.coef_, model.intercept_ = np.ones(3), 0.0
    with pytest.raises(ValueError, match=r"coef_ or intercept_ was set.*solver='sgd'"):
        model.partial_fit(X, y)
    assert_array_equal(model.coef_, np.ones(3))


@pytest.mark.parametrize("options", [{}, {"loss": "huber"}])
def test_a_predictor_predicts_alike_and_is_small(rng, options):
    X, y = rng.normal(size=(100, 300)), rng.normal(size=100)
    model = learn(SGDLinearRegressor(random_state=0, **options), X, y, [10])
    light = model.to_predictor()
    assert_array_equal(light.predict(X), model.predict(X))
    assert len(pickle.dumps(light)) < 20_000
    assert light.get_params() == model.get_params()
    if options:
        assert light.partial_fit(X[:1], y[:1]).t_ == 1
    else:
        with pytest.raises(ValueError, match="sums were dropped"):
            light.partial_fit(X[:1], y[:1])
    assert model.partial_fit(X[:1], y[:1])._state.moments.rows == 101


def test_a_predictor_of_many_columns_takes_less_than_a_megabyte(rng):
    X = csr_array((rng.normal(size=50), rng.integers(100_000, size=50), [0, 25, 50]), (2, 100_000))
    model = SGDLinearRegressor(random_state=0).partial_fit(X, [1.0, 2.0])
    assert len(pickle.dumps(model)) > 3e6
    assert len(pickle.dumps(model.to_predictor())) < 1e6


# ---------------------------------------------------------------- rows without weight

WAYS = [
    {},
    {"half_life": 50},
    {"loss": "huber"},
    {"loss": "quantile", "half_life": 50},
    {"solver": "sgd"},
    {"solver": "sgd", "penalty": "l1", "alpha": 0.01},
    {"learning_rate": 0.01, "schedule": "invscaling"},
    {"average": False, "update": "explicit", "learning_rate": 0.01, "precondition": False},
]


@pytest.mark.parametrize("options", WAYS, ids=str)
@pytest.mark.parametrize("n_targets", [1, 2])
def test_rows_without_weight_are_absent(rng, options, n_targets):
    X, y = make(rng, 400, 3, decades=0)
    y = y if n_targets == 1 else np.column_stack([y, -y])
    weight = np.repeat([0.0, 1.0], 200)[rng.permutation(400)]
    with_zeros, without = (SGDLinearRegressor(random_state=0, **options) for _ in range(2))
    learn(with_zeros, X, y, [40], weight)
    for start in range(0, 400, 40):
        counted = np.flatnonzero(weight[start : start + 40]) + start
        without.partial_fit(X[counted], y[counted], weight[counted])
    assert with_zeros.t_ == without.t_
    assert_array_equal(with_zeros.coef_, without.coef_)


@pytest.mark.parametrize("options", WAYS, ids=str)
@pytest.mark.parametrize("as_rows", [np.asarray, csr_array])
def test_rows_without_weight_must_be_finite(rng, options, as_rows):
    X, y = make(rng, 60, 3, decades=0)
    model = SGDLinearRegressor(random_state=0, **options).partial_fit(X, y)
    X[7, 1] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.partial_fit(as_rows(X), y, np.arange(60) != 7)


# ---------------------------------------------------------------- bounds set in mid-stream


@pytest.mark.parametrize("options", WAYS, ids=str)
@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("before", ["partial_fit", "fit", "merge"])
def test_positive_holds_from_the_call_after_it_is_set(rng, options, n_targets, before):
    X, y = make(rng, 200, 3, decades=0)
    y = X @ [1, -1, 2] + y / 10 + 5
    y = y if n_targets == 1 else np.column_stack([y, -y])
    model = SGDLinearRegressor(random_state=0, **options)
    getattr(model, "fit" if before == "fit" else "partial_fit")(X, y)
    assert model.coef_.min() < 0
    model.set_params(positive=True)
    if before == "merge":
        model.merge(copy.deepcopy(model))
    else:
        model.partial_fit(X[:1], y[:1])
    assert model.coef_.min() >= 0


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_positive_holds_in_columns_without_a_new_entry(rng, fit_intercept):
    X = csr_array(random_array((300, 1200), density=0.02, format="csr", rng=rng))
    y = X @ rng.normal(size=1200) + 5
    model = SGDLinearRegressor(random_state=0, fit_intercept=fit_intercept).partial_fit(X, y)
    assert model.solver_ == "sgd"
    assert model.coef_.min() < 0
    model.set_params(positive=True).partial_fit(X[:1], y[:1])
    assert model.coef_.min() >= 0


def test_positive_keeps_the_prediction_at_the_mean(rng):
    X, y = make(rng, 2000, 3, decades=0)
    X, y = X + 1000, X @ [1, -1, 2]
    model = SGDLinearRegressor(random_state=0, solver="sgd").partial_fit(X, y)
    model.set_params(positive=True).partial_fit(X[:1], y[:1])
    assert abs(model.predict(X).mean() - y.mean()) < y.std()


def test_positive_bounds_coefficients_that_were_set(rng):
    X, y = make(rng, 200, 3, decades=0)
    model = SGDLinearRegressor(random_state=0, solver="sgd", positive=True).partial_fit(X, y)
    model.coef_ = -np.ones(3)
    assert model.partial_fit(X[:1], y[:1]).coef_.min() >= 0

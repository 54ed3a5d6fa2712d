"""Streams in earnest: chunks of any size, drift, growing columns, files larger than memory."""

import importlib.util
import itertools
import pickle
import subprocess
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from scipy.stats import norm
from sklearn.base import clone

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._partial_fit import Learned
from sklearn_sgdlin._tuning import Tuning
from sklearn_sgdlin.model.loss import make_loss

from .data import least_squares_mse, pairs

path = Path(__file__).parents[1] / "benchmarks" / "streams.py"
spec = importlib.util.spec_from_file_location("benchmark_of_streams", path)
benchmark = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benchmark)

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


def excess(model, X, y):
    return np.mean((y - model.predict(X)) ** 2) / least_squares_mse(X, y) - 1


@pytest.mark.parametrize(
    ("kind", "n_features"),
    [*itertools.product(["normal", "raw"], [1, 2, 5, 10]), ("heavy tails", 5), ("log-normal", 2)],
)
def test_one_pass_in_chunks_of_any_size_is_least_squares(rng, kind, n_features):
    X, y = make(rng, 100 * n_features**2, n_features, kind)
    for chunk in (1 if n_features < 5 else 10, 100, 10_000):
        model = learn(X, y, chunk)
        assert abs(excess(model, X, y)) < 1e-9
        assert model._state.moments.rows == len(y)
        assert model.t_ == 0


@pytest.mark.parametrize(
    ("kind", "n_features"), [("raw", 64), ("normal", 65), ("heavy tails", 65), ("log-normal", 65)]
)
def test_one_pass_over_more_columns(rng, kind, n_features):
    X, y = make(rng, 30_000, n_features, kind)
    X, X_new, y, y_new = X[:20_000], X[20_000:], y[:20_000], y[20_000:]
    models = [SGDLinearRegressor(random_state=0) for _ in range(2)]
    for model, chunk in zip(models, (500, 10_000), strict=True):
        model._tuning = Tuning(max_stream_features=64)
        learn(X, y, chunk, model)
    least = least_squares_mse(X, y)
    exact = n_features == 64  # beyond, it is the average of the path
    for model in models:
        assert abs(np.mean((y - model.predict(X)) ** 2) / least - 1) < (1e-9 if exact else 2e-2)
        assert model.solver_ == ("newton-cholesky" if exact else "sgd")
    assert np.ptp([model.score(X_new, y_new) for model in models]) < 5e-3


@pytest.mark.parametrize(
    ("loss", "kind"),
    [("huber", "normal"), ("quantile", "log-normal"), ("epsilon_insensitive", "log-normal")],
)
def test_one_pass_with_other_losses(rng, loss, kind):
    X, y = make(rng, 5000, 10, kind)
    y /= y.std()
    options = {"loss": loss, "epsilon": 1.0, "random_state": 0}
    least = SGDLinearRegressor(**options, tol=1e-5).fit(X, y).loss_curve_[-1]
    for chunk in (50, 1000):
        model = learn(X, y, chunk, SGDLinearRegressor(**options))
        residual = y - model.predict(X)
        assert make_loss(loss, 1.0, 0.5).value(residual).mean() < 1.02 * least


chunks = st.lists(st.integers(1, 60), min_size=1, max_size=6)
settings = st.fixed_dictionaries(
    {"fit_intercept": st.booleans(), "penalty": st.sampled_from([None, "l2"])}
)


@hypothesis.settings(max_examples=40)
@hypothesis.given(
    sizes=chunks,
    options=settings,
    seed=st.integers(0, 99),
    weighted=st.booleans(),
    sparse=st.booleans(),
    fit_first=st.booleans(),
)
def test_chunks_are_as_good_as_one_fit(sizes, options, seed, weighted, sparse, fit_first):
    rng = np.random.default_rng(seed)
    sizes = [30, *sizes]
    X, y = make(rng, sum(sizes), 3, "raw")
    weight = rng.choice([0, 1, 1e6], len(y)) if weighted else None
    bounds = np.cumsum([0, *sizes])
    if weighted:
        weight[bounds[:-1]] = 1  # none without
    whole = SGDLinearRegressor(alpha=0.1, tol=1e-8, max_iter=1000, **options).fit(X, y, weight)
    model = SGDLinearRegressor(alpha=0.1, **options)
    for number, (start, stop) in enumerate(itertools.pairwise(bounds)):
        rows = csr_array(X[start:stop]) if sparse else X[start:stop]
        once = model.fit if number == 0 and fit_first else model.partial_fit
        once(rows, y[start:stop], None if weight is None else weight[start:stop])
    assert_allclose(model.predict(X), whole.predict(X), rtol=0, atol=1e-6 * y.std())


def test_columns_that_tell_nothing_or_the_same(rng):
    X, y = make(rng, 3000, 4)
    X = np.column_stack([X, X[:, 0] + X[:, 1], np.full(3000, 0.1), np.arange(3000) > 2000])
    model = learn(X, y, 7)
    assert abs(excess(model, X, y)) < 1e-9
    assert model.coef_[5] == 0
    assert np.abs(model.coef_).max() < 10


def test_first_chunk_of_one_row(rng):
    X, y = make(rng, 10_001, 5, "raw")
    model = learn(X[:1], y[:1], 1)
    assert model.predict(X[:1]) == pytest.approx(y[:1])
    learn(X[1:], y[1:], 10_000, model)
    assert excess(model, X, y) < 1e-9


def state_of(model):
    """All numbers that a stream carries on."""
    return np.hstack(list(numbers(model._state)))


def numbers(value):
    """The numbers in a record of arrays and records."""
    if isinstance(value, tuple) or hasattr(value, "__dict__"):
        for part in value if isinstance(value, tuple) else vars(value).values():
            yield from numbers(part)
    elif value is not None:
        yield np.ravel(value)


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
@pytest.mark.parametrize(
    ("loss", "chunk", "n_before"),
    [("squared_error", 1, 200), ("squared_error", 100, 500), ("huber", 10, 1000)],
)
def test_columns_that_grow_a_thousandfold_do_no_lasting_harm(rng, columns, loss, chunk, n_before):
    coef = rng.normal(size=5)
    X = rng.normal(size=(8 * n_before, 5))
    X[n_before:, columns] *= 1000
    y = X @ coef + rng.normal(size=len(X))
    new = np.arange(len(X)) > n_before
    model = SGDLinearRegressor(loss=loss, random_state=0)
    learn(X[: 2 * n_before], y[: 2 * n_before], chunk, model)
    assert model.score(X[new], y[new]) > 0.99
    learn(X[2 * n_before :], y[2 * n_before :], chunk, model)
    # The noise has variance 1, a millionth of that of the columns that grew.
    assert np.mean((X[new] @ (model.coef_ - coef) + model.intercept_) ** 2) < 0.05


@pytest.mark.parametrize("chunk", [1, 10])
def test_last_iterate_follows_a_drift(rng, chunk):
    n_features = 10
    X = rng.normal(size=(2000, n_features)) * np.logspace(-3, 3, n_features)
    before, after = rng.normal(size=(2, n_features)) / np.logspace(-3, 3, n_features)
    y = X @ before + 0.1 * rng.normal(size=len(X))
    model = learn(X[:1000], y[:1000], chunk, SGDLinearRegressor(average=False, random_state=0))
    changed = X @ after + 5
    relearned = slice(1000, 1000 + 10 * n_features)
    assert model.score(X, changed) < 0
    learn(X[relearned], changed[relearned], chunk, model)
    assert model.score(X, changed) > 0.95


@pytest.mark.parametrize("solver", ["auto", "sgd"])
def test_fit_starts_afresh_and_partial_fit_goes_on(rng, solver):
    X, y = make(rng, 2000, 5)
    fitted = SGDLinearRegressor(solver=solver, random_state=0)
    model = learn(X, -y, 100, clone(fitted))
    fitted.fit(X, y)
    assert_array_equal(model.fit(X, y).coef_, fitted.coef_)
    assert model.t_ == fitted.t_ == (2000 * fitted.n_iter_ if solver == "sgd" else 0)
    model.partial_fit(X[:10], y[:10])
    assert model.t_ == fitted.t_ + (10 if solver == "sgd" else 0)
    assert model._state.moments.rows == 2010
    assert np.abs(model.coef_ - fitted.coef_).max() < 1e-2 * np.abs(fitted.coef_).max()


MEMMAP = """
import resource, sys
from pathlib import Path
import numpy as np
from sklearn_sgdlin import SGDLinearRegressor

def taken():  # memory of its own, without pages of mapped files
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()

X = np.memmap(sys.argv[1], mode="r", dtype="f8", shape=(500_000, 50))
y = X[:, 0] + np.random.default_rng(0).normal(size=len(X))
resource.setrlimit(resource.RLIMIT_DATA, (taken() + 100 * 10**6,) * 2)
model = SGDLinearRegressor(random_state=0).fit(X, y)
print(model.stop_reason_, model.score(X[:10_000], y[:10_000]) > 0.4)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is kept by Linux only")
def test_fit_of_a_memmap_takes_less_than_half_of_it(rng, tmp_path):
    path = tmp_path / "X"
    np.tile(rng.normal(size=(1000, 50)), (500, 1)).tofile(path)
    out = subprocess.check_output([sys.executable, "-c", MEMMAP, str(path)], text=True)
    assert out.split() == ["converged", "True"]


@pytest.mark.parametrize("n_first", [15, 100])
def test_stream_goes_on_from_a_fit_of_few_or_many_rows(rng, n_first):
    X, y = make(rng, 500, 20)
    model = SGDLinearRegressor(penalty="l2", random_state=0).fit(X[:n_first], y[:n_first])
    model.partial_fit(X[n_first:], y[n_first:])
    both = SGDLinearRegressor(penalty="l2", random_state=0).fit(X, y)
    assert_allclose(model.coef_, both.coef_, rtol=1e-8, atol=1e-8 * np.abs(both.coef_).max())


# A small stream of each kind, of any loss, with chunks of 2 to 1000 rows.
SEEDS = [120, 21, 62, 43, 24, 105, 286, 147, 48, 129, 210, 191, 92, 213, 14, 255, 56, 37, 58, 79]


@pytest.mark.parametrize(("kind", "seed"), [*zip(benchmark.KINDS, SEEDS, strict=True)])
def test_no_stream_costs_much_more_than_a_constant(kind, seed):
    stream = benchmark.Stream.draw(seed)
    assert stream.kind == kind
    worst, whole = benchmark.ratios(stream)
    assert worst < benchmark.WORST
    assert whole < benchmark.WHOLE


@pytest.mark.parametrize(
    ("level", "noise", "fit_first"), pairs([0.01, 0.1, 0.5, 0.9], [3, 0.01], [False, True])
)
def test_streams_of_quantiles_cover_as_many_rows(level, noise, fit_first):
    coverage, excess = benchmark.near_optimum("quantile", level, noise, 0.0, 500, fit_first)
    assert abs(coverage) < 0.01
    # That of the optimum itself on new rows, as far as it is of first order.
    density = norm.pdf(norm.ppf(level))
    assert excess < 2 * level * (1 - level) / density**2 / 2000 + 1e-3


@pytest.mark.parametrize(
    ("outliers", "noise", "fit_first"), pairs([0.0, 0.2], [3, 0.01], [False, True])
)
def test_streams_with_outliers(outliers, noise, fit_first):
    _, excess = benchmark.near_optimum("huber", 0.5, noise, outliers, 500, fit_first)
    assert excess < 2e-3


@pytest.mark.parametrize(
    ("loss", "chunk", "before"),
    pairs(["squared_error", "huber", "quantile"], [1, 10], [0.0, 1e-2]),
)
def test_a_column_that_wakes_does_no_lasting_harm(rng, loss, chunk, before):
    X = rng.normal(size=(1000, 6)) + 5
    X[:100, :2] = before * X[:100, :2]
    y = X @ rng.normal(size=6) + 0.1 * rng.normal(size=1000)
    model = SGDLinearRegressor(loss=loss, epsilon=1.0, random_state=0)
    learn(X[:150], y[:150], chunk, model)
    assert model.score(X[150:], y[150:]) > 0
    learn(X[150:], y[150:], chunk, model)
    assert model.score(X[150:], y[150:]) > 0.99


@pytest.mark.parametrize("loss", ["squared_error", "squared_epsilon_insensitive", "huber"])
def test_first_single_rows_cost_little(loss):
    worst = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(40, 10))
        y = X @ rng.normal(size=10) + 0.1 * rng.normal(size=40)
        model, errors = SGDLinearRegressor(loss=loss, epsilon=1.0), []
        model.partial_fit(X[:1], y[:1])
        for i in range(1, len(y)):
            errors.append((y[i] - model.predict(X[i : i + 1])[0]) ** 2)
            model.partial_fit(X[i : i + 1], y[i : i + 1])
        worst.append(max(errors) / y.var())
    assert max(worst) < 100
    assert np.median(worst) < 10


@pytest.mark.parametrize("other", [{"average": False}, {"loss": "huber"}, {"penalty": "l1"}])
def test_other_settings_for_a_row_do_not_drop_the_sums(rng, other):
    X, y = make(rng, 1000, 5, "raw")
    model = learn(X[:300], y[:300], 100)
    usual = {name: model.get_params()[name] for name in other}
    learn(X[300:301], y[300:301], 1, model.set_params(**other))
    learn(X[301:], y[301:], 100, model.set_params(**usual))
    assert abs(excess(model, X, y)) < 1e-9


@pytest.mark.parametrize("n_before", [30, 5000])
def test_what_a_column_learned_counts_less_where_it_grows(rng, n_before):
    X = rng.normal(size=(n_before + 100, 3)) + 10
    X[:n_before, 0] = 10 + 1e-6 * X[:n_before, 0]
    y = X[:, 1] + rng.normal(size=len(X))
    model = learn(X[:n_before], y[:n_before], 10, SGDLinearRegressor(loss="huber", random_state=0))
    same = model._state.rescaled_to(model._state.moments, fit_intercept=True)
    assert_array_equal(same.coef, model._state.coef)
    learn(X[n_before:], y[n_before:], 1, model)
    assert np.abs(model.coef_[0]) < 5


def test_chunks_of_any_size_lead_to_much_the_same_quantile(rng):
    X, y = make(rng, 5000, 5)
    models = [
        learn(X, y, chunk, SGDLinearRegressor(loss="quantile", quantile=0.8, random_state=0))
        for chunk in (10, 100, 10_000)
    ]
    predictions = np.array([model.predict(X) for model in models])
    assert np.ptp(predictions, axis=0).max() < 0.2 * y.std()


@pytest.mark.parametrize("penalty", [None, "l2", "l1"])
@pytest.mark.parametrize("seed", [9, 10])
def test_columns_that_wake_late_are_told_by_their_own_rows(seed, penalty):
    # Sums of products with more than enough rows, of which hardly any tells the columns.
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(220, 10))
    X[:100, :3] = 0 if seed % 2 else 0.01 * X[:100, :3]
    y = X @ rng.normal(size=10) / np.sqrt(10) + 0.1 * rng.normal(size=220)
    model, errors = SGDLinearRegressor(penalty=penalty, random_state=0), np.empty(220)
    for i in range(220):
        errors[i] = (y[i] - model.predict(X[i : i + 1])[0] if i else y[i]) ** 2
        model.partial_fit(X[i : i + 1], y[i : i + 1])
    assert errors[100:].max() < 100 * y.var()
    assert errors[100:210].mean() < 3 * y.var()


@pytest.mark.parametrize("loss", ["epsilon_insensitive", "squared_epsilon_insensitive"])
def test_explicit_steps_where_the_constant_costs_nothing(rng, loss):
    X, y = rng.normal(size=(400, 1)), 0.01 * rng.normal(size=400)
    model = SGDLinearRegressor(
        loss, epsilon=0.025, update="explicit", learning_rate=0.01, random_state=0
    )
    for start in range(0, 400, 4):
        model.partial_fit(X[start : start + 4], y[start : start + 4])
    assert np.abs(model.predict(X)).max() < 0.1


@pytest.mark.parametrize(
    ("loss", "outliers"),
    [("squared_error", 0), ("huber", 0.1), ("quantile", 0), ("epsilon_insensitive", 0)],
)
def test_one_pass_of_sgd_loses_little_of_what_the_rows_tell(rng, loss, outliers):
    options, value = {"loss": loss, "epsilon": 1.0}, make_loss(loss, 1.0).value
    excesses = []
    for _ in range(3):
        X, y = make(rng, 1000, 10)
        y /= np.std(y - X @ np.linalg.lstsq(X, y)[0])
        y += 30 * (rng.random(1000) < outliers)
        model = learn(X, y, 100, SGDLinearRegressor(solver="sgd", random_state=0, **options))
        optimum = SGDLinearRegressor(tol=1e-5, **options).fit(X, y)
        least = value(y - optimum.predict(X)).mean()
        excesses.append(value(y - model.predict(X)).mean() / least - 1)
    assert np.mean(excesses) < 0.009  # with 100 rows a column


@pytest.mark.parametrize("solver", ["auto", "sgd"])
@pytest.mark.parametrize("half_life", [None, 50])
def test_streams_go_on_after_a_billion_rows(rng, solver, half_life):
    X, y = make(rng, 400, 3)
    model = SGDLinearRegressor(solver=solver, half_life=half_life, random_state=0)
    learned = model.partial_fit(X[:200], y[:200])._learned
    state = learned.settled
    count = 10**9 if half_life is None else 1e9
    products = state.cross_products.with_weights_scaled(5e6, count)
    state = state._replace(cross_products=products, rows_seen=count, average_rows=1e9, steps=10**9)
    model._learned = Learned(learned.settings, learned.choice, state)
    before = model.predict(X)
    for start in range(200, 400, 20):
        model.partial_fit(X[start : start + 20], y[start : start + 20])
    rows = model._learned.settled.moments.rows
    assert_allclose(rows, 10**9 + 200 if half_life is None else 1e9 / 2**4, rtol=1e-5)
    assert rows == 10**9 + 200 or half_life
    assert_allclose(model.predict(X), before, atol=1e-2 * y.std())

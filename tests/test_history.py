"""The course of a fit, and of a stream."""

import copy
import pickle

import numpy as np
import pytest

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._fit import Epoch
from sklearn_sgdlin._report import History, chunks_per_point, last_chunks, with_chunk
from sklearn_sgdlin._tuning import Tuning
from tests.data import load


def test_fit_tells_the_objective_of_each_epoch_on_weighted_rows():
    X, y = load("autoregressive")
    weight = np.random.default_rng(0).exponential(size=len(y))
    losses = []
    for n_epochs in (1, 2, 3):
        model = SGDLinearRegressor(tol=None, max_iter=n_epochs, average=False, random_state=0)
        model.fit(X, y, weight)
        losses.append(np.average((y - model.predict(X)) ** 2, weights=weight) / 2)
    np.testing.assert_allclose(model.loss_curve_, losses, rtol=1e-9)


@pytest.mark.parametrize("options", [{}, {"solver": "sgd"}, {"learning_rate": 0.1}])
def test_stream_tells_the_loss_of_each_chunk_before_it_is_learned(options):
    X, y = load("normal")
    weight = np.random.default_rng(0).exponential(size=len(y))
    model, losses = SGDLinearRegressor(random_state=0, **options), []
    for start in range(0, 1000, 100):
        chunk = slice(start, start + 100)
        prediction = model.predict(X[chunk]) if start else 0.0
        losses.append(np.average((y[chunk] - prediction) ** 2, weights=weight[chunk]) / 2)
        model.partial_fit(X[chunk], y[chunk], weight[chunk])
    np.testing.assert_allclose(model.loss_curve_, losses, rtol=1e-12)


def test_stream_after_fit_starts_a_curve_of_its_own_and_fit_another():
    X, y = load("normal")
    model = SGDLinearRegressor(random_state=0).fit(X, y)
    before = np.mean((y[:50] - model.predict(X[:50])) ** 2) / 2
    model.partial_fit(X[:50], y[:50])
    np.testing.assert_allclose(model.loss_curve_, [before], rtol=1e-12)
    curve = model.fit(X, y).loss_curve_
    assert len(curve) == model.n_iter_
    assert curve != [before]


def test_a_pickled_stream_goes_on_with_its_curve():
    X, y = load("normal")
    model = SGDLinearRegressor(random_state=0).partial_fit(X[:100], y[:100])
    twin = pickle.loads(pickle.dumps(model)).partial_fit(X[100:200], y[100:200])
    assert len(model.loss_curve_) == 1
    assert twin.loss_curve_ == model.partial_fit(X[100:200], y[100:200]).loss_curve_


def test_rates_of_the_epochs():
    X, y = load("normal")
    options = {"average": False, "tol": None, "max_iter": 20, "random_state": 0}
    adaptive = SGDLinearRegressor(**options).fit(X, y)
    assert adaptive.learning_rates_[0] == 1.0
    assert len(adaptive.learning_rates_) == 20
    fell = np.diff(adaptive.learning_rates_) < 0
    best_before = np.minimum.accumulate(adaptive.loss_curve_)[:-1]
    improved = adaptive.loss_curve_[1:] < best_before
    np.testing.assert_array_equal(fell[1:], ~improved[:-1])
    assert fell.any()
    constant = SGDLinearRegressor(schedule="constant", **options).fit(X, y)
    assert constant.learning_rates_ == [1.0] * 20


def test_rates_are_those_of_steps_taken():
    X, y = load("normal")
    model = SGDLinearRegressor(random_state=0)
    assert model.fit(X, y).learning_rates_ == []
    assert model.partial_fit(X[:10], y[:10]).learning_rates_ == []
    model.set_params(learning_rate=0.5).partial_fit(X[:10], y[:10])
    assert model.learning_rates_ == [0.0, 0.5]
    assert model.t_ == 10
    model.set_params(learning_rate="auto").partial_fit(X[:10], y[:10])
    assert model.learning_rates_ == [0.0, 0.5, 0.0]
    assert model.t_ == 10
    model.set_params(solver="sgd").partial_fit(X[:10], y[:10])
    assert model.learning_rates_ == [0.0, 0.5, 0.0, 1.0]
    assert model.t_ == 20
    assert model.set_params(solver="auto").fit(X, y).learning_rates_ == []
    assert model.t_ == 0


def test_without_validation_there_is_no_score():
    X, y = load("normal")
    model = SGDLinearRegressor().fit(X, y)
    assert model.validation_scores_ is None
    assert model.best_iteration_ is None


def test_a_stream_tells_nothing_of_the_fit_before_it():
    X, y = load("normal")
    fitted = SGDLinearRegressor(random_state=0, early_stopping=True).fit(X, y)
    fitted.set_params(early_stopping=False).partial_fit(X, y)
    fresh = SGDLinearRegressor(random_state=0).partial_fit(X, y)
    for model in (fitted, fresh):
        assert model.n_iter_ == 1
        assert model.stop_reason_ is None
        assert model.validation_scores_ is None
        assert model.best_iteration_ is None
    assert fitted.fit(X, y).stop_reason_ == "converged"


def test_lines_align_whatever_the_numbers():
    lines = []
    for number, rate, size, seconds in [
        (1, 1.0, 1.0, 0.0),
        (99_999, 1.23e-300, 1.23456e300, 86_400.0),
        (12, 1e300, 1.23456e-300, 3.5),
        (3, 0.001, 0.0, 60.0),
    ]:
        history = History(tol=None, n_iter_no_change=5)
        history.add(Epoch(number, rate, size, None, None, None, None), score=-size)
        lines.append(history.line(seconds))
    for word in ("rate", "loss", "validation", " s"):
        assert len({line.index(word) for line in lines}) == 1, lines
    assert {len(line) for line in lines} == {len(lines[0])}
    assert len(lines[0]) < 90


@pytest.mark.parametrize("points", [2, 10, 100])
def test_the_curve_of_an_endless_stream_gets_coarser(points):
    losses, rates, chunks = [], [], np.random.default_rng(0).exponential(size=9 * points)
    for number, loss in enumerate(chunks, 1):
        losses, rates = with_chunk(losses, rates, number, float(loss), 1 / number, points)
        last = last_chunks(number, points)
        assert len(losses) == len(last) <= points
        assert last[-1] == number
        if number % 7 == 0 or number > 8 * points:
            first = np.append(0, last[:-1])
            means = [chunks[i:j].mean() for i, j in zip(first, last, strict=True)]
            np.testing.assert_allclose(losses, means)
            np.testing.assert_allclose(rates, 1 / np.array(last))
    assert chunks_per_point(9 * points, points) == 16


def test_a_long_stream_keeps_a_curve_of_bounded_length():
    X, y = load("one column")
    model, losses, lengths = SGDLinearRegressor(random_state=0), [], set()
    model._tuning = Tuning(max_curve_points=8)
    for row in range(100):
        chunk = slice(row, row + 1)
        prediction = model.predict(X[chunk]) if row else 0.0
        losses.append(float((y[chunk] - prediction)[0] ** 2 / 2))
        model.set_params(learning_rate=1.0 if row < 48 else 0.5)
        model.partial_fit(X[chunk], y[chunk])
        if row > 50:
            lengths.add(len(pickle.dumps(model)) // 100)
    assert max(lengths) - min(lengths) <= 2
    means = [np.mean(losses[i : i + 16]) for i in range(0, 100, 16)]
    np.testing.assert_allclose(model.loss_curve_, means)
    assert model.learning_rates_ == [1.0] * 3 + [0.5] * 4
    assert len(model.fit(X, y).loss_curve_) == model.n_iter_
    assert len(model.partial_fit(X[:1], y[:1]).loss_curve_) == 1


def test_a_shallow_copy_of_a_stream_shares_no_curve():
    X, y = load("one column")
    model = SGDLinearRegressor(solver="sgd", random_state=0).partial_fit(X[:10], y[:10])
    twin = copy.copy(model)
    twin.partial_fit(X[10:20], y[10:20])
    assert (len(model.loss_curve_), len(model.learning_rates_)) == (1, 1)
    assert (len(twin.loss_curve_), len(twin.learning_rates_)) == (2, 2)


def test_an_interrupt_leaves_the_curves_of_a_stream_as_they_were(monkeypatch):
    X, y = load("one column")
    model = SGDLinearRegressor(solver="sgd", random_state=0).partial_fit(X[:10], y[:10])
    before = dict(vars(model))

    def interrupted(*args):
        with_chunk(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr("sklearn_sgdlin._regressor.with_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X[10:20], y[10:20])
    assert all(vars(model)[name] is value for name, value in before.items())
    assert (len(model.loss_curve_), len(model.learning_rates_)) == (1, 1)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_copy_handed_out_is_not_changed_by_the_next_call(method):
    X, y = load("normal")
    model = SGDLinearRegressor(random_state=0).fit(X, y)
    curve = model.loss_curve_
    length = len(curve)
    getattr(model, method)(X, y)
    assert len(curve) == length

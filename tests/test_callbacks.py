"""Callbacks see every epoch, the model as it would be returned, and can stop the fit."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_sgdlin import SGDLinearRegressor
from tests.data import load

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 or later")
ProgressBar, ScoringMonitor = callback.ProgressBar, callback.ScoringMonitor


class Recorder:
    """Keeps what the hooks were given; stops after an epoch, or fails in a hook."""

    def __init__(self, stop_after=None, fail_in=None, error=ValueError):
        self.stop_after, self.fail_in, self.error = stop_after, fail_in, error
        self.calls, self.models, self.rows, self.contexts = [], [], [], []

    def _note(self, hook, context=None):
        self.calls.append((hook, context.task_name if context else None))
        self.contexts.append(context)
        if hook == self.fail_in and (context is None or context.task_name == "epoch"):
            raise self.error("on purpose")

    def setup(self, estimator, context):
        self._note("setup")

    def on_fit_task_begin(self, estimator, context):
        with pytest.raises(NotFittedError):
            estimator.predict([[0.0]])
        self._note("begin", context)

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        if context.task_name == "epoch":
            self.models.append(fitted_estimator)
            self.rows.append((X, y, metadata))
        self._note("end", context)
        return len(self.models) == self.stop_after

    def teardown(self, estimator, context):
        self._note("teardown")


def test_every_hook_is_called_in_order():
    X, y = load("normal")
    recorder = Recorder()
    model = SGDLinearRegressor(max_iter=3, tol=None).set_callbacks(recorder).fit(X, y)
    epoch = [("begin", "epoch"), ("end", "epoch")]
    fit = [("begin", "fit"), *epoch * 3, ("end", "fit")]
    assert recorder.calls == [("setup", None), *fit, ("teardown", None)]
    assert model.n_iter_ == 3
    whole, *tasks = [
        context
        for (hook, _), context in zip(recorder.calls, recorder.contexts, strict=True)
        if hook == "begin"
    ]
    assert whole.max_subtasks == 3  # what a progress bar counts up to
    assert [(task.parent, task.task_id) for task in tasks] == [(whole, 0), (whole, 1), (whole, 2)]


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_callback_sees_the_model_as_it_would_be_returned(early_stopping):
    X, y = load("autoregressive")
    options = {"tol": 1e-8, "random_state": 0, "learning_rate": 50.0, "average": False}
    recorder = Recorder()
    model = SGDLinearRegressor(early_stopping=early_stopping, n_iter_no_change=2, **options)
    model.set_callbacks(recorder).fit(X, y)
    assert len(recorder.models) == model.n_iter_ > 2
    for number, seen in enumerate(recorder.models[:4], start=1):
        shorter = clone(model).set_params(max_iter=number, tol=None).set_callbacks().fit(X, y)
        for name in ("coef_", "intercept_", "loss_curve_", "t_", "validation_scores_"):
            np.testing.assert_array_equal(getattr(seen, name), getattr(shorter, name))
        assert seen.best_iteration_ == shorter.best_iteration_
        assert seen.n_iter_ == number


def test_callbacks_change_nothing():
    X, y = load("collinear")
    plain = SGDLinearRegressor(random_state=0).fit(X, y)
    watched = SGDLinearRegressor(random_state=0).set_callbacks(Recorder()).fit(X, y)
    np.testing.assert_array_equal(plain.coef_, watched.coef_)


def test_a_callback_stops_the_fit():
    X, y = load("normal")
    shorter = SGDLinearRegressor(solver="sgd", tol=None, max_iter=2, random_state=0)
    model = clone(shorter).set_params(max_iter=1000).set_callbacks(Recorder(stop_after=2))
    model.fit(X, y)
    assert (model.n_iter_, model.stop_reason_, model.t_) == (2, "callback", 2 * len(y))
    shorter.fit(X, y)
    np.testing.assert_array_equal(model.coef_, shorter.coef_)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("hook", ["setup", "begin", "end", "teardown"])
def test_an_error_in_a_callback_leaves_a_usable_or_an_unfitted_model(hook, error):
    X, y = load("normal")
    recorder = Recorder(fail_in=hook, error=error)
    model = SGDLinearRegressor(random_state=0).set_callbacks(recorder)
    with pytest.raises(error):
        model.fit(X, y)
    assert recorder.calls[-1] == ("teardown", None)
    if hook == "teardown":  # the fit was over: the new model stays, as in scikit-learn
        with pytest.raises(error):
            model.fit(X, 2 * y)
        expected = SGDLinearRegressor(random_state=0).fit(X, 2 * y)
        np.testing.assert_array_equal(model.coef_, expected.coef_)
        return
    with pytest.raises(NotFittedError):
        model.predict(X)
    before = dict(vars(model.set_callbacks().fit(X, y)))
    with pytest.raises(error):
        model.set_callbacks(Recorder(fail_in=hook, error=error)).fit(X + 1, y[::-1])
    after = vars(model.set_callbacks())
    assert before.keys() == after.keys()
    assert all(after[name] is value for name, value in before.items())


@pytest.mark.parametrize("early_stopping", [False, True])
def test_callbacks_get_the_rows_learned_from(early_stopping):
    X, y = load("powers")
    frame = pd.DataFrame(X, columns=list("abcdef"))
    weight = np.linspace(1, 2, len(y))
    recorder = Recorder()
    model = SGDLinearRegressor(early_stopping=early_stopping, max_iter=2, tol=None)
    model.set_callbacks(recorder).fit(frame, y, weight)
    seen_X, seen_y, metadata = recorder.rows[0]
    assert list(seen_X.columns) == list("abcdef")
    assert len(seen_X) == (1800 if early_stopping else 2000) * len(y) // 2000
    np.testing.assert_array_equal(seen_y, y[seen_X.index])
    np.testing.assert_array_equal(metadata["sample_weight"], weight[seen_X.index])


def test_scoring_monitor_records_a_score_an_epoch():
    X, y = load("autoregressive")
    monitor = ScoringMonitor(scoring="neg_mean_squared_error")
    frame = pd.DataFrame(X).rename(columns=str)
    model = SGDLinearRegressor(tol=None, max_iter=3, random_state=0).set_callbacks(monitor)
    model.fit(frame, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    scores = [row["neg_mean_squared_error"] for row in rows]
    assert len(scores) == model.n_iter_ == 3
    np.testing.assert_allclose(scores, -2 * np.array(model.loss_curve_), rtol=1e-6)


def test_scoring_monitor_in_a_pipeline_under_a_search():
    X, y = load("normal")
    monitor = ScoringMonitor(scoring="r2")
    model = SGDLinearRegressor(max_iter=3, tol=None, random_state=0).set_callbacks(monitor)
    pipeline = make_pipeline(StandardScaler(), model)
    search = GridSearchCV(pipeline, {"sgdlinearregressor__learning_rate": [0.1, 1.0]}, cv=2)
    search.fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == 3 * (2 * 2 + 1)  # epochs of candidates times folds, and of the refit
    # of the returned model, whose fit is the shallowest task
    refit = min(rows, key=lambda row: len(row["task_id_path"]))["parent_task_id_path"]
    last = [row["r2"] for row in rows if row["parent_task_id_path"] == refit][-1]
    assert last == pytest.approx(search.score(X, y), rel=1e-12)


def test_progress_bars_show_epochs_and_nest(monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, width=120, force_terminal=False)
    monkeypatch.setattr("rich.get_console", lambda: console)
    monkeypatch.setattr("rich.progress.get_console", lambda: console)
    X, y = load("normal")
    SGDLinearRegressor(max_iter=5, tol=None).set_callbacks(ProgressBar()).fit(X, y)
    assert "SGDLinearRegressor" in screen.getvalue()
    assert "100%" in screen.getvalue()

    screen.truncate(0)
    pipeline = make_pipeline(StandardScaler(), SGDLinearRegressor(max_iter=5, tol=None))
    grid = {"sgdlinearregressor__learning_rate": [0.1, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X, y)
    lines = [line for line in screen.getvalue().splitlines() if "SGDLinearRegressor" in line]
    assert len(lines) == 2 * 2 + 1  # candidates times folds, and the refit
    depth = {
        name: min(
            len(line) - len(line.lstrip())
            for line in screen.getvalue().splitlines()
            if name in line
        )
        for name in ("GridSearchCV", "Pipeline", "SGDLinearRegressor")
    }
    assert depth["GridSearchCV"] < depth["Pipeline"] < depth["SGDLinearRegressor"]


def test_no_callbacks_no_tasks(monkeypatch):
    def forbidden(*args, **options):
        raise AssertionError("an epoch without callbacks must not make a task")

    monkeypatch.setattr("sklearn.callback.CallbackContext.subcontext", forbidden)
    X, y = load("normal")
    assert SGDLinearRegressor().fit(X, y).n_iter_ >= 1
    with pytest.raises(AssertionError, match="an epoch"):
        SGDLinearRegressor().set_callbacks(Recorder()).fit(X, y)

"""LossCurveDisplay draws what the estimator says."""

import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import make_scorer, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_sgdlin import LossCurveDisplay, SGDLinearRegressor
from sklearn_sgdlin._tuning import Tuning
from tests.data import load


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def fitted(**options):
    X, y = load("normal")
    model = SGDLinearRegressor(average=False, random_state=0, **options)
    return model.fit(X, y)


def labels(display):
    return [text.get_text() for text in legend(display).get_texts()]


def legend(display):
    return display.figure_.axes[-1].get_legend()


def test_training_curve_and_new_rates():
    model = fitted(tol=None, max_iter=12)
    display = LossCurveDisplay.from_estimator(model)
    np.testing.assert_array_equal(display.line_.get_xdata(), np.arange(1, 13))
    np.testing.assert_array_equal(display.line_.get_ydata(), model.loss_curve_)
    new = [i + 1 for i in range(1, 12) if model.learning_rates_[i] != model.learning_rates_[i - 1]]
    assert [line.get_xdata()[0] for line in display.rate_lines_] == new
    assert len(new) > 0
    assert display.validation_line_ is None
    assert display.best_line_ is None
    assert labels(display) == ["training loss", "new learning rate"]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("Epoch", "Loss")


def test_validation_loss_shares_the_axis_and_the_best_epoch_is_marked():
    model = fitted(early_stopping=True, schedule="constant")
    display = LossCurveDisplay.from_estimator(model)
    assert display.validation_ax_ is display.ax_
    np.testing.assert_array_equal(
        display.validation_line_.get_ydata(), -np.array(model.validation_scores_)
    )
    assert display.best_line_.get_xdata()[0] == model.best_iteration_
    assert display.rate_lines_ == []
    assert labels(display) == ["training loss", "validation loss", "best epoch"]


def test_another_score_has_an_axis_of_its_own():
    model = fitted(early_stopping=True, scoring="r2", schedule="constant")
    display = LossCurveDisplay.from_estimator(model)
    assert display.validation_ax_ is not display.ax_
    np.testing.assert_array_equal(display.validation_line_.get_ydata(), model.validation_scores_)
    assert display.validation_ax_.get_ylabel() == "r2"
    assert labels(display) == ["training loss", "validation r2", "best epoch"]


def test_stream():
    X, y = load("normal")
    model = SGDLinearRegressor(random_state=0)
    for start in range(0, 500, 100):
        model.partial_fit(X[start : start + 100], y[start : start + 100])
    display = LossCurveDisplay.from_estimator(model)
    assert display.ax_.get_xlabel() == "Chunk"
    np.testing.assert_array_equal(display.line_.get_ydata(), model.loss_curve_)
    assert labels(display) == ["progressive loss"]


def test_points_of_a_long_stream_lie_at_their_last_chunk():
    X, y = load("normal")
    model = SGDLinearRegressor(random_state=0)
    model._tuning = Tuning(max_curve_points=10)
    for row in range(50):
        model.set_params(learning_rate=1.0 if row < 24 else 0.5)
        model.partial_fit(X[row : row + 1], y[row : row + 1])
    display = LossCurveDisplay.from_estimator(model)
    np.testing.assert_array_equal(display.line_.get_xdata(), [8, 16, 24, 32, 40, 48, 50])
    assert [line.get_xdata()[0] for line in display.rate_lines_] == [32]


def test_the_penalty_is_named_where_the_loss_contains_it():
    """Beside a validation loss, which does not."""
    for options, label in [
        ({"penalty": "l2"}, "training loss + penalty"),
        ({"penalty": "l2", "alpha": 0.0}, "training loss"),
        ({}, "training loss"),
    ]:
        display = LossCurveDisplay.from_estimator(fitted(early_stopping=True, **options))
        assert labels(display)[:2] == [label, "validation loss"]


def test_names_are_those_of_the_fit_whatever_the_parameters_are_now():
    model = fitted(early_stopping=True, scoring="r2", penalty="l2")
    model.set_params(scoring=None, penalty=None, early_stopping=False)
    display = LossCurveDisplay.from_estimator(model)
    assert labels(display)[:2] == ["training loss + penalty", "validation r2"]
    X, y = load("normal")
    display = LossCurveDisplay.from_estimator(model.partial_fit(X, y))
    assert labels(display) == ["progressive loss"]
    assert display.validation_ax_ is None


def named(estimator, X, y):
    return estimator.score(X, y)


@pytest.mark.parametrize(
    ("scoring", "name"),
    [
        (named, "named"),
        (lambda estimator, X, y: estimator.score(X, y), "score"),
        (make_scorer(r2_score), "score"),
    ],
)
def test_callables_as_scores_have_a_name(scoring, name):
    display = LossCurveDisplay.from_estimator(fitted(early_stopping=True, scoring=scoring))
    assert display.validation_ax_.get_ylabel() == name


@pytest.mark.parametrize("scoring", [None, "r2"])
@pytest.mark.parametrize("schedule", ["constant", "adaptive"])
def test_the_legend_covers_nothing(scoring, schedule):
    model = fitted(early_stopping=True, scoring=scoring, schedule=schedule, tol=None, max_iter=30)
    display = LossCurveDisplay.from_estimator(model)
    display.ax_.set_title("title")
    display.figure_.canvas.draw()
    box = legend(display).get_window_extent()
    assert not box.overlaps(display.ax_.get_window_extent())
    assert not box.overlaps(display.ax_.xaxis.get_tightbbox())
    assert box.y0 >= 0
    assert box.x0 >= 0
    assert box.x1 <= display.figure_.bbox.x1


def test_axes_and_options_of_the_user():
    _, ax = plt.subplots()
    display = LossCurveDisplay.from_estimator(
        fitted(early_stopping=True),
        ax=ax,
        line_kw={"c": "black", "ls": ":"},
        validation_line_kw={"linewidth": 5, "color": "red", "label": "mine", "marker": ""},
    )
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.line_.get_color() == "black"
    assert display.line_.get_linestyle() == ":"
    assert display.validation_line_.get_linewidth() == 5
    assert display.validation_line_.get_color() == "red"
    assert labels(display)[1] == "mine"
    with pytest.raises(TypeError, match=r"'c' and 'color'|'color' and 'c'"):
        display.plot(line_kw={"c": "black", "color": "red"})


def test_a_curve_over_decades_has_a_logarithmic_axis():
    assert LossCurveDisplay(loss_curve=[1000.0, 10.0, 1.0]).plot().ax_.get_yscale() == "log"
    assert LossCurveDisplay(loss_curve=[3.0, 2.0, 1.0]).plot().ax_.get_yscale() == "linear"
    assert LossCurveDisplay(loss_curve=[3.0, 2.0, 0.0]).plot().ax_.get_yscale() == "linear"
    with_zero = LossCurveDisplay(loss_curve=[1000.0, 1.0], validation_scores=[-1.0, 0.0])
    assert with_zero.plot().ax_.get_yscale() == "linear"  # a logarithm would hide the 0


def test_infinite_scores_are_left_out_of_the_picture():
    display = LossCurveDisplay(loss_curve=[2.0, 1.0], validation_scores=[-np.inf, -1.0]).plot()
    display.figure_.canvas.draw()
    assert display.ax_.get_ylim()[1] < 3


def test_what_it_cannot_plot_is_named():
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(SGDLinearRegressor())
    pipeline = make_pipeline(StandardScaler(), SGDLinearRegressor()).fit(*load("normal"))
    with pytest.raises(TypeError, match=r"Got Pipeline instead.*pipeline\[-1\]"):
        LossCurveDisplay.from_estimator(pipeline)
    assert LossCurveDisplay.from_estimator(pipeline[-1]).line_ is not None
    with pytest.raises(ValueError, match="loss_curve is empty"):
        LossCurveDisplay(loss_curve=[]).plot()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LossCurveDisplay(loss_curve=[1.0], validation_scores=[1.0, 2.0]).plot()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LossCurveDisplay(loss_curve=[1.0], x_values=[1.0, 2.0]).plot()
    assert plt.get_fignums() == [1]  # no empty figure is left behind


def test_matplotlib_is_optional(monkeypatch):
    code = "import sys, sklearn_sgdlin; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="LossCurveDisplay requires matplotlib"):
        LossCurveDisplay(loss_curve=[1.0]).plot()

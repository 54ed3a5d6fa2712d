"""LossCurveDisplay draws what the estimator says."""

import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from sklearn_sgdlin import LossCurveDisplay, SGDLinearRegressor
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
    return [text.get_text() for text in display.figure_.axes[-1].get_legend().get_texts()]


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
    assert labels(display) == ["new learning rate", "training loss"]
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
    assert labels(display) == ["training loss", "best epoch", "validation r2"]


def test_stream():
    X, y = load("normal")
    model = SGDLinearRegressor(random_state=0)
    for start in range(0, 500, 100):
        model.partial_fit(X[start : start + 100], y[start : start + 100])
    display = LossCurveDisplay.from_estimator(model)
    assert display.ax_.get_xlabel() == "Chunk"
    np.testing.assert_array_equal(display.line_.get_ydata(), model.loss_curve_)
    assert labels(display) == ["progressive loss"]


def test_axes_and_options_of_the_user():
    _, ax = plt.subplots()
    display = LossCurveDisplay.from_estimator(
        fitted(early_stopping=True),
        ax=ax,
        line_kw={"color": "black"},
        validation_line_kw={"linewidth": 5},
    )
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.line_.get_color() == "black"
    assert display.validation_line_.get_linewidth() == 5


def test_a_curve_over_decades_has_a_logarithmic_axis():
    assert LossCurveDisplay(loss_curve=[1000.0, 10.0, 1.0]).plot().ax_.get_yscale() == "log"
    assert LossCurveDisplay(loss_curve=[3.0, 2.0, 1.0]).plot().ax_.get_yscale() == "linear"
    assert LossCurveDisplay(loss_curve=[3.0, 2.0, 0.0]).plot().ax_.get_yscale() == "linear"


def test_unfitted():
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(SGDLinearRegressor())


def test_matplotlib_is_optional(monkeypatch):
    code = "import sys, sklearn_sgdlin; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="LossCurveDisplay requires matplotlib"):
        LossCurveDisplay(loss_curve=[1.0]).plot()

"""Visualization of the loss curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from ._regressor import SGDLinearRegressor

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class LossCurveDisplay:
    """Loss curve visualization, of a fit with its validation scores, or of a stream.

    Vertical lines mark epochs with a new learning rate, and the epoch whose model was returned.
    It is recommended to use `from_estimator` to create a display. Requires matplotlib.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        Training loss after each epoch, or progressive loss of the chunks of a stream. Its unit is
        that of y squared where the loss is quadratic near 0, else that of y.

    validation_scores : array-like of shape (n_epochs,), default=None
        Score on the validation data after each epoch; greater is better.

    learning_rates : array-like of shape (n_epochs,), default=None
        Learning rate of each epoch. Changes are marked.

    best_iteration : int, default=None
        Epoch whose model was returned, counted from 1.

    loss_name : str, default="training loss"
        Name of the loss in the legend. `from_estimator` names the penalty if the loss includes
        one; the validation loss never does.

    score_name : str, default=None
        Name of the score, which gets a second y-axis. None: the score is the negative of a loss,
        and that loss is drawn on the axis of the training loss.

    x_name : str, default="Epoch"
        Label of the x-axis.

    x_values : array-like of shape (n_epochs,), default=None
        Positions of the points on the x-axis. None: 1, 2, 3 and so on.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the training loss.

    validation_ax_ : matplotlib Axes or None
        Axes with the validation scores: `ax_`, or its twin where the score is not a loss.

    figure_ : matplotlib Figure
        Figure containing the axes.

    line_ : matplotlib Line2D
        Line of the training loss.

    validation_line_ : matplotlib Line2D or None
        Line of the validation scores.

    best_line_ : matplotlib Line2D or None
        Vertical line at the epoch whose model was returned.

    rate_lines_ : list of matplotlib Line2D
        Vertical lines at the epochs with a new learning rate.

    See Also
    --------
    SGDLinearRegressor : The estimator whose loss curve is shown.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_sgdlin import LossCurveDisplay, SGDLinearRegressor
    >>> X, y = load_diabetes(return_X_y=True, scaled=False)
    >>> model = SGDLinearRegressor(early_stopping=True, random_state=0).fit(X, y)
    >>> display = LossCurveDisplay.from_estimator(model)
    >>> len(display.line_.get_xdata()) == model.n_iter_
    True
    """

    def __init__(
        self,
        *,
        loss_curve: ArrayLike,
        validation_scores: ArrayLike | None = None,
        learning_rates: ArrayLike | None = None,
        best_iteration: int | None = None,
        loss_name: str = "training loss",
        score_name: str | None = None,
        x_name: str = "Epoch",
        x_values: ArrayLike | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_scores = validation_scores
        self.learning_rates = learning_rates
        self.best_iteration = best_iteration
        self.loss_name = loss_name
        self.score_name = score_name
        self.x_name = x_name
        self.x_values = x_values

    @classmethod
    def from_estimator(
        cls,
        estimator: SGDLinearRegressor,
        *,
        ax: Axes | None = None,
        line_kw: dict[str, Any] | None = None,
        validation_line_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Plot the loss curve of a fitted estimator.

        Parameters
        ----------
        estimator : SGDLinearRegressor
            Fitted by `fit` or `partial_fit`.
        ax : matplotlib Axes, default=None
            Axes to plot on. None: a new figure, with the legend below its axes.
        line_kw : dict, default=None
            Keyword arguments of ``ax.plot`` for the training loss.
        validation_line_kw : dict, default=None
            Keyword arguments of ``ax.plot`` for the validation scores.

        Returns
        -------
        display : LossCurveDisplay
            The display, plotted.
        """
        if not isinstance(estimator, SGDLinearRegressor):
            raise TypeError(
                "Expected 'estimator' to be an SGDLinearRegressor. Got "
                f"{type(estimator).__name__} instead. Of a pipeline, pass the last step, "
                "pipeline[-1]; of a search, best_estimator_."
            )
        check_is_fitted(estimator)
        display = cls(
            loss_curve=estimator.loss_curve_,
            validation_scores=estimator.validation_scores_,
            learning_rates=estimator.learning_rates_ or None,
            best_iteration=estimator.best_iteration_,
            **estimator._curve_labels(),
        )
        return display.plot(ax=ax, line_kw=line_kw, validation_line_kw=validation_line_kw)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        line_kw: dict[str, Any] | None = None,
        validation_line_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Plot the loss curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. None: a new figure, with the legend below its axes.
        line_kw : dict, default=None
            Keyword arguments of ``ax.plot`` for the training loss.
        validation_line_kw : dict, default=None
            Keyword arguments of ``ax.plot`` for the validation scores.

        Returns
        -------
        display : LossCurveDisplay
            The display, plotted.
        """
        if len(self.loss_curve) == 0:
            raise ValueError("loss_curve is empty: there is nothing to plot.")
        check_consistent_length(
            self.loss_curve, self.validation_scores, self.learning_rates, self.x_values
        )
        self.ax_ = axes(ax, self)
        self.figure_ = self.ax_.figure
        epochs = np.arange(1, len(self.loss_curve) + 1) if self.x_values is None else self.x_values
        self.rate_lines_ = self._mark_rates(np.asarray(epochs))
        options = style(line_kw, label=self.loss_name, marker=".", color="C0")
        (self.line_,) = self.ax_.plot(epochs, self.loss_curve, **options)
        self.validation_ax_ = self.validation_line_ = self.best_line_ = None
        if self.validation_scores is not None:
            self._plot_validation(epochs, validation_line_kw)
        if self.best_iteration is not None:
            options = {"color": "C2", "linestyle": "--", "label": "best epoch"}
            self.best_line_ = self.ax_.axvline(self.best_iteration, **options)
        self.ax_.set(xlabel=self.x_name, ylabel="Loss", yscale=self._scale())
        self.ax_.locator_params(axis="x", integer=True)
        self._legend(outside=ax is None)
        return self

    def _scale(self):
        """Return the scale of the loss axis, logarithmic if losses span two decades."""
        shared = self.validation_ax_ is self.ax_
        lines = [self.line_, self.validation_line_] if shared else [self.line_]
        losses = np.concatenate([line.get_ydata() for line in lines])
        losses = losses[np.isfinite(losses)]
        spans = losses.size and losses.min() > 0 and losses.max() > 100 * losses.min()
        return "log" if spans else "linear"

    def _plot_validation(self, epochs, options):
        """Plot the validation scores, and set their line and axes."""
        scores = np.asarray(self.validation_scores)
        if self.score_name is None:
            self.validation_ax_, scores, label = self.ax_, 0.0 - scores, "validation loss"
        else:
            self.validation_ax_, label = self.ax_.twinx(), f"validation {self.score_name}"
            self.validation_ax_.set_ylabel(self.score_name)
        options = style(options, label=label, marker=".", color="C1")
        (self.validation_line_,) = self.validation_ax_.plot(epochs, scores, **options)

    def _mark_rates(self, epochs):
        """Draw vertical lines at the epochs with a new learning rate, and return them."""
        if self.learning_rates is None:
            return []
        changed = epochs[1:][np.diff(self.learning_rates) != 0]
        lines = [self.ax_.axvline(epoch, color="0.8", zorder=0) for epoch in changed]
        if lines:
            lines[0].set_label("new learning rate")
        return lines

    def _legend(self, outside):
        """Draw the legend: below the axes in a new figure, within them in axes of the user."""
        lines = [self.line_, self.validation_line_, self.best_line_, *self.rate_lines_[:1]]
        lines = [line for line in lines if line is not None]
        top = self.validation_ax_ or self.ax_
        # With two axes, losses fall and scores rise, so the centre on the right stays free.
        place = {"loc": "best" if top is self.ax_ else "center right"}
        if outside:
            n_columns = len(lines) if len(lines) < 4 else 2
            place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.13), "ncols": n_columns}
        top.legend(handles=lines, **place)


def style(options, **default):
    """Return options of a line, with defaults; abbreviations such as "c" are written out."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return {**default, **normalize_kwargs(options or {}, Line2D)}


def axes(ax, display):
    """Return the axes that a display plots on, those of a new figure for None."""
    check_matplotlib_support(type(display).__name__)
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1] if ax is None else ax

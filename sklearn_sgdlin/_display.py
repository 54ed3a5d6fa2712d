"""The loss curve as a picture."""

import numpy as np
from sklearn.utils.validation import check_is_fitted


class LossCurveDisplay:
    """Loss curve of a fit, with its validation scores, or of a stream.

    Epochs with a new learning rate are marked, and so is the epoch whose model was returned.
    It is recommended to use `from_estimator` to create a display. Needs matplotlib.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        Training loss after each epoch, or progressive loss of each chunk of a stream, in units
        of y squared.

    validation_scores : array-like of shape (n_epochs,), default=None
        Score on validation data after each epoch, greater is better.

    learning_rates : array-like of shape (n_epochs,), default=None
        Step length in each epoch. Changes are marked.

    best_iteration : int, default=None
        Epoch whose model was returned, counted from 1. It is marked.

    score_name : str, default=None
        Name of the score, for an axis of its own. None: the score is minus a loss, which
        shares the axis of the training loss.

    x_name : str, default="Epoch"
        What is counted along the horizontal axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the training loss.

    validation_ax_ : matplotlib Axes or None
        Axes with the validation score: `ax_`, or its twin if the score is no loss.

    figure_ : matplotlib Figure
        Figure containing the axes.

    line_ : matplotlib Line2D
        Training loss.

    validation_line_ : matplotlib Line2D or None
        Validation score.

    best_line_ : matplotlib Line2D or None
        Mark of the epoch whose model was returned.

    rate_lines_ : list of matplotlib Line2D
        Marks of the epochs with a new rate.

    See Also
    --------
    SGDLinearRegressor : The estimator whose curve it is.

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
        loss_curve,
        validation_scores=None,
        learning_rates=None,
        best_iteration=None,
        score_name=None,
        x_name="Epoch",
    ):
        self.loss_curve = loss_curve
        self.validation_scores = validation_scores
        self.learning_rates = learning_rates
        self.best_iteration = best_iteration
        self.score_name = score_name
        self.x_name = x_name

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, line_kw=None, validation_line_kw=None):
        """Plot the course of a fitted estimator.

        Parameters
        ----------
        estimator : SGDLinearRegressor
            Fitted by `fit` or `partial_fit`.
        ax : matplotlib Axes, default=None
            Axes to plot on. None: a new figure.
        line_kw : dict, default=None
            Options of the line of the training loss, for ``ax.plot``.
        validation_line_kw : dict, default=None
            Options of the line of the validation score, for ``ax.plot``.

        Returns
        -------
        display : LossCurveDisplay
            The display, plotted.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        check_is_fitted(estimator)
        display = cls(
            loss_curve=estimator.loss_curve_,
            validation_scores=estimator.validation_scores_,
            learning_rates=estimator.learning_rates_,
            best_iteration=estimator.best_iteration_,
            score_name=_name(estimator.scoring),
            x_name="Chunk" if estimator._in_stream else "Epoch",
        )
        return display.plot(ax=ax, line_kw=line_kw, validation_line_kw=validation_line_kw)

    def plot(self, ax=None, *, line_kw=None, validation_line_kw=None):
        """Plot the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. None: a new figure.
        line_kw : dict, default=None
            Options of the line of the training loss, for ``ax.plot``.
        validation_line_kw : dict, default=None
            Options of the line of the validation score, for ``ax.plot``.

        Returns
        -------
        display : LossCurveDisplay
            The display, plotted.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.ax_ = _axes(ax)
        self.figure_ = self.ax_.figure
        epochs = np.arange(1, len(self.loss_curve) + 1)
        self.rate_lines_ = self._mark_rates()
        self._plot_training(epochs, line_kw or {})
        self._plot_validation(epochs, validation_line_kw or {})
        self._mark_best()
        self.ax_.set(xlabel=self.x_name, ylabel="Loss")
        self._legend()
        return self

    def _plot_training(self, epochs, options):
        label = "training loss" if self.x_name == "Epoch" else "progressive loss"
        options = {"label": label, "marker": ".", "color": "C0", **options}
        (self.line_,) = self.ax_.plot(epochs, self.loss_curve, **options)
        self.ax_.locator_params(axis="x", integer=True)
        losses = np.asarray(self.loss_curve)
        if losses.min() > 0 and losses.max() > 100 * losses.min():
            self.ax_.set_yscale("log")

    def _plot_validation(self, epochs, options):
        self.validation_ax_ = self.validation_line_ = None
        if self.validation_scores is None:
            return
        scores = np.asarray(self.validation_scores)
        if self.score_name is None:
            self.validation_ax_, scores, label = self.ax_, -scores, "validation loss"
        else:
            self.validation_ax_, label = self.ax_.twinx(), f"validation {self.score_name}"
            self.validation_ax_.set_ylabel(self.score_name)
        options = {"label": label, "marker": ".", "color": "C1", **options}
        (self.validation_line_,) = self.validation_ax_.plot(epochs, scores, **options)

    def _mark_best(self):
        self.best_line_ = None
        if self.best_iteration is not None:
            self.best_line_ = self.ax_.axvline(
                self.best_iteration, color="C2", linestyle="--", label="best epoch"
            )

    def _mark_rates(self):
        if self.learning_rates is None:
            return []
        changed = np.flatnonzero(np.diff(self.learning_rates)) + 2  # the first epoch is 1
        lines = [self.ax_.axvline(epoch, color="0.8", zorder=0) for epoch in changed]
        if lines:
            lines[0].set_label("new learning rate")
        return lines

    def _legend(self):
        axes = {id(ax): ax for ax in (self.ax_, self.validation_ax_) if ax is not None}
        lines = [line for ax in axes.values() for line in ax.get_legend_handles_labels()[0]]
        # Losses fall and scores rise: between two axes' curves the middle stays free.
        place = "best" if len(axes) == 1 else "center right"
        list(axes.values())[-1].legend(handles=lines, loc=place)


def _name(scoring):
    """What to call a score; None for minus the loss."""
    if scoring is None or isinstance(scoring, str):
        return scoring
    return getattr(scoring, "__name__", "score")


def _axes(ax):
    try:
        import matplotlib.pyplot as plt  # optional, and slow to import
    except ImportError as error:
        raise ImportError(
            "LossCurveDisplay requires matplotlib. You can install matplotlib with "
            "`pip install matplotlib`"
        ) from error
    return plt.subplots()[1] if ax is None else ax

"""Visualization of confidence intervals of coefficients."""

import numpy as np
from sklearn.utils.validation import check_consistent_length

from .._display import axes, style
from .coefficients import coef_inference, states_of
from .results import names_of


class CoefDisplay:
    """Confidence intervals of coefficients visualization, the first column on top.

    It is recommended to use `from_estimator` to create a display. Requires matplotlib.

    Parameters
    ----------
    coef : array-like of shape (n_features,)
        Coefficients.

    conf_int : array-like of shape (n_features, 2)
        Ends of their confidence intervals.

    feature_names : array-like of shape (n_features,)
        Names of the columns.

    xlabel : str, default="Coefficient"
        Label of the x-axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the intervals.

    figure_ : matplotlib Figure
        Figure containing the axes.

    errorbar_ : matplotlib ErrorbarContainer
        Coefficients and their intervals.

    zero_line_ : matplotlib Line2D
        Vertical line at zero.

    See Also
    --------
    coef_inference : The numbers that are drawn.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_sgdlin import SGDLinearRegressor
    >>> from sklearn_sgdlin.inference import CoefDisplay
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> display = CoefDisplay.from_estimator(SGDLinearRegressor().fit(X, y))
    >>> [label.get_text() for label in display.ax_.get_yticklabels()][:3]
    ['age', 'sex', 'bmi']
    """

    def __init__(self, *, coef, conf_int, feature_names, xlabel="Coefficient"):
        self.coef = coef
        self.conf_int = conf_int
        self.feature_names = feature_names
        self.xlabel = xlabel

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X=None,
        y=None,
        sample_weight=None,
        *,
        target=0,
        standardize=False,
        ax=None,
        errorbar_kw=None,
        **inference_kw,
    ):
        """Plot the coefficients of a fitted estimator with confidence intervals.

        The intercept is not drawn.

        Parameters
        ----------
        estimator : SGDLinearRegressor
            Fitted without a penalty.
        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Rows it was fitted to; see `coef_inference`.
        y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Their weights.
        target : int, default=0
            Number of the target, if there are several.
        standardize : bool, default=False
            Whether to draw coefficients times the standard deviation of their column, all in units
            of y. Otherwise each is in units of y by units of its column.
        ax : matplotlib Axes, default=None
            Axes to plot on. None: a new figure.
        errorbar_kw : dict, default=None
            Keyword arguments of ``ax.errorbar``.
        **inference_kw : dict
            Other arguments of `coef_inference`, such as ``cov_type`` and ``confidence_level``.

        Returns
        -------
        display : CoefDisplay
            The display, plotted.
        """
        inference = coef_inference(estimator, X, y, sample_weight, **inference_kw)
        first = int(estimator.fit_intercept)
        coef, conf_int = inference.coef, inference.conf_int
        if coef.ndim > 1:
            coef, conf_int = coef[target], conf_int[target]
        coef, conf_int = coef[first:], conf_int[first:]
        xlabel = "Coefficient"
        if standardize:
            moments = states_of(estimator)[target].moments
            names = names_of(estimator)[first:]
            numbers = [names.index(name) for name in inference.feature_names[first:]]
            deviation = np.sqrt(moments.variance(True)[numbers])
            coef, conf_int = coef * deviation, conf_int * deviation[:, np.newaxis]
            xlabel = "Coefficient times standard deviation of the column"
        display = cls(
            coef=coef,
            conf_int=conf_int,
            feature_names=inference.feature_names[first:],
            xlabel=xlabel,
        )
        return display.plot(ax=ax, errorbar_kw=errorbar_kw)

    def plot(self, ax=None, *, errorbar_kw=None):
        """Plot the intervals.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. None: a new figure.
        errorbar_kw : dict, default=None
            Keyword arguments of ``ax.errorbar``.

        Returns
        -------
        display : CoefDisplay
            The display, plotted.
        """
        check_consistent_length(self.coef, self.conf_int, self.feature_names)
        self.ax_ = axes(ax, self)
        self.figure_ = self.ax_.figure
        coef, ends = np.asarray(self.coef), np.asarray(self.conf_int)
        place = np.arange(len(coef))
        self.zero_line_ = self.ax_.axvline(0.0, color="0.8", zorder=0)
        self.errorbar_ = self.ax_.errorbar(
            coef,
            place,
            xerr=np.stack([coef - ends[:, 0], ends[:, 1] - coef]),
            **style(errorbar_kw, fmt="o", color="C0", capsize=3),
        )
        self.ax_.set_yticks(place, labels=self.feature_names)
        self.ax_.invert_yaxis()
        self.ax_.set_xlabel(self.xlabel)
        return self

"""Intervals of the predictions of a fitted model."""

from numbers import Real

import numpy as np
from scipy.special import stdtrit
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, validate_params

from .._regressor import SGDLinearRegressor
from .._validation import validated_rows
from .coefficients import coef_inference
from .covariance import MAX_DISTANCE
from .design import Design
from .results import coefficients, densified


@validate_params(
    {
        "model": [SGDLinearRegressor],
        "inference": [Bunch, None],
        "confidence_level": [Interval(Real, 0, 1, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def predict_interval(model, X, inference=None, *, confidence_level=0.95):
    r"""Return predictions with confidence intervals of the mean and prediction intervals.

    For a row x, with a one before it for the intercept, and the covariance V of the coefficients,
    the standard error of the prediction is :math:`\sqrt{x^\top V x}`. A new y differs from its mean
    by an error with the residual variance :math:`s^2`, so its prediction interval is computed from
    :math:`\sqrt{x^\top V x + s^2}`.

    Parameters
    ----------
    model : SGDLinearRegressor
        Fitted without a penalty.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows to predict.

    inference : Bunch, default=None
        Result of `coef_inference` for this model. None: ``coef_inference(model)``.

    confidence_level : float, default=0.95
        Probability with which an interval contains the mean or the new y, between 0 and 1.

    Returns
    -------
    result : Bunch
        With the following attributes, in units of y. If the model has several targets, they are
        the second axis.

        prediction : ndarray of shape (n_samples,)
            As ``model.predict(X)``.
        std_error : ndarray of shape (n_samples,)
            Standard error of the prediction as an estimate of the mean of y at x; with
            ``loss="quantile"``, of that quantile of y.
        mean_interval : ndarray of shape (n_samples, 2)
            Confidence interval of that mean.
        row_interval : ndarray of shape (n_samples, 2) or None
            Prediction interval for y of a new row of weight 1, assuming normal errors with the same
            variance. None unless the loss is squared error and ``cov_type="nonrobust"``.

    Raises
    ------
    ValueError
        If standard errors are not available, see `coef_inference`, or X does not match the model.

    See Also
    --------
    coef_inference : Standard errors of the coefficients.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_sgdlin import SGDLinearRegressor
    >>> from sklearn_sgdlin.inference import predict_interval
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 1))
    >>> model = SGDLinearRegressor().fit(X, 2 * X[:, 0] + rng.normal(size=1000))
    >>> result = predict_interval(model, [[1.0]])
    >>> result.mean_interval.round(1), result.row_interval.round(1)
    (array([[2. , 2.1]]), array([[0. , 4.1]]))
    """
    inference = coef_inference(model) if inference is None else inference
    X = validated_rows(model, X)
    if inference.centre is None:
        raise ValueError(
            "inference is of some columns only. Intervals of predictions need that of all columns: "
            "pass the result of coef_inference without columns."
        )
    _check_same_model(densified(model), inference)
    design = Design(inference.centre, bool(model.fit_intercept))
    covariances = inference.centred_covariance.reshape(-1, design.size, design.size)
    prediction = model._linear(X)
    variance = np.empty((X.shape[0], len(covariances)))
    for z, numbers in design.chunks(X, slice(0, X.shape[0])):
        for target, covariance in enumerate(covariances):
            variance[numbers, target] = np.einsum("ij,ij->i", np.dot(z, covariance), z)
    variance = np.maximum(variance, 0.0).reshape(prediction.shape)
    factor = stdtrit(inference.df_resid, (1 + confidence_level) / 2)
    row_interval = None
    if inference.residual_variance is not None:
        half = factor * np.sqrt(variance + inference.residual_variance)
        row_interval = np.stack([prediction - half, prediction + half], axis=-1)
    std_error = np.sqrt(variance)
    half = factor * std_error
    return Bunch(
        prediction=prediction,
        std_error=std_error,
        mean_interval=np.stack([prediction - half, prediction + half], axis=-1),
        row_interval=row_interval,
    )


def _check_same_model(model, inference):
    """Raise if the coefficients are not those that an inference is of."""
    coef = coefficients(model)
    same = coef.shape == inference.coef.shape
    if not same or (np.abs(coef - inference.coef) > MAX_DISTANCE * inference.std_error).any():
        raise ValueError(
            "inference is of another model, or of this one before it was changed. Pass the result "
            "of coef_inference for the model."
        )

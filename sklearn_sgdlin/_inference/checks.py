"""Whether a model has standard errors, and whether the data that they need are there."""

import numpy as np
from sklearn.utils.validation import check_is_fitted


def check_model(model, cov_type, weights):
    """Raise for a model that has no such standard errors."""
    check_is_fitted(model)
    if (model.penalty is not None and model.alpha > 0) or model.positive:
        what = "positive=True" if model.positive else f"penalty={model.penalty!r}"
        raise ValueError(
            f"Coefficients with {what} are biased towards zero by an unknown amount, and where "
            "they were chosen by the same rows, intervals about them do not cover as they say. "
            "Fit without a penalty; to select columns first, select on one part of the rows and "
            "fit without a penalty on the other."
        )
    if model.loss == "epsilon_insensitive":
        raise ValueError(
            "Standard errors of loss='epsilon_insensitive' are not available: they need the "
            "density of the residuals at both ends of the dead zone. Use loss='quantile' or "
            "'huber'."
        )
    if model.loss == "quantile" and cov_type == "HC3":
        raise ValueError(
            "cov_type='HC3' is not available with loss='quantile': the jackknife, which it "
            "approximates, is wrong for quantiles. Use cov_type='HC1'."
        )
    if model.loss != "squared_error" and weights == "analytic" and cov_type == "nonrobust":
        raise ValueError(
            f"weights='analytic' with loss={model.loss!r} needs a robust covariance: inverse "
            "variances do not say how errors of different size are distributed. Use "
            "cov_type='HC1'."
        )
    limit = model._tuning.max_hessian_features
    if model.n_features_in_ > limit:
        raise ValueError(
            f"The covariance of {model.n_features_in_} coefficients is a matrix that would not fit "
            f"the memory; at most {limit} columns have one. Select columns on one part of the rows "
            "and fit them on the other."
        )


def check_rows(X, y, sample_weight, cov_type, groups):
    """Raise for data that are not passed, or not needed."""
    if (X is None) != (y is None):
        raise ValueError("X and y are passed both, or neither of them.")
    if X is None and sample_weight is not None:
        raise ValueError("sample_weight is passed, but X and y are not.")
    if X is None and cov_type != "nonrobust":
        raise ValueError(
            f"cov_type={cov_type!r} needs the rows: pass the X, y and sample_weight that the model "
            "was fitted to."
        )
    if (groups is None) == (cov_type == "cluster"):
        raise ValueError("groups are passed with cov_type='cluster', and only with it.")


def residual_square(model, state, products):
    """Return the sum of squared residuals of a model whose rows are not there."""
    if products is None:
        raise ValueError(
            f"Products of columns, which nonrobust standard errors are made of, are not kept by "
            f"this model, of solver {model.solver_!r} with loss={model.loss!r} and "
            f"{model.n_features_in_} columns. Pass the X, y and sample_weight that it was fitted "
            "to. Of a stream, partial_fit keeps them with squared error, up to "
            f"{model._tuning.max_stream_features} columns, and no parameter that asks for SGD; of "
            "the path of SGD it keeps only an average, which does not tell how far the path "
            "strays."
        )
    if state.fitted and not model._n_chunks and np.ndim(model.intercept_) == 0:
        return 2 * model.loss_curve_[-1] * state.moments.weight  # `fit` knows all its digits
    if products.residual_square is not None:
        return products.residual_square
    raise ValueError(
        "Residuals are so small beside y that too few digits of them are known from the products "
        "of columns. Pass the X, y and sample_weight that the model was fitted to."
    )

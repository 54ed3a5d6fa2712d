"""Whether a model has standard errors, and whether the data that they need are there."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted

from .rows import RowsInMemory


def check_model(model, cov_type, weights):
    """Raise for a model that has no such standard errors."""
    check_is_fitted(model)
    if not hasattr(model, "_state"):
        raise ValueError(
            "The model keeps nothing of the rows but its coefficients, as after to_predictor. Pass "
            "the model as it was fitted."
        )
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
            f"{model._tuning.max_stream_features} columns, and no parameter that selects SGD; of "
            "the path of SGD it keeps only an average, which does not tell how far the path "
            "strays."
        )
    if model._n_chunks and model.half_life is not None:
        raise ValueError(
            "In a stream with half_life rows count by their age, which is neither their frequency "
            "nor an inverse variance, so that standard errors are not known."
        )
    if state.fitted and not model._n_chunks and np.ndim(model.intercept_) == 0:
        return 2 * model.loss_curve_[-1] * state.moments.weight  # `fit` knows all its digits
    if products.residual_square is not None:
        return products.residual_square
    raise ValueError(
        "Residuals are so small beside y that too few digits of them are known from the products "
        "of columns. Pass the X, y and sample_weight that the model was fitted to."
    )


def chosen_coefficients(model, names, columns, X, cov_type):
    """Return the numbers of the coefficients asked for, the intercept first, or None for all."""
    limit = model._tuning.max_hessian_features
    if columns is None:
        if model.n_features_in_ > limit:
            raise ValueError(
                f"The covariance of {model.n_features_in_} coefficients is a matrix that would not "
                f"fit the memory; at most {limit} columns have one. Pass the rows, and the columns "
                "whose standard errors you want as columns."
            )
        return None
    if X is None or cov_type == "HC3":
        raise ValueError(
            "columns need the rows: pass the X, y and sample_weight that the model was fitted to."
            if X is None
            else "cov_type='HC3' needs the leverages of the rows, which take a matrix of all "
            "columns. With columns use cov_type='HC1'."
        )
    first, chosen = int(model.fit_intercept), []
    for column in np.atleast_1d(np.asarray(columns, dtype=object)):
        number = column
        if isinstance(column, str) and column in names[first:]:
            number = names.index(column, first) - first
        if (
            isinstance(number, bool)
            or not isinstance(number, Integral)
            or not 0 <= number < model.n_features_in_
        ):
            raise ValueError(
                f"columns must name some of the {model.n_features_in_} columns, or give their "
                f"numbers from 0 on; got {column!r}."
            )
        chosen.append(first + int(number))
    return np.array([*range(first), *chosen], dtype=int)


def codes_of(groups, rows):
    """Return the number of the group of each row, and how many groups have weight."""
    if not isinstance(rows, RowsInMemory):
        raise ValueError("cov_type='cluster' needs X, y and groups in memory.")
    groups = check_array(groups, dtype=None, ensure_2d=False, input_name="groups")
    groups = column_or_1d(groups)
    check_consistent_length(rows.y, groups)
    try:
        _, codes = np.unique(groups, return_inverse=True)
    except TypeError as error:
        raise ValueError("groups must be all numbers or all strings, none of them None.") from error
    weight = rows.sample_weight
    n_groups = len(np.unique(codes if weight is None else codes[weight > 0]))
    if n_groups < 2:
        raise ValueError(f"groups must name 2 groups or more, got {n_groups}.")
    return codes, n_groups

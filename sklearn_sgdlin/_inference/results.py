"""Results for the user: a `Bunch` of arrays, with a data frame where pandas is in use."""

import sys
from copy import copy

import numpy as np
from scipy.sparse import issparse
from scipy.special import stdtr, stdtrit
from sklearn.utils import Bunch


def names_of(model):
    """Return the names of the coefficients, that of the intercept first."""
    names = getattr(model, "feature_names_in_", None)
    names = [f"x{j}" for j in range(model.n_features_in_)] if names is None else list(names)
    return ["intercept", *names] if model.fit_intercept else names


def densified(model):
    """Return the model, or a copy whose `coef_` is an ndarray where it is a sparse matrix."""
    return copy(model).densify() if issparse(model.coef_) else model


def coefficients(model):
    """Return the coefficients of a model in the order of their names, one row for each target."""
    if not model.fit_intercept:
        return model.coef_
    return np.concatenate([np.asarray(model.intercept_)[..., np.newaxis], model.coef_], axis=-1)


def results_of(model, names, found, confidence_level, chosen=None):
    """Return the results of all targets as a `Bunch`; without an axis of targets for one.

    Where coefficients are chosen, their covariances are in units of the data.
    """
    coef = np.atleast_2d(coefficients(model))
    covariance = centred = np.stack([covariance.matrix for _, covariance in found])
    centre = found[0][0].centre
    if chosen is None:
        covariance = np.stack([design.in_units_of_data(c.matrix) for design, c in found])
    else:
        coef, names, centred, centre = coef[:, chosen], [names[j] for j in chosen], None, None
    std_error = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0.0))
    df = found[0][1].df
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = coef / std_error
    half = stdtrit(df, (1 + confidence_level) / 2) * std_error
    results = {
        "coef": coef,
        "std_error": std_error,
        "statistic": statistic,
        "p_value": 2 * stdtr(df, -np.abs(statistic)),
        "conf_int": np.stack([coef - half, coef + half], axis=-1),
        "covariance": covariance,
        "centred_covariance": centred,
    }
    variances = [covariance.residual_variance for _, covariance in found]
    results["residual_variance"] = None if None in variances else np.array(variances)
    if model.coef_.ndim == 1:
        results = {k: v if v is None else v[0] for k, v in results.items()}
    names = np.array(names, dtype=object)
    bunch = Bunch(**results, feature_names=names, df_resid=df, centre=centre)
    bunch.frame = _frame(bunch)
    return bunch


def _frame(bunch):
    """Return the results as a data frame, or None where pandas is not in use."""
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return None
    columns = ["coef", "std_error", "statistic", "p_value"]
    table = {name: bunch[name].ravel() for name in columns}
    table["lower"], table["upper"] = bunch.conf_int.reshape(-1, 2).T
    index = pandas.Index(bunch.feature_names)
    if bunch.coef.ndim > 1:
        index = pandas.MultiIndex.from_product([range(len(bunch.coef)), bunch.feature_names])
    return pandas.DataFrame(table, index=index)

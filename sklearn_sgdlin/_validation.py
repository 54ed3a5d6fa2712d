"""Validation of input: arrays as the solvers need them, or an error that says what is wrong."""

from math import isfinite
from numbers import Real

import numpy as np
from scipy.sparse import bsr_array, coo_array, csc_array, csr_array, issparse
from sklearn.utils import assert_all_finite, check_array, check_consistent_length, check_X_y
from sklearn.utils.validation import check_non_negative, validate_data

from .data.layouts import Frame, as_table, is_readable
from .kernels.csc import strictly_increasing
from .model.moments import refuse_not_finite

# Types of the entries of X that the compiled loops read without a copy.
FLOATS = [np.float64, np.float32]


@np.errstate(over="ignore", invalid="ignore")  # Sums that overflow are an error below.
def validated(
    estimator,
    X,
    y,
    sample_weight,
    *,
    reset,
    ensure_all_finite=False,
    allow_all_zero_weights=False,
    any_layout=False,
):
    """Return X, y and sample_weight as contiguous arrays, or raise scikit-learn's errors.

    X is a C-ordered array or a canonical CSR matrix of floats; with `any_layout` also an array of
    any order, or of integers, or a `Frame`. Only `ensure_all_finite` checks dense X for NaN and
    infinity: training need not, as its first pass finds them in the moments of the columns.
    """
    options = {"reset": reset, "ensure_all_finite": ensure_all_finite, "order": "C"}
    table = as_table(X) if any_layout else None
    if table is not None:
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        # Scikit-learn's checks of y, and of its length, need no more of X than its rows.
        rows = np.broadcast_to(0.0, (X.shape[0], 1))
        _, y = check_X_y(rows, y, multi_output=True, y_numeric=True, estimator=estimator)
        _refuse_missing(y, "y")
        X = table
    elif type(y) is np.ndarray and y.dtype == np.float64 and y.ndim == 1 and y.size:
        # For such a y this and the checks below are all that scikit-learn would check, and they
        # take little time, which matters where chunks are single rows.
        X = validated_rows(estimator, X, **options)
        if X.shape[0] != len(y):
            check_consistent_length(X, y)
    else:
        X, y = _validated_by_sklearn(estimator, X, y, multi_output=True, y_numeric=True, **options)
    if issparse(X):
        assert_all_finite(X, input_name="X", estimator_name=type(estimator).__name__)
        X = _canonical(X)
    y = np.ascontiguousarray(y, dtype=np.float64)
    # Threads of BLAS would spin for a while after a dot product.
    square = np.einsum("i,i->", y.ravel(), y.ravel())
    if not isfinite(square):
        refuse_not_finite(y, "y")
    _check_finite_total(square, "y", "sum of squares")
    if sample_weight is not None:
        sample_weight = _validated_weight(estimator, sample_weight, X, allow_all_zero_weights)
    return X, y, sample_weight


def as_c_ordered(X):
    """Return X that may be of any layout as `validated` returns it otherwise."""
    if issparse(X) or (is_readable(X) and X.flags.c_contiguous and X.dtype in FLOATS):
        return X
    X = X.frame if isinstance(X, Frame) else X
    return check_array(X, dtype=FLOATS, order="C", ensure_all_finite=False)


def validated_rows(estimator, X, *, reset=False, ensure_all_finite=True, order=None):
    """Return X as float array or CSR matrix, or raise scikit-learn's errors."""
    if _is_valid(estimator, X, reset, ensure_all_finite):
        if reset:
            estimator.n_features_in_ = X.shape[1]
        return X
    options = {"reset": reset, "ensure_all_finite": ensure_all_finite, "order": order}
    return _validated_by_sklearn(estimator, X, **options)


def without_rows(*arrays):
    """Return whether all arrays that are not None have no rows, as partitions after a filter."""
    arrays = [array for array in arrays if array is not None]
    return all(
        array.shape[:1] == (0,) if hasattr(array, "shape") else len(array) == 0 for array in arrays
    )


@np.errstate(over="ignore", invalid="ignore")
def _is_valid(estimator, X, reset, ensure_all_finite):
    """Return whether X is an array that scikit-learn's validation would return as it is.

    These are all its checks of such an array. They take a twentieth of its time, which would be
    most of that of a small prediction.
    """
    return (
        type(X) is np.ndarray
        and X.dtype in FLOATS
        and X.ndim == 2
        and X.size > 0
        and X.flags.c_contiguous
        and not hasattr(estimator, "feature_names_in_")
        and (reset or X.shape[1] == getattr(estimator, "n_features_in_", None))
        and (not ensure_all_finite or isfinite(X.sum()))  # or they are too large to tell
    )


def _validated_by_sklearn(estimator, X, y="no_validation", **options):
    """Return the result of `validate_data`; raise errors for what it would misread."""
    if issparse(X):  # before a conversion to CSR, in which scipy trusts every index
        X = _checked_structure(X)
    if hasattr(X, "collect") and not hasattr(X, "__array__"):
        raise TypeError(f"X is a {type(X).__name__}, which has no rows yet. Pass X.collect().")
    options = {"accept_sparse": "csr", "dtype": FLOATS, **options}
    validated = validate_data(estimator, X, y, **options)
    _refuse_missing(X, "X")
    if isinstance(validated, tuple):
        _refuse_missing(y, "y")
        if issparse(y):
            raise TypeError(
                "Sparse data was passed for y, but dense data is required. Use '.toarray()' to "
                "convert to a dense numpy array."
            )
    return validated


def _validated_weight(estimator, sample_weight, X, allow_all_zero_weights):
    """Return the weights as a float64 array of one per row, none of them negative."""
    shape = (X.shape[0],)
    if isinstance(sample_weight, Real):
        sample_weight = np.full(shape, sample_weight)
    weight = check_array(sample_weight, ensure_2d=False, dtype=float, input_name="sample_weight")
    if weight.shape != shape:
        raise ValueError(f"sample_weight.shape == {weight.shape}, expected {shape}!")
    if not allow_all_zero_weights and not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    _refuse_missing(sample_weight, "sample_weight")
    check_non_negative(weight, "`sample_weight`")
    _check_finite_total(weight.sum(), "sample_weight", "sum")
    if allow_all_zero_weights and not weight.all():
        # The stream drops rows without weight, so that no moments would find what is not finite.
        assert_all_finite(X, input_name="X", estimator_name=type(estimator).__name__)
    return np.ascontiguousarray(weight)


def _check_finite_total(total, name, what):
    """Raise an error if a sum of finite numbers has overflowed."""
    if not isfinite(total):
        raise ValueError(
            f"Input {name} contains values whose {what} is too large for dtype('float64'). "
            "Rescale it."
        )


def _refuse_missing(array, name):
    """Raise an error for missing values that a conversion to floats would turn into numbers."""
    if issparse(array) or (type(array) is np.ndarray and array.dtype.kind in "fiub"):
        return
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ValueError(
            f"Input {name} contains masked values. Fill them, {name}.filled(...), or leave out "
            "their rows."
        )
    if _has_nat(array):
        raise ValueError(f"Input {name} contains NaT.")


def _has_nat(array):
    """Return whether a date or duration is missing; converted to a float it would be -2**63.

    Objects with `iloc` are those of pandas, objects with `slice` those of polars or pyarrow.
    """
    if hasattr(array, "iloc"):
        frame = array.to_frame() if array.ndim == 1 else array
        dates = [getattr(dtype, "kind", None) in ("m", "M") for dtype in frame.dtypes]
        return any(dates) and frame.iloc[:, np.flatnonzero(dates)].isna().to_numpy().any()
    first = array
    if isinstance(array, list | tuple | np.ndarray):
        first = array[:1]
    elif hasattr(array, "slice"):
        first = array.slice(0, 1)
    # The first row has the type of all rows, so the others are converted only if need be.
    return np.asarray(first).dtype.kind in "mM" and np.isnat(np.asarray(array)).any()


def _checked_structure(X):
    """Return a sparse matrix with the same arrays; raise if its indices are not within its shape.

    The compiled loops, and those of scipy, read and write memory wherever the indices point.
    """
    if X.ndim != 2:  # scikit-learn's error
        return X
    kinds = {"csr": csr_array, "csc": csc_array, "bsr": bsr_array, "coo": coo_array}
    X = X if X.format in kinds else X.tocsr()
    indices = X.coords if X.format == "coo" else (X.indices, X.indptr)
    try:
        if any(array.dtype.kind not in "iu" for array in indices):
            raise ValueError("indices and indptr must be integers")
        if X.format == "coo":
            return coo_array((X.data, indices), shape=X.shape)
        checked = kinds[X.format]((X.data, *indices), shape=X.shape)
        checked.check_format()
        if (np.diff(checked.indptr) < 0).any():  # scipy does not look where the last one is 0
            raise ValueError("indptr must be a non-decreasing sequence")
    except ValueError as error:
        raise ValueError(
            f"Input X is no valid {X.format.upper()} matrix of shape {X.shape}: {error}."
        ) from error
    return checked


def _canonical(X):
    """Return a CSR matrix of `_checked_structure` with contiguous arrays and rising indices."""
    X.data, X.indices, X.indptr = map(np.ascontiguousarray, (X.data, X.indices, X.indptr))
    if not strictly_increasing(X.indices, X.indptr):
        X = X.copy()
        X.sum_duplicates()
    return X

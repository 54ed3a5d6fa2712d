"""Validation of input: arrays as the solvers need them, or an error that says what is wrong."""

from math import isfinite
from numbers import Real

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.utils import assert_all_finite, check_array, check_consistent_length, check_X_y
from sklearn.utils.validation import check_non_negative, validate_data

from .data.layouts import Frame, as_table, is_readable
from .kernels.csc import strictly_increasing
from .model.moments import refuse_not_finite

# Types that the compiled loops read without a copy: of the entries of X, and of the indices of
# sparse matrices.
FLOATS = [np.float64, np.float32]
INDICES = [np.int32, np.int64]


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

    Parameters
    ----------
    estimator : SGDLinearRegressor
        Its number and names of features are set or checked.
    X : array-like or sparse matrix of shape (n_rows, n_features)
    y : array-like of shape (n_rows,) or (n_rows, n_targets)
    sample_weight : array-like of shape (n_rows,), float or None
    reset : bool
        Whether to set the features of the estimator; otherwise X must have the same.
    ensure_all_finite : bool
        Whether to check dense X for NaN and infinity. Training need not: its first pass finds them
        in the moments of the columns.
    allow_all_zero_weights : bool
    any_layout : bool
        Whether dense X may stay as it is; see `as_c_ordered`.

    Returns
    -------
    X : C-ordered ndarray or canonical CSR matrix, float32 or float64
        With `any_layout` also an array of any order, or of integers, or a `Frame`.
    y : float64 ndarray
    sample_weight : float64 ndarray or None
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
        and (not ensure_all_finite or _has_finite_sum(X))
    )


@np.errstate(over="ignore", invalid="ignore")
def _has_finite_sum(array):
    """Return whether all entries are finite; may be False where they are too large to tell."""
    return isfinite(array.sum())


def _validated_by_sklearn(estimator, X, y="no_validation", **options):
    """Return the result of `validate_data`; raise errors for what it would misread."""
    if issparse(X) and X.format != "csr":
        # Before the conversion to CSR, in which scipy trusts every index.
        check_structure(X)
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
    rows = validated[0] if isinstance(validated, tuple) else validated
    if issparse(rows):
        check_structure(rows)
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


def check_structure(X):
    """Raise an error unless the indices of a CSR, CSC, BSR or COO matrix lie within its shape.

    The compiled loops, and those of scipy, read and write memory wherever the indices point. A
    matrix of another number of dimensions is left to scikit-learn's error.
    """
    if X.ndim != 2:
        return
    if X.format == "coo":
        for axis, (indices, size) in enumerate(zip(X.coords, X.shape, strict=True)):
            _check_length(indices.shape == X.data.shape, X)
            _check_range(indices, size, f"coords[{axis}]", X)
    elif X.format in ("csr", "csc", "bsr"):
        rows, columns = np.floor_divide(X.shape, X.blocksize if X.format == "bsr" else 1).tolist()
        n_pointers, size = (columns, rows) if X.format == "csc" else (rows, columns)
        fits = X.indptr.shape == (n_pointers + 1,) and X.indices.shape == X.data.shape[:1]
        _check_length(fits and X.data.ndim == (3 if X.format == "bsr" else 1), X)
        _check_pointers(X)
        _check_range(X.indices[: X.indptr[-1]], size, "indices", X)


def _check_length(fits, X):
    """Raise an error unless the lengths of the arrays of a sparse matrix fit each other."""
    if not fits:
        raise ValueError(
            f"Input X is no valid {X.format.upper()} matrix: the lengths of its data and "
            f"index arrays do not fit each other, or its shape {X.shape}."
        )


def _check_pointers(X):
    """Raise an error unless the pointers of a sparse matrix rise from 0 within its entries."""
    pointers = X.indptr
    rising = pointers[0] == 0 and (pointers[1:] >= pointers[:-1]).all()
    if pointers.dtype.kind not in "iu" or not rising or pointers[-1] > len(X.indices):
        raise ValueError(
            f"Input X is no valid {X.format.upper()} matrix: indptr must be integers that "
            f"begin with 0, never fall and end with {len(X.indices)}, the number of its entries, "
            "at the most."
        )


def _check_range(indices, size, what, X):
    """Raise an error unless indices are integers from 0 to size - 1."""
    if len(indices) == 0:
        return
    least, largest = indices.min(), indices.max()
    if indices.dtype.kind not in "iu" or least < 0 or largest >= size:
        raise ValueError(
            f"Input X is no valid {X.format.upper()} matrix: {what} must be integers from 0 "
            f"to {size - 1}, got {least} to {largest}."
        )


def _compiled(indices):
    """Return indices as a contiguous array of a type that the compiled loops read."""
    dtype = indices.dtype if indices.dtype in INDICES else np.int64
    return np.ascontiguousarray(indices, dtype=dtype)


def _canonical(X):
    """Return a CSR matrix in the form that the compiled loops read; X itself if it has it.

    Its arrays are contiguous and without unused entries, its indices and pointers are of one type,
    and indices increase strictly in each row.
    """
    indices, pointers = _compiled(X.indices), _compiled(X.indptr)
    if indices.dtype != pointers.dtype:
        wide = len(indices) > np.iinfo(np.int32).max
        dtype = np.int64 if wide else indices.dtype
        indices, pointers = (array.astype(dtype, copy=False) for array in (indices, pointers))
    data, n_entries = np.ascontiguousarray(X.data), int(pointers[-1])
    if n_entries < len(data):
        data, indices = data[:n_entries], indices[:n_entries]
    increasing = strictly_increasing(indices, pointers)
    if increasing and data is X.data and indices is X.indices and pointers is X.indptr:
        return X
    X = csr_array((data, indices, pointers), shape=X.shape, copy=not increasing)
    if not increasing:
        X.sum_duplicates()
    return X

"""Input as users give it: refused with a clear error, or as the arrays that training needs."""

from math import isfinite

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.utils import assert_all_finite, check_consistent_length
from sklearn.utils.validation import _check_sample_weight, check_non_negative, validate_data

from .kernels.csc import strictly_increasing

FLOATS = [np.float64, np.float32]
INDICES = [np.int32, np.int64]  # of sparse matrices, in the compiled loops


@np.errstate(over="ignore", invalid="ignore")  # numbers that are too large are named below
def validated(
    estimator, X, y, sample_weight, reset, ensure_all_finite=False, allow_all_zero_weights=False
):
    """Arrays as the training needs them, or scikit-learn's errors.

    Whether dense X is finite is seen in its moments, without a pass of its own.
    """
    options = {"reset": reset, "ensure_all_finite": ensure_all_finite, "order": "C"}
    if type(y) is np.ndarray and y.dtype == np.float64 and y.ndim == 1 and y.size:
        # With what follows, all that the other branch would check, in a third of the time.
        X = _validated_rows(estimator, X, **options)
        if X.shape[0] != len(y):
            check_consistent_length(X, y)  # says so
    else:
        X, y = _validated_rows(estimator, X, y, multi_output=True, y_numeric=True, **options)
    if issparse(X):
        assert_all_finite(X, input_name="X", estimator_name=type(estimator).__name__)
        X = _canonical(X)
    y = np.ascontiguousarray(y, dtype=np.float64)
    square = np.vdot(y, y)
    if not isfinite(square):
        assert_all_finite(y, input_name="y", estimator_name=type(estimator).__name__)
    _check_finite_total(square, "y", "sum of squares")
    if sample_weight is not None:
        sample_weight = _validated_weight(estimator, sample_weight, X, allow_all_zero_weights)
    return X, y, sample_weight


def validated_rows(estimator, X):
    """Rows to predict, or scikit-learn's errors."""
    return _validated_rows(estimator, X, reset=False)


def without_rows(*arrays):
    """Whether arrays, those that are not None, have no rows; a filter leaves such partitions."""
    arrays = [array for array in arrays if array is not None]
    return all(
        array.shape[:1] == (0,) if hasattr(array, "shape") else len(array) == 0 for array in arrays
    )


def _validated_rows(estimator, X, y="no_validation", **options):
    """What `validate_data` returns, having refused what it would misread."""
    if issparse(X) and X.format != "csr":
        check_structure(X)  # before scipy converts it, which believes every index
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
    weight = _check_sample_weight(
        sample_weight, X, dtype=np.float64, allow_all_zero_weights=allow_all_zero_weights
    )
    _refuse_missing(sample_weight, "sample_weight")
    check_non_negative(weight, "`sample_weight`")
    _check_finite_total(weight.sum(), "sample_weight", "sum")
    if allow_all_zero_weights and not weight.any():  # so nobody takes the moments of X
        assert_all_finite(X, input_name="X", estimator_name=type(estimator).__name__)
    return np.ascontiguousarray(weight)


def _check_finite_total(total, name, what):
    if not isfinite(total):
        raise ValueError(
            f"Input {name} contains values whose {what} is too large for dtype('float64'). "
            "Rescale it."
        )


def _refuse_missing(array, name):
    """Raise an error for missing values that a conversion to floats takes for numbers."""
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
    """Whether there is a date or duration that is none. A conversion to floats has -2**63 there."""
    if hasattr(array, "iloc"):  # pandas
        frame = array.to_frame() if array.ndim == 1 else array
        dates = [getattr(dtype, "kind", None) in ("m", "M") for dtype in frame.dtypes]
        return any(dates) and frame.iloc[:, np.flatnonzero(dates)].isna().to_numpy().any()
    first = array
    if isinstance(array, list | tuple | np.ndarray):
        first = array[:1]
    elif hasattr(array, "slice"):  # polars, pyarrow
        first = array.slice(0, 1)
    # The first row tells the type of all.
    return np.asarray(first).dtype.kind in "mM" and np.isnat(np.asarray(array)).any()


def check_structure(X):
    """Raise an error unless the indices of a CSR, CSC, BSR or COO matrix lie within its shape.

    The compiled loops, and those of scipy, read and write where they point to.
    """
    if X.ndim != 2:
        return  # scikit-learn refuses it
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
    if not fits:
        raise ValueError(
            f"Input X is no valid {X.format.upper()} matrix: the lengths of its data and "
            f"index arrays do not fit each other, or its shape {X.shape}."
        )


def _check_pointers(X):
    pointers = X.indptr
    rising = pointers[0] == 0 and (pointers[1:] >= pointers[:-1]).all()
    if pointers.dtype.kind not in "iu" or not rising or pointers[-1] > len(X.indices):
        raise ValueError(
            f"Input X is no valid {X.format.upper()} matrix: indptr must be integers that "
            f"begin with 0, never fall and end with {len(X.indices)}, the number of its entries, "
            "at the most."
        )


def _check_range(indices, size, what, X):
    if len(indices) == 0:
        return
    least, largest = indices.min(), indices.max()
    if indices.dtype.kind not in "iu" or least < 0 or largest >= size:
        raise ValueError(
            f"Input X is no valid {X.format.upper()} matrix: {what} must be integers from 0 "
            f"to {size - 1}, got {least} to {largest}."
        )


def _compiled(indices):
    """The same numbers as the compiled loops take them."""
    dtype = indices.dtype if indices.dtype in INDICES else np.int64
    return np.ascontiguousarray(indices, dtype=dtype)


def _canonical(X):
    """CSR matrix as the compiled loops take it; X itself if it is.

    Contiguous arrays of one length, indices of one type, strictly increasing in each row.
    """
    indices, pointers = _compiled(X.indices), _compiled(X.indptr)
    if indices.dtype != pointers.dtype:
        wide = len(indices) > np.iinfo(np.int32).max
        dtype = np.int64 if wide else indices.dtype
        indices, pointers = (array.astype(dtype, copy=False) for array in (indices, pointers))
    data, n_entries = np.ascontiguousarray(X.data), int(pointers[-1])
    if n_entries < len(data):  # room for more
        data, indices = data[:n_entries], indices[:n_entries]
    increasing = strictly_increasing(indices, pointers)
    if increasing and data is X.data and indices is X.indices and pointers is X.indptr:
        return X
    X = csr_array((data, indices, pointers), shape=X.shape, copy=not increasing)
    if not increasing:
        X.sum_duplicates()
    return X

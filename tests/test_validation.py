"""Input that would crash the process or be misread is refused; odd but valid input is not."""

import array as arrays
import copy
from collections import deque

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._validation import FLOATS, validated_rows
from tests.data import pairs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 20)) * (RNG.random((120, 20)) < 0.3)
Y = X @ RNG.normal(size=20) + 0.1 * RNG.normal(size=120) + 3
WEIGHT = RNG.integers(1, 5, size=120).astype(float)
METHODS = ["fit", "partial_fit", "predict", "score", "X_val"]


def call(model, method, X=X, y=Y, weight=None):
    """Give a fitted model some input in one of the ways it takes it."""
    if method == "X_val":
        model.set_params(early_stopping=True)
        return model.fit(globals()["X"], Y, X_val=X, y_val=y, sample_weight_val=weight)
    return model.predict(X) if method == "predict" else getattr(model, method)(X, y, weight)


def refused(method, message, **data):
    """Check the error, and that it leaves the model as it was."""
    model = SGDLinearRegressor(random_state=0, early_stopping=method == "X_val").fit(X, Y)
    before = dict(vars(model))
    with pytest.raises((ValueError, TypeError), match=message):
        call(model, method, **data)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())


# ---------------------------------------------------------------- sparse matrices


def broken(format, array, place, value):
    """A sparse matrix with one number of its structure changed."""
    matrix = csr_array(X).tobsr((2, 4)) if format == "bsr" else csr_array(X).asformat(format)
    numbers = matrix.coords[array] if format == "coo" else getattr(matrix, array)
    numbers[place] = value
    return matrix


def shorter(array):
    matrix = csr_array(X)
    setattr(matrix, array, getattr(matrix, array)[:-1])
    return matrix


def reshaped(array):
    matrix = csr_array(X)
    setattr(matrix, array, getattr(matrix, array)[:, np.newaxis])
    return matrix


def of_other_numbers(array):
    matrix = csr_array(X)
    setattr(matrix, array, getattr(matrix, array).astype(float))
    return matrix


def lists_with_a_column_too_many():
    matrix = csr_array(X).tolil()
    matrix.rows[3][0] = 10**6
    return matrix


STRUCTURES = {
    "column at the end": (lambda: broken("csr", "indices", 5, 20), "indices must be < 20"),
    "column far beyond": (lambda: broken("csr", "indices", 5, 10**9), "indices must be < 20"),
    "negative column": (lambda: broken("csr", "indices", 5, -1), "indices must be >= 0"),
    "row pointer falls": (lambda: broken("csr", "indptr", 5, 10**3), "indptr .*non-decreasing"),
    "row pointer negative": (lambda: broken("csr", "indptr", 5, -(10**6)), "non-decreasing"),
    "row pointer beyond": (lambda: broken("csr", "indptr", -1, 10**8), "Last value of index poin"),
    "row pointer begins late": (lambda: broken("csr", "indptr", 0, 1), "should start with 0"),
    "row pointer falls to 0": (lambda: broken("csr", "indptr", -1, 0), "non-decreasing"),
    "short data": (lambda: shorter("data"), "same size"),
    "short indices": (lambda: shorter("indices"), "same size"),
    "indices of rows and columns": (lambda: reshaped("indices"), "1-D"),
    "data of rows and columns": (lambda: reshaped("data"), "1-D"),
    "short row pointers": (lambda: shorter("indptr"), "index pointer size 120 should be 121"),
    "indices are no integers": (lambda: of_other_numbers("indices"), "must be integers"),
    "pointers are no integers": (lambda: of_other_numbers("indptr"), "must be integers"),
    "CSC, row": (lambda: broken("csc", "indices", 5, 10**8), "CSC .*indices must be < 120"),
    "CSC, pointer": (lambda: broken("csc", "indptr", 5, 10**8), "CSC .*indptr"),
    "BSR, column": (lambda: broken("bsr", "indices", 5, 10**7), "BSR .*(20|120, 20)"),
    "COO, row": (lambda: broken("coo", 0, 5, 10**6), r"COO .*(120, 20)"),
    "COO, column": (lambda: broken("coo", 1, 5, -1), r"COO .*negative"),
    "LIL, column": (lists_with_a_column_too_many, "indices must be < 20"),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_sparse_matrix_that_points_beyond_its_shape_is_refused(name):
    make, message = STRUCTURES[name]
    for method in METHODS:
        refused(method, f"Input X is no valid .*{message}", X=make())


def with_room(dtype=np.float64):
    """Rows at the end given up; their entries are still there."""
    matrix = csr_array(X.astype(dtype))
    matrix.indptr[-10:] = matrix.indptr[-10]
    return matrix


def with_indices(indices, pointers):
    matrix = csr_array(X)
    matrix.indices, matrix.indptr = matrix.indices.astype(indices), matrix.indptr.astype(pointers)
    return matrix


def apart():
    matrix = csr_array(X)
    for name in ("data", "indices", "indptr"):
        setattr(matrix, name, np.repeat(getattr(matrix, name), 2)[::2])
    return matrix


def read_only():
    matrix = csr_array(X)
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.flags.writeable = False
    return matrix


def duplicates(known_as_canonical=False):
    """Halves of all entries twice; a flag of scipy's says what was true once."""
    matrix = csr_array(X)
    halves = np.repeat(matrix.data / 2, 2), np.repeat(matrix.indices, 2), 2 * matrix.indptr
    matrix = csr_array(halves, shape=X.shape)
    if known_as_canonical:
        matrix.has_canonical_format = True
    return matrix


def backwards():
    matrix = csr_array(X[:, ::-1])
    return csr_array((matrix.data, 19 - matrix.indices, matrix.indptr), shape=X.shape)


ODD = {
    "room for more": with_room,
    "float32 with room": lambda: with_room(np.float32),
    "int32 and int64": lambda: with_indices(np.int32, np.int64),
    "int64 and int32": lambda: with_indices(np.int64, np.int32),
    "int64": lambda: with_indices(np.int64, np.int64),
    "unsigned": lambda: with_indices(np.uint16, np.uint32),
    "big-endian": lambda: with_indices(">i4", ">i4"),
    "strided": apart,
    "read-only": read_only,
    "duplicates": duplicates,
    "duplicates, denied": lambda: duplicates(known_as_canonical=True),
    "unsorted": backwards,
    **{
        format: lambda format=format: csr_array(X).asformat(format)
        for format in ("csc", "coo", "bsr", "lil", "dok")
    },
    "matrix": lambda: sparse.csr_matrix(X),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("options", [{}, {"penalty": "l2"}, {"loss": "huber"}], ids=str)
def test_every_valid_sparse_matrix_gives_the_model_of_a_plain_one(name, options):
    given = ODD[name]()
    parts = {part: vars(given).get(part) for part in ("data", "indices", "indptr")}
    written = {part: copy.copy(array) for part, array in parts.items()}
    plain = csr_array(with_room().toarray() if "room" in name else X).astype(given.dtype)
    for method in ("fit", "partial_fit"):
        model = getattr(SGDLinearRegressor(random_state=0, **options), method)(given, Y)
        expected = getattr(SGDLinearRegressor(random_state=0, **options), method)(plain, Y)
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-7, atol=1e-10)
        np.testing.assert_allclose(model.predict(given), model.predict(plain), rtol=1e-6)
    for part, array in parts.items():  # the user's matrix is as it was
        assert vars(given).get(part) is array
        np.testing.assert_array_equal(array, written[part])


def test_room_for_more_in_wide_rows():
    """Once written beyond a buffer of the entries that count."""
    rng = np.random.default_rng(0)
    wide = sparse.random_array((200, 5000), density=0.05, format="csr", rng=rng)
    wide.indptr[-10:] = wide.indptr[-10]
    y = rng.normal(size=200)
    for options in ({"penalty": "l2"}, {}, {"penalty": "l2", "fit_intercept": False}):
        model = SGDLinearRegressor(random_state=0, **options)
        expected = model.fit(csr_array(wide.toarray()), y).coef_
        np.testing.assert_allclose(model.fit(wide, y).coef_, expected, atol=1e-9)


# ---------------------------------------------------------------- missing values and dates


def dates(values, kind):
    return (1e3 * np.abs(values)).astype(f"{kind}8[s]")


def not_a_time(values, kind, place):
    values = dates(values, kind)
    values[place] = "NaT"
    return values


def in_a_zone(values):
    """Dates that pandas, not numpy, converts to floats."""
    frame = pd.DataFrame(not_a_time(values, "M", 7)).apply(
        lambda dates: dates.dt.tz_localize("UTC")
    )
    return frame[0] if values.ndim == 1 else frame


MISSING = {
    "masked": (lambda array: np.ma.masked_greater(array, 1), "masked values"),
    "masked float32": (lambda array: np.ma.masked_greater(array.astype("f4"), 1), "masked values"),
    "datetime64": (lambda array: not_a_time(array, "M", 7), "NaT"),
    "timedelta64": (lambda array: not_a_time(array, "m", -1), "NaT"),
    "list of dates": (lambda array: list(not_a_time(array, "M", 7)), "NaT"),
    "pandas": (
        lambda array: (pd.Series if array.ndim == 1 else pd.DataFrame)(not_a_time(array, "M", 7)),
        "NaT",
    ),
    "pandas, labels that are no places": (
        lambda array: (
            pd.Series(not_a_time(array, "m", 7), index=np.linspace(0, 1, 120))
            if array.ndim == 1
            else pd.DataFrame(not_a_time(array, "m", 7), index=np.linspace(0, 1, 120))
        ),
        "NaT",
    ),
    "pandas with a time zone": (lambda array: in_a_zone(array), "NaT|contains NaN|not .Timestamp."),
    "polars": (
        lambda array: (pl.Series if array.ndim == 1 else pl.DataFrame)(
            not_a_time(array, "M", 7).astype("M8[us]")
        ),
        "NaT",
    ),
    "pandas nullable": (
        lambda array: (pd.Series if array.ndim == 1 else pd.DataFrame)(
            array, dtype="Float64"
        ).replace(array.flat[np.flatnonzero(array)[5]], pd.NA),
        "NaN",
    ),
}


@pytest.mark.filterwarnings("ignore:X has feature names")  # columns of polars always have
@pytest.mark.parametrize(
    ("name", "argument", "method"),
    pairs(list(MISSING), ["X", "y", "weight"], ["fit", "partial_fit", "X_val"]),
)
def test_missing_values_of_every_kind_are_refused(name, argument, method):
    make, message = MISSING[name]
    array = {"X": X, "y": np.abs(Y), "weight": WEIGHT}[argument]
    where = {"weight": "sample_weight"}.get(argument, argument)
    refused(method, f"Input {where} .*{message}", **{argument: make(array)})


@pytest.mark.filterwarnings("ignore:X has feature names")
def test_predict_refuses_them_too():
    for make, message in MISSING.values():
        refused("predict", message, X=make(X))


def test_dates_are_numbers_as_in_scikit_learn_and_a_mask_may_hide_nothing():
    model = SGDLinearRegressor(random_state=0)
    expected = model.fit(X, dates(Y, "m").astype(float)).coef_
    for y in (dates(Y, "m"), dates(Y, "M"), pd.Series(dates(Y, "M")), np.ma.array(dates(Y, "m"))):
        np.testing.assert_allclose(model.fit(X, y).coef_, expected)
    np.testing.assert_array_equal(
        model.fit(np.ma.array(X), np.ma.array(Y), np.ma.array(WEIGHT)).coef_,
        model.fit(X, Y, WEIGHT).coef_,
    )


def test_what_has_no_slices_is_an_array_as_in_scikit_learn():
    expected = SGDLinearRegressor(random_state=0).fit(X, Y, WEIGHT).coef_
    model = SGDLinearRegressor(random_state=0).fit(
        memoryview(X), deque(Y), arrays.array("d", WEIGHT)
    )
    np.testing.assert_array_equal(model.coef_, expected)


def test_what_is_no_number_keeps_its_error_and_leaks_no_warning():
    for method in ("fit", "partial_fit"):
        refused(method, "Sparse data was passed for y", y=csr_array(Y[:, np.newaxis]))
        refused(method, "Complex data not supported", y=Y + 1j)
        refused(method, "must be a string or a real number", y=dates(Y, "M").astype(object))
        if np.finfo(np.longdouble).max > np.finfo(np.float64).max:
            refused(method, "Input y contains infinity", y=Y * np.longdouble("1e4000"))


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize(
    ("scale", "dtype", "options"),
    pairs(
        [1e-310, 1e-50, 1e39, 1e300],
        [np.float32, np.float64],
        [{}, {"loss": "huber"}, {"penalty": "l1"}],
    ),
)
def test_the_unit_of_weights_is_none(scale, dtype, options):
    for rows in (X.astype(dtype), csr_array(X.astype(dtype))):
        for method in ("fit", "partial_fit"):
            expected = getattr(SGDLinearRegressor(random_state=0, **options), method)(
                rows, Y, WEIGHT
            )
            model = getattr(SGDLinearRegressor(random_state=0, **options), method)(
                rows, Y, scale * WEIGHT
            )
            np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-310, 1e302])
def test_losses_do_not_depend_on_it_either(scale):
    X_val = {"X_val": X, "y_val": 1e6 * Y}
    expected, model = (
        SGDLinearRegressor(random_state=0, early_stopping=True).fit(
            X, 1e6 * Y, unit * WEIGHT, **X_val, sample_weight_val=unit * WEIGHT
        )
        for unit in (1, scale)
    )
    np.testing.assert_allclose(model.validation_scores_, expected.validation_scores_, rtol=1e-6)
    expected, model = (
        SGDLinearRegressor(random_state=0).partial_fit(X, Y, unit * WEIGHT) for unit in (1, scale)
    )
    np.testing.assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=1e-6)


def test_a_chunk_without_weight_is_no_chunk():
    model = SGDLinearRegressor(random_state=0)
    assert not hasattr(model.partial_fit(X, Y, 0 * WEIGHT), "coef_")
    model.partial_fit(X[:, :10], Y, WEIGHT)
    before = dict(vars(model))
    model.partial_fit(1 + X[:, :10], Y, 0 * WEIGHT)
    assert all(vars(model)[name] is value for name, value in before.items())
    with pytest.raises(ValueError, match="at least one non-zero"):
        model.fit(X, Y, 0 * WEIGHT)
    refused("partial_fit", "contains NaN", X=X * np.nan, weight=0 * WEIGHT)


# ---------------------------------------------------------------- as scikit-learn validates


ROWS = np.random.default_rng(0).normal(size=(6, 3))
PLAIN = {
    "float64": ROWS,
    "float32": ROWS.astype(np.float32),
    "one row": ROWS[:1],
    "columns first": np.asfortranarray(ROWS),
    "every other row": ROWS[::2],
    "other byte order": ROWS.astype(ROWS.dtype.newbyteorder()),
    "integers": np.arange(6).reshape(2, 3),
    "longdouble": ROWS.astype(np.longdouble),
    "subclass": ROWS.view(np.recarray),
    "too many columns": np.ones((2, 4)),
    "no rows": ROWS[:0],
    "no columns": ROWS[:, :0],
    "one dimension": ROWS[0],
    "three dimensions": ROWS[np.newaxis],
    "NaN": np.where(ROWS > 1, np.nan, ROWS),
    "infinite": np.where(ROWS > 1, -np.inf, ROWS),
    "both infinities": np.where(ROWS > 0, np.inf, -np.inf),
    "sum too large": np.full((6, 3), 1e308),
}


def outcome(validate, model, X):
    """The validated array and what the model notes of it, or the error or warning."""
    model = copy.copy(model)
    try:
        result = validate(model, X)
    except (ValueError, TypeError, Warning) as error:
        return type(error), str(error)
    noted = model.n_features_in_, getattr(model, "feature_names_in_", None) is None
    return result.tobytes(), result.dtype, result.shape, result is X, noted


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("ensure_all_finite", [False, True])
def test_plain_arrays_are_validated_as_by_scikit_learn(ensure_all_finite, reset, names):
    rows = pd.DataFrame(ROWS, columns=["a", "b", "c"]) if names else ROWS
    model = SGDLinearRegressor().fit(rows, Y[:6])
    options = {"reset": reset, "ensure_all_finite": ensure_all_finite}

    def ours(model, X):
        return validated_rows(model, X, **options)

    def theirs(model, X):
        return validate_data(model, X, dtype=FLOATS, **options)

    for kind, X in PLAIN.items():
        assert outcome(ours, model, X) == outcome(theirs, model, X), kind


def test_defaults_are_valid_parameters():
    BaseEstimator._validate_params(SGDLinearRegressor())


@pytest.mark.parametrize("name", SGDLinearRegressor._parameter_constraints)
def test_a_parameter_that_is_not_valid_has_the_error_of_scikit_learn(name):
    model = SGDLinearRegressor(**{name: ()})
    errors = []
    for validate in (BaseEstimator._validate_params, lambda model: model.fit(X, Y)):
        with pytest.raises(ValueError, match=f"'{name}' parameter") as error:
            validate(model)
        errors.append(str(error.value))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("assume_finite", [False, True])
@pytest.mark.parametrize("as_rows", [np.ascontiguousarray, np.asfortranarray], ids=["C", "F"])
def test_missing_values_are_named_with_a_remedy(method, assume_finite, as_rows):
    rows = as_rows(np.where(np.arange(X.size).reshape(X.shape) == 7, np.nan, X))
    with (
        config_context(assume_finite=assume_finite),
        pytest.raises(ValueError, match=r"X contains NaN.\nSGDLinearRegressor does not accept"),
    ):
        getattr(SGDLinearRegressor(), method)(rows, Y)


def test_a_frame_that_is_not_collected_is_named():
    rows = pl.DataFrame(X)
    model = SGDLinearRegressor().fit(rows, Y)
    for method in (lambda rows: model.fit(rows, Y), model.predict):
        with pytest.raises(TypeError, match=r"LazyFrame.*collect"):
            method(rows.lazy())

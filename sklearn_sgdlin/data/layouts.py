"""Rows of X in the memory layout they were given in, read piece by piece.

A solver that reads each row once needs no copy of X in C order and float64. A piece is a view where
compiled loops can read the array as it is; otherwise some rows at a time are converted.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse

from ..kernels.products import NUMBERS, read_columns
from ..linalg.blocks import csr_row_slice


class Frame:
    """Columns of numbers of a data frame of pandas or polars.

    Attributes
    ----------
    shape : tuple of int
    columns : list
        Arrays that share the memory of the frame, or its columns where there is no such array.
    places : Places or None
        Of the columns, if all of them are arrays that compiled loops read as they are.
    """

    def __init__(self, frame):
        self.frame, self.shape = frame, frame.shape
        if hasattr(frame, "iloc"):
            self.columns = [_pandas_view(column) for _, column in frame.items()]
        else:
            self.columns = [_polars_view(column) for column in frame.get_columns()]
        self.places = None
        if all(map(is_readable, self.columns)):
            self.places = Places.of_columns(self.columns)

    def read(self, part, out):
        """Write the rows of a slice into an array in Fortran order."""
        if self.places is not None:
            read_columns(self.places.from_row(part.start), out)
            return
        for j, column in enumerate(self.columns):
            out[:, j] = _values(column, part)

    def take(self, numbers):
        """Return the rows with these numbers, in the common type of the columns."""
        return np.column_stack([_values(column, numbers) for column in self.columns])


def _pandas_view(column):
    """Return a column of pandas as an array, if that takes no copy, or as it is."""
    if isinstance(column.dtype, np.dtype):
        return column.to_numpy()
    first = column.iloc[:2]
    if np.shares_memory(first.to_numpy(), first.to_numpy()):  # numbers of Arrow, none missing
        array = column.to_numpy()
        return array if array.dtype.kind in "fiub" else column
    return column


def _polars_view(column):
    """Return a column of polars as an array, if that takes no copy, or as it is."""
    try:
        return column.to_numpy(allow_copy=False)
    except RuntimeError:
        return column


def _values(column, rows):
    """Return some rows, a slice or an array of numbers, of a column of a `Frame`."""
    if isinstance(column, np.ndarray):
        return column[rows]
    if hasattr(column, "iloc"):
        return column.iloc[rows].to_numpy(dtype=np.float64, na_value=np.nan)
    return column[rows].to_numpy()


def as_table(X):
    """Return dense X of numbers as `pieces` reads it, or None where it is none.

    An array in C order that compiled loops read as it is needs no other reading.
    """
    if len(getattr(X, "shape", ())) != 2 or 0 in X.shape or issparse(X):
        return None
    if type(X) in (np.ndarray, np.memmap):
        usual = X.flags.c_contiguous and is_readable(X) and X.dtype.kind == "f"
        return X if X.dtype.kind in "fiub" and not usual else None
    if hasattr(X, "iloc") and hasattr(X, "dtypes"):
        return Frame(X) if all(map(_is_numeric, X.dtypes)) else None
    if hasattr(X, "get_columns") and hasattr(X, "schema"):
        numeric = all(dtype.is_numeric() for dtype in X.schema.values())
        return Frame(X) if numeric else None
    return None


def _is_numeric(dtype):
    """Return whether a dtype of pandas is that of numbers; a sparse or categorical one is not."""
    return getattr(dtype, "kind", "O") in "fiub" and not hasattr(dtype, "fill_value")


class Places(NamedTuple):
    """Where the columns of X lie in memory, for compiled loops that read them as they are."""

    # `addresses`, `strides` and `types`, of shape (n_features,), see `add_cross_products`.
    addresses: np.ndarray
    strides: np.ndarray
    types: np.ndarray
    by_rows: bool  # whether they are an array whose rows lie together in memory

    @classmethod
    def of(cls, X):
        """Return the places of the columns of an array or a `Frame`, or None for a copy to read."""
        if isinstance(X, Frame):
            return X.places
        if not is_readable(X):
            return None
        from_row, from_column = X.strides
        addresses = _address(X) + from_column * np.arange(X.shape[1])
        kind = NUMBERS.index(X.dtype)
        strides, types = np.full_like(addresses, from_row), np.full_like(addresses, kind)
        return cls(addresses, strides, types, abs(from_column) <= abs(from_row))

    @classmethod
    def of_columns(cls, columns):
        """Return the places of arrays of one dimension."""
        places = [(_address(x), x.strides[0], NUMBERS.index(x.dtype)) for x in columns]
        return cls(*np.array(places, dtype=np.intp).T.copy(), False)

    def from_row(self, start):
        """Return the places of the rows from `start` on."""
        return self._replace(addresses=self.addresses + start * self.strides)


def _address(array):
    """Return where the first number of an array is in memory."""
    return array.__array_interface__["data"][0]


def is_readable(X):
    """Return whether compiled loops read an array as it is."""
    return (
        isinstance(X, np.ndarray)
        and X.dtype in NUMBERS
        and X.dtype.isnative
        and X.flags.aligned
        and all(stride % X.itemsize == 0 for stride in X.strides)
    )


def pieces(X, part, step):
    """Yield pairs of a slice and the rows of X in it, as float arrays that cover a part.

    A piece may be overwritten by the next.

    `step`: rows of a piece that is a conversion.
    """
    if is_readable(X):
        yield part, X[part]
        return
    buffer = None
    if not issparse(X):
        order = "F" if isinstance(X, Frame) else "C"
        buffer = np.empty((min(step, part.stop - part.start), X.shape[1]), order=order)
    for start in range(part.start, part.stop, step):
        piece = slice(start, min(start + step, part.stop))
        if issparse(X):
            yield piece, csr_row_slice(X, piece).toarray()
            continue
        values = buffer[: piece.stop - start]
        if isinstance(X, Frame):
            X.read(piece, values)
        else:
            values[:] = X[piece]
        yield piece, values


def take(X, numbers):
    """Return the rows of X with these numbers, as a float64 array."""
    rows = X.take(numbers) if isinstance(X, Frame) else X[numbers]
    return np.asarray(rows.toarray() if issparse(X) else rows, dtype=np.float64)

"""Rows of X in the memory layout they were given in, read piece by piece.

A solver that reads each row once needs no copy of X in C order and float64. A piece is a view where
compiled loops can read the array as it is; otherwise some rows at a time are converted.
"""

import numpy as np
from scipy.sparse import issparse

from ..kernels.products import gather_columns
from ..linalg.blocks import csr_row_slice

# Types of numbers that the pass over the rows reads as they are.
NUMBERS = [np.float64, np.float32, np.int32, np.int64]


class Frame:
    """Columns of numbers of a data frame of pandas or polars.

    Parameters
    ----------
    frame : data frame

    Attributes
    ----------
    shape : tuple of int
    columns : list
        Arrays that share the memory of the frame, or its columns where there is no such array.
    """

    def __init__(self, frame):
        self.frame, self.shape = frame, frame.shape
        if hasattr(frame, "iloc"):
            self.columns = [_pandas_view(frame.iloc[:, j]) for j in range(self.shape[1])]
        else:
            self.columns = [_polars_view(column) for column in frame.get_columns()]
        arrays = all(isinstance(column, np.ndarray) for column in self.columns)
        self.gathered = arrays and {column.dtype for column in self.columns} == {np.dtype(float)}
        if self.gathered:
            addresses = [column.__array_interface__["data"][0] for column in self.columns]
            strides = [column.strides[0] // column.itemsize for column in self.columns]
            self.places = np.array(addresses, dtype=np.intp), np.array(strides, dtype=np.intp)

    def read(self, part, out):
        """Write the rows of a slice."""
        if self.gathered:
            gather_columns(*self.places, part.start, out)
            return
        for j, column in enumerate(self.columns):
            out[:, j] = _values(column, part)

    def take(self, numbers):
        """Return the rows with these numbers."""
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


def is_readable(X):
    """Return whether compiled loops read an array of two dimensions as it is."""
    return (
        isinstance(X, np.ndarray)
        and X.dtype in NUMBERS
        and X.dtype.isnative
        and all(stride % X.itemsize == 0 for stride in X.strides)
    )


def pieces(X, part, step):
    """Yield pairs of a slice and the rows of X in it, as float arrays that cover a part.

    A piece may be overwritten by the next.

    Parameters
    ----------
    X : ndarray, CSR matrix or Frame
    part : slice
    step : int
        Rows of a piece that is a conversion.
    """
    if is_readable(X):
        yield part, X[part]
        return
    buffer = None if issparse(X) else np.empty((min(step, part.stop - part.start), X.shape[1]))
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
    if isinstance(X, Frame):
        return X.take(numbers)
    rows = X[numbers]
    return np.asarray(rows.toarray() if issparse(X) else rows, dtype=np.float64)

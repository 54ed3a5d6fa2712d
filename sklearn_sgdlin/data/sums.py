"""Sums over rows as values with ``+``: what every pass over the data returns."""

from typing import NamedTuple

import numpy as np


class Smallest(NamedTuple):
    """A number or array of which a sum keeps the smallest, element by element.

    Examples
    --------
    >>> float((Smallest(2.0) + Smallest(1.0)).value)
    1.0
    """

    value: np.ndarray | float

    def __add__(self, other):
        return Smallest(np.minimum(self.value, other.value))


def add_up(results):
    """Return the sum of the results of a task on several parts of the rows.

    A result is anything with ``+``, a tuple or named tuple of such, which are added field by
    field, or None.

    Examples
    --------
    >>> add_up([(1, 2.5), (10, 0.5)])
    (11, 3.0)
    """
    results = iter(results)
    total = next(results)
    if total is None:
        for _ in results:  # a lazy iterable runs the task on each part
            pass
        return None
    if not isinstance(total, tuple) or isinstance(total, Smallest):
        return sum(results, start=total)
    fields = list(total)
    for result in results:
        fields = [a + b for a, b in zip(fields, result, strict=True)]
    return type(total)(*fields) if hasattr(total, "_fields") else tuple(fields)

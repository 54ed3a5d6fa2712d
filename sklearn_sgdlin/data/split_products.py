"""Products of columns of the training and test rows of each split, from few passes over X.

Rows that go together in every split are a group. Products of groups add up to those of the training
rows, so one pass over X serves all splits of a partition into folds. Nothing is subtracted: the
products of all rows less those of a fold would lose digits where the fold is most of the rows.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from ..model.column_products import ColumnProducts
from .one_pass import MAX_SHIFT_RATIO, approximate_mean, column_products, sums_of_rows
from .row_ranges import in_threads, row_ranges

# Numbers in the products of all groups of a pass that are kept at most, beside as many as X has.
MAX_GROUP_NUMBERS = 1 << 23

# Mean square relative to the terms whose difference it is, below which it has lost digits.
CANCELLED = 1e-6


@dataclass(frozen=True)
class ShiftedSums:
    """Weighted sums of products of shifted columns, which add up over sets of rows."""

    # `products` and `squares`: as `add_cross_products` sums them up.
    products: np.ndarray
    squares: np.ndarray
    shift: np.ndarray  # of shape (n_features + n_targets,)
    n_rows: int  # number of rows of positive weight

    @property
    def weight(self):
        """Sum of the weights of the rows."""
        return float(self.products[len(self.products[0]) - 1, -1])

    def column_products(self):
        """Return the `ColumnProducts`, or None where the shift is too far from the means."""
        sums = self.products.copy(), self.squares
        result = ColumnProducts.from_shifted(*sums, self.shift, self.n_rows)
        return result if result.is_centred(self.shift, MAX_SHIFT_RATIO) else None

    def mean_squared_errors(self, coef, centre):
        """Return the mean squared error of models on these rows; NaN where digits are lost.

        `centre` of shape (n_features + n_targets,): row, and its targets, that the models go
        through.

        Returns
        -------
        errors : ndarray of shape (n_models, n_targets)
        """
        n_columns = self.products.shape[1]
        offset = centre - self.shift
        constant = offset[n_columns - 1 :] - coef @ offset[: n_columns - 1]
        theta = np.concatenate([coef, constant[:, :, np.newaxis]], axis=2)
        gram = self.products[:n_columns] + np.triu(self.products[:n_columns], 1).T
        square = (theta @ gram * theta).sum(axis=2)
        mixed = (theta * self.products[n_columns:]).sum(axis=2)
        errors = self.squares - 2 * mixed + square
        errors[~(errors > CANCELLED * (self.squares + square))] = np.nan
        return errors / self.weight


class SplitSums(NamedTuple):
    """Training and test rows of a split, and their sums."""

    train: np.ndarray
    test: np.ndarray
    train_sums: ShiftedSums
    test_sums: ShiftedSums


class PassSums(NamedTuple):
    """Sums of the groups of rows of one pass, and how often each is in the splits of the pass."""

    groups: list
    splits: list  # numbers of the training and test rows
    counts: list  # of shape (n_groups,)

    def total(self):
        """Return the `ShiftedSums` of all rows."""
        return _combined(self.groups, np.ones(len(self.groups), dtype=int))

    def split(self, number):
        """Return the `SplitSums` of a split."""
        sums = (_combined(self.groups, count) for count in self.counts[number])
        return SplitSums(*self.splits[number], *sums)


def split_sums(X, targets, sample_weight, splits, tuning):
    """Yield the `PassSums` of passes over X that serve all splits.

    `X`, `targets`, `sample_weight`, `tuning` (see `column_products`)
    `splits`
    """
    shift = approximate_mean(X, targets, sample_weight)
    for chunk, labels, counts in _passes(splits, X.shape, targets.shape[1]):
        groups = _sums_of_groups(X, targets, sample_weight, shift, labels, tuning)
        yield PassSums(groups, chunk, counts)


def products_of_rows(X, targets, sample_weight, rows, sums, tuning):
    """Return the `ColumnProducts` of some rows from their `ShiftedSums`.

    Where the common shift is far from their means, the rows are read once more.

    `X`, `targets`, `sample_weight`, `tuning` (see `column_products`)
    """
    products = sums.column_products()
    if products is None:
        weight = None if sample_weight is None else sample_weight[rows]
        products = column_products(X[rows], targets[rows], weight, tuning)
    return products


def _passes(splits, shape, n_targets):
    """Yield splits that share a pass, the group of each row, and counts of groups in the splits.

    A partition into k folds has k groups. Splits join a pass as long as they make at most one group
    more, and products of all groups take no more memory than X, or little.
    """
    n_rows, width = shape[0], shape[1] + 1
    numbers = max(n_rows * width, MAX_GROUP_NUMBERS)
    most = max(numbers // (width * (width + n_targets)), 3)
    one_group = np.zeros(n_rows, dtype=np.intp), []
    first, groups = 0, one_group
    for number, split in enumerate(splits):
        refined = _refined(*groups, split)
        n_groups = len(refined[1][0][0])
        if number > first and n_groups > min(number - first + 3, most):
            yield splits[first:number], *groups
            first, refined = number, _refined(*one_group, split)
        groups = refined
    yield splits[first:], *groups


def _refined(labels, counts, split):
    """Return groups of rows that are in the same group, and as often in one more split.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,)
        The group of each row.
    counts : list of pairs of arrays of shape (n_groups,)
        How often the rows of a group are in the training and in the test rows of each split.
    split : pair of arrays of row numbers
    """
    train, test = (np.bincount(rows, minlength=len(labels)) for rows in split)
    n_train, n_test = train.max() + 1, test.max() + 1
    code = (labels * n_train + train) * n_test + test
    present = np.bincount(code) > 0
    codes = np.flatnonzero(present)
    group = codes // (n_train * n_test)
    counts = [tuple(count[group] for count in of_split) for of_split in counts]
    counts.append((codes // n_test % n_train, codes % n_test))
    return (np.cumsum(present) - 1)[code], counts


def _sums_of_groups(X, targets, sample_weight, shift, labels, tuning):
    """Return the `ShiftedSums` of each group, in one pass over X in threads."""
    tasks, groups = [], []
    n_columns = X.shape[1] + 1
    order = np.argsort(labels.astype(np.min_scalar_type(labels.max())), kind="stable")
    for group, rows in enumerate(np.split(order, np.cumsum(np.bincount(labels))[:-1])):
        tasks += [(group, part) for part in _parts(rows, X, targets.shape[1], tuning)]
        weights = None if sample_weight is None else sample_weight[rows]
        n_rows = len(rows) if weights is None else int(np.count_nonzero(weights))
        zeros = np.zeros((n_columns + targets.shape[1], n_columns)), np.zeros(targets.shape[1])
        groups.append(ShiftedSums(*zeros, shift, n_rows))
    sums = partial(sums_of_rows, X, targets, sample_weight, shift)
    results = in_threads(sums, [part for _, part in tasks])
    for (group, _), (products, squares) in zip(tasks, results, strict=True):
        groups[group].products[...] += products
        groups[group].squares[...] += squares
    return groups


def _parts(rows, X, n_targets, tuning):
    """Return ranges of rows of a group: slices of X where they are consecutive, else numbers."""
    first, last = int(rows[0]), int(rows[-1])
    consecutive = last - first + 1 == len(rows)
    for part in row_ranges(X, tuning, n_targets, len(rows)):
        yield slice(first + part.start, first + part.stop) if consecutive else rows[part]


def _combined(groups, counts):
    """Return the sum of groups, each as often as counted."""
    total = replace(
        groups[0],
        products=np.zeros_like(groups[0].products),
        squares=np.zeros_like(groups[0].squares),
        n_rows=int(sum(c * group.n_rows for c, group in zip(counts, groups, strict=True))),
    )
    for group, count in zip(groups, counts, strict=True):
        if count:
            total.products[...] += count * group.products
            total.squares[...] += count * group.squares
    return total

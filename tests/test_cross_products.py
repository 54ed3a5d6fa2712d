"""Sums of products, put together from parts, against a naive loop over all rows."""

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from sklearn_sgdlin._tuning import Tuning
from sklearn_sgdlin.model.cross_products import CrossProducts
from sklearn_sgdlin.model.moments import Moments

N_ROWS, CUTS = 9000, (0, 10, 5000, 9000)  # a part longer than the rows its distances are from


@pytest.fixture
def data(rng):
    X = rng.normal(size=(N_ROWS, 4)) * [1e-2, 1.0, 1e3, 1.0] + [10.0, 0.0, 1e4, 1e4]
    X[:, 3] += np.linspace(0, 100, N_ROWS)  # parts are not alike
    targets = np.stack([X.sum(axis=1) + rng.normal(size=N_ROWS), 1e4 + rng.normal(size=N_ROWS)])
    return X, targets, rng.integers(0, 3, N_ROWS).astype(float)


def cross_products_of(X, targets, weight, cuts=CUTS, with_products=True):
    """CrossProducts of the parts between cuts, merged."""
    parts = [slice(*ends) for ends in pairwise(cuts)]
    return reduce(
        CrossProducts.merge,
        [
            CrossProducts.of(
                X[part],
                targets[:, part],
                None if weight is None else weight[part],
                with_products,
                Tuning(),
            )
            for part in parts
        ],
    )


@pytest.mark.parametrize("factor", [1.0, 2.0, 0.3])
def test_scaled_weights_give_the_moments_of_such_weights(data, factor):
    X, _, weight = data
    scaled = Moments.of(X, weight).with_weights_scaled(factor)
    expected = Moments.of(X, factor * weight)
    for name in ("rows", "weight", "mean", "sum_of_squares"):
        assert_allclose(getattr(scaled, name), getattr(expected, name), rtol=1e-9)


@pytest.mark.parametrize("kind", [np.asarray, csr_array, np.float32])
@pytest.mark.parametrize("weighted", [True, False])
def test_sums_are_those_of_all_rows(data, kind, weighted):
    X, targets, weight = data
    X = kind(X)
    cross = cross_products_of(X, targets, weight if weighted else None)
    h = weight if weighted else np.ones(N_ROWS)
    X = X.toarray() if kind is csr_array else X.astype(float)
    columns = np.column_stack([X, *targets])
    centred = columns - np.average(columns, axis=0, weights=h)
    assert_allclose(cross.moments.mean, np.average(columns, axis=0, weights=h), rtol=1e-13)
    assert_allclose(cross.moments.sum_of_squares, h @ centred**2, rtol=1e-10)
    assert_allclose(cross.products[:4], (centred[:, :4].T * h) @ centred, rtol=1e-9)
    assert cross.moments.rows == np.count_nonzero(h)


def test_constant_columns_and_parts_of_no_weight_add_nothing(data):
    X, targets, weight = data
    X[:, 1] = 0.1
    weight[10:5000] = 0.0
    cross = cross_products_of(X, targets, weight)
    left = [*range(10), *range(5000, N_ROWS)]
    targets_left = np.ascontiguousarray(targets[:, left])
    alone = cross_products_of(X[left], targets_left, weight[left], cuts=(0, 10, len(left)))
    assert_array_equal(cross.products[1], 0.0)
    assert_array_equal(cross.products, alone.products)
    moments = cross_products_of(X, targets, weight, with_products=False)
    assert moments.products is None
    assert_allclose(
        cross.moments.sum_of_squares, moments.moments.sum_of_squares, atol=1e-12, rtol=1e-10
    )


@pytest.mark.parametrize("row", [0, 8000])
@pytest.mark.parametrize(
    ("value", "weight_there", "message"),
    [
        (np.nan, 1.0, "Input X contains NaN"),
        (np.nan, 0.0, "Input X contains NaN"),
        (np.inf, 1.0, "Input X contains infinity"),
        (np.inf, 0.0, "Input X contains infinity"),
        (1e200, 1.0, "in column 2 whose squares"),
    ],
)
def test_what_is_not_finite_is_named_as_in_moments(data, row, value, weight_there, message):
    X, targets, weight = data
    X[row, 2], weight[row] = value, weight_there
    with pytest.raises(ValueError, match=message):
        Moments.of(X, weight)
    with pytest.raises(ValueError, match=message):
        CrossProducts.of(X, targets, weight, True, Tuning())

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csc_array, csr_array

from sklearn_sgdlin.model.moments import MOMENT_ROWS, Moments
from sklearn_sgdlin.model.scaling import Scaling, effective_l2

finite = st.floats(-1e6, 1e6)


@given(
    X=arrays(np.float64, st.tuples(st.integers(2, 40), st.integers(1, 4)), elements=finite),
    cut=st.integers(1, 39),
)
def test_moments_merge_like_one_set_of_rows(X, cut):
    cut = min(cut, len(X) - 1)
    whole, merged = Moments.of(X), Moments.of(X[:cut]).merge(Moments.of(X[cut:]))
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(
        merged.sum_of_squares, whole.sum_of_squares, rtol=1e-9, atol=1e-12 * (X**2).sum() + 1e-300
    )
    assert merged.rows == whole.rows == len(X)


def test_moments_of_one_row_and_of_columns_beside_each_other(rng):
    X, other = rng.normal(loc=100, size=(7, 4)), rng.normal(size=(7, 2))
    both = Moments.of(np.column_stack([X, other]))
    beside = Moments.of(X).with_columns(Moments.of(other))
    row, one = Moments.of_row(X[0]), Moments.of(X[:1])
    for left, right in [(beside, both), (both.of_columns(slice(4)), Moments.of(X)), (row, one)]:
        assert (left.rows, left.weight) == (right.rows, right.weight)
        # Seven numbers near 100 that vary by 1: their sum rounds to a few eps, distances to 100.
        np.testing.assert_allclose(left.mean, right.mean, rtol=1e-14)
        np.testing.assert_allclose(left.sum_of_squares, right.sum_of_squares, rtol=1e-12)


def test_moments_with_weights_count_repeated_rows(rng):
    X, weight = rng.normal(size=(30, 3)) * [1, 10, 100], rng.integers(0, 4, 30)
    weighted = Moments.of(X, weight.astype(float))
    repeated = Moments.of(X.repeat(weight, axis=0))
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-13)
    np.testing.assert_allclose(weighted.sum_of_squares, repeated.sum_of_squares, rtol=1e-13)
    assert weighted.weight == repeated.weight
    assert weighted.rows == np.count_nonzero(weight)


def test_moments_of_columns_with_means_of_a_million_deviations(rng):
    X = rng.normal(size=(100_000, 3)) * [1e-9, 1, 1e9] + np.array([1e-3, 1e6, 1e15])
    exact = X.astype(np.longdouble)
    variance = ((exact - exact.mean(axis=0)) ** 2).mean(axis=0)
    np.testing.assert_allclose(Moments.of(X).variance(True), variance.astype(float), rtol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", [np.asarray, csc_array, csr_array])
@pytest.mark.parametrize(("dtype", "digits"), [(np.float64, 11), (np.float32, 5)])
def test_moments_of_any_storage(rng, dtype, digits, kind, weighted):
    X = rng.lognormal(size=(3 * MOMENT_ROWS + 5, 4)) * [1, 1e3, 1e-3, 1]
    X[rng.random(X.shape) < [0.5, 0.9, 0.1, 1.0]] = 0
    X[:, 2] += 0.2
    X, weight = X.astype(dtype), None
    h = np.ones(len(X))
    if weighted:
        h = weight = rng.exponential(size=len(X))
        h[: MOMENT_ROWS + 1] = 0  # a chunk, and a row of the next
    exact = X.astype(np.longdouble)
    mean = h @ exact / h.sum()
    moments = Moments.of(kind(X), weight)
    assert moments.rows == np.count_nonzero(h)
    assert moments.weight == pytest.approx(h.sum(), rel=1e-14)
    rtol = 10.0**-digits if kind is csr_array else 1e-11  # scikit-learn's, in the type of X
    np.testing.assert_allclose(moments.mean, mean.astype(float), rtol=rtol)
    deviation = (h @ (exact - mean) ** 2).astype(float)
    np.testing.assert_allclose(moments.sum_of_squares, deviation, rtol=rtol)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", [np.asarray, csc_array])  # CSR is validated before
def test_moments_see_what_is_not_finite_whatever_its_weight(rng, kind, bad):
    X, weight = rng.normal(size=(2 * MOMENT_ROWS, 2)), np.ones(2 * MOMENT_ROWS)
    X[7, 1], weight[:MOMENT_ROWS] = bad, 0
    for h in (None, weight, 0 * weight):
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            Moments.of(kind(X), h)


@pytest.mark.parametrize("kind", [np.asarray, csc_array])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e9, 1e-9])
@pytest.mark.parametrize("n_rows", [1, 3, 100_000])
def test_constant_columns_have_no_spread(rng, value, n_rows, kind):
    X = kind(np.full((n_rows, 2), value))
    np.testing.assert_array_equal(Moments.of(X).variance(fit_intercept=True), 0.0)
    weight = rng.exponential(size=n_rows)
    np.testing.assert_array_equal(Moments.of(X, weight).variance(fit_intercept=True), 0.0)
    scale = Scaling.from_moments(Moments.of(X), fit_intercept=True).scale
    np.testing.assert_array_equal(scale, [0.0, 0.0, 1.0])


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_mean_square_norm_of_a_row_is_one(rng, fit_intercept):
    X = rng.normal(size=(1000, 6)) * 10.0 ** np.arange(-9, 9, 3) + 5
    scaling = Scaling.from_moments(Moments.of(X), fit_intercept)
    z = scaling.scale * np.column_stack([X - scaling.centre, np.ones(1000)])
    np.testing.assert_allclose((z**2).sum(axis=1).mean(), 1.0, rtol=1e-9)


def test_model_and_coordinates_are_inverse(rng):
    X = rng.normal(size=(100, 4)) * [1e-3, 1, 1e3, 1] + 7
    scaling = Scaling.from_moments(Moments.of(X), fit_intercept=True)
    coef, intercept = rng.normal(size=4), 2.5
    back, intercept_back = scaling.to_original(scaling.to_scaled(coef, intercept))
    np.testing.assert_allclose(back, coef, rtol=1e-12)
    np.testing.assert_allclose(intercept_back, intercept, rtol=1e-9)


@pytest.mark.parametrize("n_columns", [3, 100, 5000])
def test_effective_penalty_is_felt_beside_all_columns(rng, n_columns):
    variance, l2, n_rows = 10 ** rng.uniform(-4, 1, n_columns), 1e-3, 100
    effective = effective_l2(variance, l2, n_rows)
    left = 1 - (variance / (variance + effective)).sum() / n_rows
    np.testing.assert_allclose(effective * left, l2, rtol=0.05)
    assert effective_l2(variance, 0.0, n_rows) == 0
    np.testing.assert_allclose(effective_l2(variance, l2, 10**9), l2, rtol=1e-3)


def test_scales_are_the_diagonal_of_the_inverse_of_the_hessian(rng):
    # More columns than rows: the variance alone is not what is left for a column.
    X, l2 = rng.normal(size=(300, 900)) * 10 ** rng.uniform(-2, 1, 900), 1e-2
    scale = Scaling.from_moments(Moments.of(X), True, l2).scale[:-1]
    z = X - X.mean(axis=0)
    inverse = np.linalg.inv(z.T @ z / 300 + l2 * np.eye(900)).diagonal()
    ratio = inverse / scale**2
    assert ratio.std() < 0.2 * ratio.mean()

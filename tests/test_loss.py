"""Law: the multiplier is minus the derivative of the value, kinks included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sgdlin.kernels import losses
from sklearn_sgdlin.model.loss import LOSSES, SQUARED_ERROR, make_loss

ROWS = {name: make_loss(name, epsilon=0.3, quantile=0.8) for name in LOSSES}
residuals = st.one_of(st.floats(-10, 10), st.sampled_from([-0.3, 0.0, 0.3]))


@pytest.mark.parametrize("name", ROWS)
@given(residual=residuals)
def test_multiplier_is_a_subgradient(name, residual):
    # l(e') >= l(e) + m(e) (e' - e) for all e' defines the subgradient of a convex function.
    loss = ROWS[name]
    others = residual + np.array([-1e2, -1.0, -1e-3, 1e-3, 1.0, 1e2])
    below = loss.value(residual) + loss.multiplier(residual) * (others - residual)
    assert np.all(loss.value(others) >= below - 1e-9)


def test_losses_are_those_of_their_names():
    e = np.array([-3.0, -0.2, 0.0, 0.25, 2.0])
    size = np.abs(e)
    expected = {
        "squared_error": e**2 / 2,
        "huber": np.where(size <= 0.3, e**2 / 2, 0.3 * size - 0.3**2 / 2),
        "epsilon_insensitive": np.maximum(size - 0.3, 0),
        "squared_epsilon_insensitive": np.maximum(size - 0.3, 0) ** 2,
        "quantile": np.where(e > 0, 0.8 * e, -0.2 * e),
    }
    assert set(expected) == set(LOSSES)
    for name, value in expected.items():
        np.testing.assert_allclose(ROWS[name].value(e), value, atol=1e-15)
    np.testing.assert_array_equal(SQUARED_ERROR.multiplier(e), e)


@pytest.mark.parametrize("name", ROWS)
@given(residual=st.floats(-10, 10))
def test_curvature_is_the_slope_of_the_multiplier(name, residual):
    loss, step = ROWS[name], 1e-6
    before, after = loss.multiplier(np.array([residual - step, residual + step]))
    if np.abs(np.abs(residual) - [0.0, 0.3]).min() > 2 * step:  # not at a kink
        assert loss.curvature(residual) == pytest.approx((after - before) / (2 * step), abs=1e-6)


@pytest.mark.parametrize("name", [name for name, loss in ROWS.items() if loss.compliance == 0])
def test_rows_are_left_out_far_from_the_kinks(name):
    loss, rng = ROWS[name], np.random.default_rng(0)
    residual = np.append(rng.normal(size=200), [0.0, 0.3, -0.3])
    weight, histogram = rng.random(len(residual)), np.zeros(2200)
    slope, multiplier = np.empty((2, len(residual)))
    left_out, wrong = np.zeros((2, len(residual)), dtype=np.uint8)
    leverage = np.ones((len(residual), 2))
    arrays = leverage, 0.1, left_out, multiplier, slope, histogram
    value = losses.select(loss, residual, weight, *arrays)
    out = np.abs(np.abs(residual) - loss.dead_zone) > 0.1 * np.sqrt(2)
    np.testing.assert_array_equal(left_out, out)
    weight = weight * out
    assert value == pytest.approx(weight @ loss.value(residual))
    assert histogram.sum() == pytest.approx(weight.sum())
    np.testing.assert_allclose(slope, weight * loss.multiplier(residual), rtol=1e-12)
    value = losses.check(loss, residual - 1, weight, left_out, multiplier, wrong)
    assert value == pytest.approx(weight @ loss.value(residual - 1))
    changed = out & (loss.multiplier(residual) != loss.multiplier(residual - 1))
    np.testing.assert_array_equal(wrong, changed)

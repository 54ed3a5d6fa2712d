"""Law: the multiplier is minus the derivative of the value, kinks included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sgdlin._loss import SQUARED_ERROR

LOSSES = {"squared_error": SQUARED_ERROR}


@pytest.mark.parametrize("name", LOSSES)
@given(residual=st.floats(-1e3, 1e3))
def test_multiplier_is_a_subgradient(name, residual):
    # l(e') >= l(e) + m(e) (e' - e) for all e' defines the subgradient of a convex function.
    loss = LOSSES[name]
    others = residual + np.array([-1e2, -1.0, -1e-3, 1e-3, 1.0, 1e2])
    below = loss.value(residual) + loss.multiplier(residual) * (others - residual)
    assert np.all(loss.value(others) >= below - 1e-9 * (1 + abs(residual)) ** 2)


def test_squared_error_is_half_the_square():
    residual = np.array([-3.0, 0.0, 0.5])
    np.testing.assert_array_equal(SQUARED_ERROR.value(residual), residual**2 / 2)
    np.testing.assert_array_equal(SQUARED_ERROR.multiplier(residual), residual)

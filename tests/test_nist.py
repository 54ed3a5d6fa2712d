"""Certified coefficients of NIST, in fit and in streams, and the table that the pages show."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from sklearn_sgdlin import SGDLinearRegressor
from tests.nist import NIST

ROOT = Path(__file__).parents[1]
MOST = 11.0  # digits beyond these are luck
LUCK = 1.0  # digits that differ from one processor to another


def expected_digits(data):
    """Digits of a QR decomposition of the columns as they are."""
    return min(data.digits(*data.qr()), MOST)


@pytest.mark.parametrize("name", NIST)
def test_fit_is_within_a_digit_of_qr(name):
    data = NIST[name]
    model = SGDLinearRegressor(fit_intercept=data.fit_intercept, random_state=0)
    model.fit(data.X, data.y)
    assert model.stop_reason_ == "converged"
    assert data.digits(model.coef_, model.intercept_) >= expected_digits(data) - 1 - LUCK


@pytest.mark.parametrize("chunk", [1, 5, 1000])
@pytest.mark.parametrize("name", NIST)
def test_stream_is_within_two_digits_of_qr(name, chunk):
    data = NIST[name]
    model = SGDLinearRegressor(fit_intercept=data.fit_intercept, random_state=0)
    for start in range(0, len(data.y), chunk):
        model.partial_fit(data.X[start : start + chunk], data.y[start : start + chunk])
    assert data.digits(model.coef_, model.intercept_) >= expected_digits(data) - 2 - LUCK


def test_table_of_the_pages_is_what_the_script_prints(capsys):
    runpy.run_path(str(ROOT / "benchmarks" / "nist.py"), run_name="__main__")
    printed = capsys.readouterr().out
    page = (ROOT / "docs" / "accuracy.rst").read_text(encoding="utf-8")
    for name in NIST:
        here, there = (
            np.array(re.search(rf"^{name} +(.*)$", text, re.MULTILINE).group(1).split(), float)
            for text in (printed, page)
        )
        ours = slice(2, None)
        assert (np.minimum(here, MOST)[ours] >= np.minimum(there, MOST)[ours] - 1 - LUCK).all()

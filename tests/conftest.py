import hypothesis
import numpy as np
import pytest

# The same examples in every run, however busy the machine: what fails here fails everywhere.
hypothesis.settings.register_profile(
    "suite",
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _own_seed():
    """Models without a random_state draw from numpy's global state, here the same in any order."""
    np.random.seed(0)  # noqa: NPY002

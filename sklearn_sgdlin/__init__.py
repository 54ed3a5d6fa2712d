"""Linear regression by stochastic gradient descent that works on raw data."""

from importlib.metadata import version

from ._display import LossCurveDisplay
from ._regressor import SGDLinearRegressor

__all__ = ["LossCurveDisplay", "SGDLinearRegressor"]
__version__ = version("sklearn-sgdlin")

"""Linear regression on raw data, by stochastic gradient descent or a faster solver."""

from importlib.metadata import version

from ._display import LossCurveDisplay
from ._regressor import SGDLinearRegressor

__all__ = ["LossCurveDisplay", "SGDLinearRegressor"]
__version__ = version("sklearn-sgdlin")

"""Linear regression on raw data, by stochastic gradient descent or a faster solver."""

from importlib.metadata import version

from ._display import LossCurveDisplay
from ._regressor import SGDLinearRegressor
from ._regressor_cv import SGDLinearRegressorCV

__all__ = ["LossCurveDisplay", "SGDLinearRegressor", "SGDLinearRegressorCV"]
__version__ = version("sklearn-sgdlin")

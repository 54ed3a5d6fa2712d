"""Linear regression on raw data, by stochastic gradient descent or a faster solver."""

__version__ = "0.1.0.dev0"  # before the imports, which read it

from ._display import LossCurveDisplay
from ._regressor import SGDLinearRegressor
from ._regressor_cv import SGDLinearRegressorCV

__all__ = ["LossCurveDisplay", "SGDLinearRegressor", "SGDLinearRegressorCV"]

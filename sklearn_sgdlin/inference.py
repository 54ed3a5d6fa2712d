"""Standard errors and confidence intervals of coefficients and predictions, and their picture."""

from ._inference.coefficients import coef_inference
from ._inference.display import CoefDisplay
from ._inference.prediction import predict_interval

__all__ = ["CoefDisplay", "coef_inference", "predict_interval"]

"""Early stopping: rows held out of training, their score, and when it no longer rises."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import validate_data


@dataclass(frozen=True)
class Validation:
    """Rows a fit does not learn from.

    Attributes
    ----------
    X : array-like of shape (n_rows, n_features)
        As the user gave it, so that a scorer sees the names of the columns.
    y : ndarray of shape (n_rows,) or (n_rows, n_targets)
    sample_weight : ndarray of shape (n_rows,) or None
    scorer : callable
        ``scorer(estimator, X, y, sample_weight=...)``, greater is better.
    """

    X: Any
    y: np.ndarray
    sample_weight: np.ndarray | None
    scorer: Callable

    def score(self, estimator):
        """Return the score of a fitted estimator, a copy that is nobody else's.

        NaN, which ranks nowhere, is an error.
        """
        # The names of the columns were checked once; predict would warn again each epoch.
        validate_data(estimator, self.X, skip_check_array=True)
        score = float(self._scored(estimator))
        if np.isnan(score):
            raise ValueError(
                f"scoring={estimator.scoring!r} is nan on the validation data. Use more "
                "validation rows, or another scoring."
            )
        return score

    def _scored(self, estimator):
        if self.sample_weight is None:
            return self.scorer(estimator, self.X, self.y)
        try:
            return self.scorer(estimator, self.X, self.y, sample_weight=self.sample_weight)
        except TypeError as error:
            if "sample_weight" not in str(error):
                raise
            raise TypeError(
                f"scoring={estimator.scoring!r} does not support sample weights, and the "
                "validation data have them. Use a scoring that takes sample_weight, or pass "
                "X_val and y_val without sample_weight_val."
            ) from error


def hold_out(arrays, validation_fraction, seed):
    """Random rows of each array for training, and the others for validation.

    Parameters
    ----------
    arrays : sequence of array-like or None
        With the same rows; None stays None.
    validation_fraction : float
    seed : int
        Which also gives the same rows of other arrays of the same length.

    Returns
    -------
    training, validation : list
    """
    try:
        parts = iter(
            train_test_split(
                *(array for array in arrays if array is not None),
                test_size=validation_fraction,
                random_state=seed,
            )
        )
    except ValueError as error:
        raise ValueError(
            f"validation_fraction={validation_fraction!r} of n_samples={arrays[0].shape[0]} leaves "
            "no rows to learn from. Change validation_fraction, increase the number of samples, or "
            "disable early_stopping."
        ) from error
    pairs = [(None, None) if array is None else (next(parts), next(parts)) for array in arrays]
    training, validation = zip(*pairs, strict=True)
    return list(training), list(validation)


def no_longer_rises(scores, tol, n_iter_no_change):
    """Whether the last `n_iter_no_change` scores stay below the best before, raised by `tol`.

    Relative to the size of that best, for scores have units. Infinity is raised to itself.
    A tol of None never stops.

    Examples
    --------
    >>> no_longer_rises([-4.0, -2.0, -1.99, -2.1], tol=0.01, n_iter_no_change=2)
    True
    >>> no_longer_rises([-4.0, -2.0, -1.9, -2.1], tol=0.01, n_iter_no_change=2)
    False
    """
    if tol is None or len(scores) <= n_iter_no_change:
        return False
    best = max(scores[:-n_iter_no_change])
    rise = tol * abs(best) if np.isfinite(best) else 0.0
    return max(scores[-n_iter_no_change:]) <= best + rise

"""Early stopping: validation rows, their score after each epoch, and when it stops improving."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import validate_data


@dataclass(frozen=True)
class Validation:
    """Validation data: rows that a fit does not learn from, and the scorer."""

    X: Any  # in the user's container, so that a scorer sees the names of the columns
    y: np.ndarray
    sample_weight: np.ndarray | None
    scorer: Callable  # scorer(estimator, X, y, sample_weight=...), greater is better

    def score(self, estimator):
        """Return the score of a fitted estimator, as a float; raise ValueError if it is NaN.

        The feature names of the estimator are set, so pass a copy.
        """
        # With the names of X set, `predict` does not warn about them again in each epoch.
        validate_data(estimator, self.X, skip_check_array=True)
        weights = {} if self.sample_weight is None else {"sample_weight": self.sample_weight}
        try:
            score = self.scorer(estimator, self.X, self.y, **weights)
        except TypeError as error:
            if not weights or "sample_weight" not in str(error):
                raise
            raise TypeError(
                f"scoring={estimator.scoring!r} does not support sample weights, and the "
                "validation data have them. Use a scoring that takes sample_weight, or pass "
                "X_val and y_val without sample_weight_val."
            ) from error
        score = float(score)
        if np.isnan(score):
            raise ValueError(
                f"scoring={estimator.scoring!r} is nan on the validation data. Use more "
                "validation rows, or another scoring."
            )
        return score


def hold_out(arrays, validation_fraction, seed):
    """Return a random split of each array into rows for training and rows for validation.

    The result is two lists, in which None stays None. The same seed gives the same rows of other
    arrays of the same length.
    """
    given = [array for array in arrays if array is not None]
    try:
        parts = iter(train_test_split(*given, test_size=validation_fraction, random_state=seed))
    except ValueError as error:
        raise ValueError(
            f"validation_fraction={validation_fraction!r} of n_samples={arrays[0].shape[0]} leaves "
            "no rows to learn from. Change validation_fraction, increase the number of samples, or "
            "disable early_stopping."
        ) from error
    pairs = [(None, None) if array is None else (next(parts), next(parts)) for array in arrays]
    training, validation = zip(*pairs, strict=True)
    return list(training), list(validation)


def no_longer_improves(scores, tol, n_iter_no_change):
    """Return whether none of the last scores improves the best one before by more than `tol`.

    This is relative to the absolute value of the best score, because scores have units; where that
    is infinite, any greater score is an improvement. With a `tol` of None the answer is False.

    Examples
    --------
    >>> no_longer_improves([-4.0, -2.0, -1.99, -2.1], tol=0.01, n_iter_no_change=2)
    True
    >>> no_longer_improves([-4.0, -2.0, -1.9, -2.1], tol=0.01, n_iter_no_change=2)
    False
    """
    if tol is None or len(scores) <= n_iter_no_change:
        return False
    best = max(scores[:-n_iter_no_change])
    min_improvement = tol * abs(best) if np.isfinite(best) else 0.0
    return max(scores[-n_iter_no_change:]) <= best + min_improvement

"""A lower bound of the smallest eigenvalue of a Hessian, from a few Lanczos steps."""

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal

from .factorization import RANK_TOLERANCE

LANCZOS_STEPS = 7  # worth while to learn the least eigenvalue
MIN_START_OVERLAP = (
    0.05  # of a fair part of the random vector: it may have so little in a direction
)
RITZ_SAFETY_FACTOR = 0.8  # of the least Ritz value, that the least eigenvalue may be


class SmallestEigenvalueBound:
    """The least eigenvalue of a Hessian, by Lanczos steps from a random vector.

    A random vector has a part in every direction. Below other eigenvalues from a to b, one near
    zero shows in the Ritz values after k more steps, if its direction has a larger part than
    ``1 / cosh(k * arccosh((b + a) / (b - a)))``, the size from a to b of a polynomial of degree k
    that is 1 at zero (Kuczynski & Wozniakowski, 1992). So where eigenvalues are not far apart, it
    is soon known that there is none.

    Parameters
    ----------
    n_coordinates, seed : int

    Attributes
    ----------
    vector : ndarray of shape (n_coordinates,)
        The next one to multiply with.
    value : float or None
        A lower bound, once a lower eigenvalue would have shown.
    far : bool
        Whether eigenvalues are so far apart that it is not worth while to go on.
    """

    def __init__(self, n_coordinates, seed):
        vector = np.random.default_rng(seed).standard_normal(n_coordinates)
        self.vector = vector / np.linalg.norm(vector)
        self.value, self.far = None, False
        self._last = np.zeros(n_coordinates)
        self._diagonal, self._beside = [], [0.0]

    @property
    def open(self):
        """Whether neither is known."""
        return self.value is None and not self.far

    def add(self, image):
        """Take in H times the vector, and go on to the next one."""
        self._diagonal.append(self.vector @ image)
        image = image - self._diagonal[-1] * self.vector - self._beside[-1] * self._last
        ritz = eigvalsh_tridiagonal(self._diagonal, self._beside[1:])
        self._beside.append(np.linalg.norm(image))
        self._last, self.vector = self.vector, image / (self._beside[-1] or 1.0)
        self._judge(ritz)

    def _judge(self, ritz):
        least, largest, steps = max(ritz[0], 0.0), ritz[-1], np.inf
        part = MIN_START_OVERLAP / np.sqrt(len(self.vector))
        if least > 0 and self._beside[-1] <= RANK_TOLERANCE * largest:
            steps = 0  # these are all there are
        elif largest > least > 0:
            steps = np.arccosh(1 / part) / np.arccosh((largest + least) / (largest - least))
        self.far = len(ritz) > 1 and steps >= LANCZOS_STEPS
        if steps <= len(ritz) - 1:
            self.value = RITZ_SAFETY_FACTOR * least

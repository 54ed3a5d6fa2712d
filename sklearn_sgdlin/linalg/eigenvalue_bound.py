"""A lower bound of the smallest eigenvalue of a Hessian, from a few Lanczos steps."""

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal

from .factorization import RANK_TOLERANCE

# Eigenvalues count as far apart where more Lanczos steps than this would be needed.
MAX_LANCZOS_STEPS = 7

# The random vector is taken to have at least this fraction of its fair part in every direction.
MIN_START_OVERLAP = 0.05

# The smallest eigenvalue may be this fraction of the smallest Ritz value.
RITZ_SAFETY_FACTOR = 0.8


class SmallestEigenvalueBound:
    """A lower bound of the smallest eigenvalue of a Hessian, by Lanczos steps.

    The steps begin with a random vector, which has a part in every direction. Below other
    eigenvalues from a to b, an eigenvalue near zero shows in the Ritz values after k more steps if
    its direction has a larger part than ``1 / cosh(k * arccosh((b + a) / (b - a)))``, the size from
    a to b of a polynomial of degree k that is 1 at zero (Kuczynski & Wozniakowski, 1992). So where
    eigenvalues are not far apart, a few steps prove that there is none.

    `active`: coordinates that there are: others are zero in all rows, and have no eigenvalue.
    `max_steps` (int, default=7): steps that a proof may take; if it takes more, eigenvalues count
    as far apart.

    Attributes
    ----------
    vector : ndarray of shape (n_coordinates,)
        The next one to multiply with the Hessian.
    lower_bound : float or None
        The bound, once it is proved.
    ill_conditioned : bool
        Whether eigenvalues are too far apart for `max_steps`.
    """

    def __init__(self, n_coordinates, seed, active=None, max_steps=MAX_LANCZOS_STEPS):
        vector = np.random.default_rng(seed).standard_normal(n_coordinates)
        if active is not None and active.any():
            vector[~active] = 0.0
        self.vector, self.max_steps = vector / np.linalg.norm(vector), max_steps
        self.lower_bound, self.ill_conditioned = None, False
        self._last = np.zeros(n_coordinates)
        self._diagonal, self._off_diagonal = [], [0.0]

    @property
    def undecided(self):
        """Whether more steps are worth while."""
        return self.lower_bound is None and not self.ill_conditioned

    def add(self, image):
        """Take in the Hessian times `vector`, and go on to the next one."""
        self._diagonal.append(self.vector @ image)
        image = image - self._diagonal[-1] * self.vector - self._off_diagonal[-1] * self._last
        ritz = eigvalsh_tridiagonal(self._diagonal, self._off_diagonal[1:])
        self._off_diagonal.append(np.linalg.norm(image))
        self._last, self.vector = self.vector, image / (self._off_diagonal[-1] or 1.0)
        self._update_bound(ritz)

    def _update_bound(self, ritz):
        smallest, largest, steps = max(ritz[0], 0.0), ritz[-1], np.inf
        overlap = MIN_START_OVERLAP / np.sqrt(len(self.vector))
        if smallest > 0 and self._off_diagonal[-1] <= RANK_TOLERANCE * largest:
            steps = 0  # the Ritz values are all eigenvalues
        elif largest > smallest > 0:
            rate = np.arccosh((largest + smallest) / (largest - smallest))
            steps = np.arccosh(1 / overlap) / rate
        self.ill_conditioned = len(ritz) > 1 and steps >= self.max_steps
        if steps <= len(ritz) - 1:
            self.lower_bound = RITZ_SAFETY_FACTOR * smallest

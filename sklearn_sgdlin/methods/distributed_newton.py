"""The solver "newton-cg" for rows in several places: Newton steps of each place as directions.

Each place knows the Hessian of its own rows. Its inverse times the gradient of all rows is near the
Newton step where partitions are alike, and the minimum over the span of these steps is nearer
(GIANT: Wang, Roosta-Khorasani, Xu & Mahoney, 2018).
"""

import numpy as np

from .hessian import Hessian
from .newton_cg import NewtonCG
from .sgd import at_most
from .subspace import hessian_product

# Averages that the sweeps of a round have on all workers together; each has one at least. More make
# a round converge faster, but are as many vectors to send and products to take.
SWEEP_AVERAGES = 16

# Searches among Newton steps in a round. Each takes two more calls of all workers.
MAX_SEARCHES = 3


class DistributedNewton(NewtonCG):
    """Sweeps of all places, and searches among their Newton steps.

    The mean decrement of the Newton steps tells what is left of the objective. It is not too small:
    the mean of inverse Hessians is at least the inverse of their mean (Jensen).
    """

    def __init__(self, rows, objective, tol):
        super().__init__(rows, objective, tol, hessian=None, seed=0, n_averages=SWEEP_AVERAGES)
        self._unsent = [(objective.l2,)] * len(rows.shares)  # goes with the first gradient

    def _iterate(self, theta, loss):
        """Return the model, its loss, and the remaining decrease, after some searches."""
        remaining = np.inf
        for search in range(MAX_SEARCHES + 1):
            steps = self._local_steps()
            remaining = self.rows.shares @ [self.gradient @ step for step in steps] / 2
            if remaining <= self.tol**2 * loss or search == MAX_SEARCHES:
                break
            directions = np.column_stack([self.gradient, at_most(np.stack(steps, axis=1))])
            length = np.linalg.norm(directions, axis=0)
            directions /= np.where(length > 0, length, 1.0)
            images = hessian_product(self.rows, self.objective, directions)
            step, change, decrease = self.subspace.search(directions, images, self.gradient)
            theta, self.gradient, loss = theta + step, self.gradient + change, loss - decrease
        return theta, loss, remaining

    def _local_steps(self):
        """Return the Newton step of each place for the gradient of all rows."""
        calls = [(self.gradient, *args) for args in self._unsent]
        self._unsent = [()] * len(calls)
        return self.rows.each(local_newton_step, calls)


def local_newton_step(place, gradient, l2=None):
    """Return the inverse Hessian of the rows of a place times a gradient; with l2 at first."""
    if l2 is not None:
        place.memory["hessian"] = Hessian(place.n_rows, place.n_coordinates)
        place.memory["hessian"].prepare(place, l2)
    return place.memory["hessian"].solve(gradient)

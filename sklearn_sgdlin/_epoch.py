"""An epoch of a fit: the model that has been reached, and what is known of it."""

from dataclasses import dataclass

from ._choose import Choice
from .model.state import MultiTargetState, State
from .model.states_after_fit import StatesAfterFit


@dataclass(frozen=True)
class Epoch:
    """A model after an epoch, as it would be returned.

    Attributes
    ----------
    number : int
        Counted from 1.
    rate : float or None
        Learning rate of its steps of SGD; None if there were none.
    loss : float
        The objective.
    distance : float or None
        From the optimum, if it is known; see `EpochResult`.
    state : State, MultiTargetState or StatesAfterFit
    stop_reason : str or None
        None to go on.
    choice : Choice
        The solver that runs, and why.
    """

    number: int
    rate: float | None
    loss: float
    distance: float | None
    state: State | MultiTargetState | StatesAfterFit
    stop_reason: str | None
    choice: Choice

"""An epoch of a fit: the model that has been reached, and what is known of it."""

from dataclasses import dataclass

from ._choose import Choice
from .model.state import MultiTargetState, State
from .model.states_after_fit import StatesAfterFit


@dataclass(frozen=True)
class Epoch:
    """A model after an epoch, as it would be returned."""

    number: int  # counted from 1
    rate: float | None  # of its steps of SGD, if there were any
    loss: float  # the objective
    distance: float | None  # from the optimum, if it is known; see `EpochResult`
    state: State | MultiTargetState | StatesAfterFit
    stop_reason: str | None  # None to go on
    choice: Choice  # the solver that runs, and why

"""The facts of a problem that the choice of a solver depends on."""

from typing import NamedTuple


class ProblemFacts(NamedTuple):
    """All that the choice depends on.

    Attributes
    ----------
    n_rows, n_features : int
    n_entries : int
        Numbers in X that are stored.
    n_targets : int
    sparse : bool
    distributed : bool
        Whether rows lie on the workers of a cluster.
    squared : bool
        Whether the loss is the squared error, with any penalty.
    quadratic : bool
        Whether the objective is squared error with no penalty or "l2".
    curved : bool
        Whether the objective has a continuous gradient: a loss with curvature, and no penalty or
        "l2".
    kinked_loss : bool
        Whether the loss has no curvature.
    l2 : bool
        Whether there is an "l2" penalty.
    sgd_setting : str
        The setting that selects SGD, as the user would write it; "" if none does.
    """

    n_rows: int
    n_features: int
    n_entries: int
    n_targets: int
    sparse: bool
    distributed: bool
    squared: bool
    quadratic: bool
    curved: bool
    kinked_loss: bool
    l2: bool
    sgd_setting: str

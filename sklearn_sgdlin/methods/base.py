"""What all solvers share."""


class PlainEpoch:
    """Sweep and take the last iterate."""

    def __init__(self, rows, objective):
        self.rows, self.objective = rows, objective

    def run(self, theta, order, step_rule, rows_seen):
        """Return the new model, its loss twice, and no distance."""
        theta, _, _ = self.rows.sweep(order, self.objective, step_rule, rows_seen, theta)
        loss = self.objective.value(self.rows, theta)
        return theta, loss, loss, None

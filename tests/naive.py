"""The oracle: the method as a plain NumPy loop that reads like its formulas."""

import numpy as np


def multiplier(residual, softness, loss):
    """clip(s / softness, lower, upper), the bound on the side of s where softness is 0."""
    dead_zone, _, lower, upper = loss
    outside = np.sign(residual) * max(abs(residual) - dead_zone, 0.0)
    if outside == 0:
        return 0.0
    if softness == 0:
        return upper if outside > 0 else lower
    return min(max(outside / softness, lower), upper)


def sweep(
    X, y, sample_weight, order, metric, loss, schedule, rows_seen, theta, every=16, restarts=()
):
    """Visit the rows in the given order; return the last iterate and the mean of the path.

    `restarts` are the numbers of steps after which a tile ends: the average and the rate
    are brought up to date there, and after each 16 steps of a tile.
    """
    learning_rate, power_t, implicit = schedule
    theta, mean, since = theta.copy(), np.zeros_like(theta), 0
    rate = learning_rate * (rows_seen + 1) ** -power_t
    for steps, row in enumerate(order, start=1):
        z = metric.scale * np.append(X[row] - metric.centre, 1.0)
        h = 1.0 if sample_weight is None else sample_weight[row]
        softness = loss.compliance + (rate * h * (z @ z) if implicit else 0.0)
        theta = theta + rate * h * multiplier(y[row] - z @ theta, softness, loss) * z
        since += 1
        if since == every or steps in restarts or steps == len(order):
            mean += since * theta
            rate = learning_rate * (rows_seen + steps + 1) ** -power_t
            since = 0
    return theta, mean / len(order)

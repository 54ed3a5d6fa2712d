"""Times that can be compared: runs in turn in one process, medians, ratios of medians."""

import time

import numpy as np


def medians(functions, budget, most=11, clock=time.perf_counter, pause=0.0):
    """Median seconds of each function, run in turn, each after a pause in seconds.

    Every function runs once to warm up, which counts if it took long, then until it has run
    `most` times or for `budget` seconds: the slow ones run less often, but at least once.
    """
    seconds = {name: [] for name in functions}
    spent = dict.fromkeys(functions, 0.0)
    for turn in range(most + 1):
        for name, function in functions.items():
            if turn > 0 and (spent[name] > budget or len(seconds[name]) == most):
                continue
            time.sleep(pause)
            start = clock()
            function()
            took = clock() - start
            spent[name] += took
            if turn > 0 or took > budget / most:
                seconds[name].append(took)
    return {name: float(np.median(runs)) for name, runs in seconds.items()}


def slope(sizes, seconds):
    """Slope of the line through the points in log-log coordinates: 1 is linear."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])

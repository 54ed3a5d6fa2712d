"""The whole comparison: against other solvers, and what the estimator costs by itself.

Run by hand: ``python benchmarks/compare.py``; it takes less than ten minutes, with
``--quick``, on small data, seconds. Writes a table (Markdown) and two pictures. Other
solvers than scikit-learn's take part where they are installed.
"""

import argparse
import itertools
import os
import platform
import re
import time
import warnings
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cores
import costs
import matplotlib as mpl
import numpy as np
from peers import SGD_SETTINGS, peers, scaled_sgd
from sklearn.linear_model import LinearRegression, Ridge
from suite import FEWER, WIDE_EPOCHS, Data, columns_of_any_unit, suite
from threadpoolctl import threadpool_limits
from timing import medians, slope

from sklearn_sgdlin import SGDLinearRegressor

mpl.use("Agg")
import matplotlib.pyplot as plt

THREADS = 2  # of BLAS
OURS = "SGDLinearRegressor"
ONE_THREAD = "ours in one thread"
EPOCHS = [1, 2, 3, 5, 10, 20, 50, 100]  # at most, in the picture of the time to an excess
EXCESS = 1e-3  # and this one is told
CHOOSE_ROWS = 100_000  # on so many rows the setting of SGDRegressor is chosen
PACKAGES = ["sklearn-sgdlin", "scikit-learn", "numpy", "scipy", "vowpalwabbit", "river", "torch"]
PACKAGES += ["skglm", "celer"]


def machine(threads=THREADS):
    """Where, when and with what."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = re.findall(r"model name\s*: (.*)", cpuinfo.read_text(encoding="utf-8"))
        processor = names[0] if names else processor
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {processor}, {os.cpu_count()} cores, {threads} threads "
        f"for BLAS, {platform.system()}, Python {platform.python_version()}, {', '.join(found)}"
    )


def best_setting(data):
    """The setting of SGDRegressor that serves best, on a part of the rows.

    It is the fastest of those that reach the excess, or else that of the highest quality; for
    sparse data always the latter.
    """
    step = -(-data.X.shape[0] // CHOOSE_ROWS)
    X, y = data.X[::step], data.y[::step]
    part = Data(data.name, X, y, data.X_test, data.y_test)
    sign, enough = (1, np.inf) if part.least is None else (-1, -EXCESS)
    tried = {}
    for setting in SGD_SETTINGS:
        start = time.perf_counter()
        model = scaled_sgd(part, setting).fit(X, y)
        seconds = time.perf_counter() - start
        tried[setting] = min(sign * part.quality(model.predict), enough), -seconds
    return max(tried, key=tried.get)


def compare(data, budget):
    """Seconds and quality of each model on one data set."""
    setting = best_setting(data)
    models = {OURS: SGDLinearRegressor(random_state=0, **data.settings)}
    models[f"SGDRegressor, {setting}"] = scaled_sgd(data, setting)
    models |= {peer.name: peer.make() for peer in peers() if peer.takes(data.X)}
    runs = {name: partial(model.fit, data.X, data.y) for name, model in models.items()}
    runs[ONE_THREAD] = partial(in_one_thread, runs[OURS])
    seconds = medians(runs, budget)
    found = {name: (seconds[name], data.quality(models[name].predict)) for name in models}
    return {**found, ONE_THREAD: (seconds[ONE_THREAD], found[OURS][1])}


def in_one_thread(run):
    """Run with one thread of BLAS, and of ours."""
    with threadpool_limits(1):
        run()


def short(number):
    """A number to two digits, as it is read most easily."""
    if abs(number) < 1e-12:
        return "0"
    return f"{number:.0f}" if 10 <= abs(number) < 1e4 else f"{number:.2g}"


def table(results):
    """Markdown: a row for each data set, a column for each model; then geometric means."""
    names = ["SGDRegressor", *(peer.name for peer in peers())]
    lines = [
        f"| data | rows x columns | ours | {ONE_THREAD} | " + " | ".join(names) + " |",
        "|---|---|---|---|" + "---|" * len(names),
    ]
    ratios = {name: [] for name in names}
    for data, shape, found in results:
        time_ours, quality = found[OURS]
        ms = np.format_float_positional(1e3 * time_ours, precision=3, fractional=False, trim="-")
        one = f"{found[ONE_THREAD][0] / time_ours:.2f} x"
        cells = [data, shape, f"{ms} ms ({short(quality)})", one]
        for name in names:
            full = next((key for key in found if key.split(",")[0] == name), None)
            if full is None:
                cells.append("-")
                continue
            seconds, quality = found[full]
            ratios[name].append(seconds / time_ours)
            cells.append(
                f"{short(ratios[name][-1])} x ({short(quality)}) {full.partition(', ')[2]}"
            )
        lines.append("| " + " | ".join(cells) + " |")
    means = [f"{short(np.exp(np.mean(np.log(ratios[name]))))} x" for name in names]
    lines.append("| geometric mean of ratios | | | | " + " | ".join(means) + " |")
    return "\n".join(lines)


def course(data, make, limit=np.inf):
    """Seconds and excess of fits of so many epochs at most, until one takes longer than limit."""
    for epochs in EPOCHS:
        model = make(epochs)
        seconds = medians({"": lambda m=model: m.fit(data.X, data.y)}, 0.2, most=3)[""]
        yield seconds, data.quality(model.predict)
        if seconds > limit:
            return


def courses(data):
    """The course of each model, by name; a solver's is one point."""

    def sgd(epochs, setting):
        return scaled_sgd(data, setting).set_params(sgdregressor__max_iter=epochs)

    def ours(epochs):
        return SGDLinearRegressor(max_iter=epochs, random_state=0)

    found = {OURS: list(course(data, ours))}
    limit = 30 * found[OURS][-1][0]
    for setting in SGD_SETTINGS:
        make = partial(sgd, setting=setting)
        found[f"StandardScaler + SGDRegressor, {setting}"] = list(course(data, make, limit))
    for solver in (LinearRegression, Ridge):
        found[solver.__name__] = list(course(data, lambda _, s=solver: s(), limit=0))
    return found


def reach(path, fewer):
    """Picture of the time to reach an excess error; returns a sentence about it."""
    data = Data("", *columns_of_any_unit(np.random.default_rng(1), 300_000 // fewer, 50))
    figure, axes = plt.subplots(figsize=(7, 6), layout="constrained")
    found, reached = courses(data), {}
    for name, points in found.items():
        seconds, excess = np.array(points).T
        axes.loglog(seconds, np.maximum(excess, 1e-12), marker="o", label=name)
        reached[name] = min((t for t, e in points if e <= EXCESS), default=np.inf)
    axes.set(xlabel="seconds", ylabel="excess error over least squares", title=data.shape)
    figure.legend(loc="outside lower center", fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)
    sgd = min(seconds for name, seconds in reached.items() if "SGDRegressor," in name)
    return (
        f"time of SGDRegressor to excess {EXCESS:g}, in units of ours, {data.shape}: "
        f"{short(sgd / reached[OURS])}"
    )


def picture_of_growth(path, curves):
    """Seconds an epoch against n, d and nnz, with the slopes."""
    figure, axes = plt.subplots(
        1, len(curves), figsize=(11, 3.6), layout="constrained", sharey=True
    )
    for ax, (name, (sizes, seconds)) in zip(axes, curves.items(), strict=True):
        ax.loglog(sizes, seconds, "o-", label=f"slope {slope(sizes, seconds):.2f}")
        middle = len(sizes) // 2
        linear = seconds[middle] * np.array(sizes) / sizes[middle]
        ax.loglog(sizes, linear, ":", color="grey", label="slope 1")
        ax.set_xlabel(name)
        ax.tick_params(axis="x", which="minor", labelbottom=False)  # they would overlap
        ax.legend()
    axes[0].set_ylabel("seconds an epoch")
    figure.savefig(path, dpi=120)
    plt.close(figure)


CAPTION = """\
Whole `fit` on raw data in memory, default settings; medians of interleaved runs. x is the time in
units of ours, in brackets the quality: excess of the squared error over least squares on the rows
learned from (less is better), for sparse data R² on held-out rows (more is better). SGDRegressor
stands behind a StandardScaler (MaxAbsScaler if sparse), at one of the settings {settings}: on
{rows:,} of the rows the fastest that reaches an excess of {excess:g}, or else, and if sparse, the
best. No penalty, unless there are more columns than rows: then l2 with the default alpha and at
most {epochs} epochs, on both sides."""


def run(quick, output):
    """Measure everything; return it as Markdown, the pictures beside it."""
    fewer, budget = (FEWER, 0.005) if quick else (1, 1.5)
    results, curves, lines = [], {}, []
    for data in suite(quick):
        results.append((data.name, data.shape, compare(data, budget)))
        print(table(results[-1:]).splitlines()[2], flush=True)
    measures = (
        cores.all_lines(fewer, budget),
        costs.passes(fewer, budget),
        costs.sparse_passes(fewer, budget),
        costs.growth(fewer, budget, curves),
        costs.threads(fewer, budget),
        costs.memory(fewer),
        costs.small(fewer, budget),
        costs.small_fits(fewer, budget),
    )
    for line in itertools.chain(*measures):
        print(line, flush=True)
        lines.append(f"- {line}")
    picture_of_growth(output / "growth.png", curves)
    lines.append(f"- {reach(output / 'reach.png', fewer)}")
    caption = CAPTION.format(
        settings="; ".join(SGD_SETTINGS), rows=CHOOSE_ROWS, excess=EXCESS, epochs=WIDE_EPOCHS
    )
    return "\n\n".join([machine(), caption, table(results), "\n".join(lines)]) + "\n"


def main():
    """Read the command line, run, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small data, seconds")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with threadpool_limits(THREADS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of models that do not converge: their quality is shown
        text = run(options.quick, options.output)
    (options.output / "comparison.md").write_text(text, encoding="utf-8")
    print(f"\n{text}\nAll in {time.perf_counter() - start:.0f} s, in {options.output}")


if __name__ == "__main__":
    main()

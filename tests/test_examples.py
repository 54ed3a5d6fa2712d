"""The examples run, and say what they claim."""

import gc
import itertools
import re
import runpy
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from .pictures import assert_whole

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [str(EXAMPLES / name), *arguments])
        names = runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return names, capsys.readouterr().out

    monkeypatch.setattr(plt, "show", lambda: None)
    yield run
    for number in plt.get_fignums():
        plt.figure(number).savefig(tmp_path / f"{number}.png")
        assert_whole(tmp_path / f"{number}.png")
    plt.close("all")


def test_every_example_is_tested():
    tested = Path(__file__).read_text(encoding="utf-8")
    tested += (Path(__file__).parent / "test_docs.py").read_text(encoding="utf-8")
    for path in EXAMPLES.iterdir():
        if path.suffix in (".py", ".ipynb"):
            assert f'"{path.name}"' in tested, path


def test_plot_learning_rate(run, tmp_path):
    picture = tmp_path / "picture.png"
    names, _ = run("plot_learning_rate.py", str(picture))
    ours, last, scaled, raw = names["scores"].values()
    assert max(ours) - min(ours) < 0.02
    assert len(set(ours)) > 20  # SGD at another rate is another model
    assert min(last) > max(ours) - 0.05
    assert max(last) - min(last) > max(ours) - min(ours)
    assert min(scaled) < 0 < max(scaled)
    assert max(raw) < 0
    assert picture.stat().st_size > 10_000


def test_plot_loss_curve(run):
    _, out = run("plot_loss_curve.py")
    stopped, best = map(int, re.findall(r"\d+", out))
    assert 1 < best < stopped
    assert len(plt.get_fignums()) == 3


def test_plot_ideas(run):
    names, _ = run("plot_ideas.py")
    excess = [curve[-1] / names["best"] - 1 for curve in names["curves"].values()]
    searched = names["curves"]["+ averages and a search"]
    assert searched[0] > 1.001 * searched[-1]  # the curve of SGD, which falls epoch by epoch
    for before, after in itertools.pairwise(excess):
        assert after < before / 10


def test_plot_drift(run):
    names, _ = run("plot_drift.py")
    for of_all, forgetting, last in (curves.values() for curves in names["curves"].values()):
        half = len(of_all) // 2  # by now the target has changed in each kind of drift
        assert max(np.median(forgetting[half:]), np.median(last[half:])) < 0.2
        assert np.median(of_all[half:]) > 0.3
    of_all, forgetting, last = names["curves"]["abrupt"].values()
    before = slice(half // 2, half)
    assert np.median(of_all[before]) < np.median(forgetting[before]) < np.median(last[before])
    assert np.median(forgetting[half + 10 :]) < np.median(last[half + 10 :])


def test_grid_search(run):
    names, out = run("grid_search.py")
    rates = names["table"]
    assert (rates.max() - rates.min()).max() < 0.02
    assert rates[2].nunique() == len(rates)  # models of SGD, another one at each rate
    assert names["search"].best_estimator_[-1].solver_ == "sgd"
    assert names["search"].score(names["X_test"], names["y_test"]) > 0.3
    assert "GridSearchCV" in out


def test_early_stopping_on_time(run):
    names, out = run("early_stopping_on_time.py")
    future, X, y = names["future"], names["X"], names["y"]
    random, last = names["models"]["random rows"], names["models"]["last rows"]
    assert last.score(X[future], y[future]) > random.score(X[future], y[future]) + 0.1
    assert last.best_iteration_ < random.best_iteration_
    assert f"last rows: best epoch {last.best_iteration_}" in out


@pytest.mark.filterwarnings("default")  # of the kernel's own start
def test_tour():
    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": EXAMPLES}}).execute()
    gc.collect()  # sockets of the kernel warn here, and not in another test
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert not any(output.get("name") == "stderr" for output in outputs)
    text = "".join(output.get("text", "") for output in outputs)
    ours, least = re.findall(r"(?:rows|squares): +([\d.]+)", text)
    assert abs(float(ours) - float(least)) < 0.01

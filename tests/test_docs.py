"""Everything the README and the examples show runs."""

import re
import runpy
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]


def test_readme_runs_and_prints_what_it_says(capsys):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names = {}
    for code in re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL):
        exec(code, names)
    coef, stop, stream, watched = re.split(r"(?<=\])\n|\n", capsys.readouterr().out.strip())
    np.testing.assert_allclose(np.fromstring(coef.strip("[]"), sep=" "), [2e6, 3, 4e-6], rtol=0.02)
    assert stop == "1 converged"
    assert stream == "True"
    assert watched == "True early_stopping"


def test_quickstart(capsys):
    runpy.run_path(str(ROOT / "examples" / "quickstart.py"), run_name="__main__")
    out = capsys.readouterr().out
    assert len(re.findall(r"^epoch +\d+  rate .* loss .* s$", out, flags=re.MULTILINE)) == 100
    mse = float(re.search(r"^MSE ([\d.]+)", out, flags=re.MULTILINE).group(1))
    assert abs(mse - 555277.8) < 0.01 * 555277.8
    scores = {line.split()[0]: float(line.split()[-1]) for line in out.splitlines()[-3:]}
    assert scores["SGDLinearRegressor"] > scores["LinearRegression"] - 0.01
    assert scores["SGDRegressor"] < 0

"""The comparison with other solvers runs, and its table and pictures are whole."""

import os
import re
import subprocess
import sys
from pathlib import Path

from .pictures import assert_whole

COMPARE = Path(__file__).parents[1] / "benchmarks" / "compare.py"


def test_compare(tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(COMPARE), "--quick", "--output", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    table = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    names, rows = table[0], table[1:-1]
    assert [name.strip(" |") for name in names[4:7]] == [
        "SGDRegressor",
        "LinearRegression",
        "Ridge",
    ]
    assert {"| diabetes", "| any units", "| one-hot", "| hashed"} <= {row[0] for row in rows}
    for row in rows:
        assert len(row) == len(names)
        if row[5].strip(" |") != "-":  # dense: the quality is an excess error
            assert float(re.search(r"ms \((.*)\)", row[2]).group(1)) <= 1e-3, row
    assert len(re.findall("^- ", text, flags=re.MULTILINE)) >= 16
    for name in ("growth", "reach"):
        assert_whole(tmp_path / f"{name}.png")

"""The structure: imports run one way, functions and modules are short, thresholds are explained."""

import ast
import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

import sklearn_sgdlin
from sklearn_sgdlin import SGDLinearRegressor
from sklearn_sgdlin._choose import SOLVER_NAMES
from sklearn_sgdlin._tuning import Tuning

PACKAGE = Path(sklearn_sgdlin.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# What a module may import: its own layer, and those before it.
LAYERS = [
    {"_tuning", "kernels"},
    {"linalg"},
    {"model"},
    {"data"},
    {"methods"},
    {"_choose", "_choose_stream"},
    {"_solvers", "_stop", "_validation", "_early_stopping"},
    {"_exact_fit"},
    {"_fit", "_partial_fit", "_report"},
    {"_path"},
    {"_regressor"},
    {"_alpha_grid", "_alpha_path", "_regressor_cv"},
    {"_display", "_dask_data", "_dask_fit"},
    {"_inference"},
    {"dask", "inference", "__init__"},
]
LONGEST_FUNCTION, MOST_ARGUMENTS, LONGEST_MODULE = 60, 6, 300
LONGER_MODULES = {"_regressor.py", "_regressor_cv.py"}  # most of an estimator is its docstring


def name(path):
    return path.relative_to(PACKAGE).as_posix()


def layer(module):
    (number,) = [i for i, layer in enumerate(LAYERS) if module in layer]
    return number


def imported(path):
    """Top-level modules and folders of the package that a module imports from."""
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth and node.module:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.level == depth:
            yield from (alias.name for alias in node.names if not alias.name.startswith("__"))


def test_imports_run_one_way():
    for path in MODULES:
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for module in imported(path):
            assert layer(module) <= layer(own), (name(path), module)


def functions(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            yield node


def n_lines(function):
    """Lines of a function without its docstring."""
    body = function.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    return function.end_lineno - body[0].lineno + 1 if body else 0


def test_functions_fit_on_a_screen():
    for function in (function for path in MODULES for function in functions(path)):
        arguments = [arg.arg for arg in function.args.posonlyargs + function.args.args]
        arguments = [arg for arg in arguments if arg not in ("self", "cls")]
        assert n_lines(function) <= LONGEST_FUNCTION, function.name
        assert len(arguments) <= MOST_ARGUMENTS, function.name


def test_modules_have_one_idea():
    for path in MODULES:
        n_lines = len(path.read_text(encoding="utf-8").splitlines())
        assert n_lines <= LONGEST_MODULE or name(path) in LONGER_MODULES, name(path)


def test_every_threshold_says_what_it_counts_and_how_it_was_measured():
    source = (PACKAGE / "_tuning.py").read_text(encoding="utf-8")
    measured = set(re.findall(r'^    "(\w+)', _thresholds(), flags=re.MULTILINE))
    for field in fields(Tuning):
        comment = re.search(rf"((?:    #.*\n)+)(?:    \w+: .*\n)*?    {field.name}: ", source)
        assert comment, field.name
        line = re.search(r"# Measured by: (\w+)", comment[1])
        assert line, field.name
        assert line[1] in measured, field.name


def _thresholds():
    path = PACKAGE.parent / "benchmarks" / "thresholds.py"
    if not path.exists():
        pytest.skip("the benchmarks are not beside the package")
    return path.read_text(encoding="utf-8")


def test_the_docstring_knows_every_solver():
    documented = inspect.getdoc(SGDLinearRegressor)
    for solver in SOLVER_NAMES:
        assert f'"{solver}"' in documented

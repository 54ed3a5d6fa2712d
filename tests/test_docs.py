"""Everything the README and the pages show runs; the pages build; docstrings are complete."""

import doctest
import html
import inspect
import json
import re
import runpy
import shutil
import subprocess
import sys
import textwrap
from functools import partial
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from numpydoc.validate import validate

import sklearn_sgdlin
from sklearn_sgdlin import SGDLinearRegressor, _choose
from sklearn_sgdlin._tuning import Tuning

ROOT = Path(__file__).parents[1]


OUTGROWN = "Data larger than memory, or than a machine"


def run_readme(wanted):
    """Run the code of the sections whose headings are wanted; return its names."""
    readme, names = (ROOT / "README.md").read_text(encoding="utf-8"), {}
    for section in re.split(r"\n##+ ", readme):
        if wanted(section.splitlines()[0]):
            for code in re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL):
                exec(code, names)
    return names


def test_readme_runs_and_prints_what_it_says(capsys):
    run_readme(lambda heading: heading != OUTGROWN)
    coef, *printed = capsys.readouterr().out.splitlines()
    np.testing.assert_allclose(np.fromstring(coef.strip("[]"), sep=" "), [2e6, 3, 4e-6], rtol=0.02)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    said = re.findall(r"^print\(.*\)  # (.*)", readme, flags=re.MULTILINE)[1:]
    assert len(printed) == len(said) >= 6
    for line, comment in zip(printed, said, strict=True):
        assert comment == line or comment.startswith(f"{line},")


def test_readme_says_how_to_install_and_how_to_test():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\n    pip install . && python examples/quickstart.py\n" in readme
    assert '\n    pip install -e ".[test]" && python -m pytest\n' in readme


def test_pages_are_built_with_the_command_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    workflow = (ROOT / ".github" / "workflows" / "docs.yml").read_text(encoding="utf-8")
    for command in ('pip install -e ".[docs]"', "python -m sphinx -W docs docs/_build/html"):
        assert command in readme
        assert command in workflow


def test_links_of_the_readme_lead_somewhere():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", readme)
    assert "docs/learning_rate.png" in links
    assert "docs/choosing.rst" in links
    for link in links:
        assert (ROOT / link.partition("#")[0]).exists(), link


def test_contributing_names_every_part_of_the_package():
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^    (sklearn_sgdlin/\S+)", contributing, flags=re.MULTILINE))
    package = ROOT / "sklearn_sgdlin"
    parts = {f"sklearn_sgdlin/{path.name}" for path in package.glob("*.py")}
    parts |= {f"sklearn_sgdlin/{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert named == parts - {"sklearn_sgdlin/__init__.py"}
    for link in re.findall(r"\]\(([^)]+)\)", contributing):
        assert (ROOT / link).exists(), link


@pytest.mark.filterwarnings("ignore:Port 8787 is already in use")
def test_recipes_for_data_that_outgrow_memory(tmp_path, monkeypatch):
    distributed = pytest.importorskip(
        "distributed", reason='needs pip install "sklearn-sgdlin[dask]"'
    )
    # Workers in threads start at once. Those in processes are tested in test_dask.py.
    monkeypatch.setattr(distributed, "Client", partial(distributed.Client, processes=False))
    monkeypatch.chdir(tmp_path)
    names = run_readme(lambda heading: heading in ("# sklearn_sgdlin", OUTGROWN))
    score = names["mapped"].score(names["X"], names["y"])
    assert score > 0.7
    assert names["local"].score(names["X"], names["y"]) == pytest.approx(score, abs=1e-4)


def test_quickstart(capsys):
    runpy.run_path(str(ROOT / "examples" / "quickstart.py"), run_name="__main__")
    out = capsys.readouterr().out
    assert len(re.findall(r"^epoch +\d+  rate .* loss .* s$", out, flags=re.MULTILINE)) == 100
    mse = float(re.search(r"^MSE ([\d.]+)", out, flags=re.MULTILINE).group(1))
    assert abs(mse - 555277.8) < 0.01 * 555277.8
    scores = {line.split()[0]: float(line.split()[-1]) for line in out.splitlines()[-3:]}
    assert scores["SGDLinearRegressor"] > scores["LinearRegression"] - 0.01
    assert scores["SGDRegressor"] < 0


OPTIONS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
PAGES_WITH_CODE = [
    "index",
    "getting_started",
    "choosing",
    "choosing_alpha",
    "training",
    "coming_from_sgdregressor",
    "extending",
    "inference",
    "streams",
]


@pytest.mark.parametrize("page", PAGES_WITH_CODE)
def test_pages_print_what_they_say(page):
    path = ROOT / "docs" / f"{page}.rst"
    failed, tried = doctest.testfile(str(path), module_relative=False, optionflags=OPTIONS)
    assert (failed, tried > 0) == (0, True)


def test_the_recipe_with_a_drift_detector_starts_again_after_a_change(rng):
    pytest.importorskip("river", reason="River is not installed")
    page = (ROOT / "docs" / "streams.rst").read_text(encoding="utf-8")
    code = page.partition("River::\n\n")[2].partition("\n\nStreams on")[0]
    X = rng.normal(size=(1200, 2))
    y = X[:, 0] + 0.1 * rng.normal(size=1200)
    y[600:] = 5 - X[600:, 0]
    names = {"SGDLinearRegressor": SGDLinearRegressor}
    names["stream"] = zip(X[:, np.newaxis], y[:, np.newaxis], strict=True)
    exec(textwrap.dedent(code), names)
    assert abs(names["model"].coef_[0] + 1) < 0.2  # that of all rows is near 0


def tools():
    """Yield the heading, the packages and the code of each section of the page on other tools."""
    page = (ROOT / "docs" / "with_other_tools.rst").read_text(encoding="utf-8")
    first, *sections = re.split(r"\n(?=[^\n]+\n===+\n\n)", page.partition("\n\n")[2])
    for section in sections:
        packages = re.findall(r"^>>> (?:import|from) (\w+)", section, flags=re.MULTILINE)
        yield pytest.param(packages, first + "\n" + section, id=section.partition("\n")[0])


@pytest.mark.filterwarnings("ignore")  # of the other tools
@pytest.mark.parametrize(("packages", "text"), list(tools()))
def test_other_tools_take_the_model(packages, text):
    for package in packages:
        pytest.importorskip(package, reason=f"{package} is not installed")
    test = doctest.DocTestParser().get_doctest(text, {}, "with_other_tools", None, 0)
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(test)
    assert (result.failed, result.attempted > 6) == (0, True)


def test_pages_state_the_thresholds_of_the_code():
    tuning = Tuning()
    cluster, worker = tuning.max_cluster_hessian_features, tuning.max_worker_hessian_features
    stated = {
        "README.md": [f"up to {tuning.max_stream_features} columns"],
        "docs/accuracy.rst": [f"up to {tuning.max_stream_features} columns"],
        "docs/streams.rst": [f"up to {tuning.max_stream_features} columns"],
        "docs/choosing.rst": [
            f"up to {tuning.max_stream_features} columns",
            f"up to {tuning.max_row_system_rows} dense rows",
            f"up to {tuning.max_hessian_features} columns",
        ],
        "docs/cluster.rst": [
            f"up to {cluster} ",
            f" {cluster + 1} to {worker} ",
            f"than {worker} ",
        ],
        "docs/how_fit_works.rst": [
            f"up to {tuning.max_stream_features} columns",
            f"up to {tuning.exact_hessian_rows_per_feature} rows for each column",
            f"more than {tuning.max_hessian_features} columns",
        ],
        "docs/inference.rst": [
            f"more than {tuning.max_hessian_features} columns",
            f"at most {tuning.max_stream_features} columns",
        ],
        "sklearn_sgdlin/_regressor.py": [f"{tuning.max_stream_features} columns"],
        "sklearn_sgdlin/dask.py": [f"- up to {cluster}:", f"- {cluster + 1} to {worker}:"],
    }
    for page, phrases in stated.items():
        text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
        for phrase in phrases:
            assert phrase in f"{text} ", (page, phrase)


# ---------------------------------------------------------------- the built pages


class Page(HTMLParser):
    """Addresses a page points to, and the anchors it has."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.formulas = [], {""}, 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        self.formulas += "math" in (attributes.get("class") or "").split()
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Build where nothing is left behind, with the README's command; warnings are errors."""
    root = tmp_path_factory.mktemp("pages")
    ignore = shutil.ignore_patterns("_build", "generated", "examples", "__pycache__")
    shutil.copytree(ROOT / "docs", root / "docs", ignore=ignore)
    shutil.copytree(ROOT / "examples", root / "examples")
    shutil.copy(ROOT / "CHANGELOG.md", root)
    command = "python -m sphinx -W docs docs/_build/html"
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
    # Other examples, whose pictures no page includes, are run by test_examples.py alone.
    executed = "sphinx_gallery_conf.filename_pattern=(out_of_core|ideas|learning_rate|loss_curve)"
    done = subprocess.run(
        [sys.executable, *command.split()[1:], "-D", executed],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    built = root / "docs" / "_build" / "html"
    found = built.rglob("*.html")
    return {path: Page(path) for path in found if "_static" not in path.parts}  # of the theme


def test_links_of_the_pages_lead_somewhere(pages):
    checked = 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), (path.name, link)
            if target in pages:
                assert unquote(parts.fragment) in pages[target].anchors, (path.name, link)
            checked += 1
    assert checked > 100


def test_pages_show_formulas_pictures_and_the_reference(pages):
    root = min(pages, key=lambda path: len(path.parts))
    for page in ("index", "ideas", "training", "tour"):
        links = pages[root.parent / f"{page}.html"].links
        assert any(link.endswith(".png") for link in links)
    assert pages[root.parent / "how_fit_works.html"].formulas >= 5
    for public in (sklearn_sgdlin.SGDLinearRegressor, sklearn_sgdlin.LossCurveDisplay):
        assert root.parent / f"generated/sklearn_sgdlin.{public.__name__}.html" in pages


@pytest.fixture(scope="module")
def measured(pages):
    """What a browser finds on the pages, as a phone and a screen show them."""
    screenshots = runpy.run_path(str(ROOT / "docs" / "screenshots.py"))
    if screenshots["find_browser"]() is None:
        pytest.skip("needs the browser Chromium")
    root = min(pages, key=lambda path: len(path.parts)).parent
    script = (ROOT / "tests" / "measure_pages.html").read_text(encoding="utf-8")
    names = json.dumps([path.relative_to(root).as_posix() for path in pages])
    # A frame shows files of its own folder and those below.
    measure = root / "measure.html"
    measure.write_text(script.replace("of PAGES)", f"of {names})"), encoding="utf-8")
    shown = screenshots["run_browser"](["--virtual-time-budget=600000", "--dump-dom"], measure)
    measure.unlink()
    return json.loads(html.unescape(re.search(r"<body>(\{.*\})</body>", shown).group(1)))


def test_no_page_scrolls_sideways_on_a_phone(measured):
    assert measured["wide"] == []


def test_text_and_code_have_the_contrast_of_wcag_aa_in_both_themes(measured):
    assert measured["texts"] > 10_000
    assert measured["pale"] == {}


def test_tables_have_no_empty_cell(pages):
    # A row whose first cell takes two lines becomes two rows in a simple table.
    for path in pages:
        if "_modules" not in path.parts:
            rows = re.findall(r"<tr.*?</tr>", path.read_text(encoding="utf-8"), flags=re.DOTALL)
            for row in rows:
                cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, flags=re.DOTALL)
                texts = [re.sub("<[^>]*>", "", cell).strip() for cell in cells]
                assert all(texts[1:]), (path.name, texts)


def test_names_set_as_links_are_links(pages):
    for path in pages:
        if "_modules" not in path.parts:
            text = path.read_text(encoding="utf-8")
            names = re.findall(r'(<a [^>]*>)?<code class="xref[^>]*>(.*?)</code>', text)
            assert [name for link, name in names if not link] == [], path.name


def test_names_lead_to_parameters_and_to_other_packages(pages):
    root = min(pages, key=lambda path: len(path.parts)).parent
    estimator = root / "generated" / "sklearn_sgdlin.SGDLinearRegressor.html"
    assert {"tol", "solver_", "alpha"} < pages[estimator].anchors
    assert "#tol" in pages[estimator].links
    sklearn = "https://scikit-learn.org/stable/modules/generated/sklearn."
    assert f"{sklearn}linear_model.Ridge.html" in pages[root / "faq.html"].links
    assert f"{sklearn}linear_model.SGDRegressor.html" in pages[estimator].links


def test_the_page_on_solvers_has_the_table_that_chooses(pages):
    (page,) = (page for path, page in pages.items() if path.name == "choosing.html")
    linked = [link.partition("#solver-")[2] for link in page.links]
    solvers = [solver for solver, _ in _choose.decision_table()]
    assert [solver for solver in linked if solver] == solvers


def test_out_of_core(pages):
    # The page has run it; once more would be the slowest test of all.
    (path,) = (path for path in pages if path.name == "out_of_core.html")
    assert (ROOT / "examples" / "out_of_core.py").exists()
    text = path.read_text(encoding="utf-8")
    sizes = re.search(r"data (\d+) MB, .* (\d+) MB, peak of the process (\d+) MB", text)
    data, limit, peak = map(int, sizes.groups())
    assert max(peak, limit) < data
    assert len(re.findall(r"epoch \d: \d+ rows, R² on new rows 0.86", text)) == 2


# ---------------------------------------------------------------- docstrings

# Not asked of a method: an extended summary, See Also, examples of its own; nor that a
# returned value goes without the name that scikit-learn gives it.
METHOD_MAY_LACK = {"ES01", "SA01", "EX01", "RT02"}
# Nor that parameters and attributes are repeated that are those of the class it derives from.
DERIVED_MAY_LACK = {"PR01", "PR02"}


def public_classes():
    for name in sklearn_sgdlin.__all__:
        yield name, getattr(sklearn_sgdlin, name), set()
    if find_spec("distributed"):
        from sklearn_sgdlin.dask import DaskSGDLinearRegressor

        yield "dask.DaskSGDLinearRegressor", DaskSGDLinearRegressor, DERIVED_MAY_LACK


def public_members():
    for name, public, may_lack in public_classes():
        yield name, may_lack
        for member, value in vars(public).items():
            if not member.startswith("_") and (
                inspect.isfunction(value) or isinstance(value, classmethod)
            ):
                yield f"{name}.{member}", METHOD_MAY_LACK


@pytest.mark.parametrize(("name", "may_lack"), list(public_members()))
def test_docstrings_are_complete(name, may_lack):
    errors = [
        error for error in validate(f"sklearn_sgdlin.{name}")["errors"] if error[0] not in may_lack
    ]
    assert errors == []


@pytest.mark.parametrize("name", ["SGDLinearRegressor", "SGDLinearRegressorCV"])
def test_the_docstring_states_every_default_and_every_fitted_attribute(name):
    model = getattr(sklearn_sgdlin, name)
    doc = model.__doc__
    for name, parameter in inspect.signature(model).parameters.items():
        default = re.search(rf"^    {name} : .*default=(.*)$", doc, flags=re.MULTILINE)
        assert eval(default.group(1)) == parameter.default, name
    fitted = model().fit(np.eye(5), np.arange(5.0))
    for name in vars(fitted):
        if name.endswith("_") and not name.startswith("_"):
            assert re.search(rf"^    {name} : ", doc, flags=re.MULTILINE), name

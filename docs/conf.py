"""Sphinx: a user guide, the reference from docstrings, and the examples with their pictures."""

import os
import shutil
import sys
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

HERE = Path(__file__).parent
# Pictures are drawn to memory; sphinx-gallery says so too, but later.
os.environ["MPLBACKEND"] = "agg"
sys.path.insert(0, str(HERE))  # gallery_order is here
shutil.copy(HERE.parent / "examples" / "tour.ipynb", HERE)  # Sphinx reads files below docs/ only

project = "sklearn_sgdlin"
author = "The sklearn_sgdlin developers"
project_copyright = author
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",  # formulas show without a network, too
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
    "myst_nb",  # the tour is a notebook, and the changelog is in Markdown
]
templates_path = ["_templates"]
exclude_patterns = [
    "_build",
    "examples/*.ipynb",  # downloads that sphinx-gallery writes
    "sg_execution_times.rst",
    "**/sg_execution_times.rst",
]
nb_execution_mode = "force"
nb_execution_raise_on_error = True
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
autodoc_typehints = "none"  # docstrings state types
nitpicky = False
default_role = "py:obj"
myst_update_mathjax = False
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
html_theme = "pydata_sphinx_theme"
html_title = "sklearn_sgdlin"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_theme_options = {
    "show_toc_level": 2,
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "footer_start": [],
    "footer_end": [],
}
html_sidebars = {"index": []}
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "examples",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "gallery_order.ReadingOrder",
    "show_memory": False,
    "capture_repr": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
}


# Names of other packages that these pages and the docstrings link to, with the address of their
# page. A list needs no network, which the inventories that sphinx.ext.intersphinx reads would.
SKLEARN = "https://scikit-learn.org/stable/modules/generated/sklearn.{module}.{name}.html"
STATSMODELS = (
    "https://www.statsmodels.org/stable/generated/statsmodels.regression.{module}.{name}.html"
)
OTHER_PAGES = {
    f"{prefix}{name}": address.format(module=module, name=name)
    for address, module, names in [
        (SKLEARN, "ensemble", "HistGradientBoostingRegressor"),
        (SKLEARN, "linear_model", "ElasticNet ElasticNetCV GammaRegressor HuberRegressor Lasso"),
        (SKLEARN, "linear_model", "LinearRegression LogisticRegression PoissonRegressor"),
        (SKLEARN, "linear_model", "QuantileRegressor Ridge RidgeCV SGDClassifier SGDRegressor"),
        (SKLEARN, "linear_model", "TweedieRegressor"),
        (SKLEARN, "metrics", "get_scorer"),
        (SKLEARN, "model_selection", "GridSearchCV ShuffleSplit ValidationCurveDisplay"),
        (SKLEARN, "preprocessing", "StandardScaler"),
        (STATSMODELS, "linear_model", "OLS WLS"),
        (STATSMODELS, "quantile_regression", "QuantReg"),
    ]
    for name in names.split()
    for prefix in ("", f"sklearn.{module}.")
}
OTHER_PAGES["RLM"] = (
    "https://www.statsmodels.org/stable/generated/statsmodels.robust.robust_linear_model.RLM.html"
)
OTHER_PAGES["threadpoolctl"] = "https://pypi.org/project/threadpoolctl/"

# Parameters, attributes and methods that a page of the reference does not describe are those of:
ESTIMATOR = "sklearn_sgdlin.SGDLinearRegressor"


def add_anchors(app, doctree):
    """Give the first description of each parameter and attribute on a page an anchor."""
    if not app.env.docname.startswith("generated/"):
        return
    seen = app.env.parameters[app.env.docname] = set()
    for term in doctree.findall(nodes.term):
        name = term.next_node(nodes.strong)
        if name is not None and name.astext() not in seen:
            seen.add(name.astext())
            term["ids"].append(name.astext())


def link_by_name(app, env, node, contnode):
    """Return a link to what a name means on these pages or in other packages, or None."""
    name, page = node["reftarget"], node["refdoc"]
    described = [
        (owner, name)
        for owner in (page, f"generated/{ESTIMATOR}")
        if name in env.parameters.get(owner, ())
    ] + [
        (found.docname, found.node_id)
        for prefix in (ESTIMATOR, "sklearn_sgdlin", "sklearn_sgdlin.dask")
        if (found := env.get_domain("py").objects.get(f"{prefix}.{name}"))
    ]
    addresses = [f"{app.builder.get_relative_uri(page, owner)}#{id}" for owner, id in described]
    addresses += [OTHER_PAGES[name]] if name in OTHER_PAGES else []
    return nodes.reference("", "", contnode, refuri=addresses[0]) if addresses else None


class SolverTable(SphinxDirective):
    """The table that chooses a solver, read from the code: one row per solver, in order."""

    def run(self):
        """Return the nodes of the table; each name links to the section that describes it."""
        from sklearn_sgdlin._choose import decision_table

        lines = [".. list-table::", "   :header-rows: 1", "", "   * - Solver", "     - Runs if"]
        for solver, condition in decision_table():
            lines += [f"   * - :ref:`{solver} <solver-{solver}>`", f"     - {condition}"]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app):
    """Let pages say ``.. solver-table::``, and link to parameters and to other packages."""
    app.add_directive("solver-table", SolverTable)
    app.connect("builder-inited", lambda app: vars(app.env).setdefault("parameters", {}))
    app.connect("doctree-read", add_anchors)
    app.connect("missing-reference", link_by_name)

"""Sphinx: a user guide, the reference from docstrings, and the examples with their pictures."""

import os
import sys
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

# Pictures are drawn to memory; sphinx-gallery says so too, but later.
os.environ["MPLBACKEND"] = "agg"
sys.path.insert(0, str(Path(__file__).parent))  # gallery_order is here

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
    "myst_parser",  # the changelog is in Markdown
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "sg_execution_times.rst", "**/sg_execution_times.rst"]
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
html_theme_options = {
    "show_toc_level": 2,
    "navbar_align": "left",
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


# Names of scikit-learn that these pages and the docstrings link to, with the path of their page. A
# list needs no network, which the inventory that sphinx.ext.intersphinx reads would.
SKLEARN_PAGES = {
    f"{prefix}{name}": f"modules/generated/sklearn.{module}.{name}.html"
    for module, names in {
        "linear_model": "ElasticNet HuberRegressor Lasso LinearRegression QuantileRegressor Ridge "
        "GammaRegressor LogisticRegression PoissonRegressor SGDClassifier SGDRegressor",
        "ensemble": "HistGradientBoostingRegressor",
    }.items()
    for name in names.split()
    for prefix in ("", f"sklearn.{module}.")
}


def link_to_sklearn(app, env, node, contnode):
    """Return a link to the page of a class of scikit-learn, or None for other names."""
    page = SKLEARN_PAGES.get(node.get("reftarget"))
    if page is None:
        return None
    return nodes.reference("", "", contnode, refuri=f"https://scikit-learn.org/stable/{page}")


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
    """Let pages say ``.. solver-table::``, and link to scikit-learn."""
    app.add_directive("solver-table", SolverTable)
    app.connect("missing-reference", link_to_sklearn)
    return {"parallel_read_safe": True}

"""Sphinx: a user guide, the reference from docstrings, and the examples with their pictures."""

import os

from sphinx.util.docutils import SphinxDirective

# Pictures are drawn to memory; sphinx-gallery says so too, but later.
os.environ["MPLBACKEND"] = "agg"

project = "sklearn_sgdlin"
author = "The sklearn_sgdlin developers"
project_copyright = author
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx-mathjax-offline",  # formulas show without a network, too
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "sg_execution_times.rst", "**/sg_execution_times.rst"]
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
nitpicky = False
html_theme = "alabaster"
html_theme_options = {
    "description": "Linear regression for scikit-learn on raw data",
    "page_width": "1280px",  # lines of code of 100 characters fit
    "body_max_width": "auto",
    "sidebar_width": "250px",  # and so does the name
    "fixed_sidebar": True,
}
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "examples",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "show_memory": False,
    "capture_repr": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
}


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
    """Let pages say ``.. solver-table::``."""
    app.add_directive("solver-table", SolverTable)
    return {"parallel_read_safe": True}

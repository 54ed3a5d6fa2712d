"""Sphinx: a user guide, the reference from docstrings, and the examples with their pictures."""

import os

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
    "description": "Linear regression by SGD that just works in scikit-learn",
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

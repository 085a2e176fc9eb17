"""Configuration of the documentation."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
# the extensions, and `benchmarks`, are not installed
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

import gossamer  # noqa: E402

project = "gossamer"
author = copyright = "The gossamer developers"
version = release = gossamer.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "api_pages",
    "gossamer_docs",
]
exclude_patterns = ["_build", "gallery/*", "_ext", "_templates"]
templates_path = ["_templates"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_title = "gossamer"
html_theme_options = {
    "show_prev_next": False,
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc docstrings state types with their shapes
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

sphinx_gallery_conf = {
    "examples_dirs": ["gallery"],
    "gallery_dirs": ["gallery_out"],
    "filename_pattern": r"plot_",
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "min_reported_time": 1000,
}


def _routing(app, what, name, thing, skip, options):
    """Leave out the metadata-routing methods that scikit-learn gives to every estimator."""
    return True if name.startswith("set_") and name.endswith("_request") else None


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-skip-member", _routing)

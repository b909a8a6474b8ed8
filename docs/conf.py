"""The site. `make html` builds all of it, `make quick` without running the examples; both without network."""

import os
import sys
import tempfile
from pathlib import Path

import mlpfast  # the installed one

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS / "extensions"))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of the examples; NumPy's threads would only wait for mlpfast's

project = "mlpfast"
author = "mlpfast developers"
copyright = author
version = release = mlpfast.__version__

extensions = [
    "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.intersphinx", "sphinx_copybutton",
    "sphinx_gallery.gen_gallery", "breaks", "docstrings", "links", "mathml", "pages", "pictures",
]
exclude_patterns = ["_build", "inventories", "gallery/backreferences", "**/GALLERY_HEADER.rst"]
nitpicky = True  # a link that leads nowhere is a warning, and `make` makes it an error
suppress_warnings = ["config.cache"]  # functions in the gallery's settings

# ---- Text

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 4
html_math_renderer = "mathml"

highlight_language = "none"  # of what says no language: formulas, commands

# ---- API

default_role = None
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_typehints = "none"
autosummary_generate = False
add_module_names = False
toc_object_entries_show_parents = "hide"
# Inventories are text files of what is linked to: the build needs no network, and the links are those of the names.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", "inventories/python.txt"),
    "numpy": ("https://numpy.org/doc/stable/", "inventories/numpy.txt"),
    "sklearn": ("https://scikit-learn.org/stable/", "inventories/sklearn.txt"),
    "torch": ("https://docs.pytorch.org/docs/stable/", "inventories/torch.txt"),
}

# ---- Gallery


def arguments_of_an_example(gallery_conf, script_vars):
    """--quick, as in docs/course.md and the tests: these are the numbers that a test holds within bounds."""
    return ["--quick", "--plot", os.path.join(tempfile.gettempdir(), "mlpfast-example.png")]


arguments_of_an_example.__module__ = __name__
EXAMPLES = DOCS.parent / "examples"
sphinx_gallery_conf = {
    "examples_dirs": str(EXAMPLES),
    "gallery_dirs": "gallery",
    "filename_pattern": r"/(?!mnist)\w+\.py$",  # mnist needs files
    "ignore_pattern": r"shared\.py$",
    "reset_argv": arguments_of_an_example,
    "first_notebook_cell": "%%writefile shared.py\n" + (EXAMPLES / "shared.py").read_text(encoding="utf-8"),
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": True,
    "show_memory": False,
    "remove_config_comments": True,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "show_signature": False,
    "only_warn_on_example_error": False,
    "abort_on_example_error": True,
}

# ---- HTML

html_theme = "pydata_sphinx_theme"
html_title = "mlpfast"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navigation_with_keys": False,
    "header_links_before_dropdown": 8,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc", "sg_download_links"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_version_warning_banner": False,
}
html_sidebars = {
    "**": ["sidebar-nav-bs"],
    **dict.fromkeys(("index", "getting_started", "coming_from", "course", "mathematics"), []),  # nothing below them
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

"""How Sphinx builds the site: `make docs` writes docs/_build/html.

Nothing is asked of the network, neither by the build nor by a reader's browser: no fonts, scripts or formulas from
elsewhere.
"""

import os
import sys
from pathlib import Path

from docutils import nodes

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import lipgan_keras  # noqa: E402

project = "lipgan_keras"
author = "The lipgan_keras authors"
version = release = lipgan_keras.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "commands",
    "diagrams",
    "messages",
]
exclude_patterns = ["_build", "_ext", "**.ipynb_checkpoints", "lesson.py"]
# A page whose name ends in .py is the source of the notebook beside it, and no page of its own.
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb", ".rst": "restructuredtext"}

html_theme = "furo"
html_title = "lipgan_keras"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#9a3412", "color-brand-content": "#9a3412"},
    "dark_css_variables": {"color-brand-primary": "#fb923c", "color-brand-content": "#fdba74"},
}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
# The notebook is shown with the outputs that it holds; its own test executes it.
nb_execution_mode = "off"
nb_ipywidgets_js: dict = {}
# `name` in a docstring is code.
default_role = "code"
# Quotes become curly; the two dashes of a flag stay two.
smartquotes_action = "qe"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"
# Prompts and what a command prints are not copied with it.
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

SHORT = 30  # letters


def keep_together(app, doctree):
    """Mark short pieces of code, which are not to be broken after the dashes of a flag."""
    for literal in doctree.findall(nodes.literal):
        if len(literal.astext()) <= SHORT:
            literal["classes"].append("short")


def setup(app):
    app.connect("doctree-read", keep_together)

"""How the site is built: python -m sphinx -W docs docs/_build/html. Every page that shows a number computes it."""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# The pages run in kernels of their own: the same checkout, no warnings from Jupyter about its folders.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
os.environ["JUPYTER_PLATFORM_DIRS"] = "1"

from minivit.version import __version__  # noqa: E402

project = "minivit"
author = "The minivit authors"
copyright = "The minivit authors"
version = release = __version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",  # MathJax from the package, so that the site needs no network
]
exclude_patterns = ["_build", "results/*"]
default_role = "py:obj"
nitpicky = False
suppress_warnings = ["config.cache"]

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True
nb_number_source_lines = False
nb_render_markdown_format = "myst"

autodoc_default_options = {"members": True, "imported-members": True, "show-inheritance": True}
autodoc_member_order = "groupwise"
autodoc_typehints = "none"  # numpydoc's Parameters say the types, with shapes
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "furo"
html_title = f"minivit {release}"
html_static_path = ["_static"]
html_css_files = ["minivit.css"]
html_show_sphinx = False

LITERAL = re.compile(r"(``.*?``|`[^`]*`|(?<!\\)\\[*|])")


def escape_mathematics(app, what, name, obj, options, lines):
    """Let docstrings say ``n * weight`` and ``|x|``: outside code, reStructuredText would read these as mark-up."""
    block = None  # indentation of the line that opened a literal block
    for number, line in enumerate(lines):
        indentation = len(line) - len(line.lstrip())
        if block is not None and line.strip() and indentation <= block:
            block = None
        if block is None and not line.lstrip().startswith((">>>", "...", ".. ", "* ")):
            parts = LITERAL.split(line)
            parts[::2] = [re.sub(r"[*|]", r"\\\g<0>", part) for part in parts[::2]]
            lines[number] = "".join(parts)
        if block is None and line.rstrip().endswith("::"):
            block = indentation


def setup(app):
    app.connect("autodoc-process-docstring", escape_mathematics, priority=100)  # before numpydoc

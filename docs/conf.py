"""Settings of Sphinx: ``python -m sphinx -W docs OUT``."""

import remoto

project = "remoto"
author = "the remoto authors"
release = version = remoto.__version__
extensions = ["sphinx.ext.autodoc"]
html_theme = "furo"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
exclude_patterns = ["_build"]

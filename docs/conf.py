"""Settings of Sphinx: ``python -m sphinx -W docs OUT``."""

import remoto

project = "remoto"
author = "the remoto authors"
release = version = remoto.__version__
extensions = ["sphinx.ext.autodoc", "matplotlib.sphinxext.plot_directive"]
plot_formats = ["svg"]
plot_html_show_formats = False
plot_html_show_source_link = False
html_theme = "furo"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
exclude_patterns = ["_build"]
# broken references are warnings, and so errors with -W
nitpicky = True
# types of the standard library, whose index would have to be downloaded, and this package's own aliases
nitpick_ignore_regex = [
    (
        "py:class",
        r"(collections\.abc|concurrent\.futures.*|logging|os|pathlib|types|typing)\..+|Command|Handler|Path|ModuleType"
        r"|Any\w+|Argv|OfLine|OfBlock|Progress|RemoteFunction|Target|_Socket|execnet\.(Channel|Gateway)"
        r"|(Popen|Connection|(Found)?Containers?|FoundPods|Run|Command|Copy|Rsync)?Options|\w+Backend|BackendName|(remoto\.functions\.proxy\.)?ModuleExecute"
        r"|dict\[str|.*\._Stream|.*\._?Value",
    )
]

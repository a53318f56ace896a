"""Remove unused parts from the source of execnet's ``gateway_base``, which is sent. Line numbers stay the same."""

from __future__ import annotations

import re

# execution models, threads and IO, which remote/worker.py and remote/main_thread.py replace; for type checkers:
# protocols, overloads, annotations of results, and names of typing; values in files; tracing
_UNUSED = (
    r"(?ms)^class (?:\w*ExecModel\b|WorkerPool\b|Reply\b|Popen2IO\b|\w+\(Protocol\)).*?(?=^\S)|(?<=\)) -> [^\n]*(?=:$)"
    r"|^    @overload\n.*?(?=\n\n)"
    r"|^def (?:dumps?|loads?|serve|get_execmodel|init_popen_io)\(.*?(?=^[^\s)]|\Z)"
    r"|^    def (?:serve|_trace|_initreceive|join)\(.*?(?=^ {0,4}[^\s)])"
    r"|^DEBUG = .*?^    notrace = [^\n]*$|^        self\.__trace = trace$|^        def log\([^\n]*\n[^\n]*$"
    r"|^from typing import (?:Any|Callable|Iterator|Literal|MutableSet|Protocol|overload)$|^import abc$"
)
# a call may be all that a block has
_TRACING = r"(?ms)\b(?:self\.(?:gateway\.)?_trace|log)\(.*?\)$"
# annotations of parameters, and of variables that get a value, with at most two levels of brackets
_BRACKETS = r"\[(?:[^][]|\[[^][]*\])*\]"
_ANNOTATION = rf"(?<=\w): [A-Za-z]\w*(?:{_BRACKETS})?(?: \| [A-Za-z]\w*(?:{_BRACKETS})?)*(?= = |,|\))"
# the function of typing that is called; it returns its last argument
_CAST = r"(?m)^from typing import cast$"
# used only for errors; importing it takes as long as compiling half of this source
_TRACEBACK = r"(?m)^import traceback$"
_TRACEBACK_WHEN_USED = (
    "class traceback: format_exception = staticmethod(lambda *error: __import__('traceback').format_exception(*error))"
)


def without_unused(source: str) -> str:
    """Return the source without unused parts and slow imports.

    >>> without_unused("import traceback\\nfrom typing import Any\\nfrom typing import cast\\nx = 1").splitlines()[1:]
    ['', 'cast = lambda *given: given[-1]', 'x = 1']
    """
    source = re.sub(_UNUSED, lambda found: "\n" * found[0].count("\n"), source)
    source = re.sub(_TRACING, lambda found: "pass" + "\n" * found[0].count("\n"), source)
    source = re.sub(_ANNOTATION, "", source)
    source = re.sub(_CAST, "cast = lambda *given: given[-1]", source)
    return re.sub(_TRACEBACK, _TRACEBACK_WHEN_USED, source)

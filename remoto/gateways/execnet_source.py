"""Remove unused parts from the source of execnet's ``gateway_base``, which is sent. Line numbers stay the same."""

from __future__ import annotations

import re

# execution models other than threads; for type checkers: protocols, abstract methods, overloads, annotations of
# results, and names of typing; values in files; the main thread, which remote/main_thread.py uses instead; tracing
_UNUSED = (
    r"(?ms)^class (?:(?:Eventlet|Gevent|MainThreadOnly)ExecModel\b|\w+\(Protocol\)).*?(?=^\S)|(?<=\)) -> [^\n]*(?=:$)"
    r"|^    (?:@property\n    )?@(?:abc\.abstractmethod|overload)\n.*?(?=\n\n)"
    r"|^def (?:dumps?|loads?|serve)\(.*?(?=^[^\s)]|\Z)"
    r"|^    def (?:serve|integrate_as_primary_thread|_trace)\(.*?(?=^ {0,4}[^\s)])"
    r"|^DEBUG = .*?^    notrace = [^\n]*$|^        self\.__trace = trace$|^        def log\([^\n]*\n[^\n]*$"
    r"|^from typing import (?:Any|Callable|Iterator|Literal|MutableSet|Protocol|overload)$"
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

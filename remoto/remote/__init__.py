"""Code for the remote side, which imports it as the package ``remoto_remote``.

It imports nothing else of remoto, and runs on Python 2.7 and 3.5 to 3.14 with only the standard library.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable

from .imports import PACKAGE, imported

# behind code, a comment with a quote in it may be part of a string: it stays
_COMMENT = r"(?m)^[ \t]*#.*$|(?<=\S)  #[^'\"\n]*$"
_INDENTATION = r"(?m)^(?:    )+"
_DOCSTRING = r'(?ms)(\A|:\n)([ \t]*)r?"""(?:[^"\\]|\\.|"(?!""))*"""$'


def source(name: str) -> str:
    """Return the source of ``NAME.py`` in this directory, even if that is a zip file."""
    return without_comments(text(name + ".py"))


def without_comments(code: str) -> str:
    """Return Python code without docstrings and comments, and with less indentation. Lines keep their numbers.

    >>> without_comments('# why\\nx = 1\\n')
    '\\nx = 1\\n'
    """
    code = re.sub(_DOCSTRING, _without_text, code)
    return re.sub(_INDENTATION, lambda found: " " * (len(found[0]) // 4), re.sub(_COMMENT, "", code))


def _without_text(docstring: re.Match[str]) -> str:
    before, indentation = docstring.groups()
    after = docstring.string[docstring.end() :].lstrip("\n")
    has_body = after.startswith(indentation) and after[len(indentation) :][:1] not in (" ", "#", "")
    newlines = "\n" * docstring[0][len(before) :].count("\n")
    return before + ("" if has_body else f'{indentation}""') + newlines


def with_imports(*names: str) -> list[str]:
    """Return the names of modules and of the modules that they import, each once."""
    found: list[str] = []
    for name in names:
        if name not in found:
            found += [other for other in with_imports(*imported(source(name))) if other not in found]
            found.append(name)
    return found


def named_sources(names: Iterable[str]) -> list[str]:
    """Return name, source, name, source ..., the form that ``imports.py`` expects."""
    return [text for name in names for text in (name, source(name))]


def packed(texts: Iterable[str]) -> str:
    """Compress texts; the result is ASCII. ``imports.py`` unpacks it."""
    import binascii
    import zlib

    data = zlib.compress("\0".join(texts).encode("utf-8"), 9)
    return binascii.b2a_base64(data, newline=False).decode("ascii")


#: creates the remote side's package from ``texts``: the source of imports.py, then names and sources of modules
_MAKE_PACKAGE = f"""\
import sys
name = str("{PACKAGE}")
package = sys.modules.get(name)
if package is None:
    package = type(sys)(name)
    package.__path__ = []
    exec(compile(texts[0], "remoto/remote/imports.py", "exec"), package.__dict__)
    package = sys.modules.setdefault(name, package)
package.add(texts[1:])
"""


def package(names: Iterable[str], *last: str) -> str:
    """Return code that creates the remote side's package with these modules. It may run twice in a Python.

    :param last: a text to append to ``texts``; the package ignores it.
    """
    texts = packed([source("imports"), *named_sources(names), *last])
    unpacked = f'import binascii, zlib\ntexts = zlib.decompress(binascii.a2b_base64("{texts}")).split(b"\\0")\n'
    return unpacked + without_comments(_MAKE_PACKAGE)


# the modules follow on stdin; each runs when it is first needed. For a Python that serves a single call, that is faster
# than imports.py, which has to be compiled as well; it also takes long to import __future__
_RUN_MODULES = """\
import sys
future = "from __future__ import absolute_import, unicode_literals"
modules = dict((name, (sys.stdin.read(size), imports)) for name, size, imports in {sizes})
sys.modules["{package}"] = type(sys)("{package}")

def sent(name):
    full_name = "{package}." + str(name)
    if full_name not in sys.modules:
        source, imports = modules[name]
        for other in imports:
            sent(other)
        module = sys.modules[full_name] = type(sys)(full_name)
        module.__package__ = "{package}"
        exec(source if sys.version_info[0] == 2 else source.replace(future, ""), module.__dict__)
    return sys.modules[full_name]

sent("{first}").{function}(sent, sys.stdin.readline())
"""


@functools.cache
def program(first: str, function: str, *others: str) -> bytes:
    """Return the input for a Python that was started with ``BOOT_COMMAND``: it calls ``first.function(sent, line)``.

    ``sent(name)`` returns a module: the first, one of the others, or one that they import. ``line`` is the next line
    of stdin.
    """
    sources = {name: source(name) for name in with_imports(first, *others)}
    sizes = [(name, len(text), imported(text)) for name, text in sources.items()]
    code = _RUN_MODULES.format(sizes=sizes, package=PACKAGE, first=first, function=function)
    return "".join([f"'exec(sys.stdin.read({len(code)}))'\n", code, *sources.values()]).encode("ascii")


def text(filename: str) -> str:
    """Return the text of a file in this directory."""
    assert __spec__ is not None
    # like pkgutil.get_data(), even from a zip file; importing pkgutil takes as long as importing remoto
    data: bytes = __spec__.loader.get_data(os.path.join(os.path.dirname(__file__), filename))  # type: ignore[union-attr]
    return data.decode("utf-8")

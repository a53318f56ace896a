"""Lists of hosts: patterns such as ``node[01-40]``, files, stdin.

ClusterShell's NodeSet expands and folds patterns. It is an optional package, under the LGPL, and imported only for a
pattern.
"""

from __future__ import annotations

import configparser
import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType

__all__ = ["LIMIT", "expand", "fold"]

#: the largest number of hosts in all patterns together: NodeSet needs 200 MB for a million
LIMIT = 100_000
# ranges in brackets, or NodeSet's operators: exclusion (!), intersection (&), symmetric difference (^)
_PATTERN = re.compile(r"[\[\]!&^]")
_RANGES = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+)(?:/([0-9]+))?)?")
# an address such as fe80::1%eth0 or root@[::1]: brackets with colons are not a range
_ADDRESS = re.compile(r"\[[0-9A-Fa-f:.%\w]*:[0-9A-Fa-f:.%\w]*\]")
# one group, no pattern of several
_GROUP = re.compile(r"@(?:(?P<source>[^:@]+):)?(?P<name>[^:@*?\[\],!&^\s]+)")
_INSTALL = "pip install 'remoto[fleet]'"


def expand(hosts: str | Iterable[str], *, groups: bool = False, exclude: str | Iterable[str] = ()) -> list[str]:
    """Return the names of hosts, in order, each once.

    :param hosts: names; ClusterShell's patterns; ``@FILE`` for the names and patterns in a file, one on each line; or
        ``-`` for those from stdin.
    :param groups: also accept ``@GROUP``, which ClusterShell looks up in its configuration. That may run programs.
    :param exclude: hosts to exclude, in the same forms.
    :raises ValueError: a pattern is invalid or needs a package that is not installed; or there are too many hosts.
    :raises OSError: a file cannot be read.

    >>> expand(['node1', 'web.example.org', 'fe80::1'])
    ['node1', 'web.example.org', 'fe80::1']
    """
    excluded = set(names(exclude, groups))
    return [name for name in dict.fromkeys(names(hosts, groups)) if name not in excluded]


def names(hosts: str | Iterable[str], groups: bool) -> Iterator[str]:
    """Yield the names of hosts, repeated if they are named twice; see :func:`expand`."""
    listed = list(entries(hosts, groups))
    require_size(listed)
    for entry in listed:
        yield from names_of(entry, groups)


def entries(hosts: str | Iterable[str], groups: bool) -> Iterator[str]:
    """Yield names, patterns and groups, those in files included. None is expanded.

    :raises OSError: a file cannot be read.
    """
    for text in [hosts] if isinstance(hosts, str) else hosts:
        if not isinstance(text, str):
            raise TypeError(f"hosts: expected names, not {type(text).__name__}: {text!r}")
        if text == "-":
            yield from _of_lines(sys.stdin)
        elif text.startswith("@"):
            yield from _of_file_or_group(text, groups)
        else:
            yield text


def require_size(listed: Iterable[str]) -> None:
    """Check the number of hosts in patterns before they are expanded.

    :raises ValueError: a pattern is invalid, or together they name too many hosts.
    """
    total = sum(_count(entry) for entry in listed if is_pattern(entry))
    if total > LIMIT:
        raise ValueError(f"hosts: the patterns together name {total:,} hosts; the limit is {LIMIT:,}")


def names_of(entry: str, groups: bool) -> list[str]:
    """Return the hosts of one of :func:`entries`."""
    # in a file without groups, a name may begin with @
    return _expanded(entry, groups) if is_pattern(entry) or (groups and entry.startswith("@")) else [entry]


def fold(names: Sequence[str]) -> str:
    """Return names as one string: a pattern if ClusterShell is installed, else separated by commas.

    >>> fold(['node1'])
    'node1'
    """
    if len(names) > 1 and not any(re.search(r"[\s,@]", name) or is_pattern(name) or ":" in name for name in names):
        try:
            return str(_nodeset().NodeSet.fromlist(list(names), resolver=_nodeset().RESOLVER_NOGROUP))
        except ImportError:
            pass
    return ",".join(names)


def is_pattern(name: str) -> bool:
    """Return True if a name is a pattern.

    >>> is_pattern('node[1-3]'), is_pattern('root@[::1]'), is_pattern('node1')
    (True, False, False)
    """
    return bool(_PATTERN.search(_ADDRESS.sub("", name)))


def _of_file_or_group(text: str, groups: bool) -> Iterator[str]:
    try:
        # some editors begin a file with a byte order mark
        with open(text[1:], encoding="utf-8-sig") as lines:
            yield from _of_lines(lines)
    except UnicodeDecodeError as error:
        raise ValueError(f"{text[1:]}: {error}") from None
    except FileNotFoundError as error:
        if not groups:
            error.strerror = f"{error.strerror}; a group of ClusterShell needs groups=True"
            raise
        yield text


def _of_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield the entries of a file, which can't include another file, or stdin."""
    for line in lines:
        entry = line.split("#")[0].strip()
        if entry:
            yield entry


def _expanded(pattern: str, groups: bool) -> list[str]:
    try:
        nodeset = _nodeset()
    except ImportError:
        raise ValueError(f"{pattern}: patterns of hosts need ClusterShell: {_INSTALL}") from None
    lookup = nodeset.NodeUtils
    try:
        names = list(nodeset.NodeSet(pattern, resolver=None if groups else nodeset.RESOLVER_NOGROUP))
    except lookup.GroupResolverSourceError as error:
        raise ValueError(f"{pattern}: no source of groups in ClusterShell's groups.conf: {error}") from None
    except (
        nodeset.NodeSetException,
        lookup.GroupResolverError,
        lookup.GroupSourceError,
        configparser.Error,
    ) as error:
        raise ValueError(f"{pattern}: {error}") from None
    if groups and not names and _is_unknown(pattern, nodeset):
        raise ValueError(f"{pattern}: no such group")
    return names


def _is_unknown(pattern: str, nodeset: ModuleType) -> bool:
    """Return True for an unknown group, which is an empty one to NodeSet if its source is a file."""
    group = _GROUP.fullmatch(pattern)
    if not group:
        return False
    try:
        return group["name"] not in nodeset.grouplist(group["source"])
    except nodeset.NodeUtils.GroupSourceError:  # the source can't list its groups
        return False


def _count(pattern: str) -> int:
    """Return an upper bound for the number of hosts in a pattern, without expanding it.

    :raises ValueError: the pattern is invalid, or names too many hosts.
    """
    try:
        count = sum(_product(part) for part in re.split(r"[,!&^](?![^\[]*\])", pattern))
    except ValueError as error:
        raise ValueError(f"{pattern}: {error}") from None
    if count > LIMIT:
        raise ValueError(f"{pattern}: names {count:,} hosts; the limit is {LIMIT:,}")
    return count


def _product(part: str) -> int:
    product = 1
    for ranges in _RANGES.findall(part):
        product *= max(1, sum(_length(one) for one in ranges.split(",")))
    return product


def _length(one: str) -> int:
    found = _RANGE.fullmatch(one)
    if not found:
        # NodeSet accepts more, such as -5-10, 1_000 and non-ASCII digits, which would not be counted
        raise ValueError(f"expected a range such as 01-40 or 5, not {one!r}")
    first, last, step = (int(number or 0) for number in found.groups())
    return max(0, last - first) // max(1, step) + 1


def _nodeset() -> ModuleType:
    return importlib.import_module("ClusterShell.NodeSet")

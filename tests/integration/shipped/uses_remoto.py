"""A function that imports remoto on the remote side."""


def names():
    """The names of remoto's modules, after an import of remoto."""
    import sys

    import remoto

    return remoto.__file__, sorted(name for name in sys.modules if name.split(".")[0] in ("remoto", "remoto_remote"))

"""The modules of remoto/remote/ as the remote side has them."""

import types

from remoto import remote
from remoto.gateways import bootstrap


def far_module(name):
    """Return one of the modules that a remote Python is sent, made of its files."""
    module = types.ModuleType("far")
    for file in bootstrap.REMOTE_MODULES[name]:
        exec(compile(remote.source(file), file, "exec"), module.__dict__)
    return module

"""The modules of remoto/remote/ as the far side has them."""

import types

from remoto import remote


def far_module(*names):
    module = types.ModuleType("far")
    for name in names:
        exec(compile(remote.source(name), name, "exec"), module.__dict__)
    return module

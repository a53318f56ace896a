"""RUNS ON THE FAR SIDE: the first thing in a gateway's Python. Starts execnet's loop and keeps the other modules' text."""

import gc
import os
import signal
import sys


def unpack(text):
    import binascii
    import zlib

    data = zlib.decompress(binascii.a2b_base64(text))
    # Python 2 takes a coding line in bytes only
    return data if sys.version_info[0] == 2 else data.decode("utf-8")


def set_environment(variables):
    for name, value in variables:
        if sys.version_info[0] == 2:
            os.environ[name.encode("utf-8")] = value.encode("utf-8")
        else:
            # the text was decoded with surrogateescape: this gives back its bytes, whatever the locale is here
            os.environb[name.encode("utf-8", "surrogateescape")] = value.encode("utf-8", "surrogateescape")


def call(channel, module, function, request):
    """Run ``function`` of one of the modules that came along; each is compiled when it is first used."""
    # not in a variable here: a gateway of execnet's own runs this text anew for each call
    loaded = sys.modules.get("remoto_far_" + module)
    if loaded is None:
        loaded = type(sys)(str("remoto_far_" + module))
        code = compile(SOURCES[module], "remoto/remote/" + module + ".py", "exec")
        exec(code, loaded.__dict__)
        # another thread may have been as quick: then its module counts
        loaded = sys.modules.setdefault("remoto_far_" + module, loaded)
    getattr(loaded, function)(channel, **request)


SOURCES = {}


def boot(execnet_source, execnet_version, sources, variables, marker, worker):
    # as a daemon may have left it: then a command's exit status would be lost
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Ctrl-C at the controller's terminal is not for this process. A handler, since what is ignored is so in commands, too
    signal.signal(signal.SIGINT, lambda *_: None)
    # compiling makes no garbage worth looking for: a fifth of the time
    gc.disable()
    set_environment(variables)
    for name in sources:
        SOURCES[name] = unpack(sources[name])
    main = sys.modules["__main__"].__dict__
    try:
        exec(compile(unpack(execnet_source), "execnet/gateway_base.py", "exec"), main)
    except Exception:
        found = ".".join(str(number) for number in sys.version_info[:3])
        problem = sys.exc_info()[1]
        sys.stderr.write("remoto: Python %s cannot run execnet %s: %s\n" % (found, execnet_version, problem))
        sys.exit(1)
    gc.enable()
    io = main["init_popen_io"](main["get_execmodel"]("thread"))
    uid = os.getuid() if hasattr(os, "getuid") else -1
    io.write(("%s %d\n" % (marker, uid)).encode("ascii"))
    main["serve"](io, id=worker)

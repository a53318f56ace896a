"""Errors of remoto's own code while the remote side loads a module."""

import threading

import pytest

from remoto.remote import functions, modules


class Channel:
    def __init__(self):
        self.sent = []

    def send(self, answer):
        self.sent.append(answer)

    def setcallback(self, callback, endmarker):
        pass  # it is never closed


@pytest.mark.timeout(20)
def test_module_whose_loading_was_interrupted_fails_later_calls(monkeypatch):
    def capture():
        raise OSError("no stdout")

    monkeypatch.setattr(modules, "capture", capture)
    module = ("odd", "", "odd.py", "def function(): pass\n", False)
    holder = threading.Thread(target=modules.keep, args=(Channel(), "1", module, {}, []), daemon=True)
    holder.start()
    channel = Channel()
    calls = functions.Calls(channel, modules.kept_module("1"))
    with pytest.raises(OSError, match="no stdout"):
        functions.Call(calls, ("function", (), {})).run()
    functions.Call(calls, ("function", (), {})).run()
    [(kind, problem)] = channel.sent
    assert kind == "raise" and problem["message"] == "no stdout"
    holder.join(50)
    assert not holder.is_alive()

"""The undocumented names of execnet that remoto uses exist, and are used in one file only."""

import inspect
import re
from pathlib import Path

import execnet
import pytest
from execnet import gateway, gateway_base

import remoto
from remoto.gateways import execnet_internals

PACKAGE = Path(remoto.__file__).parent
DOOR = PACKAGE / "gateways/execnet_internals.py"

# each name, and what breaks without it
NAMES = {
    (gateway, "Gateway"): "a gateway over a process that remoto starts",
    (gateway.Gateway, "_initreceive"): "its channels are remoto's, with windows",
    (gateway.Gateway, "_send"): "what a signal's handler raises in the middle of sending comes out as it is",
    (gateway_base, "Channel"): "an open channel that nobody has any more is closed",
    (gateway_base.Channel, "_getremoteerror"): "receiving from a channel that has ended",
    (gateway_base, "ChannelFactory"): "limits on what is received",
    (gateway_base.ChannelFactory, "_local_receive"): "values are checked before they are kept",
    (gateway_base.ChannelFactory, "_no_longer_opened"): "a channel that is opened when the connection has just ended",
    (gateway_base, "Unserializer"): "memory is allocated by what was received",
    (gateway_base.Unserializer, "_read_byte_string"): "likewise, of bytes and text",
    (gateway_base.Unserializer, "_read_int4"): "likewise",
    (gateway_base.Unserializer, "load_newlist"): "likewise, of lists",
    (gateway_base.Unserializer, "num2func"): "likewise, of lists",
    (gateway_base, "LoadError"): "the error of a wrong value",
    (gateway_base, "opcode"): "likewise, of lists; and the blocks of a file are copied once only",
    (gateway_base, "Message"): "messages are checked, and written whole",
    (gateway_base.Message, "CHANNEL_EXEC"): "a command's start is one small message",
    (gateway_base.Message, "CHANNEL_DATA"): "a function's call is packed once",
    (gateway_base.Message, "CHANNEL_CLOSE"): "what a remote side may send",
    (gateway_base.Message, "CHANNEL_CLOSE_ERROR"): "what a remote side may send",
    (gateway_base.Message, "CHANNEL_LAST_MESSAGE"): "what a remote side may send",
    (gateway_base.Message, "GATEWAY_TERMINATE"): "the end of a connection",
    (gateway_base.Message, "RECONFIGURE"): "what a remote side may send",
    (gateway_base, "WorkerPool"): "the threads of a gateway",
    (gateway_base.WorkerPool, "waitall"): "the end of a connection is waited for, not for ever",
    (gateway_base, "dumps_internal"): "arguments that can't be sent are found before anything is sent",
    (gateway_base, "get_execmodel"): "the main thread can be interrupted where it waits",
    (gateway_base, "Popen2IO"): "execnet's own gateways through a connection's",
    (gateway_base, "WorkerGateway"): "the remote side's gateway",
    (gateway_base.WorkerGateway, "_thread_receiver"): "the remote side's main thread is for functions",
    (execnet.Group, "_register"): "a gateway is in its group",
    (execnet.Group, "_unregister"): "closing a gateway twice",
    (execnet.Group, "_cleanup_atexit"): "groups leave nothing behind with atexit",
}
ATTRIBUTES = (
    "_execpool",
    "_io",
    "_group",
    "_gateways",
    "_gateways_to_join",
    "_channelfactory",
    "_receivepool",
    "_remoteerrors",
    # of the remote side's IO
    "infile",
    "outfile",
)


@pytest.mark.parametrize(("owner", "name"), NAMES, ids=lambda value: getattr(value, "__name__", value))
def test_each_name_exists(owner, name):
    assert hasattr(owner, name), f"without it: {NAMES[owner, name]}"


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_execnet_sets_each_listed_attribute(name):
    sources = [inspect.getsource(module) for module in (gateway_base, gateway, execnet.multi)]
    assert any(re.search(rf"\b\w+\.{name}\b.* = ", source) for source in sources)


def test_remote_side_uses_only_the_listed_names():
    boot = (PACKAGE / "remote/boot.py").read_text("utf-8")
    assert set(re.findall(r'\b(?:execnet|main)\["(\w+)"\]', boot)) == set(execnet_internals.REMOTE_NAMES)
    assert all(hasattr(gateway_base, name) for name in execnet_internals.REMOTE_NAMES)


def test_no_other_module_uses_an_undocumented_name():
    imported = re.compile(r"^\s*(?:from execnet\.|from execnet import .*\bgateway|import execnet\.)", re.MULTILINE)
    used = re.compile(r"\bgateway_base\.(?!py)|\bgateways?\._(?:io|send|group|channelfactory)\b|\b_remoteerrors\b")
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text("utf-8")
        found = [*imported.findall(text), *used.findall(text)]
        if path == DOOR:
            assert found
        elif path not in (PACKAGE / "remote/boot.py", PACKAGE / "remote/files.py"):
            assert not found, path


def test_every_name_of_gateway_base_is_listed():
    text = DOOR.read_text("utf-8")
    used = set(re.findall(r"\bgateway_base\.([A-Za-z]\w*)", text)) | set(execnet_internals.REMOTE_NAMES)
    assert used == {name for owner, name in NAMES if owner is gateway_base}

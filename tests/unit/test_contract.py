"""The names, call forms and texts that programs written for remoto 1.2 use."""

import inspect
import logging
import re
import subprocess
import sys
from unittest import mock

import execnet
import pytest
from execnet.gateway import Gateway

import remoto
from remoto import backends, connection, exc, file_sync, log, process, util
from remoto.backends import docker, kubernetes, local, openshift, podman, ssh


class Answer:
    """A program's mock of a channel, or of execute()."""

    def __init__(self, *items):
        self.items = list(items)
        self.sent = []

    def receive(self, timeout=None):
        if not self.items:
            raise EOFError
        item = self.items.pop(0)
        if isinstance(item, Exception):
            raise item
        return item

    def send(self, item):
        self.sent.append(item)

    def close(self):
        pass


def connected(answer, sudo=False, **attributes):
    """Return a mock of a connection, as programs use it in their tests."""
    conn = mock.Mock(sudo=sudo, hostname="node1", global_timeout=None, logger=logging.getLogger("contract"))
    conn.cmd = lambda command: command
    conn.execute = mock.Mock(return_value=answer)
    for name, value in attributes.items():
        setattr(conn, name, value)
    return conn


# names


def test_import_remoto_has_the_public_names():
    for name in ("Connection", "rsync", "process", "connection", "backends"):
        assert hasattr(remoto, name)
    numbers = [int(part) for part in remoto.__version__.split(".")]
    assert len(numbers) == 3 and numbers >= [1, 1, 4]
    assert remoto.backends.needs_ssh is remoto.connection.needs_ssh
    assert remoto.Connection is connection.Connection is backends.BaseConnection


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (connection, "Connection docker get kubernetes local logger needs_ssh openshift podman ssh"),
        (
            backends,
            "BaseConnection JsonModuleExecute LegacyModuleExecute basic_remote_logger check docker "
            "get_python_executable "
            "kubernetes local needs_ssh openshift podman ssh",
        ),
        (process, "check extend_env run"),
        (file_sync, "Connection _RSync rsync rsync_conn"),
        (log, "reporting"),
        (util, "RemoteError admin_command"),
        (exc, "DataFormatError HostNotFound RemoteError TimeoutError"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_names_that_programs_import(module, names):
    assert [name for name in names.split() if not hasattr(module, name)] == []


def test_import_remoto_loads_the_modules_that_programs_use():
    program = (
        "import remoto\n"
        "for module in (remoto.backends, remoto.connection):\n"
        "    module.needs_ssh, module.docker.DockerConnection, module.ssh.SshConnection\n"
        "remoto.process.run, remoto.rsync, remoto.file_sync.rsync_conn\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_installed_distribution_has_the_required_version():
    from importlib import metadata

    version = metadata.version("remoto")
    assert version == remoto.__version__ and re.fullmatch(r"\d+\.\d+\.\d+", version)


def test_connection_module_logs_to_remoto():
    assert connection.logger is logging.getLogger("remoto")


def test_exc_has_the_errors_of_execnet():
    for name in ("HostNotFound", "RemoteError", "TimeoutError", "DataFormatError"):
        assert getattr(exc, name) is getattr(execnet, name)


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (
            backends.BaseConnection,
            "hostname logger sudo threads eager detect_sudo use_ssh interpreter ssh_options",
        ),
        (docker.DockerConnection, "hostname container_id container_name user"),
        (podman.PodmanConnection, "hostname container_id container_name user"),
        (kubernetes.KubernetesConnection, "pod_name namespace context"),
        (openshift.OpenshiftConnection, "pod_name namespace context"),
        (backends.LegacyModuleExecute, "gateway module logger"),
        (backends.JsonModuleExecute, "conn module logger python_executable"),
        (backends.get_python_executable, "conn"),
        (backends.needs_ssh, "hostname _socket"),
        (backends.BaseConnection.import_module, "self module python_executable"),
        (backends.BaseConnection._make_connection_string, "self hostname _needs_ssh use_sudo"),
        (backends.BaseConnection._detect_sudo, "self _execnet"),
        (connection.get, "name fallback"),
        (process.run, "conn command exit timeout"),
        (process.check, "conn command exit timeout"),
        (process.extend_env, "conn arguments"),
        (log.reporting, "conn result timeout"),
        (util.admin_command, "sudo command"),
        (file_sync.rsync, "hosts source destination logger sudo"),
        (file_sync.rsync_conn, "conn source destination logger"),
    ],
)
def test_positional_parameters_are_those_of_1_2(function, parameters):
    found = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind == parameter.POSITIONAL_OR_KEYWORD
    ]
    assert found == parameters.split()


# connection.get


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        *[(name, ssh.SshConnection) for name in ("ssh", "SSH", " ssh ", "", None)],
        *[(name, local.LocalConnection) for name in ("local", "popen", "localhost", "Local")],
        *[("docker", docker.DockerConnection), ("podman", podman.PodmanConnection)],
        *[(name, kubernetes.KubernetesConnection) for name in ("kubernetes", "k8s")],
        *[(name, openshift.OpenshiftConnection) for name in ("openshift", "oc", "OpenShift\n")],
    ],
)
def test_get_returns_the_class_of_a_backend(name, backend):
    assert connection.get(name) is backend


def test_get_of_an_unknown_name_warns_and_falls_back(caplog):
    caplog.set_level(logging.INFO)
    with pytest.warns(
        UserWarning, match="^no connection backend found for: \"baremetal\"; falling back to 'ssh'$"
    ) as warned:
        assert connection.get("baremetal").__name__ == "BaseConnection"
    assert warned[0].filename == __file__
    assert caplog.record_tuples == [
        ("remoto", logging.WARNING, 'no connection backend found for: "baremetal"'),
        ("remoto", logging.INFO, 'falling back to "ssh"'),
    ]
    with pytest.warns(UserWarning, match='^no connection backend found for: "baremetal"$'):
        assert connection.get("baremetal", fallback=None) is None
    with pytest.warns(UserWarning, match="falling back to 'local'$"):
        assert connection.get("baremetal", fallback="local") is local.LocalConnection


def test_get_refuses_a_name_that_is_not_a_string():
    with pytest.raises(TypeError, match=r"^name: expected a backend's name, not list: \['ssh'\]$"):
        connection.get(["ssh"])


# rsync


def test_replaced_rsync_class_gets_the_arguments_of_1_2(monkeypatch):
    calls = []

    class Fake:
        def __init__(self, sourcedir, callback=None, verbose=True, logger=None):
            calls.append((sourcedir, logger))
            self.add_target = lambda gw, destination: calls.append((gw, destination))
            self.send = lambda: calls.append("send")

    monkeypatch.setattr(file_sync, "_RSync", Fake)
    one = mock.Mock()
    file_sync.rsync_conn(one, "/source", "/destination", "a logger")
    assert calls == [("/source", "a logger"), (one.inside(), "/destination"), "send"]


def test_rsync_looks_its_connection_up_in_its_module(monkeypatch):
    opened = []

    def refuse(*args, **kw):
        opened.append((args, kw))
        raise exc.HostNotFound("refused")

    monkeypatch.setattr(file_sync, "Connection", refuse)
    with pytest.raises(exc.HostNotFound, match="refused"):
        remoto.rsync("node1", __file__, "/destination", "a logger", True)
    assert opened == [(("node1", "a logger", True), {})]


def test_rsync_class_logs_to_its_logger():
    assert file_sync._RSync("/source", logger="a logger").logger == "a logger"


# the default logger


def test_output_is_shown_by_a_program_that_configures_logging_at_info():
    program = (
        "import logging, remoto\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "with remoto.Connection('localhost') as conn:\n"
        "    remoto.process.run(conn, ['echo', 'hello'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines() == ["INFO:localhost:Running command: echo hello", "DEBUG:localhost:hello"]


# connections that are not opened


def conn(*args, **kw):
    return remoto.Connection(*args, eager=False, **kw)


def test_connection_has_the_attributes_of_1_2():
    one = conn("node1")
    assert one.interpreter == "python3" and one.hostname == "node1" and one.sudo is False
    for name in ("global_timeout", "remote_module", "channel", "gateway", "ssh_options"):
        assert getattr(one, name) is None
    assert one.logger.name == "node1" and one.logger.level == logging.DEBUG and one.group is not None
    assert one.has_connection() is False
    one.exit()
    one.exit()


def test_default_interpreter_has_the_major_version_of_this_program(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (4, 0))
    assert conn("node1").interpreter == "python4"
    assert conn("node1", interpreter="python2").interpreter == "python2"


@pytest.mark.parametrize("threads", [0, 1, 8])
def test_threads_accepts_any_number(threads):
    conn("node1", None, False, threads).exit()


def test_remote_import_system():
    assert conn("node1").remote_import_system == "legacy"
    assert docker.DockerConnection(container_name="b", eager=False).remote_import_system == "json"


def test_cmd_returns_the_command_unchanged_on_a_host():
    command = ["ls", "a b"]
    assert conn("node1").cmd(command) is command


def test_connection_is_a_context_manager():
    with conn("node1") as one:
        assert one.hostname == "node1"
    with pytest.raises(exc.ConnectionLost):
        one.execute("source")


@pytest.mark.parametrize("hostname", [(), ("node1",)])
def test_local_connection_ignores_its_hostname(hostname):
    one = local.LocalConnection(*hostname, eager=False, detect_sudo=True, use_ssh=True, interpreter="/opt/py")
    assert (one.hostname, one.detect_sudo) == ("localhost", False)
    for needs_ssh in (None, lambda hostname: True):
        assert one._make_connection_string("localhost", _needs_ssh=needs_ssh) == "popen//python=/opt/py"
        assert one._make_connection_string("localhost", needs_ssh, True) == "popen//python=sudo /opt/py"
    one.sudo = True
    assert one._make_connection_string("localhost") == "popen//python=sudo /opt/py"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"logger": "x"}, TypeError, "logger: expected a logger, not str: 'x'"),
        ({"interpreter": 3}, TypeError, "interpreter: expected str, not int: 3"),
        ({"interpreter": " "}, ValueError, "interpreter: expected a command, not blanks: ' '"),
        ({"interpreter": "python3\0"}, ValueError, "interpreter: embedded null byte: 'python3\\x00'"),
        ({"ssh_options": ["-p", "22"]}, TypeError, "ssh_options: expected str, not list: ['-p', '22']"),
        ({"ssh_options": "-o 'x"}, exc.HostError, "cannot connect to node1: ssh_options: No closing quotation"),
        ({"connect_timeout": "7"}, TypeError, "connect_timeout: expected seconds, not str: '7'"),
        ({"connect_timeout": -1}, ValueError, "connect_timeout: expected 0 or more seconds, not -1"),
        ({"keepalive": "7"}, TypeError, "keepalive: expected seconds, not str: '7'"),
        ({"env": [1]}, TypeError, "env: expected a mapping of names to values, not list: [1]"),
        ({"env": {"A=B": "1"}}, ValueError, "env: invalid environment variable: 'A=B'"),
    ],
)
def test_invalid_value_is_refused_before_anything_starts(arguments, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        conn("node1", **arguments)


def test_object_with_the_methods_of_a_logger_is_accepted():
    for logger in (mock.Mock(), logging.LoggerAdapter(logging.getLogger("contract"), {}), logging):
        assert conn("node1", logger=logger).logger is logger


def test_timeout_longer_than_the_system_can_wait_means_no_limit():
    assert conn("node1", connect_timeout=1e7).connect_timeout is None


def test_use_ssh_takes_precedence_over_needs_ssh():
    string = conn("localhost", use_ssh=True)._make_connection_string
    for needs_ssh in (None, lambda hostname: False):
        assert string("localhost", _needs_ssh=needs_ssh) == "ssh=localhost//python=python3"


def test_connection_string():
    needs, needs_not = (lambda hostname: True), (lambda hostname: False)
    string = conn("node1")._make_connection_string
    assert string("node1", _needs_ssh=needs) == "ssh=node1//python=python3"
    assert string("node1", _needs_ssh=needs_not) == "popen//python=python3"
    assert string("node1", _needs_ssh=needs, use_sudo=True) == "ssh=node1//python=sudo python3"
    string = conn("node1", sudo=True, interpreter="/opt/py", ssh_options="-p 22")._make_connection_string
    assert string("node1", _needs_ssh=needs) == "ssh=-p 22 node1//python=sudo /opt/py"
    assert string("node1", _needs_ssh=needs, use_sudo=False) == "ssh=-p 22 node1//python=/opt/py"
    assert string("node1", _needs_ssh=needs_not) == "popen//python=sudo /opt/py"


@pytest.mark.parametrize(("user", "needed"), [("alfredo", True), ("root", False)])
def test_detect_sudo_uses_the_given_execnet(user, needed):
    fake = mock.Mock()
    fake.makegateway.return_value.remote_exec.return_value.receive.return_value = user
    assert conn("node1")._detect_sudo(_execnet=fake) is needed
    assert fake.makegateway.return_value.exit.called


@pytest.mark.parametrize("needed", [True, False])
def test_detect_sudo_may_be_overridden(needed, caplog):
    class Mine(remoto.Connection):
        def _detect_sudo(self, _execnet=None):
            return needed

        def _make_gateway(self, hostname):
            return mock.Mock()

    caplog.set_level(logging.DEBUG)
    assert Mine("node1", detect_sudo=True).sudo is needed
    assert ("connection detected need for sudo" in caplog.messages) is needed


def test_subclass_may_override_make_gateway():
    class Mine(remoto.Connection):
        def _make_gateway(self, hostname):
            return mock.Mock(hostname=hostname)

    assert Mine("node1").gateway.hostname == "node1"


def test_gateway_may_be_replaced():
    one = conn("node1")
    one.gateway = mock.Mock()
    one.gateway.hasreceiver.return_value = True
    assert one.has_connection()
    assert one.execute("source", word=1) is one.gateway.remote_exec.return_value is one.channel
    one.gateway.remote_exec.assert_called_once_with("source", word=1)
    one.exit()
    one.gateway.exit.assert_called_once_with()


@pytest.mark.parametrize(
    ("hostname", "gethostname", "fqdn", "needed"),
    [
        *[
            (name, "alpha", "alpha.local", False)
            for name in ("localhost", "127.0.0.1", "127.0.1.1", "::1", "LOCALHOST")
        ],
        *[(name, "alpha.local", "alpha.local", False) for name in ("alpha", "alpha.local", "Alpha")],
        ("alpha.example.com", "alpha", "alpha.example.com", False),
        ("beta", "alpha", "alpha.local", True),
        ("user@localhost", "alpha", "alpha.local", True),
    ],
)
def test_needs_ssh_is_false_for_names_of_this_machine(hostname, gethostname, fqdn, needed):
    fake = mock.Mock()
    fake.gethostname.return_value, fake.getfqdn.return_value = gethostname, fqdn
    assert backends.needs_ssh(hostname, fake) is needed


def test_dns_is_not_queried_if_the_short_names_match():
    fake = mock.Mock()
    fake.gethostname.return_value = "alpha"
    backends.needs_ssh("alpha", fake)
    assert not fake.getfqdn.called


# containers


def test_cmd_of_containers_runs_the_client():
    one = docker.DockerConnection(container_id="asdf-lkjh", eager=False)
    assert one.command_template() == ["docker", "exec", "-i", "asdf-lkjh", "/bin/sh", "-c"]
    assert one.cmd(["ls", "-a"])[-1] == "ls -a"
    assert one.cmd("ls | wc")[-1] == "ls | wc"
    one = docker.DockerConnection("node1", container_name="b", user="root", eager=False)
    assert one.command_template() == ["docker", "exec", "-i", "-u", "root", "b", "/bin/sh", "-c"]
    assert (one.hostname, one.identifier, one.user, one.executable) == ("node1", "b", "root", "docker")
    assert podman.PodmanConnection(container_name="b", eager=False).cmd(["ls"])[0] == "podman"
    one = kubernetes.KubernetesConnection("rook", "ns", "kind", eager=False)
    assert one.command_template() == [
        *("kubectl", "--context", "kind", "exec", "-i", "-n", "ns", "rook", "--", "/bin/sh", "-c")
    ]
    assert (one.hostname, one.pod_name, one.namespace, one.context) == ("localhost", "rook", "ns", "kind")
    assert openshift.OpenshiftConnection("rook", eager=False).command_template() == [
        *("oc", "exec", "-i", "rook", "--", "/bin/sh", "-c")
    ]


def test_containers_have_their_defaults():
    for backend in (docker.DockerConnection, podman.PodmanConnection):
        one = backend(container_name="b", eager=False)
        assert (one.hostname, one.user) == ("localhost", None)
    for backend, executable in ((kubernetes.KubernetesConnection, "kubectl"), (openshift.OpenshiftConnection, "oc")):
        one = backend("rook", eager=False)
        assert (one.executable, one.hostname, one.namespace, one.context) == (executable, "localhost", None, None)


@pytest.mark.parametrize("backend", [docker.DockerConnection, podman.PodmanConnection])
def test_hostname_of_an_engine_may_have_a_configuration_file(backend):
    one = backend("-F /path/to/ssh_config user@node1", container_name="b", eager=False)
    string = one._make_connection_string(one.hostname)
    assert string == "ssh=-F /path/to/ssh_config user@node1//python=python3"


def test_docker_requires_a_container():
    with pytest.raises(TypeError, match="container_id or container_name"):
        docker.DockerConnection("node1")


@pytest.mark.parametrize("name", ["-it", "a b", "", "a\nb"])
def test_container_or_pod_name_that_is_an_option_is_refused(name):
    with pytest.raises((ValueError, TypeError)):
        docker.DockerConnection(container_name=name, eager=False)
    with pytest.raises(ValueError, match="not the name of a pod"):
        kubernetes.KubernetesConnection(name, eager=False)


# commands through a mock


def test_check_accepts_lists_of_text_from_a_mock():
    one = connected(Answer((["out"], ["err"], 3)))
    assert process.check(one, ["ls"]) == (["out"], ["err"], 3)
    assert one.execute.call_count == 1


def test_check_passes_its_keywords():
    one = connected(Answer((["out"], [], 0)))
    keywords = {"stop_on_error": True, "env": {"A": "1"}, "extend_env": {"B": "2"}, "stdin": b"x", "cwd": "/"}
    assert process.check(one, "ls | wc", False, 7, shell=True, **keywords) == (["out"], [], 0)
    (_,), request = one.execute.call_args
    assert (request["args"], request["stdin"]) == (b"ls | wc", b"x")
    assert request["env"] == {b"A": b"1"} and request["extend_env"] == {b"B": b"2"}
    assert request["popen"] == {"shell": True, "cwd": b"/"}


def test_run_and_check_are_found_by_name(monkeypatch):
    monkeypatch.setattr("remoto.process.check", lambda *args, **kw: "patched")
    monkeypatch.setattr("remoto.process.run", lambda *args, **kw: "patched")
    assert process.check(None, []) == process.run(None, []) == "patched"


def test_extend_env_accepts_a_mock():
    one = mock.Mock()
    arguments = process.extend_env(one, {"extend_env": {"A": "1"}})
    assert arguments["env"]["A"] == "1" and "extend_env" not in arguments
    assert "/usr/sbin" in arguments["env"]["PATH"].split(":")


@pytest.mark.parametrize("answer", [{"PATH": "/opt/bin:", "B": "2"}, [[b"PATH", b"/opt/bin:"], [b"B", b"2"]]])
def test_extend_env_uses_the_remote_environment(answer):
    one = mock.Mock()
    one.gateway.remote_exec.return_value.receive.return_value = answer
    env = process.extend_env(one, {})["env"]
    assert env == {"PATH": "/opt/bin:/usr/local/bin:/bin:/usr/bin:/usr/local/sbin:/usr/sbin:/sbin", "B": "2"}


def test_check_with_a_mock_times_out(caplog):
    one = connected(Answer(execnet.TimeoutError()))
    assert process.check(one, ["ls"], timeout=7) == ([], [], -1)
    assert "No data was received after 7 seconds, disconnecting..." in caplog.text


def test_command_that_could_not_be_started_logs_its_traceback(caplog):
    text = 'Traceback (most recent call last):\n  File "x"\nOSError: [Errno 2] No such file or directory'
    with pytest.raises(RuntimeError) as caught:
        process.check(connected(Answer(execnet.RemoteError(text))), ["ls", "-a"])
    assert str(caught.value) == "Failed to execute command: ls -a"
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == text.splitlines()
    result = process.check(connected(Answer(execnet.RemoteError(text))), ["ls"], stop_on_error=False)
    assert result == ([], ["OSError: [Errno 2] No such file or directory"], -1)


@pytest.mark.parametrize("ending", [EOFError(), OSError("closed")])
def test_missing_exit_status_raises_connection_lost(ending):
    for function in (process.run, process.check):
        with pytest.raises(exc.ConnectionLost, match="node1.*ls"):
            function(connected(Answer(ending)), ["ls"])


@pytest.mark.parametrize(
    ("command", "sudo", "logged"),
    [
        *[(["ls", "-a"], False, "ls -a"), (["ls", "-a"], True, "sudo ls -a"), ("ls | wc", False, "ls | wc")],
        (["ls", b"\xc3\xa4\xff"], False, "ls ä\\xff"),
    ],
)
def test_logged_command_has_sudo_and_the_client(caplog, command, sudo, logged):
    caplog.set_level(logging.INFO)
    process.check(connected(Answer(([], [], 0)), sudo=sudo), command)
    assert caplog.messages == [f"Running command: {logged}"]


def test_exit_true_closes_the_connection_even_after_an_error():
    one = connected(Answer(([], [], 0)))
    process.check(one, ["ls"], exit=True)
    assert one.exit.called
    one = connected(Answer(EOFError()))
    with pytest.raises(RuntimeError):
        process.run(one, ["ls"], exit=True)
    assert one.exit.called


# log, util


def test_reporting_logs_messages_until_eof(caplog):
    caplog.set_level(logging.DEBUG)
    one = connected(None)
    answer = Answer({"debug": "one\r\n"}, {"warning": b"t\xffwo\n"}, {"error": "three"})
    log.reporting(one, answer)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        *[("DEBUG", "one"), ("WARNING", "t\\xffwo"), ("ERROR", "three")]
    ]
    caplog.clear()
    log.reporting(one, Answer(execnet.TimeoutError()), 7)
    assert caplog.messages == ["No data was received after 7 seconds, disconnecting..."]
    with pytest.raises(KeyError):
        log.reporting(one, Answer(KeyError()))


def test_admin_command_adds_sudo():
    assert util.admin_command(True, ["ls"]) == ["sudo", "ls"]
    assert util.admin_command(True, "ls") == ["sudo", "ls"]
    assert util.admin_command(False, ["ls"]) == ["ls"]


def test_remote_error_parses_the_last_line():
    error = util.RemoteError("Traceback:\n  File x\nValueError: a: b\n\n")
    assert (error.exception_name, error.exception_line) == ("ValueError", "ValueError: a: b")
    assert util.RemoteError("").exception_line == ""


# functions through a fake channel


class FakeModule:
    def function(self):
        """A docstring."""


def legacy(answer):
    one = backends.LegacyModuleExecute(mock.Mock(), FakeModule(), logging.getLogger("contract"))
    one.channel = answer
    return one


def test_replaced_channel_receives_calls_as_text(caplog):
    caplog.set_level(logging.DEBUG)
    answer = Answer("result")
    assert legacy(answer).function("argument") == "result"
    assert answer.sent == ["function('argument')"]
    assert "A docstring." in caplog.messages
    answer = Answer("result")
    assert isinstance(legacy(answer).module, FakeModule)
    legacy(answer).function(1, ("a,",), key=None)
    assert answer.sent == ["function(1, ('a,',), key=None)"]


def test_failed_call_on_a_replaced_channel_raises_function_error():
    answer = Answer(execnet.RemoteError("Traceback (most recent call last)\nIOError: no such file"))
    with pytest.raises(RuntimeError, match="^IOError: no such file$"):
        legacy(answer).function()


@pytest.mark.parametrize("ending", [EOFError(), OSError("closed")])
def test_replaced_channel_that_is_closed_raises_connection_lost(ending):
    with pytest.raises(exc.ConnectionLost, match=r"function\(\)"):
        legacy(Answer(ending)).function()


def test_replaced_channel_may_be_falsy():
    class Empty(Answer):
        def __len__(self):
            return len(self.items)

    answer = Empty()
    one = legacy(answer)
    assert one.channel is answer
    answer.items.append("result")
    assert one.function() == "result"


@pytest.mark.parametrize(
    ("args", "text"), [(("foo", "bar", 1), "'foo', 'bar', 1"), (([1],), "[1]"), ((None, b"x"), "None, b'x'"), ((), "")]
)
def test_convert_args_returns_the_source_of_arguments(args, text):
    assert legacy(None)._convert_args(args) == text


def test_missing_function_raises_attribute_error():
    import posixpath

    one = backends.LegacyModuleExecute(mock.Mock(), posixpath)
    with pytest.raises(AttributeError) as caught:
        one.missing()
    assert str(caught.value) == f"module {posixpath!r} does not have attribute missing"


@pytest.mark.parametrize("executor", [backends.LegacyModuleExecute, backends.JsonModuleExecute])
def test_object_that_is_not_a_module_is_refused(executor):
    conn = mock.Mock(spec=Gateway) if executor is backends.LegacyModuleExecute else mock.Mock()
    with pytest.raises(TypeError, match="^expected a module, not str: 'facts'$"):
        executor(conn, "facts")


def json_executor(monkeypatch, result):
    import posixpath

    monkeypatch.setattr(backends, "check", lambda *args, **kw: result)
    conn = mock.Mock(hostname="node1", logger=logging.getLogger("contract"))
    return backends.JsonModuleExecute(conn, posixpath, python_executable="python3")


def test_python_executable_may_be_set_later(monkeypatch):
    executor = json_executor(monkeypatch, ([], [], 0))
    assert executor.python_executable == "python3"
    commands = []
    monkeypatch.setattr(backends, "check", lambda conn, command, **kw: (commands.append(command), ([], [], 0))[1])
    executor.python_executable = "/opt/py"
    executor.join("a")
    assert commands[0][0] == "/opt/py"


def test_json_call_without_an_answer_returns_none_or_raises(monkeypatch, caplog):
    assert json_executor(monkeypatch, ([], [], 0)).join("a") is None
    with pytest.raises(Exception, match="Unexpected remote exception"):
        json_executor(monkeypatch, ([], ["Segmentation fault"], 139)).join("a")
    assert 'error calling "join"' in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        *('{"return": ', "", "[]", "5", '"return"', "{}", '{"raise": 5}', '{"raise": {}}', '{"return": 1, "raise": 2}'),
        *('{"raise": {"name": "E", "message": 5, "traceback": "", "missing": false}}', "[" * 100_000, "\udcff", "\0"),
    ],
)
def test_invalid_answer_to_a_json_call_raises_an_error_that_names_the_host(monkeypatch, answer):
    monkeypatch.setattr("os.urandom", lambda number: b"\0" * number)
    executor = json_executor(monkeypatch, ([f"remoto-answer-{'00' * 8} {answer}"], [], 0))
    with pytest.raises(exc.FunctionError, match=r"invalid answer to join\(\) on node1"):
        executor.join("a")


def searched(monkeypatch, result, **attributes):
    """Return a connection on which the search for a Python has the given result."""
    monkeypatch.setattr(backends, "check", lambda *args, **kw: result)
    return mock.Mock(connect_error=exc.StartError, hostname="node1", logger=logging.getLogger("contract"), **attributes)


def test_search_returns_the_first_python_found(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    assert backends.get_python_executable(searched(monkeypatch, (["/usr/bin/python"], [], 0))) == "/usr/bin/python"
    assert caplog.messages == ["trying to determine remote python executable with python3"]


@pytest.mark.parametrize("result", [([], [], 1), ([], [], 0), ([""], [], 0), (["/usr/bin/python3"], [], 1)])
def test_search_without_a_result_returns_the_interpreter_of_the_connection(monkeypatch, result):
    one = searched(monkeypatch, result, interpreter="/opt/py/bin/python3")
    assert backends.get_python_executable(one) == "/opt/py/bin/python3"


def test_nul_in_the_path_of_the_interpreter_is_an_error_that_names_the_host(monkeypatch):
    one = searched(monkeypatch, (["/usr/bin\0/python3"], [], 0))
    with pytest.raises(exc.StartError, match=r"node1: invalid answer to the search for a Python: '/usr/bin\\x00"):
        backends.get_python_executable(one)


@pytest.mark.parametrize(
    ("value", "error"), [("a\0b", ValueError), (" ", ValueError), (5, TypeError), (b"python3", TypeError)]
)
def test_invalid_python_executable_is_refused_before_anything_starts(monkeypatch, value, error):
    import posixpath

    def started(*args, **kw):
        raise AssertionError("something was started")

    monkeypatch.setattr(backends, "check", started)
    with pytest.raises(error, match="^python_executable: "):
        backends.JsonModuleExecute(mock.Mock(), posixpath, python_executable=value)
    executor = backends.JsonModuleExecute(mock.Mock(), posixpath)
    executor.python_executable = value
    with pytest.raises(error, match="^python_executable: "):
        executor.join("a")
    for one in (conn("node1"), docker.DockerConnection(container_name="web", eager=False)):
        one.gateway = mock.Mock()
        for system in ("json", "legacy"):
            one.remote_import_system = system
            with pytest.raises(error, match="^python_executable: "):
                one.import_module(posixpath, value)
        if one.hostname == "localhost":
            with pytest.raises(error, match="^python_executable: "):
                one.inside(value)


def test_python_is_found_for_a_stub_with_a_logger_and_an_interpreter(monkeypatch):
    class Stub:
        logger = logging.getLogger("contract")
        interpreter = "python3"

    monkeypatch.setattr(backends, "check", lambda *args, **kw: (["/usr/bin/python3"], [], 0))
    assert backends.get_python_executable(Stub()) == "/usr/bin/python3"


def test_check_accepts_a_mock_that_claims_to_be_a_connection():
    conn = mock.Mock(spec=remoto.Connection, hostname="node1", sudo=False, logger=logging.getLogger("contract"))
    conn.gateway, conn.global_timeout = mock.Mock(), None
    conn.cmd.side_effect = list
    conn.execute.return_value.receive.return_value = (["a"], [], 0)
    assert process.check(conn, ["ls"]) == (["a"], [], 0)


@pytest.mark.parametrize(
    ("answer", "error"),
    [(exc.RemoteError("OSError: no"), exc.CommandError), (ValueError("bad"), ValueError), (5, RuntimeError)],
)
def test_object_that_a_test_puts_in_place_of_a_channel_needs_only_receive(answer, error):
    channel = mock.Mock(spec=["receive"])
    conn = mock.Mock(cmd=lambda command: command, global_timeout=None, sudo=False)
    conn.execute.return_value = channel
    channel.receive.side_effect = exc.TimeoutError
    assert process.check(conn, ["ls"], timeout=7) == ([], [], -1)
    channel.receive.side_effect = [answer]
    with pytest.raises(error):
        process.check(conn, ["ls"])

"""Recognise the stderr of ssh, sudo and Python. tests/integration/test_failures.py uses the real programs."""

import errno

import pytest

from remoto.backends.ssh import diagnosis, not_started
from remoto.exc import HostError, StartError
from remoto.gateways.bootstrap import BOOT_COMMAND, NotOpened

# what ssh has on its stderr, from OpenSSH 10.1 on, about a host whose sshd is an old one
NO_POST_QUANTUM = """\
** WARNING: connection is not using a post-quantum key exchange algorithm.
** This session may be vulnerable to "store now, decrypt later" attacks.
** The server may need to be upgraded. See https://openssh.com/pq.html"""
CLOSED = "kex_exchange_identification: Connection closed by remote host"
BY_PROXY = "Connection closed by UNKNOWN port 65535"
FORWARDING = f"stdio forwarding failed\n{CLOSED}\n{BY_PROXY}"
ARGV = ["ssh", "-T", "node1", f'python3 -c "{BOOT_COMMAND}"']


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (255, "ssh: Could not resolve hostname node1: Name or service not known", "unresolvable"),
        (255, "ssh: connect to host node1 port 22: Connection refused", "refused"),
        (255, "ssh: connect to host node1 port 22: Connection timed out", "timeout"),
        (255, "ssh: connect to host node1 port 22: No route to host", "unreachable"),
        (255, "ssh: connect to host node1 port 22: Network is unreachable", "unreachable"),
        (255, "kex_exchange_identification: Connection closed by remote host", "closed"),
        (255, "kex_exchange_identification: read: Connection reset by peer\nConnection reset by ::1 port 22", "closed"),
        (255, "Not allowed at this time\nConnection closed by UNKNOWN port 65535", "closed"),
        # OpenSSH 10
        (255, "Connection closed by ::1 port 22", "closed"),
        (255, f"{NO_POST_QUANTUM}\nroot@node1: Permission denied (publickey).", "permission"),
        (127, f"{NO_POST_QUANTUM}\nsh: 1: python3: not found", "interpreter"),
        (255, f"{CLOSED}\n{BY_PROXY}", "proxy"),
        (255, f"407 Proxy Authentication Required\n{CLOSED}\n{BY_PROXY}", "proxy"),
        (255, f"{CLOSED}\nConnection closed by 10.0.0.7 port 22\n{CLOSED}\n{BY_PROXY}", "closed"),
        (255, f"Connection reset by ::1 port 22\n{CLOSED}\n{BY_PROXY}", "closed"),
        (255, f"bash: line 1: exec: nc: not found\n{CLOSED}\n{BY_PROXY}", "other"),
        (255, f"zsh:1: no such file or directory: /x\nsh: 1: /x: Permission denied\n{CLOSED}\n{BY_PROXY}", "other"),
        (255, f"channel 0: open failed: connect failed: Connection refused\n{FORWARDING}", "refused"),
        (255, f"channel 0: open failed: connect failed: Name or service not known\n{FORWARDING}", "unresolvable"),
        (255, f"channel 0: open failed: administratively prohibited: open failed\n{FORWARDING}", "other"),
        (255, f"ssh: connect to host gate port 22: Connection timed out\n{CLOSED}\n{BY_PROXY}", "timeout"),
        (255, f"root@gate: Permission denied (publickey).\n{CLOSED}\n{BY_PROXY}", "permission"),
        (255, "banner exchange: Connection to UNKNOWN port 65535: Broken pipe", "proxy"),
        (255, "banner exchange: Connection to ::1 port 22: invalid format", "other"),
        (-15, "", "other"),
        (255, "@  WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!  @", "hostkey"),
        (255, "No ED25519 host key is known for node1 and ...\nHost key verification failed.", "hostkey"),
        (255, "root@node1: Permission denied (publickey,password).", "permission"),
        (255, "Received disconnect from ::1: Too many authentication failures", "permission"),
        (1, "sudo: a password is required", "sudo"),
        (1, "sudo: a terminal is required to read the password; ...", "sudo"),
        (1, "sudo: sorry, you must have a tty to run sudo", "sudo"),
        (1, "bob is not in the sudoers file.  This incident will be reported.", "sudo"),
        (127, "sh: 1: sudo: not found", "sudo"),
        (127, "bash: line 1: python3: command not found", "interpreter"),
        (126, "sh: 1: /etc/passwd: Permission denied", "interpreter"),
        (1, "sudo: python3: command not found", "interpreter"),
        (1, "remoto: Python 2.7.18 cannot run execnet 2.1.1: invalid syntax", "version"),
        (1, "something else", "other"),
        (127, "Sessions are timed out after 10 minutes\nsh: 1: python3: not found", "interpreter"),
        (1, "nfs: Connection refused", "other"),
        (0, "", "other"),
    ],
)
def test_stderr_decides_the_kind(status, words, kind):
    error = diagnosis(ARGV, "node1", "python3", NotOpened(status, words))
    assert error.kind == kind and error.host == "node1" and error.exit_status == status
    assert isinstance(error, HostError if is_ssh_failure(status) else StartError)
    for line in words.splitlines():
        assert line in str(error)
    assert "exec(eval(" not in str(error) and "ssh -T node1" in str(error)


def is_ssh_failure(status):
    return status == 255 or status < 0


@pytest.mark.parametrize(
    ("status", "words", "reason"),
    [
        (255, "ssh: connect to host node1 port 22: No route to host", "no route to host"),
        (255, "root@node1: Permission denied (publickey,password).", "permission denied"),
        (255, "ssh: Could not resolve hostname node1: Name or service not known", "could not resolve hostname"),
        (255, "ssh: connect to host node1 port 22: Connection refused", "connection refused"),
        (255, "ssh: connect to host node1 port 22: Connection timed out", "connection timed out"),
        (255, "Host key verification failed.", "host key verification failed"),
        (1, "sudo: a password is required", "sudo requires a password"),
        (127, "sh: 1: sudo: not found", "sudo: command not found"),
        (127, "sh: 1: python3: not found", "python3: command not found"),
        (126, "sh: 1: /etc/passwd: Permission denied", "python3: cannot execute"),
        (255, f"{CLOSED}\n{BY_PROXY}", "connection closed before authentication, behind a ProxyCommand or jump host"),
        (255, f"sh: 1: exec: nc: not found\n{CLOSED}\n{BY_PROXY}", "the ProxyCommand cannot be run"),
        (255, f"channel 0: open failed: {FORWARDING}", "the jump host does not forward the connection"),
        (0, "", "ssh exited before Python started"),
    ],
)
def test_reason_uses_the_usual_words(status, words, reason):
    assert diagnosis(ARGV, "node1", "python3", NotOpened(status, words)).reason == reason


def test_status_255_of_another_program_is_not_an_ssh_failure():
    error = diagnosis(["sh", "-c", "exit 255"], "localhost", "sh -c 'exit 255'", NotOpened(255))
    assert isinstance(error, StartError) and error.reason == "sh exited before Python started"


def test_expired_timeout_is_a_host_error():
    error = diagnosis(ARGV, "node1", "python3", NotOpened(None, waited=3))
    assert error.kind == "timeout" and "within 3 seconds" in str(error) and error.exit_status is None
    assert isinstance(error, HostError)


def test_error_names_the_version_found_and_the_version_required():
    error = diagnosis(ARGV, "node1", "python2", NotOpened(1, "remoto: Python 2.7.18 cannot run execnet 2.1.1: x"))
    assert "2.7.18" in error.reason and ">=" in error.reason


@pytest.mark.parametrize(
    ("argv", "kind"),
    [
        (ARGV, "client"),
        (["/opt/bin/docker", "exec"], "client"),
        (["sudo", "python3"], "sudo"),
        (["python9"], "interpreter"),
    ],
)
def test_missing_program_on_this_machine_is_named(argv, kind):
    error = not_started(argv, "node1", "python9", FileNotFoundError(2, "No such file or directory"))
    assert error.kind == kind and "No such file or directory" in str(error)
    assert isinstance(error, StartError)


def test_program_without_free_descriptors_is_reported():
    error = not_started(["python9"], "node1", "python9", OSError(24, "Too many open files"))
    assert error.kind == "other" and "Too many open files" in str(error) and "interpreter=" not in str(error)
    assert isinstance(error, StartError)


def test_thread_that_cannot_be_started():
    error = not_started(ARGV, "node1", "python3", OSError(errno.EAGAIN, "can't start new thread"))
    assert isinstance(error, StartError) and error.kind == "other"
    assert error.reason == "cannot run ssh on this machine: can't start new thread"

"""Functions for mitogen's remote side."""

import subprocess

import mitogen.service


def communicate(argv):
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stdout, stderr = process.communicate()
    return stdout, stderr, process.returncode


def receive(context, source, target):
    """Fetch a file."""
    with open(target, "wb") as file:
        done, _ = mitogen.service.FileService.get(context, source, file)
    if not done:
        raise OSError(f"the transfer of {source} broke off")

"""Goes to the far side."""

import subprocess


def same(value):
    return value


def communicate(argv):
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stdout, stderr = process.communicate()
    return stdout, stderr, process.returncode


# remoto 1.2 wants this
if __name__ == "__channelexec__":
    for item in channel:  # noqa: F821
        channel.send(eval(item))  # noqa: F821

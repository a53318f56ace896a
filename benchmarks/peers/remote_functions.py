"""Functions for the remote side."""


def same(value):
    return value


# remoto 1.2 wants this
if __name__ == "__channelexec__":
    for item in channel:  # noqa: F821
        channel.send(eval(item))  # noqa: F821

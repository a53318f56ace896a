"""A module as programs written for remoto 1.2 have them."""


def print(*words):
    return "printed " + " ".join(str(word) for word in words)


def shadowed_print(*words):
    return print(*words)


def user_by_remoto():
    import remoto
    from remoto.process import check

    with remoto.Connection("localhost") as conn:
        return check(conn, ["id", "-un"]).stdout


if __name__ == "__channelexec__":
    for item in channel:
        channel.send(eval(item))

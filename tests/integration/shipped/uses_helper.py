"""Imports two modules that are not there."""


def total(values):
    import shipped_helper

    from shipped_pack import deep

    return deep.twice(shipped_helper.add(values))


def encoded():
    from shipped_parts.sub import latin

    return latin.TEXT


def alone():
    import shipped_helper

    return shipped_helper.__name__

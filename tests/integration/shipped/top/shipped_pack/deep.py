FACTOR = 2


def twice(value):
    return FACTOR * value

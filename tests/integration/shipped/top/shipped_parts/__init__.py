"""A package that imports its own parts."""

from . import helper


class Thing(object):
    pass


def pickled():
    import pickle

    return type(pickle.loads(pickle.dumps(Thing()))) is Thing


def total(values):
    import shipped_parts.folder.inner
    import shipped_parts.sub.deep

    return shipped_parts.sub.deep.twice(shipped_parts.folder.inner.same(helper.add(values)))

"""Modules that the tests send to the remote side, which may be Python 2.7."""

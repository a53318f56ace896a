"""For tools that call it; everything stands in pyproject.toml."""

from setuptools import setup

setup()

"""Servers that are not there: a reason to skip, or a failure where they are required."""

import os

import pytest


def unavailable(name, reason):
    """Skip the test; fail it where REMOTO_TEST_REQUIRE, names with commas between, has ``name``."""
    required = os.environ.get("REMOTO_TEST_REQUIRE", "").replace(" ", "").split(",")
    if name in required:
        pytest.fail(f"{name} is required by REMOTO_TEST_REQUIRE and not to be had: {reason}", pytrace=False)
    pytest.skip(f"no {name}: {reason}")

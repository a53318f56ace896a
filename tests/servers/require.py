"""Servers that tests need: which were asked for, and what becomes of a test whose server cannot be had."""

import os

import pytest


def required():
    """Return the comma-separated names in REMOTO_TEST_REQUIRE; docker as well if the tests' own pods run in it."""
    names = [name.strip() for name in os.environ.get("REMOTO_TEST_REQUIRE", "").split(",") if name.strip()]
    if "kubectl" in names and "docker" not in names and not os.environ.get("REMOTO_TEST_KUBE_CONTEXT"):
        names.append("docker")
    return names


def unavailable(name, reason):
    """Skip the test; fail it where REMOTO_TEST_REQUIRE names the server."""
    if name in required():
        pytest.fail(f"REMOTO_TEST_REQUIRE names {name}, which cannot be had: {reason}", pytrace=False)
    pytest.skip(f"no {name}: {reason}")

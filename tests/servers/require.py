"""The servers that REMOTO_TEST_REQUIRE names, and tests whose server is not available."""

import os

import pytest


def required():
    """Return the names in REMOTO_TEST_REQUIRE, and docker if the tests' own pods need it."""
    names = [name.strip() for name in os.environ.get("REMOTO_TEST_REQUIRE", "").split(",") if name.strip()]
    if "kubectl" in names and "docker" not in names and not os.environ.get("REMOTO_TEST_KUBE_CONTEXT"):
        names.append("docker")
    return names


def unavailable(name, reason):
    """Skip the test, or fail it if REMOTO_TEST_REQUIRE names the server."""
    if name in required():
        pytest.fail(f"REMOTO_TEST_REQUIRE names {name}, which cannot be had: {reason}", pytrace=False)
    pytest.skip(f"no {name}: {reason}")

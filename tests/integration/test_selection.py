"""REMOTO_TEST_REQUIRE decides which tests run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ("test_commands.py", "test_sudo.py", "test_pods.py")


def collected(require):
    environment = {**os.environ, "REMOTO_TEST_REQUIRE": require}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    command += [f"tests/integration/{name}" for name in TESTS]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("require", "wanted", "unwanted"),
    [
        ("", ["[local]", "[ssh]"], ["[docker", "[podman", "[kubernetes", "test_sudo.py", "test_pods.py"]),
        ("docker", ["[local]", "[docker]", "[docker-shell]"], ["[podman", "[kubernetes", "test_sudo.py"]),
        ("kubectl", ["[docker]", "[kubernetes]", "test_pods.py"], ["[podman", "test_sudo.py"]),
        ("sudo, podman", ["test_sudo.py", "[podman-shell]"], ["[docker", "test_pods.py"]),
    ],
)
def test_tests_of_a_server_run_where_it_is_required(require, wanted, unwanted):
    found = collected(require)
    assert [text for text in wanted if text not in found] == []
    assert [text for text in unwanted if text in found] == []


def test_server_that_is_required_and_missing_is_an_error(tmp_path):
    environment = {**os.environ, "REMOTO_TEST_REQUIRE": "podman", "REMOTO_TEST_CACHE": str(tmp_path)}
    environment.update(
        REMOTO_TEST_IMAGE_PYTHON="no-such-image", REMOTO_TEST_IMAGE_SHELL="no-such-image", PATH=str(tmp_path)
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/integration/test_commands.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout + done.stderr
    assert "REMOTO_TEST_REQUIRE names podman" in done.stdout + done.stderr

"""The watch over the whole run: a test whose code prints or logs a key of an upstream has failed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import logging, pytest

@pytest.fixture
def chatty():
    yield
    print("canary-aime-key-5b1d07")

def test_prints(): print("key=canary-vaikerai-key-5b1d07")
def test_logs(): logging.getLogger("x").warning("canary-worker-auth-key-77aa1c")
def test_leaves(chatty): pass
def test_is_quiet(): print("a canary, and no key")
"""


def test_a_key_that_is_told_fails_the_test(root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(root / "tests")}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED
    assert "2 failed, 2 passed, 1 error" in ran.stdout
    for place in ("stdout call", "log call", "stdout teardown"):
        assert f"a key of an upstream is in: Captured {place}" in ran.stdout

"""Names: ours are claimed by nobody else here, no module is called after nothing, and nothing names where we were made."""

import subprocess
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

FORBIDDEN = {"utils", "util", "helpers", "common", "misc", "base", "core", "manager", "handler", "service", "types"}
# Addresses of package registries, and folders of one machine (in pieces, so that this file is not its own finding).
ELSEWHERE = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "npm" + "js.com",
    "/work" + "/main",
    "/tmp" + "/w/",
)


@pytest.mark.parametrize("name", ["proxy", "routes", "adapters"])
def test_nobody_else_lives_here(name: str) -> None:
    """Other distributions ship these names, and an installer overwrites silently (docs/adr/0001)."""
    assert set(packages_distributions().get(name, [])) <= {"traghetto"}


def test_modules_are_named_after_something(sources: Any) -> None:
    assert [s.file for s in sources if FORBIDDEN & set(s.module.lstrip("_").split("."))] == []


def test_no_test_folder_is_a_package(root: Path) -> None:
    """Modules of tests are found by their path; a package called `tests` would compete with other people's."""
    assert list((root / "tests").rglob("__init__.py")) == []


def test_nothing_committed_names_a_registry_or_a_machine(root: Path) -> None:
    if not (root / ".git").exists():
        pytest.skip("not a git checkout: what is committed cannot be told")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout
    wrong = []
    for name in filter(None, listed.decode().split("\0")):
        path = root / name
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        wrong += [f"{name}: {place}" for place in ELSEWHERE if place.encode() in content]
    assert wrong == []

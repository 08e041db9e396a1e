"""Unit tests mirror the source: `proxy/x.py` has `tests/unit/proxy/test_x.py`, and no unit test is without its source.

`untested.txt` lists the modules that have none of their own yet; it may only shrink.
"""

from pathlib import Path
from typing import Any

# Nothing to test by itself: data, or a door that is walked through by every test behind it.
EXEMPT = {"proxy/__main__.py", "adapters/options.py"}
# Scripts that a tool runs by path; the test of `proxy.ledger.migrate` runs them all.
SCRIPTS = "/migrations/"
UNTESTED_AT_MOST = 3  # lower it with the list
# Tests of what is no module: the scripts of deploy/, the benchmarks, and the demo model's file with the corpus it was trained on.
OF_NO_MODULE = ("tests/unit/deploy/", "tests/unit/bench/", "tests/unit/adapters/llama/demo/")


def mirrored(file: str) -> str:
    folder, _, name = file.rpartition("/")
    return f"tests/unit/{folder}/test_{name}"


def wanting(sources: Any, root: Path) -> list[str]:
    modules = [
        s.file for s in sources if not s.file.endswith("__init__.py") and s.file not in EXEMPT and SCRIPTS not in s.file
    ]
    return [file for file in modules if not (root / mirrored(file)).is_file()]


def test_every_module_has_its_unit_test(sources: Any, root: Path) -> None:
    listed = Path(__file__).with_name("untested.txt").read_text(encoding="utf-8").split()
    missing = wanting(sources, root)
    assert sorted(set(missing) - set(listed)) == [], "modules without a unit test"
    assert sorted(set(listed) - set(missing)) == [], "these have one now (or are gone): strike them off untested.txt"
    assert len(listed) <= UNTESTED_AT_MOST


def test_every_unit_test_has_its_module(sources: Any, root: Path) -> None:
    """A package's `__init__` may have a test named after the package."""
    wanted = {mirrored(s.file) for s in sources} | {
        mirrored(s.file.removesuffix("/__init__.py") + ".py") for s in sources if s.file.endswith("/__init__.py")
    }
    found = {path.relative_to(root).as_posix() for path in (root / "tests/unit").rglob("test_*.py")}
    assert sorted(name for name in found - wanted if not name.startswith(OF_NO_MODULE)) == []

"""The generator of the demo model as one object; its scripts are no package, so they are on the path only here."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPTS = Path(__file__).parents[5] / "deploy" / "demo-model"


@pytest.fixture(scope="session")
def generator() -> Iterator[SimpleNamespace]:
    before = set(sys.modules)
    sys.path.insert(0, str(SCRIPTS))
    try:
        names = ("chatml", "corpus", "facts", "noise", "questions", "turns", "words")
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(SCRIPTS))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(SCRIPTS)):
                del sys.modules[name]

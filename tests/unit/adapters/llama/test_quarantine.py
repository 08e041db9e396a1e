"""Who is set aside, and for how long."""

import os
from pathlib import Path

import pytest

from adapters.llama import quarantine as module
from adapters.llama.quarantine import Quarantine, identity
from adapters.llama.spec import Setup


def test_a_model_is_its_content_and_its_setup(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"a" * 100)
    os.utime(path, (1, 1))
    first = identity(str(path), Setup())
    assert identity(str(path), Setup()) == first
    assert identity(str(path), Setup(n_seq=3)) != first
    path.write_bytes(b"b" * 100)
    os.utime(path, (1, 1))
    assert identity(str(path), Setup()) != first
    assert identity(str(tmp_path / "missing"), Setup())


def test_time_and_probation(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    some = Quarantine()
    assert some.reason("k") is None
    assert some.crashes("k") == 0
    some.add("k", "it crashed", 60)
    assert some.reason("k") == "it crashed"
    assert some.remaining_s("k") == 60
    now = 1061.0
    assert some.reason("k") is None
    assert some.crashes("k") > 0, "it is on probation"
    some.clear("k")
    assert some.crashes("k") == 0

"""The server's pepper."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy.errors import ConfigError
from proxy.keys import pepper


def test_it_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "t.pepper"
    made = pepper.load(file, {})
    assert len(made) == 64
    assert pepper.load(file, {}) == made
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]
    assert pepper.load(tmp_path / "other", {}) != made


def test_many_who_ask_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: pepper.load(tmp_path / "p", {}), range(64)))
    assert len(found) == 1


def test_the_variable_comes_first_and_must_be_long(tmp_path: Path) -> None:
    assert pepper.load(tmp_path / "p", {pepper.VARIABLE: "s" * 32}) == b"s" * 32
    assert not (tmp_path / "p").exists()
    with pytest.raises(ConfigError, match="too short") as told:
        pepper.load(tmp_path / "p", {pepper.VARIABLE: "hunter2"})
    assert "hunter2" not in str(told.value)


def test_a_damaged_or_impossible_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"short")
    with pytest.raises(ConfigError, match="damaged"):
        pepper.load(tmp_path / "p", {})
    with pytest.raises(ConfigError, match="cannot be used"):
        pepper.load(tmp_path / "p" / "below", {})

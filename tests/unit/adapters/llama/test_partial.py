"""A file on its way, without a server: what is kept, and what is not."""

import os
from pathlib import Path

import pytest

from adapters.llama.partial import Broken, Part, PartialFile, already, digest_of, failed, locked
from proxy.errors import Fault, UpstreamError


def _begun(target: Path, part: Part) -> PartialFile:
    file = target.with_name(target.name + ".part").open("a+b")
    return PartialFile(part, target, file, None)


def test_the_lock_is_one_process_s_and_leaves_nothing_empty(tmp_path: Path) -> None:
    target = tmp_path / "m.bin"
    with locked(target) as file:
        assert os.path.exists(file.name)
        with pytest.raises(UpstreamError, match="another process"), locked(target):
            pass
    assert list(tmp_path.iterdir()) == []
    with locked(target) as file:
        file.write(b"something")
    assert [path.name for path in tmp_path.iterdir()] == ["m.bin.part"]


def test_what_is_here_already(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "m.bin"
    assert already(Part(url="u", name="m.bin"), target) is None
    target.write_bytes(b"12345")
    digest = digest_of(target)
    for part, here in (
        (Part(url="u", name="m"), True),
        (Part(url="u", name="m", size=5), True),
        (Part(url="u", name="m", size=6), False),
        (Part(url="u", name="m", sha256=digest), True),
        (Part(url="u", name="m", sha256="0" * 64), False),
    ):
        found = already(part, target)
        assert (found is not None) is here
        assert found is None or found.checked is bool(part.sha256)


def test_more_than_announced_is_thrown_away(tmp_path: Path) -> None:
    work = _begun(tmp_path / "m.bin", Part(url="u", name="m.bin", size=4))
    work.begin()
    work.add(b"123")
    with pytest.raises(Broken, match="3 of 4"):
        work.must_be_complete()
    with pytest.raises(UpstreamError, match="more came"):
        work.add(b"45")
    assert work.done == 0
    work._file.close()


def test_a_beginning_without_notes_is_none(tmp_path: Path) -> None:
    (tmp_path / "m.bin.part").write_bytes(b"of something")
    work = _begun(tmp_path / "m.bin", Part(url="u", name="m.bin"))
    work.begin()
    assert (work.done, work.headers()) == (0, ())
    work._file.close()


@pytest.mark.parametrize(("status", "fault"), [(401, Fault.AUTH), (404, Fault.MISSING), (418, Fault.SERVER)])
def test_statuses(status: int, fault: Fault) -> None:
    assert failed(status, "x").fault is fault

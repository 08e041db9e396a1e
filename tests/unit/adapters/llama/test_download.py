"""Downloads from a server that cuts, lies, ignores ranges and redirects; over real sockets."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapters._http import Timeouts
from adapters.llama.download import Downloader
from adapters.llama.partial import Fetched, Part
from fakes.hub import FakeHub, fake_hub
from proxy.errors import Fault, UpstreamError

CONTENT = os.urandom(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = "o/n/weights.bin"
CLOCKS = Timeouts(connect_s=2, first_byte_s=2, between_bytes_s=2, total_s=0)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub() as running:
        running.files[NAME] = CONTENT
        yield running


async def _no_wait(_seconds: float) -> None:
    await asyncio.sleep(0)


@pytest_asyncio.fixture
async def downloader() -> AsyncIterator[Downloader]:
    made = Downloader(clocks=CLOCKS, sleep=_no_wait)
    yield made
    await made.aclose()


def part(hub: FakeHub, **more: Any) -> Part:
    return Part(**({"url": f"{hub.url}/{NAME}", "name": "weights.bin", "sha256": DIGEST} | more))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def content(fetched: Fetched) -> bytes:
    return fetched.path.read_bytes()


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


@pytest.mark.asyncio
async def test_a_whole_file(hub: FakeHub, downloader: Downloader, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    fetched = await downloader.fetch(part(hub), tmp_path, on_bytes=lambda *now: seen.append(now))
    assert content(fetched) == CONTENT
    assert (fetched.sha256, fetched.checked, fetched.was_here) == (DIGEST, True, False)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert left(tmp_path) == ["weights.bin"]
    again = await downloader.fetch(part(hub), tmp_path)
    assert again.was_here
    assert len(hub.gets()) == 1
    assert hub.gets()[0]["accept-encoding"] == "identity"


@pytest.mark.asyncio
@pytest.mark.parametrize("more", [{}, {"sha256": ""}, {"size": len(CONTENT)}])
async def test_cuts_are_gone_on_from(hub: FakeHub, downloader: Downloader, tmp_path: Path, more: Any) -> None:
    for size in (1000, 150_000, 0, 1):
        hub.behave("cut", size)
    fetched = await downloader.fetch(part(hub, **more), tmp_path)
    assert content(fetched) == CONTENT
    assert fetched.sha256 == DIGEST
    assert [headers.get("range") for headers in hub.gets()] == [
        *(None, "bytes=1000-", "bytes=151000-", "bytes=151000-", "bytes=151001-")
    ]
    if not more.get("sha256", True):
        assert all("if-range" in headers for headers in hub.gets()[1:])


@pytest.mark.asyncio
async def test_another_day_goes_on_too(hub: FakeHub, tmp_path: Path) -> None:
    hub.behave("cut", 5000)
    hub.behave("gone", times=20)
    first = Downloader(clocks=CLOCKS, sleep=_no_wait, attempts=3)
    with pytest.raises(UpstreamError, match="5000 bytes are kept"):
        await first.fetch(part(hub), tmp_path)
    await first.aclose()
    assert left(tmp_path) == ["weights.bin.part", "weights.bin.part.json"]
    hub._next.clear()
    second = Downloader(clocks=CLOCKS, sleep=_no_wait)
    assert content(await second.fetch(part(hub), tmp_path)) == CONTENT
    await second.aclose()
    assert hub.gets()[-1]["range"] == "bytes=5000-"


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["ignore_range", "wrong_range"])
async def test_a_server_that_does_not_go_on(hub: FakeHub, downloader: Downloader, tmp_path: Path, how: str) -> None:
    hub.behave("cut", 1000)
    hub.behave(how)
    assert content(await downloader.fetch(part(hub), tmp_path)) == CONTENT


@pytest.mark.asyncio
async def test_it_changed_between_two_attempts(hub: FakeHub, downloader: Downloader, tmp_path: Path) -> None:
    other = os.urandom(200_000)
    hub.behave("cut", 1000)

    async def change(_seconds: float) -> None:
        hub.files[NAME] = other

    downloader._sleep = change
    fetched = await downloader.fetch(part(hub, sha256=""), tmp_path)
    assert content(fetched) == other
    assert not fetched.checked


@pytest.mark.asyncio
async def test_lies_about_the_length(hub: FakeHub, tmp_path: Path) -> None:
    downloader = Downloader(clocks=CLOCKS, sleep=_no_wait, attempts=2)
    hub.behave("longer")  # asked for the rest, it says that there is none
    assert content(await downloader.fetch(part(hub), tmp_path)) == CONTENT
    assert len(hub.gets()) == 2
    (tmp_path / "weights.bin").unlink()
    hub.behave("longer", times=9)
    with pytest.raises(UpstreamError, match="should have"):
        await downloader.fetch(part(hub, size=len(CONTENT)), tmp_path)
    hub._next.clear()
    hub.behave("shorter")  # ends early without a word: only the checksum tells
    with pytest.raises(UpstreamError, match="its SHA-256 is"):
        await downloader.fetch(part(hub), tmp_path)
    assert left(tmp_path) == []
    await downloader.aclose()


@pytest.mark.asyncio
async def test_another_content_is_not_kept(hub: FakeHub, downloader: Downloader, tmp_path: Path) -> None:
    with pytest.raises(UpstreamError, match="should be") as caught:
        await downloader.fetch(part(hub, sha256="0" * 64), tmp_path)
    assert caught.value.fault is Fault.MALFORMED
    assert left(tmp_path) == []
    with pytest.raises(UpstreamError, match="no SHA-256"):
        await downloader.fetch(part(hub, sha256="12"), tmp_path)


@pytest.mark.asyncio
async def test_only_what_is_allowed(hub: FakeHub, downloader: Downloader, tmp_path: Path) -> None:
    nobody = frozenset({"0" * 64})
    with pytest.raises(UpstreamError, match="allow_sha256"):
        await downloader.fetch(part(hub), tmp_path, allowed=nobody)
    assert hub.gets() == [], "its checksum was known: nothing had to be fetched"
    with pytest.raises(UpstreamError, match="allow_sha256"):
        await downloader.fetch(part(hub, sha256=""), tmp_path, allowed=nobody)
    assert left(tmp_path) == []
    await downloader.fetch(part(hub, sha256=""), tmp_path, allowed=frozenset({DIGEST}))
    with pytest.raises(UpstreamError, match="allow_sha256"):
        await downloader.fetch(part(hub, sha256=""), tmp_path, allowed=nobody)


@pytest.mark.asyncio
@pytest.mark.parametrize(("status", "fault"), [(404, Fault.MISSING), (403, Fault.AUTH), (410, Fault.SERVER)])
async def test_statuses_that_stay(
    hub: FakeHub, downloader: Downloader, tmp_path: Path, status: int, fault: Fault
) -> None:
    hub.behave("status", status)
    with pytest.raises(UpstreamError) as caught:
        await downloader.fetch(part(hub), tmp_path)
    assert caught.value.fault is fault
    assert left(tmp_path) == []


@pytest.mark.asyncio
async def test_statuses_that_pass(hub: FakeHub, downloader: Downloader, tmp_path: Path) -> None:
    for status in (503, 429, 500):
        hub.behave("status", status)
    assert content(await downloader.fetch(part(hub), tmp_path)) == CONTENT


@pytest.mark.asyncio
async def test_redirects(hub: FakeHub, downloader: Downloader, tmp_path: Path) -> None:
    hub.behave("redirect", f"/{NAME}?again=1")
    assert content(await downloader.fetch(part(hub), tmp_path)) == CONTENT
    (tmp_path / "weights.bin").unlink()
    for where in ("file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x", "http://user@127.0.0.1/x"):
        hub.behave("redirect", where)
        with pytest.raises(UpstreamError, match="a redirect leads to"):
            await downloader.fetch(part(hub), tmp_path)
    hub.behave("redirect", f"{hub.url}/{NAME}", times=20)
    with pytest.raises(UpstreamError, match="redirects"):
        await downloader.fetch(part(hub), tmp_path)
    assert left(tmp_path) == []


@pytest.mark.asyncio
async def test_the_token_stays_at_its_origin(hub: FakeHub, tmp_path: Path) -> None:
    with fake_hub() as elsewhere:
        elsewhere.files[NAME] = CONTENT
        hub.token = "secret-token"
        hub.behave("redirect", f"{elsewhere.url}/{NAME}")
        downloader = Downloader(token="secret-token", origin=hub.url, clocks=CLOCKS, sleep=_no_wait)
        assert content(await downloader.fetch(part(hub), tmp_path)) == CONTENT
        await downloader.aclose()
        assert hub.gets()[0]["authorization"] == "Bearer secret-token"
        assert "authorization" not in elsewhere.gets()[0]


@pytest.mark.asyncio
async def test_nobody_answers(downloader: Downloader, tmp_path: Path) -> None:
    with pytest.raises(UpstreamError, match="0 bytes are kept") as caught:
        await downloader.fetch(Part(url="http://127.0.0.1:9/x", name="x"), tmp_path)
    assert caught.value.fault is Fault.CUT
    assert left(tmp_path) == []


@pytest.mark.asyncio
async def test_what_is_no_model_is_not_kept(hub: FakeHub, downloader: Downloader, tmp_path: Path) -> None:
    hub.files["page.gguf"] = b"<html>Please log in</html>"
    with pytest.raises(UpstreamError, match="not a GGUF file"):
        await downloader.fetch(Part(url=f"{hub.url}/page.gguf", name="page.gguf"), tmp_path)
    assert left(tmp_path) == []


@pytest.mark.asyncio
async def test_a_server_that_packs_unasked(hub: FakeHub, downloader: Downloader, tmp_path: Path) -> None:
    """A range of what is packed is no range of the file: what was cut begins again."""
    hub.behave("packed_cut")
    hub.behave("packed")
    assert content(await downloader.fetch(part(hub), tmp_path)) == CONTENT
    assert all("range" not in headers for headers in hub.gets())


@pytest.mark.asyncio
async def test_two_at_once(hub: FakeHub, downloader: Downloader, tmp_path: Path) -> None:
    results = await asyncio.gather(*(downloader.fetch(part(hub), tmp_path) for _ in range(2)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, UpstreamError)]
    assert len(refused) == 1
    assert "another process" in refused[0].message
    assert left(tmp_path) == ["weights.bin"]


@pytest.mark.asyncio
async def test_the_rest_of_another_file_is_no_beginning(hub: FakeHub, downloader: Downloader, tmp_path: Path) -> None:
    write(tmp_path / "weights.bin.part", b"rubbish")
    write(tmp_path / "weights.bin.part.json", b'{"url": "http://other/", "etag": "\\"x\\"", "size": 7}')
    assert content(await downloader.fetch(part(hub), tmp_path)) == CONTENT
    assert "range" not in hub.gets()[0]

"""References, and what a hub is asked for them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from adapters._http import Timeouts
from adapters.llama.download import Downloader
from adapters.llama.hub import HUB, Found, Reference, find, parse
from fakes.hub import FakeHub, fake_hub
from proxy.errors import BadRequest, Fault, UpstreamError

FILES = {
    "o/n/README.md": b"# card",
    "o/n/model-Q4_K_M.gguf": b"four",
    "o/n/model-q8_0.gguf": b"eight",
    "o/n/mmproj-Q4_K_M.gguf": b"eyes",
    "o/n/big-F32-00001-of-00002.gguf": b"one",
    "o/n/big-F32-00002-of-00002.gguf": b"two",
    "o/one/only.gguf": b"x",
    "o/many/a.gguf": b"x",
    "o/many/b.gguf": b"x",
    "o/none/model.safetensors": b"x",
}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub() as running:
        running.files |= FILES
        yield running


@pytest_asyncio.fixture
async def downloader() -> AsyncIterator[Downloader]:
    made = Downloader(clocks=Timeouts(connect_s=2, first_byte_s=2, between_bytes_s=2))
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("https://host/a/m.gguf?x=1", Reference(url="https://host/a/m.gguf?x=1")),
        ("HTTP://host/m.gguf", Reference(url="HTTP://host/m.gguf")),
        ("o/n", Reference(repository="o/n")),
        ("o/n:Q4_K_M", Reference(repository="o/n", quantisation="Q4_K_M")),
        ("o/n/sub/f.gguf@v2", Reference(repository="o/n", file="sub/f.gguf", revision="v2")),
        (f"{HUB}/o/n/blob/main/f.gguf", Reference(repository="o/n", file="f.gguf")),
        (f"{HUB}/o/n/resolve/v1/a%20b.gguf?download=true", Reference(repository="o/n", file="a b.gguf", revision="v1")),
    ],
)
def test_references(text: str, reference: Reference) -> None:
    assert parse(text) == reference


@pytest.mark.parametrize(
    "text",
    [
        *("", "n", "o/n/../../x.gguf", "o/n/f.gguf:Q4", "o n/x", "file:///etc/passwd", "ftp://h/x", "https:///x"),
        *("https://user:pass@host/m.gguf", "../x/y", "o/n//etc/passwd/../.."),
    ],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(BadRequest):
        parse(text)


async def asked(hub: FakeHub, downloader: Downloader, text: str, **more: Any) -> Found:
    return await find(parse(text, hub.url), downloader, hub=hub.url, **more)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("o/n", ["o/n/model-Q4_K_M.gguf"]),
        ("o/n:q8_0", ["o/n/model-q8_0.gguf"]),
        ("o/n:F32", ["o/n/big-F32-00001-of-00002.gguf", "o/n/big-F32-00002-of-00002.gguf"]),
        ("o/one", ["o/one/only.gguf"]),
        ("o/n/mmproj-Q4_K_M.gguf", ["o/n/mmproj-Q4_K_M.gguf"]),
    ],
)
async def test_the_choice(hub: FakeHub, downloader: Downloader, text: str, names: list[str]) -> None:
    found = await asked(hub, downloader, text)
    assert [part.name for part in found.parts] == names
    assert [part.size for part in found.parts] == [len(FILES[name]) for name in names]
    assert all(len(part.sha256) == 64 for part in found.parts)
    assert found.licence == "apache-2.0"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("o/many", "o/many/a.gguf, o/many/b.gguf"),
        ("o/n:Q2_K", "no Q2_K file"),
        ("o/none", "no GGUF file"),
        ("o/n/other.gguf", "no file 'other.gguf'"),
    ],
)
async def test_no_choice(hub: FakeHub, downloader: Downloader, text: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        await asked(hub, downloader, text)


@pytest.mark.asyncio
async def test_hubs_without_an_api_and_without_the_model(hub: FakeHub, downloader: Downloader) -> None:
    hub.api = False
    (part,) = (await asked(hub, downloader, "o/one/only.gguf", sha256="1" * 64)).parts
    assert (part.url, part.size, part.sha256) == (f"{hub.url}/o/one/resolve/main/only.gguf", None, "1" * 64)
    with pytest.raises(UpstreamError) as caught:
        await asked(hub, downloader, "o/one")
    assert caught.value.fault is Fault.MISSING
    hub.token = "t"
    with pytest.raises(UpstreamError, match="HF_TOKEN"):
        await asked(hub, downloader, "o/one")


@pytest.mark.asyncio
async def test_no_hub(downloader: Downloader) -> None:
    with pytest.raises(UpstreamError) as caught:
        await asyncio.wait_for(find(parse("o/n"), downloader, hub="http://127.0.0.1:9"), 5)
    assert caught.value.fault is Fault.CONNECT


@pytest.mark.asyncio
async def test_a_url_is_taken_as_it_is(hub: FakeHub, downloader: Downloader) -> None:
    (part,) = (await asked(hub, downloader, "https://host/x/m%20m.gguf?y=1", sha256="2" * 64)).parts
    assert (part.url, part.name, part.sha256) == ("https://host/x/m%20m.gguf?y=1", "m m.gguf", "2" * 64)
    for text in ("https://host/", "https://host/x/..", "https://host/%2e%2e"):
        with pytest.raises(BadRequest):
            await asked(hub, downloader, text)
    with pytest.raises(BadRequest, match="one SHA-256"):
        await asked(hub, downloader, "o/n:F32", sha256="2" * 64)

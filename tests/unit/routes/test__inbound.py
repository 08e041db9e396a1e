"""Packed bodies, bombs, limits, content types."""

import gzip
import zlib
from typing import Any

import brotli
import pytest

from proxy.call import Dialect
from proxy.errors import BadRequest, BodyTooLarge, ClientGone, MediaUnsupported
from routes._inbound import Inbound, unpacked
from routes._outlet import AsgiOutlet

TEXT = b'{"model":"m"}' * 50


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    " Deflate": raw_deflate(TEXT),
    "br": brotli.compress(TEXT),
    "br, gzip": gzip.compress(brotli.compress(TEXT)),
    "identity": TEXT,
}


@pytest.mark.parametrize("encoding", PACKED)
def test_unpacked(encoding: str) -> None:
    assert unpacked(PACKED[encoding], encoding, len(TEXT)) == TEXT
    if encoding != "identity":
        with pytest.raises(BodyTooLarge):
            unpacked(PACKED[encoding], encoding, 20)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_broken_and_cut(encoding: str) -> None:
    for body in (b"", b"nonsense", PACKED[encoding][:-5]):
        with pytest.raises(BadRequest, match="not valid"):
            unpacked(body, encoding, 10_000)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
@pytest.mark.parametrize("behind", [b"x", b"\0", PACKED["gzip"]])
def test_nothing_stands_behind_the_end(encoding: str, behind: bytes) -> None:
    """Half of a second member would be a body that two readers read differently."""
    with pytest.raises(BadRequest, match="not valid"):
        unpacked(PACKED[encoding] + behind, encoding, 10_000)


def test_layers_are_counted() -> None:
    thrice = gzip.compress(gzip.compress(gzip.compress(TEXT)))
    with pytest.raises(MediaUnsupported, match="packed 3 times"):
        unpacked(thrice, "gzip, gzip,gzip", 10_000)
    assert unpacked(gzip.decompress(thrice), "identity, gzip, , gzip", 10_000) == TEXT


@pytest.mark.parametrize("pack", [gzip.compress, brotli.compress])
def test_bombs(pack: Any) -> None:
    name = "gzip" if pack is gzip.compress else "br"
    with pytest.raises(BodyTooLarge):
        unpacked(pack(bytes(20 << 20)), name, 1 << 20)


def test_unknown_encoding() -> None:
    with pytest.raises(MediaUnsupported):
        unpacked(b"x", "zstd", 10)


def inbound(messages: list[dict[str, Any]], **headers: str) -> Inbound:
    async def receive() -> Any:
        return messages.pop(0)

    pairs = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
    scope: Any = {"headers": pairs, "method": "POST", "query_string": b"a=1&a=2&b="}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    return Inbound(scope, receive, AsgiOutlet(receive, send), Dialect.OPENAI, "req_1")


def part(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.asyncio
async def test_bodies() -> None:
    assert await inbound([part(b"ab", True), part(b"c")]).body(3) == b"abc"
    assert await inbound([part(PACKED["gzip"])], content_encoding="gzip").body(10_000) == TEXT
    for request in (
        inbound([part(b"abcd")]),
        inbound([part(b"ab", True), part(b"cd", True)]),
        inbound([], content_length="4"),
    ):
        with pytest.raises(BodyTooLarge):
            await request.body(3)
    for messages in ([{"type": "http.disconnect"}], [part(b"a", True), {"type": "http.disconnect"}]):
        with pytest.raises(ClientGone):
            await inbound(messages).body(9)


@pytest.mark.parametrize("type_", ["application/json", "application/json; charset=utf-8", "application/ld+json"])
def test_json_types(type_: str) -> None:
    inbound([], content_type=type_).json_type()
    inbound([]).json_type()
    with pytest.raises(MediaUnsupported):
        inbound([], content_type="text/plain").json_type()
    inbound([], content_type=type_, origin="https://a.example").json_type()
    with pytest.raises(MediaUnsupported, match="web page"):
        inbound([], origin="https://a.example").json_type()


def test_query() -> None:
    assert inbound([]).query() == {"a": "2", "b": ""}


class Here:
    """An outlet whose request has come whole."""

    def body(self) -> bytes:
        return TEXT


@pytest.mark.parametrize(("encoding", "limit", "found"), [(None, 10_000, TEXT), (b"gzip", 10_000, None)])
def test_a_body_that_is_here(encoding: bytes | None, limit: int, found: bytes | None) -> None:
    headers = [] if encoding is None else [(b"content-encoding", encoding)]
    inbound = Inbound({"headers": headers}, None, Here(), Dialect.OPENAI, "req_1")  # type: ignore[arg-type, typeddict-item]
    assert inbound.at_hand(limit) == found
    if found is not None:
        with pytest.raises(BodyTooLarge):
            inbound.at_hand(len(TEXT) - 1)

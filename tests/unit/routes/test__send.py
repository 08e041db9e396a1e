"""What the client likes best, and values that headers can carry."""

import gzip

import brotli
import pytest

from routes._send import as_headers, header_value, packed, preferred


@pytest.mark.parametrize(
    ("accepts", "best"),
    [
        ("", b""),
        ("gzip", b"gzip"),
        ("gzip, br", b"br"),
        ("br;q=0.5, gzip", b"gzip"),
        ("BR;Q=0, gzip;q=0", b""),
        ("*", b"gzip"),
        ("identity", b""),
        ("gzip;q=x", b""),
        ("deflate, zstd", b""),
    ],
)
def test_preferred(accepts: str, best: bytes) -> None:
    assert preferred(accepts) == best


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [2000, 300 << 10], ids=["here", "in a thread"])
async def test_packed(size: int) -> None:
    body = b"x" * size
    assert (gzip.decompress((await packed(body, "gzip"))[0]), (await packed(body, "gzip"))[1]) == (body, b"gzip")
    assert brotli.decompress((await packed(body, "br"))[0]) == body
    assert await packed(body, "identity") == (body, b"")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("up/m; attempt=1", b"up/m; attempt=1"),
        ("a\r\nset-cookie: x", b"a??set-cookie: x"),
        ("é🛶\x00", "é??".encode("latin-1")),
    ],
)
def test_no_line_break_gets_into_a_header(text: str, value: bytes) -> None:
    assert header_value(text) == value
    assert as_headers([("k", text)]) == [(b"k", value)]

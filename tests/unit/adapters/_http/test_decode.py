"""Content codings: streamed, bounded, and never silently short."""

import gzip
import random
import zlib
from collections.abc import Callable

import brotli
import pytest

from adapters._http.decode import PIECE, Decoder, decoder
from adapters._http.errors import TransportError

TEXT = b"".join(b"data: %d\n\n" % i for i in range(3000))


def raw_deflate(data: bytes) -> bytes:
    z = zlib.compressobj(wbits=-15)
    return z.compress(data) + z.flush()


CODINGS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "gzip": (b"gzip", gzip.compress),
    "x-gzip": (b"X-GZip", gzip.compress),
    "deflate": (b"deflate", zlib.compress),
    "raw deflate": (b"deflate", raw_deflate),
    "br": (b"br", brotli.compress),
    "gzip and identity": (b"identity, gzip", gzip.compress),
}


def make(coding: bytes) -> Decoder:
    out = decoder(coding)
    assert out is not None
    return out


def drained(decode: Decoder) -> bytes:
    out = b""
    while piece := decode.pull():
        assert len(piece) <= PIECE * 2
        out += piece
    return out


@pytest.mark.parametrize("case", CODINGS)
@pytest.mark.parametrize("step", [1, 7, 1000, 10**9])
def test_round_trip(case: str, step: int) -> None:
    """However the compressed bytes are cut."""
    name, squeeze = CODINGS[case]
    wire, decode, out = squeeze(TEXT), make(name), b""
    for i in range(0, len(wire), step):
        decode.push(wire[i : i + step])
        out += drained(decode)
    decode.end()
    assert out == TEXT


@pytest.mark.parametrize("case", CODINGS)
def test_a_bomb_comes_in_pieces(case: str) -> None:
    """Twenty megabytes from a few kilobytes, a quarter of a megabyte at a time."""
    name, squeeze = CODINGS[case]
    size = 20 * 1024 * 1024
    decode = make(name)
    decode.push(squeeze(bytes(size)))
    first = decode.pull()
    assert 0 < len(first) <= PIECE * 2
    total = len(first)
    while piece := decode.pull():
        assert len(piece) <= PIECE * 2
        total += len(piece)
    decode.end()
    assert total == size


@pytest.mark.parametrize("case", CODINGS)
def test_an_early_end_is_an_error(case: str) -> None:
    """At every cut but at the start, where nothing was promised."""
    name, squeeze = CODINGS[case]
    wire = squeeze(TEXT[:200])
    for cut in range(1, len(wire)):
        decode = make(name)
        decode.push(wire[:cut])
        assert TEXT.startswith(drained(decode))
        with pytest.raises(TransportError) as caught:
            decode.end()
        assert caught.value.kind == "premature_eof"


@pytest.mark.parametrize("case", CODINGS)
def test_an_empty_body_is_empty(case: str) -> None:
    """Some servers name a coding on a body of no bytes."""
    decode = make(CODINGS[case][0])
    assert decode.pull() == b""
    decode.end()


@pytest.mark.parametrize("case", CODINGS)
def test_corruption_is_an_error(case: str) -> None:
    """Noise never decodes, and no other exception comes out."""
    dice = random.Random(1)
    refused: list[str] = []
    for _ in range(50):
        decode = make(CODINGS[case][0])
        try:
            decode.push(dice.randbytes(300))
            drained(decode)
            decode.end()
        except TransportError as error:
            refused.append(error.kind)
    assert len(refused) >= 48
    assert set(refused) <= {"protocol", "premature_eof"}


def test_several_gzip_members_are_one_body() -> None:
    """As the format has it; zero padding behind them is tolerated."""
    decode = make(b"gzip")
    decode.push(gzip.compress(b"one ") + gzip.compress(b"two") + b"\0" * 100)
    assert drained(decode) == b"one two"
    decode.end()


@pytest.mark.parametrize("case", ["deflate", "br"])
def test_bytes_behind_the_end_are_an_error(case: str) -> None:
    """Where the format has no second member."""
    name, squeeze = CODINGS[case]
    decode = make(name)
    decode.push(squeeze(b"abc") + b"more")
    with pytest.raises(TransportError) as caught:
        drained(decode)
    assert caught.value.kind == "protocol"


@pytest.mark.parametrize("name", [b"", b"identity", b" identity , "])
def test_nothing_to_decode(name: bytes) -> None:
    """No decoder."""
    assert decoder(name) is None


@pytest.mark.parametrize("name", [b"zstd", b"compress", b"gzip, br", b"gzip, gzip"])
def test_a_coding_that_was_not_asked_for(name: bytes) -> None:
    """Is an answer that we cannot read, not one to pass on undecoded."""
    with pytest.raises(TransportError) as caught:
        decoder(name)
    assert caught.value.kind == "protocol"

"""Content codings of responses, decoded as they stream.

Owns gzip, deflate and br; refuses to know HTTP framing. Invariants: a piece handed out holds `PIECE` bytes or few more,
however small the input that it came from; a coding that ends before its end is an error, never an end; what is
decodable from the bytes that are there is handed out without waiting for more.
"""

import zlib
from typing import Any, Protocol

import brotli

from adapters._http.errors import TransportError

PIECE = 256 * 1024


class Decoder(Protocol):
    """Feed with `push`, then take pieces until `pull` gives b"", and `end` once after the last input."""

    def push(self, data: bytes) -> None: ...
    def pull(self) -> bytes: ...
    def end(self) -> None: ...


class Zlib:
    """gzip and deflate; raw deflate is recognised by the missing zlib header, as browsers do."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._z: Any = None if coding == "deflate" else zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._input = b""
        self._started = False

    def push(self, data: bytes) -> None:
        self._input += data
        self._started = self._started or bool(data)
        if self._z is None and len(self._input) >= 2:
            first, second = self._input[0], self._input[1]
            wrapped = first & 0x0F == 8 and (first << 8 | second) % 31 == 0
            self._z = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)

    def pull(self) -> bytes:
        while self._z is not None and self._input:
            if self._z.eof:  # a gzip file may be several, one behind the other; zero padding is tolerated
                self._input = self._input.lstrip(b"\0")
                if not self._input:
                    break
                if self._coding != "gzip":
                    raise _corrupt("bytes after the end of the deflate stream")
                self._z = zlib.decompressobj(zlib.MAX_WBITS | 16)
            try:
                out: bytes = self._z.decompress(self._input, PIECE)
            except zlib.error as exc:
                raise _corrupt(str(exc)) from None
            self._input = self._z.unused_data if self._z.eof else self._z.unconsumed_tail
            if out:
                return out
        if self._z is not None and not self._z.eof:  # output that the limit kept inside
            try:
                more: bytes = self._z.decompress(b"", PIECE)
            except zlib.error as exc:
                raise _corrupt(str(exc)) from None
            return more
        return b""

    def end(self) -> None:
        if self._started and (self._z is None or not self._z.eof):
            raise _cut()


class Brotli:
    """br."""

    def __init__(self) -> None:
        self._b: Any = brotli.Decompressor()
        self._input = b""
        self._started = False

    def push(self, data: bytes) -> None:
        self._input += data
        self._started = self._started or bool(data)

    def pull(self) -> bytes:
        while self._started:
            if self._b.is_finished():
                if self._input:
                    raise _corrupt("bytes after the end of the br stream")
                return b""
            give = b""
            if self._b.can_accept_more_data():
                give, self._input = self._input, b""
            try:  # without new input too: the limit may have kept output inside
                out: bytes = self._b.process(give, output_buffer_limit=PIECE)
            except brotli.error as exc:
                raise _corrupt(str(exc)) from None
            if out:
                return out
            if not give:
                return b""
        return b""

    def end(self) -> None:
        if self._started and not self._b.is_finished():
            raise _cut()


def decoder(content_encoding: bytes) -> Decoder | None:
    """The decoder for a Content-Encoding, None where there is nothing to decode.

    Raises TransportError(protocol) for a coding, or a stack of them, that we never asked for and do not know.
    """
    codings = [c.strip() for c in content_encoding.decode("latin-1").lower().split(",")]
    codings = [c for c in codings if c not in ("", "identity")]
    if not codings:
        return None
    if codings in (["gzip"], ["x-gzip"]):
        return Zlib("gzip")
    if codings == ["deflate"]:
        return Zlib("deflate")
    if codings == ["br"]:
        return Brotli()
    raise TransportError("protocol", "a content coding that was not asked for", sent=True, response_started=True)


def _corrupt(what: str) -> TransportError:
    return TransportError("protocol", f"corrupt content coding: {what[:100]}", sent=True, response_started=True)


def _cut() -> TransportError:
    return TransportError("premature_eof", "the compressed body ended early", sent=True, response_started=True)

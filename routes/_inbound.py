"""One inbound HTTP request, read no further than a route needs: headers on demand, the body once, under limits.

Bodies may come gzipped (deflate and br too); what they unpack to counts against the same limit.
"""

import os
import time
import zlib
from typing import Any
from urllib.parse import parse_qsl

import brotli
from litestar.types import Receive, Scope

from proxy.call import ANYBODY, Dialect, Principal
from proxy.errors import BadRequest, BodyTooLarge, ClientGone, MediaUnsupported
from routes._outlet import Outlet

_POOL = bytearray()  # random bytes for ids: one system call for many
MAX_LAYERS = 2  # of packing: each may blow a body up to the limit once more


def request_id() -> str:
    """`req_` and 24 hexadecimal digits: the time in ms, so that ids come in order (what is kept by id then grows at its end,
    which halves the ledger's work), and 48 random bits."""
    if not _POOL:
        _POOL.extend(os.urandom(6 * 512))
    taken = _POOL[-6:]
    del _POOL[-6:]
    return f"req_{time.time_ns() // 1_000_000:012x}{taken.hex()}"


class Inbound:
    """`id` is the request's; `path_params` come from the router."""

    __slots__ = ("dialect", "headers", "id", "outlet", "principal", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive, outlet: Outlet, dialect: Dialect, id: str) -> None:
        self.scope = scope
        self.receive = receive
        self.outlet = outlet
        self.dialect = dialect
        self.id = id
        self.principal: Principal = ANYBODY
        self.headers: dict[bytes, bytes] = dict(reversed(list(scope["headers"])))  # of a repeated one the first

    def header(self, name: bytes) -> str | None:
        """The first header of this (lower-case) name."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def method(self) -> str:
        return str(self.scope.get("method", ""))

    @property
    def path_params(self) -> dict[str, Any]:
        return self.scope.get("path_params", {})

    def query(self) -> dict[str, str]:
        """The query; of a repeated key the last counts."""
        raw = self.scope.get("query_string", b"")
        return dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True)) if raw else {}

    def at_hand(self, limit: int) -> bytes | None:
        """# fast path: the body, if all of it is here and it is not packed; else None. Raises BodyTooLarge."""
        data = None if b"content-encoding" in self.headers else self.outlet.body()
        if data is not None and len(data) > limit:
            raise _too_large(limit)
        return data

    async def body(self, limit: int) -> bytes:
        """The whole body, unpacked.

        Raises:
            BodyTooLarge: more than `limit` bytes, packed or unpacked. MediaUnsupported: an encoding we do not know.
            BadRequest: broken packing. ClientGone: it left before the body was here.
        """
        length = self.headers.get(b"content-length")
        if length and length.isdigit() and int(length) > limit:
            raise _too_large(limit)
        data = self.outlet.body()
        if data is None:
            data = await self._rest(limit)
        if len(data) > limit:
            raise _too_large(limit)
        encoding = self.headers.get(b"content-encoding")
        return unpacked(data, encoding.decode("latin-1"), limit) if encoding else data

    async def _rest(self, limit: int) -> bytes:
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone("The client left while it sent its request.")
            part: bytes = message.get("body", b"")  # type: ignore[assignment]
            parts.append(part)
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            more = bool(message.get("more_body"))
        return b"".join(parts)

    def json_type(self) -> None:
        """Raises MediaUnsupported unless the body calls itself JSON, or nothing at all and comes from no web page: a page of
        another origin can send what has no type without asking first."""
        said = self.headers.get(b"content-type")
        if said is None:
            if b"origin" in self.headers:
                raise MediaUnsupported("A web page has to say what it sends; send application/json.")
        elif said != b"application/json":
            type_ = said.decode("latin-1")
            media = type_.partition(";")[0].strip().lower()
            if media != "application/json" and not media.endswith("+json"):
                raise MediaUnsupported(
                    f"The content type {type_[:100]!r} is not supported here; send application/json."
                )


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than {limit} bytes, which is the most this server takes.")


def unpacked(data: bytes, encoding: str, limit: int) -> bytes:
    """A packed body → its bytes, never more than `limit` of them in memory."""
    names = [name for part in encoding.split(",") if (name := part.strip().lower()) not in ("identity", "")]
    if len(names) > MAX_LAYERS:
        raise MediaUnsupported(f"The request body is packed {len(names)} times; at most {MAX_LAYERS} are supported.")
    for name in reversed(names):
        try:
            if name in ("gzip", "x-gzip"):
                data = _inflated(data, 31, limit)
            elif name == "deflate":
                data = _inflated(data, 15 if data[:1] == b"\x78" else -15, limit)
            elif name == "br":
                data = _unbrotlied(data, limit)
            else:
                raise MediaUnsupported(
                    f"The content encoding {name[:40]!r} is not supported; send gzip, deflate or br."
                )
        except (zlib.error, brotli.error):
            raise BadRequest(f"The request body is not valid {name}.") from None
    return data


def _inflated(data: bytes, window: int, limit: int) -> bytes:
    inflate = zlib.decompressobj(window)
    out = inflate.decompress(data, limit + 1)
    if len(out) > limit:
        raise _too_large(limit)
    if not inflate.eof:
        raise zlib.error("it ends too early")
    if inflate.unused_data:
        raise zlib.error("something stands behind its end")
    return out


def _unbrotlied(data: bytes, limit: int) -> bytes:
    decoder = brotli.Decompressor()
    out, size = [], 0
    part = decoder.process(data, output_buffer_limit=limit + 1)
    while True:
        out.append(part)
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        if decoder.is_finished():
            return b"".join(out)
        if decoder.can_accept_more_data():
            raise brotli.error("it ends too early")
        part = decoder.process(b"", output_buffer_limit=limit + 1 - size)

"""The checker's own client: raw sockets, one connection a question, every byte with its time.

Owns the sockets. Judges nothing and forgives nothing; knows no SSE and no JSON. Invariant: whatever the server does, an
answer comes back within `patience` seconds of silence.
"""

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from proxy.verify.http1 import Response

_READ = 1 << 16
_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to send; `path` is joined to the base URL, `headers` come after the usual ones and win."""

    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Client:
    """Sends questions to one base URL. Raises `ValueError` for a URL that is not http or https."""

    def __init__(self, url: str, key: str | None, patience: float = 30.0, tls: ssl.SSLContext | None = None):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected an http or https URL, found {url!r}")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._netloc = parts.netloc.rpartition("@")[2]
        self._prefix = parts.path.rstrip("/")
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._key = key
        self._patience = patience

    async def ask(self, ask: Ask) -> Response:
        """The answer, whatever it is; a connection that fails is an answer, too."""
        response = Response(head_only=ask.method == "HEAD")
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._patience):
                reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        except TimeoutError:
            response.stop("timeout", time.monotonic() - began)
            return response
        except OSError as error:
            response.stop("unreachable", time.monotonic() - began)
            response.problems[-1] = f"no connection to {self._host}:{self._port}: {error}"
            return response
        try:
            await self._converse(ask, reader, writer, response)
        finally:
            writer.transport.abort()
        return response

    async def _converse(
        self, ask: Ask, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, response: Response
    ) -> None:
        began = time.monotonic()
        try:
            writer.write(self._encode(ask))
            while response.end == "open" and len(response.body) < _LIMIT:
                async with asyncio.timeout(self._patience):
                    data = await reader.read(_READ)
                if not data:
                    response.stop("closed", time.monotonic() - began)
                else:
                    response.feed(data, time.monotonic() - began)
        except TimeoutError:
            response.stop("timeout", time.monotonic() - began)
        except OSError:
            response.stop("reset", time.monotonic() - began)

    def _encode(self, ask: Ask) -> bytes:
        headers = {"host": self._netloc, "accept": "application/json", "user-agent": "traghetto-verify"}
        if self._key is not None:
            headers["authorization"] = f"Bearer {self._key}"
        if ask.body is not None:
            headers["content-type"] = "application/json"
            headers["content-length"] = str(len(ask.body))
        headers.update(ask.headers)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{ask.method} {self._prefix}{ask.path} HTTP/1.1\r\n{lines}\r\n".encode() + (ask.body or b"")

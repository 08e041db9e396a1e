"""The exchanges with one predictions API: objects out and in, what a model takes, lists page by page, uploads.

It owns the socket's client and the errors of the wire; it refuses to know jobs and what inputs mean. Invariants: URLs that
the upstream gives are never followed with the token, everything is built from ids; what creates is sent once.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import msgspec

from adapters._http import HttpClient, Timeouts, TransportError
from adapters.accents import object_in
from adapters.faults import retry_after_s, transport_fault
from adapters.line import once
from adapters.options import VaikerAIOptions
from adapters.vaikerai.answers import refusal
from adapters.vaikerai.reference import HASH, Reference
from adapters.vaikerai.schema import UNKNOWN, Model, model_of
from proxy.errors import Fault, UpstreamError
from proxy.wire.body import encode

MAX_ANSWER = 64 << 20
SPARE_S = 10.0  # how much longer than it was asked to an upstream may hold its answer back
SCHEMA_S = 3600.0
MAX_PAGES = 10
MAX_MODELS = 10_000

Headers = list[tuple[str, str]]


class Api:
    """One upstream."""

    def __init__(self, name: str, options: VaikerAIOptions, client: HttpClient) -> None:
        self.name = name
        self.options = options
        self._client = client
        self._models: dict[str, tuple[float, Model]] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    @property
    def replicate(self) -> bool:
        return self.options.preset == "replicate"

    async def ask(
        self, method: str, path: str, body: Any = None, headers: Headers | None = None, *, wait_s: float = 0.0
    ) -> dict[str, Any]:
        """One exchange → its object. `wait_s` is how long the upstream was asked to hold its answer back. Raises
        UpstreamError for everything else."""
        raw = b"" if body is None else encode(body)
        given = [("content-type", "application/json"), ("content-length", str(len(raw)))] if raw else []
        answer = object_in(await self._said(method, path, [*given, *(headers or [])], raw, wait_s=wait_s))
        if not answer:
            raise UpstreamError(Fault.MALFORMED, f"The upstream {self.name!r} sent no JSON object.", accepted=True)
        return answer

    async def _said(
        self, method: str, path: str, headers: Headers, raw: bytes, query: str = "", *, wait_s: float = 0.0
    ) -> bytes:
        clocks = self.options.timeout
        patient = None
        if wait_s:
            first_byte_s = max(clocks.first_byte_s, wait_s + SPARE_S)
            patient = Timeouts(clocks.connect_s, first_byte_s, clocks.between_bytes_s, clocks.total_s, clocks.pool_s)
        try:
            content = once(raw) if raw else b""
            response = await self._client.send(
                method, path, headers=headers, content=content, query=query, timeouts=patient
            )
            try:
                said = await response.read(MAX_ANSWER)
            finally:
                response.close()
        except TransportError as error:
            raise transport_fault(error, self.name) from None
        if response.status >= 300:
            raise refusal(response.status, said, retry_after_s(response), self.name)
        return said

    def _value(self, said: bytes) -> Any:
        try:
            return msgspec.json.decode(said)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            said_what = f"The upstream {self.name!r} sent what is no JSON."
            raise UpstreamError(Fault.MALFORMED, said_what, accepted=True) from None

    async def listed(self, path: str, *, method: str = "GET", body: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """The rows of a list, page by page; a list without pages as well. At most MAX_PAGES of them."""
        query = ""
        for _ in range(MAX_PAGES):
            raw = b"" if body is None else body.encode()
            headers = [("content-type", "text/plain"), ("content-length", str(len(raw)))] if raw else []
            said = self._value(await self._said(method, path, headers, raw, query))
            rows = said.get("results") if isinstance(said, dict) else said
            for row in rows if isinstance(rows, list) else []:
                if isinstance(row, dict):
                    yield row
            cursor = _cursor(said)
            if cursor is None or method != "GET":
                return
            query = f"cursor={quote(cursor, safe='')}"

    # ── what models take ─────────────────────────────────────────────────────────────────────────────────────────────

    async def model(self, reference: Reference) -> Model:
        """What the model takes, asked once an hour; models are asked side by side, the same one once."""
        text = reference.text
        if (kept := self.known(text)) is not None:
            return kept
        async with self._asking.setdefault(text, asyncio.Lock()):
            if (kept := self.known(text)) is not None:
                return kept
            found = model_of(await self._described(reference)) if reference.name else None
            if (
                len(self._models) > MAX_MODELS
            ):  # callers may name any model: the list of what was asked is no place to grow
                self._models.clear()
                self._asking.clear()
            self._models[text] = (time.monotonic() + SCHEMA_S, found or UNKNOWN)
            return found or UNKNOWN

    def known(self, text: str) -> Model | None:
        """What this target's model takes, if it was asked within the hour."""
        kept = self._models.get(text)
        return kept[1] if kept is not None and kept[0] > time.monotonic() else None

    async def _described(self, reference: Reference) -> dict[str, Any]:
        name, version = reference.name, reference.version
        if reference.deployment:
            release = (await self.ask("GET", f"/deployments/{name}")).get("current_release")
            release = release if isinstance(release, dict) else {}
            there = Reference(f"{release.get('model', '')}:{release.get('version', '')}")
            name, version = there.name, there.version
        if HASH.fullmatch(version):
            return await self.ask("GET", f"/models/{name}/versions/{version}")
        latest = (await self.ask("GET", f"/models/{name}")).get("latest_version")
        return latest if isinstance(latest, dict) else {}

    # ── files that go in ─────────────────────────────────────────────────────────────────────────────────────────────

    async def upload(self, data: bytes, content_type: str) -> str:
        """A file for an input → its URL (preset `replicate` only; it expires there after a day)."""
        edge = secrets.token_hex(16)
        head = f'--{edge}\r\ncontent-disposition: form-data; name="content"; filename="input"\r\n'
        raw = f"{head}content-type: {content_type}\r\n\r\n".encode() + data + f"\r\n--{edge}--\r\n".encode()
        headers = [("content-type", f"multipart/form-data; boundary={edge}"), ("content-length", str(len(raw)))]
        made = object_in(await self._said("POST", "/files", headers, raw))
        urls = made.get("urls")
        url = urls.get("get") if isinstance(urls, dict) else None
        if not isinstance(url, str):
            raise UpstreamError(
                Fault.MALFORMED, f"The upstream {self.name!r} gave no file for an upload.", accepted=True
            )
        return url

    async def aclose(self) -> None:
        await self._client.aclose()


def _cursor(said: Any) -> str | None:
    """The cursor of the next page. Only it is taken from the upstream's URL, never the URL."""
    following = said.get("next") if isinstance(said, dict) else None
    if not isinstance(following, str):
        return None
    return next(iter(parse_qs(urlsplit(following).query).get("cursor", [])), None)

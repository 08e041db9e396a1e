"""Files fetched for the operator over http and https: resumed where they were cut, tried again where that may help.

Owns requests, redirects, retries and credentials. Refuses to know hubs, files on disk (`partial`) and what is shown.
Invariants: credentials go to the origin that they are for; redirects lead to http and https only, and off https only
where a checksum is known. Who runs the command chooses the URL, so no address is refused.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

from adapters._http import HttpClient, HttpResponse, Timeouts, TransportError
from adapters.llama.partial import (
    SHA256,
    Broken,
    Fetched,
    OnBytes,
    Part,
    PartialFile,
    already,
    locked,
    must_be_allowed,
)
from proxy.errors import Fault, UpstreamError

MOST_REDIRECTS = 10
ATTEMPTS = 6  # in a row without a byte
CLOCKS = Timeouts(connect_s=20, first_byte_s=60, between_bytes_s=60, total_s=0)
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_SAFE = "/%:@!$&'()*+,;=~-._?"


class Downloader:
    """`fetch` files; `opened` for anything small. `token` goes to `origin` (scheme://host[:port]) and nowhere else."""

    def __init__(
        self,
        *,
        token: str = "",
        origin: str = "",
        clocks: Timeouts = CLOCKS,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._token = token
        self._origin = origin
        self._clocks = clocks
        self._attempts = attempts
        self._sleep = sleep
        self._clients: dict[str, HttpClient] = {}

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    @contextlib.asynccontextmanager
    async def opened(
        self, url: str, headers: tuple[tuple[str, str], ...] = (), *, checksum: bool = True
    ) -> AsyncIterator[HttpResponse]:
        """The response at the end of the redirects, its header `x-linked-etag` and the like of the way included.

        `checksum`: the content will be compared with one, so that the way may leave https. Raises UpstreamError.
        """
        seen: list[tuple[bytes, bytes]] = []
        for _ in range(MOST_REDIRECTS):
            response = await self._sent(url, headers)
            location = response.header("location")
            if response.status not in (301, 302, 303, 307, 308) or location is None:
                async with response:
                    response.headers.raw.extend(seen)  # behind its own, which come first
                    yield response
                return
            seen.extend(pair for pair in response.headers.raw if pair[0].lower().startswith(b"x-linked-"))
            response.release()
            url = _next(url, location, checksum)
        raise UpstreamError(Fault.MALFORMED, f"more than {MOST_REDIRECTS} redirects", accepted=False)

    async def _sent(self, url: str, headers: tuple[tuple[str, str], ...]) -> HttpResponse:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._clients:
            try:
                self._clients[origin] = HttpClient(origin, timeouts=self._clocks, max_connections=4)
            except ValueError as error:
                raise UpstreamError(Fault.MALFORMED, f"{origin} is no address: {error}", accepted=False) from None
        own = (("authorization", f"Bearer {self._token}"),) if self._token and origin == self._origin else ()
        try:
            return await self._clients[origin].send(
                "GET",
                quote(parts.path or "/", safe=_SAFE),
                query=quote(parts.query, safe=_SAFE),
                headers=(("accept-encoding", "identity"), ("user-agent", "traghetto"), *own, *headers),
            )
        except TransportError as error:
            raise Broken(f"{parts.hostname}: {error.message}") from None

    async def fetch(
        self, part: Part, folder: Path, *, on_bytes: OnBytes | None = None, allowed: frozenset[str] = frozenset()
    ) -> Fetched:
        """One file into the folder. `allowed` are the digests that may be kept; empty: any.

        Raises:
            UpstreamError: it cannot be had, or is not what it should be. What has come stays for the next time, unless
            it was found to be wrong.
        """
        if part.sha256 and not SHA256.match(part.sha256):
            raise UpstreamError(Fault.REFUSED, f"{part.sha256!r} is no SHA-256: 64 hexadecimal digits", accepted=False)
        target = folder / part.name
        here = await asyncio.to_thread(already, part, target)
        if here is not None:
            must_be_allowed(here.sha256, allowed, part.name)
            return here
        if part.sha256:
            must_be_allowed(part.sha256, allowed, part.name)  # before anything is fetched
        with locked(target) as partial:
            return await self._whole(PartialFile(part, target, partial, on_bytes), allowed)

    async def _whole(self, work: PartialFile, allowed: frozenset[str]) -> Fetched:
        idle = 0
        await asyncio.to_thread(work.begin)
        while True:
            before = work.done
            try:
                await self._attempt(work)
                break
            except Broken as error:
                idle = 0 if work.done > before else idle + 1
                if idle >= self._attempts:
                    said = f"{work.part.name}: {error} ({work.done} bytes are kept for the next time)"
                    raise UpstreamError(Fault.CUT, said, accepted=False) from None
                wait = min(0.5 * 2**idle, 20.0) * random.uniform(0.75, 1.25)
                await self._sleep(max(wait, min(error.wait_s or 0.0, 120.0)))
        return await asyncio.to_thread(work.end, allowed)

    async def _attempt(self, work: PartialFile) -> None:
        """Goes on from where the file ends. Raises Broken, UpstreamError."""
        async with self.opened(work.part.url, work.headers(), checksum=bool(work.notes.sha256)) as response:
            if response.status in _AGAIN:
                wait = response.header("retry-after") or ""
                raise Broken(f"status {response.status}", float(wait) if wait.isdigit() else None)
            if not work.starts(response):
                return
            while True:
                try:
                    data = await response.chunk()
                except TransportError as error:
                    raise Broken(error.message) from None
                if not data:
                    break
                work.add(data)
            work.must_be_complete()


def _next(url: str, location: str, checksum: bool) -> str:
    """Where a redirect leads. Raises UpstreamError."""
    there = urljoin(url, location)
    parts = urlsplit(there)
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise UpstreamError(Fault.MALFORMED, f"a redirect leads to {scheme or 'nowhere'}://", accepted=False)
    if scheme == "http" and urlsplit(url).scheme == "https" and not checksum:
        said = "a redirect leads from https to http, and no checksum is known; give one with --sha256"
        raise UpstreamError(Fault.MALFORMED, said, accepted=False)
    return there

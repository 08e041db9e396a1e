"""Files behind URLs that somebody else gave us: the outputs of an upstream, the pictures that a caller points at.

It owns the fetching under a `UrlPolicy`: every hop judged, resolved once and connected to the address that was checked;
bounded in bytes and seconds. It refuses to know which upstream made a file and what it is for. Invariants: what is not
what was wanted, by its first bytes, is not handed on; credentials go to the API's own origin only; no message of an
error holds a URL (a signed one is a secret).
"""

import asyncio
import binascii
from base64 import b64decode
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes, urlsplit

from adapters._http import HttpResponse, Spot, Timeouts, TransportError, fetched
from adapters.guard import Aim, Pin, Refused, Resolver, UrlPolicy, look_up, pin
from adapters.options import Jobs
from proxy import NAME, __version__
from proxy.errors import Fault, TraghettoError, UpstreamError
from proxy.media.inspect import CONTENT_TYPES
from proxy.media.inspect import sniff as sniff_image

AT_ONCE = 8  # files of one upstream in memory while they come
TRIES = 3
PAUSE_S = 0.2  # before the second try; twice that before the third
_MOVED = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_TARGET_SAFE = "%/:?#[]@!$&'()*+,;=-._~"
_UNKNOWN = "application/octet-stream"

Refuse = Callable[[str], TraghettoError]


class Want(NamedTuple):
    """What a file must be (`image`, `audio`, or "" for anything), how many bytes it may have and how long it may take."""

    what: str
    max_bytes: int
    timeout_s: float = 60.0


IMAGE = Want("image", 32 << 20)
AUDIO = Want("audio", 64 << 20)
ANYTHING = Want("", 64 << 20)


class Downloaded(NamedTuple):
    """A whole file. `content_type` is what its first bytes say; where they say nothing, what came with it."""

    body: bytes
    content_type: str


class _Passing(Exception):
    """A failure that another try may not meet. `reason` as in `Refused`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Downloads:
    """Fetches for one purpose. `refuse` makes the error of a reason such as "it is larger than 32 MiB".

    `authorization` is the header value for the API's own origin; `verify` as for `HttpClient`; a host that says nothing
    for `silence_s` has failed.
    """

    def __init__(
        self,
        policy: UrlPolicy,
        refuse: Refuse,
        *,
        authorization: str | None = None,
        verify: bool | str = True,
        silence_s: float = 15.0,
        resolver: Resolver = look_up,
    ) -> None:
        self._policy = policy
        self._refuse = refuse
        self._authorization = authorization
        self._verify = verify
        self._silence_s = silence_s
        self._resolver = resolver
        self._room = asyncio.Semaphore(AT_ONCE)

    async def get(self, url: str, want: Want = ANYTHING) -> Downloaded:
        """The file behind an http(s) URL, or inside a `data:` URL. Raises what `refuse` makes."""
        if url[:5].lower() == "data:":
            return await self._inside(url, want)
        async with self._room:
            try:
                async with asyncio.timeout(want.timeout_s):
                    return await self._patiently(url, want)
            except TimeoutError:
                raise self._refuse(f"it did not come within {want.timeout_s:g} seconds") from None

    async def _patiently(self, url: str, want: Want) -> Downloaded:
        """A GET harms nobody when it is sent again, and the file may have cost money."""
        for number in range(TRIES):
            try:
                return await self._follow(url, want, number)
            except _Passing as failed:
                reason = failed.reason
            if number + 1 < TRIES:
                await asyncio.sleep(PAUSE_S * 2.0**number)
        raise self._refuse(reason)

    async def _follow(self, url: str, want: Want, number: int) -> Downloaded:
        async def turned(host: str, port: int) -> list[str]:
            """The host's addresses, another one in front at each try."""
            found = await self._resolver(host, port)
            first = number % max(1, len(found))
            return found[first:] + found[:first]

        where: str | Aim = url
        hops = 0
        while True:
            spot = await pin(self._policy, where, refuse=self._refuse, resolver=turned)
            got = await self._hop(spot, want)
            if isinstance(got, Downloaded):
                return got
            next_aim = self._policy.redirect(spot.aim, got, hops)
            if isinstance(next_aim, Refused):
                raise self._refuse(next_aim.reason)
            where, hops = next_aim, hops + 1

    async def _hop(self, spot: Pin, want: Want) -> Downloaded | str:
        """The file, or where it has moved."""
        aim = spot.aim
        headers = [("user-agent", f"{NAME}/{__version__}"), ("accept", f"{want.what}/*" if want.what else "*/*")]
        if aim.credentials and self._authorization is not None:
            headers.append(("authorization", self._authorization))
        clocks = Timeouts(5.0, self._silence_s, self._silence_s, want.timeout_s)
        place = Spot(aim.scheme, aim.host, aim.port, target_of(aim.url), spot.address)
        try:
            async with fetched(place, headers=headers, timeouts=clocks, verify=self._verify) as response:
                if response.status in _MOVED and (location := response.header("location")):
                    return location
                if response.status != 200:
                    said = f"its host answered with status {response.status}"
                    raise _Passing(said) if response.status in _PASSING else self._refuse(said)
                return await self._body(response, want)
        except TransportError as error:
            if error.kind == "too_large":
                raise self._refuse(_too_large(want)) from None
            said = _SAID.get(error.kind, "the connection broke before it was complete")
            raise (self._refuse(said) if error.kind in _FINAL else _Passing(said)) from None

    async def _body(self, response: HttpResponse, want: Want) -> Downloaded:
        announced = response.header("content-length")
        if announced is not None and announced.isdigit() and int(announced) > want.max_bytes:
            raise self._refuse(_too_large(want))
        body = await response.read(want.max_bytes)
        return self._checked(body, response.header("content-type"), want)

    async def _inside(self, url: str, want: Want) -> Downloaded:
        head, comma, text = url[5:].partition(",")
        if not comma:
            raise self._refuse("its data URL is malformed")
        encoded = head.lower().endswith(";base64")
        if len(text) > (want.max_bytes * 4 // 3 + 4 if encoded else 3 * want.max_bytes):
            raise self._refuse(_too_large(want))
        try:
            if not encoded:
                body = unquote_to_bytes(text)
            elif len(text) > 1 << 20:
                body = await asyncio.to_thread(b64decode, text, validate=True)
            else:
                body = b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise self._refuse("its data URL is damaged") from None
        if len(body) > want.max_bytes:
            raise self._refuse(_too_large(want))
        return self._checked(body, head, want)

    def _checked(self, body: bytes, declared: str | None, want: Want) -> Downloaded:
        if not body:
            raise self._refuse("it is empty")
        found = sniff(body[:64])
        claimed = (declared or "").partition(";")[0].strip().lower() or _UNKNOWN
        if want.what and (found or "").partition("/")[0] != want.what:
            # Bare samples have no first bytes to know them by; text and mark-up are not samples, whatever they claim.
            bare = found is None and want.what == "audio" and claimed.startswith("audio/") and not _textual(body[:64])
            if not bare:
                raise self._refuse(f"its bytes are not of a kind of {want.what} that we know")
        return Downloaded(body, found or claimed)


def sniff(head: bytes) -> str | None:
    """The content type that a file's first bytes belong to, or None."""
    if (image := sniff_image(head)) is not None:
        return CONTENT_TYPES[image]
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "audio/wav"
    if head[:4] == b"OggS":
        return "audio/ogg"
    if head[:4] == b"fLaC":
        return "audio/flac"
    if head[:3] == b"ID3":
        return "audio/mpeg"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # a frame of MPEG audio; layer 0 is ADTS
        return "audio/aac" if head[1] & 0xF6 == 0xF0 else "audio/mpeg" if head[1] & 0x06 else None
    if head[4:8] == b"ftyp":
        return "audio/mp4" if head[8:11] in (b"M4A", b"M4B") else "video/mp4"
    return "video/webm" if head[:4] == b"\x1aE\xdf\xa3" else None


def files_of(name: str, options: Jobs) -> Downloads:
    """The Downloads of an upstream's outputs, as its options describe it: UpstreamErrors that name the upstream."""

    def refuse(reason: str) -> TraghettoError:
        said = f"The file that the upstream {name!r} made could not be fetched: {reason}."
        return UpstreamError(Fault.SERVER, said, accepted=True)

    policy = UrlPolicy(options.file_hosts, own=options.base_url)
    token = f"Bearer {options.api_key}" if options.api_key else None
    silence_s = min(15.0, options.timeout.first_byte_s)
    return Downloads(policy, refuse, authorization=token, verify=options.verify, silence_s=silence_s)


async def download(
    url: str,
    *,
    policy: UrlPolicy,
    max_bytes: int,
    refuse: Refuse,
    timeout_s: float = 60.0,
    what: str = "",
) -> Downloaded:
    """One file for one purpose, without credentials. Raises what `refuse` makes."""
    return await Downloads(policy, refuse).get(url, Want(what, max_bytes, timeout_s))


_FINAL = frozenset({"tls", "request", "protocol"})
_SAID = {
    "connect": "its host could not be reached",
    "connect_timeout": "its host could not be reached in time",
    "tls": "its host could not be reached securely",
    "first_byte_timeout": "its host did not answer in time",
    "between_bytes_timeout": "it came too slowly",
    "total_timeout": "it came too slowly",
    "protocol": "its host sent what is not HTTP",
    "request": "its URL does not fit into HTTP",
}


def target_of(url: str) -> str:
    """The path and query of a URL as a request names them, percent-encoded."""
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return quote(target, safe=_TARGET_SAFE)


def _too_large(want: Want) -> str:
    size = f"{want.max_bytes >> 20} MiB" if want.max_bytes >= 1 << 20 else f"{want.max_bytes} bytes"
    return f"it is larger than {size}"


def _textual(head: bytes) -> bool:
    return head.lstrip()[:1] in (b"<", b"{", b"[") or (head.isascii() and head.decode().isprintable())

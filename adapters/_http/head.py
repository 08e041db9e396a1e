"""The request head as bytes.

Owns the origin of an upstream, the spelling of request lines and header lines, and what may not be said in them;
refuses to know sockets. Invariant: no byte of a caller's header, path or query can end a line: CR, LF, NUL and other
controls are refused, and so are the headers that frame a message, which only this room writes.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import httpx

from adapters._http.errors import TransportError

_NAME_OK = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_VALUE_BAD = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
_METHOD_OK = re.compile(r"[A-Z]{1,20}").fullmatch
# What a request target may hold: visible ASCII; a "#" would be a fragment, which is never sent.
_TARGET_BAD = re.compile(r"[^\x21\x22\x24-\x7e]").search

# Framing and hop-by-hop: ours alone. `content-length` is taken from a caller for streamed bodies only.
FRAMING = frozenset(
    {"transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer", "proxy-connection", "expect"}
)


class Origin(NamedTuple):
    """Where to connect and whom to ask for: `host` is ASCII (IDNA), without brackets; `address` replaces its look-up."""

    scheme: str
    host: str
    port: int
    uds: str | None = None
    address: str | None = None

    @property
    def authority(self) -> str:
        """The value of the Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"


def origin_of(url: httpx.URL, uds: str | None = None) -> Origin:
    """The origin of an absolute http(s) URL. Raises ValueError for anything else, user information included."""
    if url.scheme not in ("http", "https"):
        raise ValueError(f"{str(url)!r} is not an http or https URL")
    if not url.host:
        raise ValueError(f"{str(url)!r} names no host")
    if url.userinfo:
        raise ValueError("a base URL may not carry a user or a password; use a header")
    host = url.raw_host.decode("ascii").strip("[]")
    return Origin(url.scheme, host, url.port or (443 if url.scheme == "https" else 80), uds)


def refused(message: str) -> TransportError:
    """The error for a request that cannot be said in HTTP."""
    return TransportError("request", message)


def lines(headers: Iterable[tuple[str, str]]) -> bytes:
    """Header lines, each ended by CRLF. Raises TransportError(request) for names and values that are not headers."""
    return b"".join([_line(name, value) for name, value in headers])


_names: dict[str, bytes] = {}  # names that were found good → as they begin a line; theirs are few


def _line(name: str, value: str) -> bytes:
    begin = _names.get(name)
    if begin is None:
        if not _NAME_OK(name):
            raise refused(f"header name {name[:40]!r} is not a token")
        if name.lower() in FRAMING:
            raise refused(f"header {name!r} belongs to the transport")
        begin = f"{name}: ".encode("ascii")
        if len(_names) < 256:
            _names[name] = begin
    if _VALUE_BAD(value):
        raise refused(f"the value of header {name!r} has a control character in it")
    try:
        return b"%b%b\r\n" % (begin, value.strip().encode("latin-1"))
    except UnicodeEncodeError:
        raise refused("a header value is outside latin-1") from None


def target(path: str, query: str = "") -> str:
    """The request target for an already percent-encoded path and query. Raises TransportError(request)."""
    if query:
        path = f"{path}{'&' if '?' in path else '?'}{query}"
    if not path.startswith("/") or _TARGET_BAD(path):
        raise refused(f"{path[:80]!r} is not a percent-encoded absolute path")
    return path


class HeadWriter:
    """Builds request heads for one upstream; everything that does not change is spelled once."""

    def __init__(self, origin: Origin, prefix: str, headers: Sequence[tuple[str, str]]) -> None:
        names = {name.lower() for name, _ in headers}
        own = [] if "host" in names else [("host", origin.authority)]
        if "accept-encoding" not in names:
            own.append(("accept-encoding", "identity"))
        if "content-length" in names:
            raise refused("content-length cannot be a header of every request")
        self._prefix = prefix.rstrip("/")
        self._defaults = [*own, *headers]
        self._names = {name.lower() for name, _ in self._defaults}
        self._others: set[str] = set()
        self._fixed = lines(self._defaults)
        self._begun: dict[tuple[str, str], bytes] = {}  # request line and fixed headers, for the few paths there are

    def headers(self, extra: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """All headers of a request but the framing ones; an extra one replaces the default of the same name."""
        mine = {name.lower() for name, _ in extra}
        return [*(h for h in self._defaults if h[0].lower() not in mine), *extra]

    def path(self, path: str, query: str = "") -> str:
        """The request target under the upstream's prefix."""
        return target(self._prefix + path, query)

    def head(self, method: str, path: str, query: str, extra: Sequence[tuple[str, str]], framing: bytes) -> bytes:
        """The whole head, blank line included; `framing` is the content-length or transfer-encoding line or nothing."""
        begin = self._begun.get((method, path)) if not query else None
        if begin is None:
            if not _METHOD_OK(method):
                raise refused(f"method {method[:20]!r}")
            begin = f"{method} {target(self._prefix + path, query)} HTTP/1.1\r\n".encode("ascii") + self._fixed
            if not query and len(self._begun) < 64:
                self._begun[method, path] = begin
        if not extra:
            return b"%b%b\r\n" % (begin, framing)
        for name, _ in extra:
            if name not in self._others and self._replaces(name):
                break
        else:
            return b"%b%b%b\r\n" % (begin, lines(extra), framing)
        return b"%b%b%b\r\n" % (begin[: begin.find(b"\n") + 1], lines(self.headers(extra)), framing)

    def _replaces(self, name: str) -> bool:
        """Whether a header of this name replaces a fixed one; names that do not are remembered as they are spelled."""
        if name.lower() in self._names:
            return True
        if len(self._others) < 256:
            self._others.add(name)
        return False


def split_length(headers: Sequence[tuple[str, str]]) -> tuple[Sequence[tuple[str, str]], int | None]:
    """Take a caller's content-length out of the headers. Raises TransportError(request) if it is no length."""
    length: int | None = None
    for name, value in headers:
        if len(name) == 14 and name.lower() == "content-length":
            if not value.isascii() or not value.isdigit() or length not in (None, int(value)):
                raise refused(f"content-length {value[:20]!r}")
            length = int(value)
    if length is None:
        return headers, None
    return [h for h in headers if h[0].lower() != "content-length"], length

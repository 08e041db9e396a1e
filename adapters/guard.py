"""Which URLs may be fetched on somebody's behalf, and at which address: decisions only, the fetching is done elsewhere.

It owns the host allow-list, the refusal of private addresses and the re-check of redirects; it refuses to know HTTP clients.
Invariants: a name is resolved once and the connection goes to an address that was checked (no second look-up in between);
every hop of a redirect is judged like the first; credentials go to the API's own origin and nowhere else.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from proxy.errors import TraghettoError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[list[str]]]

PORTS = {"http": 80, "https": 443}
MAX_HOPS = 3
# What `is_global` of the standard library does not settle in every version that we run on.
_NEVER = tuple(
    ipaddress.ip_network(net)
    for net in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "100::/64", "2001:db8::/32", "fc00::/7", "fe80::/10",
        "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
# Nothing on these is ever a file host, whatever a configuration says: instance metadata lives here.
_METADATA = tuple(
    ipaddress.ip_network(net) for net in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128")
)
_METADATA_NAMES = frozenset({"metadata.google.internal", "metadata", "instance-data", "metadata.azure.internal"})
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_PRIVATE_NAME = re.compile(
    r"localhost|[^.]+|.+\.(?:localhost|local|internal|lan|home\.arpa|test|invalid|cluster\.local)"
)


class Refused(NamedTuple):
    """Why a URL is not fetched. `reason` names no address and may be shown."""

    reason: str


class Aim(NamedTuple):
    """A URL that may be fetched if its address may. `trusted`: the config names this very host as one of its own."""

    url: str
    scheme: str
    host: str
    port: int
    trusted: bool
    credentials: bool


class Pin(NamedTuple):
    """Where to connect: `address` instead of a second look-up of `aim.host` (which stays the Host header and TLS name)."""

    aim: Aim
    address: str


class Entry(NamedTuple):
    """One line of an allow-list. With a scheme it is one exact origin; a bare name takes in its subdomains."""

    scheme: str | None
    host: str
    port: int | None

    @property
    def own(self) -> bool:
        """Whether the operator can only have meant a host of his own: an origin, an address, a private name."""
        return bool(self.scheme) or as_address(self.host) is not None or bool(_PRIVATE_NAME.fullmatch(self.host))


def entry_of(text: str) -> Entry:
    """`host`, `host:port` or `scheme://host[:port]`. ValueError for anything else."""
    parts = urlsplit(text if "://" in text else f"//{text}")
    host = _host_of(parts)
    if host is None or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"not a host, host:port or origin: {text!r}")
    if parts.scheme and parts.scheme not in PORTS:
        raise ValueError(f"only http and https origins: {text!r}")
    return Entry(
        parts.scheme or None,
        host,
        parts.port or (PORTS[parts.scheme] if parts.scheme else None),
    )


def as_address(host: str) -> Address | None:
    """The address that a host part spells out canonically, or None."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _host_of(parts: SplitResult) -> str | None:
    """The host in lower-case ASCII without its root dot; None when it is none, or a number in disguise."""
    try:
        host = (parts.hostname or "").rstrip(".")
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
    except (UnicodeError, ValueError):
        return None
    host = host.lower()
    if as_address(host) is not None:
        return host
    # 2130706433, 0x7f.1 and 127.1 are addresses to a resolver and names to a list: only dotted quads are addresses here.
    if not _NAME.fullmatch(host) or re.fullmatch(r"(?:0x[0-9a-f]*|\d+)", host.rpartition(".")[2]):
        return None
    return host


def _embedded(address: Address) -> list[Address]:
    """The address with the IPv4 addresses that it carries: mapped, compatible, 6to4, Teredo, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    number = int(address)
    found: list[Address | None] = [
        address.ipv4_mapped,
        address.sixtofour,
        *(address.teredo or ()),
    ]
    if address in ipaddress.ip_network("64:ff9b::/96") or (number >> 32 == 0 and number > 1):
        found.append(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    if address in ipaddress.ip_network("64:ff9b:1::/48"):
        found.append(ipaddress.IPv4Address("10.0.0.0"))  # NAT64 for local use: private by definition
    carried = [a for a in found if a is not None]
    # A mapped address is that IPv4 address and nothing else; the other forms are routed as IPv6, too.
    return carried if address.ipv4_mapped else [address, *carried]


def public(address: str) -> bool:
    """Whether an address, and each IPv4 address inside it, belongs to the open internet."""
    parsed = as_address(address.partition("%")[0])
    if parsed is None or "%" in address:
        return False
    return all(
        not any(a in net for net in _NEVER if net.version == a.version) and not a.is_multicast and not a.is_reserved
        for a in _embedded(parsed)
    )


def metadata(address: str) -> bool:
    """Whether an address may be the metadata service of a cloud (or anything else that is link-local)."""
    parsed = as_address(address.partition("%")[0])
    if parsed is None:
        return True
    return any(a in net for a in _embedded(parsed) for net in _METADATA if net.version == a.version)


class UrlPolicy:
    """The rules of one upstream's outputs (`hosts` given), or of callers' URLs (`hosts` None: any public host).

    `own` is the API's base URL: its origin may be fetched from, wherever it lives, and is the only one to get credentials.
    Plain http is for the API's origin, for origins listed with it, and for hosts of one's own.
    """

    def __init__(self, hosts: Iterable[str] | None, *, own: str | None = None) -> None:
        """ValueError for an entry that is neither a host nor an origin."""
        self._entries = None if hosts is None else tuple(entry_of(host) for host in hosts)
        self._own = None
        if own is not None:
            parts = urlsplit(own)
            self._own = entry_of(f"{parts.scheme}://{parts.netloc}")

    def judge(self, url: str) -> Aim | Refused:
        """What the URL alone tells: scheme, host, port. Says nothing about addresses yet."""
        if len(url) > 8192 or not url.isprintable() or "\\" in url or " " in url:
            return Refused("the URL is malformed")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return Refused("the URL is malformed")
        if parts.scheme not in PORTS:
            return Refused("only http and https URLs are fetched")
        if parts.username is not None or parts.password is not None:
            return Refused("the URL carries credentials")
        host = _host_of(parts)
        if host is None or port == 0:
            return Refused("the URL names no valid host")
        if host in _METADATA_NAMES:
            return Refused("the host is not allowed")
        return self._place(url, parts.scheme, host, port or PORTS[parts.scheme])

    def _place(self, url: str, scheme: str, host: str, port: int) -> Aim | Refused:
        if self._own == (scheme, host, port):
            return Aim(url, scheme, host, port, trusted=True, credentials=True)
        found = [entry for entry in self._entries or () if _matches(entry, scheme, host, port)]
        if self._entries is not None and not found:
            return Refused("the host is not on the list of this upstream's file hosts")
        trusted = any(entry.own and entry.host == host for entry in found)
        if scheme != "https" and not trusted:
            return Refused("only https URLs are fetched from this host")
        if not trusted and port != PORTS[scheme] and not any(entry.port == port for entry in found):
            return Refused("the port is not allowed")
        return Aim(url, scheme, host, port, trusted=trusted, credentials=False)

    def choose(self, aim: Aim, addresses: Iterable[str]) -> Pin | Refused:
        """The address to connect to. One bad address among several is enough to refuse: the answer was tampered with."""
        given = list(addresses)
        if not given:
            return Refused("the host has no address")
        for address in given:
            if metadata(address) or not (aim.trusted or public(address)):
                return Refused("the host has an address that is not public")
        return Pin(aim, given[0])

    def redirect(self, aim: Aim, location: str, hops: int) -> Aim | Refused:
        """Judge the next hop; `hops` is how many were followed already. From https nothing leads back to http."""
        if hops >= MAX_HOPS:
            return Refused("too many redirects")
        try:
            target = urljoin(aim.url, location.strip())
        except ValueError:
            return Refused("the redirect is malformed")
        verdict = self.judge(target)
        if isinstance(verdict, Aim) and aim.scheme == "https" and verdict.scheme == "http":
            return Refused("a redirect leads from https to http")
        return verdict


def _matches(entry: Entry, scheme: str, host: str, port: int) -> bool:
    if entry.port is not None and entry.port != port:
        return False
    if entry.scheme is not None:
        return (entry.scheme, entry.host) == (scheme, host)
    if as_address(entry.host) is not None:
        return entry.host == host
    return host == entry.host or host.endswith("." + entry.host)


async def look_up(host: str, port: int) -> list[str]:
    """All addresses of a host, as the system's resolver orders them. OSError when there is none."""
    rows = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


async def pin(
    policy: UrlPolicy,
    where: str | Aim,
    *,
    refuse: Callable[[str], TraghettoError],
    resolver: Resolver = look_up,
    timeout_s: float = 5.0,
) -> Pin:
    """Judge a URL (or the Aim of a redirect), resolve its host once, choose an address. Raises `refuse(reason)`."""
    aim = policy.judge(where) if isinstance(where, str) else where
    if isinstance(aim, Refused):
        raise refuse(aim.reason)
    literal = as_address(aim.host)
    try:
        async with asyncio.timeout(timeout_s):
            addresses = [str(literal)] if literal else await resolver(aim.host, aim.port)
    except (OSError, UnicodeError):
        raise refuse("the host could not be resolved") from None
    chosen = policy.choose(aim, addresses)
    if isinstance(chosen, Refused):
        raise refuse(chosen.reason)
    return chosen

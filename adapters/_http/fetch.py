"""One GET of an absolute URL at an address that somebody else has chosen, on a connection of its own.

Owns the connection from dialling to closing; refuses to know URLs, policies and redirects (`adapters.download` does).
Invariants: no name is looked up here, the socket goes to the given address and nowhere else; the name stays the Host
header and what the certificate must be for; no connection is kept.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from adapters._http.client import HttpResponse
from adapters._http.head import HeadWriter, Origin
from adapters._http.timeouts import Timeouts
from adapters._http.transport import NativeTransport, Request


class Spot(NamedTuple):
    """What to ask and where: `target` is the percent-encoded path with its query, `address` a literal IP address."""

    scheme: str
    host: str
    port: int
    target: str
    address: str


async def fetch_head(
    spot: Spot, *, headers: Sequence[tuple[str, str]] = (), timeouts: Timeouts, verify: bool | str = True
) -> HttpResponse:
    """The response, its head there, whatever its status. Closing it closes the socket. Raises TransportError."""
    return await _send(NativeTransport(verify=verify, max_connections=1, max_idle=0), spot, headers, timeouts)


@contextlib.asynccontextmanager
async def fetched(
    spot: Spot, *, headers: Sequence[tuple[str, str]] = (), timeouts: Timeouts, verify: bool | str = True
) -> AsyncIterator[HttpResponse]:
    """As `fetch_head`; leaving closes the socket, and waits until it is closed."""
    transport = NativeTransport(verify=verify, max_connections=1, max_idle=0)
    try:
        async with await _send(transport, spot, headers, timeouts) as response:
            yield response
    finally:
        await transport.aclose()


async def _send(
    transport: NativeTransport, spot: Spot, headers: Sequence[tuple[str, str]], timeouts: Timeouts
) -> HttpResponse:
    origin = Origin(spot.scheme, spot.host, spot.port, address=spot.address)
    head = HeadWriter(origin, "", headers).head("GET", spot.target, "", (), b"")
    exchange = await transport.exchange(origin, Request("GET", head, b"", None), timeouts)
    return HttpResponse(exchange, asyncio.get_running_loop())

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


@contextlib.asynccontextmanager
async def fetched(
    spot: Spot, *, headers: Sequence[tuple[str, str]] = (), timeouts: Timeouts, verify: bool | str = True
) -> AsyncIterator[HttpResponse]:
    """The response, its head there, whatever its status; leaving closes the socket. Raises TransportError."""
    origin = Origin(spot.scheme, spot.host, spot.port, address=spot.address)
    head = HeadWriter(origin, "", headers).head("GET", spot.target, "", (), b"")
    transport = NativeTransport(verify=verify, max_connections=1, max_idle=0)
    try:
        exchange = await transport.exchange(origin, Request("GET", head, b"", None), timeouts)
        async with HttpResponse(exchange, asyncio.get_running_loop()) as response:
            yield response
    finally:
        await transport.aclose()

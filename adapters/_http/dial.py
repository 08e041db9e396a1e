"""Opening a connection to an origin: TCP, TLS over it, or a unix socket.

Owns TLS contexts and the connect clock; refuses to know HTTP and pools. Invariant: whatever goes wrong is a
`TransportError` of kind connect, connect_timeout or tls with `sent` False, and no half-open socket is left behind.
"""

import asyncio
import functools
import itertools
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any

import certifi

from adapters._http.connection import Connection
from adapters._http.errors import from_dial
from adapters._http.head import Origin

STAGGER_S = 0.25  # RFC 8305's connection attempt delay
Address = tuple[int, Any]  # family, and what sock_connect takes


@functools.cache
def tls_context(verify: bool | str) -> ssl.SSLContext:
    """The client context for `verify`: True (certifi's authorities, or SSL_CERT_FILE / SSL_CERT_DIR where set), a
    path of a CA file or folder to trust instead, or False (no check at all). Raises OSError when it cannot be read."""
    if verify is False:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif isinstance(verify, str):
        context = _trusting(verify)
    else:
        context = _trusting(os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR") or certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


def _trusting(path: str) -> ssl.SSLContext:
    if os.path.isdir(path):
        return ssl.create_default_context(capath=path)
    return ssl.create_default_context(cafile=path)


async def dial(origin: Origin, verify: bool | str, make: Callable[[], Connection], connect_s: float) -> Connection:
    """Connect, TLS handshake included, within `connect_s`. Raises TransportError."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(connect_s if connect_s != float("inf") else None):
            context = None
            if origin.scheme == "https":  # reading the authorities takes tens of milliseconds, once
                context = await loop.run_in_executor(None, tls_context, verify)
            name = origin.host if context is not None else None
            if origin.uds is not None:
                _, protocol = await loop.create_unix_connection(make, origin.uds, ssl=context, server_hostname=name)
                return protocol
            addresses = await _addresses(loop, origin)
            if len(addresses) == 1 and addresses[0][0] == socket.AF_INET:  # the loop is much faster than we could be
                _, protocol = await loop.create_connection(make, *addresses[0][1], ssl=context, server_hostname=name)
                return protocol
            sock = await (_connect(addresses[0]) if len(addresses) == 1 else _first(addresses))
            # From here the loop owns the socket: it closes it on every failure, and closing it twice may hit another's.
            _, protocol = await loop.create_connection(make, sock=sock, ssl=context, server_hostname=name)
            return protocol
    except Exception as exc:
        raise from_dial(exc) from exc


async def _addresses(loop: asyncio.AbstractEventLoop, origin: Origin) -> list[Address]:
    """Where the origin is, in the order to try: as the resolver sorts it, but with the families taking turns."""
    flags = 0 if origin.address is None else socket.AI_NUMERICHOST  # an address that was checked is not looked up again
    host = origin.address or origin.host
    found = await loop.getaddrinfo(host, origin.port, type=socket.SOCK_STREAM, flags=flags)
    first = [(family, address) for family, _, _, _, address in found if family == found[0][0]]
    others = [(family, address) for family, _, _, _, address in found if family != found[0][0]]
    mixed = [a for pair in itertools.zip_longest(first, others) for a in pair if a is not None]
    return list(dict.fromkeys(mixed))


async def _first(addresses: list[Address]) -> socket.socket:
    """The first socket that connects. The next address is tried when one fails, or has been silent for `STAGGER_S`:
    a network that swallows one family must not cost the whole connect clock (uvloop's own dialling waits it out)."""
    waiting = list(addresses)
    racing: set[asyncio.Task[socket.socket]] = set()
    failure: BaseException = OSError("the name has no address")
    won: socket.socket | None = None
    try:
        while won is None:
            if waiting:
                racing.add(asyncio.get_running_loop().create_task(_connect(waiting.pop(0))))
            elif not racing:
                raise failure
            done, racing = await asyncio.wait(
                racing, timeout=STAGGER_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if (error := task.exception()) is not None:
                    failure = error
                elif won is None:
                    won = task.result()
                else:
                    task.result().close()
        return won
    except BaseException:
        if won is not None:
            won.close()
        raise
    finally:
        for task in racing:
            task.add_done_callback(_close_late)
            task.cancel()


async def _connect(address: Address) -> socket.socket:
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


def _close_late(task: "asyncio.Task[socket.socket]") -> None:
    """A socket that connected in the turn in which it had lost."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()

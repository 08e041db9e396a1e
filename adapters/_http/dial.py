"""Opening a connection to an origin: TCP, TLS over it, or a unix socket.

Owns TLS contexts and the connect clock; refuses to know HTTP and pools. Invariant: whatever goes wrong is a
`TransportError` of kind connect, connect_timeout or tls with `sent` False, and no half-open socket is left behind.
"""

import asyncio
import functools
import os
import ssl
from collections.abc import Callable

import certifi

from adapters._http.connection import Connection
from adapters._http.errors import from_dial
from adapters._http.head import Origin


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
            else:
                _, protocol = await loop.create_connection(
                    make, origin.host, origin.port, ssl=context, server_hostname=name
                )
    except Exception as exc:
        raise from_dial(exc) from exc
    return protocol

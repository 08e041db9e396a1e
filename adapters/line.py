"""The line to one upstream, as its options describe it."""

from collections.abc import AsyncIterator, Sequence

from adapters._http import HttpClient, Timeouts, TransportError
from adapters.options import Remote
from proxy import NAME, __version__
from proxy.errors import ConfigError


def client_of(options: Remote, *, headers: Sequence[tuple[str, str]] | None = None) -> HttpClient:
    """An HttpClient with the upstream's key as a bearer token, unless `headers` say otherwise.

    Raises:
        ValueError: an address that is none. ConfigError: a CA bundle that cannot be read, headers that HTTP cannot carry.
    """
    auth = [("authorization", f"Bearer {options.api_key}")] if options.api_key else []
    timeout = options.timeout
    try:
        return HttpClient(
            options.base_url.rstrip("/"),
            headers=[
                ("user-agent", f"{NAME}/{__version__}"),
                *(auth if headers is None else headers),
                *options.headers.items(),
            ],
            timeouts=Timeouts(
                timeout.connect_s, timeout.first_byte_s, timeout.between_bytes_s, timeout.total_s, timeout.pool_s
            ),
            max_connections=options.max_connections,
            keepalive_expiry_s=options.keepalive_s,
            transport=options.transport,
            verify=options.verify,
            uds=options.uds,
        )
    except OSError as error:
        said = f"the CA bundle {options.verify!r} cannot be read: {error.strerror or error}"
        raise ConfigError(said, where="verify", expected="a PEM file, a folder of them, or a boolean") from None
    except TransportError:  # its message may show the key
        said = "a header, or the key, holds what HTTP cannot carry"
        raise ConfigError(said, where="headers", expected="printable text without line breaks") from None


async def once(body: bytes) -> AsyncIterator[bytes]:
    """A body that is never sent a second time, not even on a stale connection: for what creates a job that costs money."""
    yield body

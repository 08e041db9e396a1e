"""The line to one upstream, as its options describe it."""

from collections.abc import Sequence

from adapters._http import HttpClient, Timeouts
from adapters.options import Remote
from proxy import NAME, __version__


def client_of(options: Remote, *, headers: Sequence[tuple[str, str]] | None = None) -> HttpClient:
    """An HttpClient with the upstream's key as a bearer token, unless `headers` say otherwise. Raises ValueError."""
    auth = [("authorization", f"Bearer {options.api_key}")] if options.api_key else []
    timeout = options.timeout
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

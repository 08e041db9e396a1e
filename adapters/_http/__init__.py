"""The outbound HTTP of the gateway: the only room that knows httpx.

Owns transports, pools, timeouts, header hygiene and the exception map; refuses to know dialects, keys and what a body
means. Adapters import these names and nothing from deeper inside. Invariant: a body that ended early is an error.
"""

import adapters._http.bare  # noqa: F401  # before anything imports httpx
from adapters._http.client import Headers, HttpClient, HttpResponse
from adapters._http.errors import TransportError
from adapters._http.fetch import Spot, fetch_head, fetched
from adapters._http.timeouts import Timeouts

__all__ = ["Headers", "HttpClient", "HttpResponse", "Spot", "Timeouts", "TransportError", "fetch_head", "fetched"]

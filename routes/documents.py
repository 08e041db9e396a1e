"""GET openapi.json and docs. What they say is made at the first request, and kept."""

import asyncio
from functools import cache

from proxy.wire.body import encode
from routes._endpoint import Answer, Desk
from routes._inbound import Inbound


async def openapi(inbound: Inbound, desk: Desk) -> Answer:
    """The document, for machines."""
    del inbound, desk
    return Answer((await asyncio.to_thread(_made))[0])


async def docs(inbound: Inbound, desk: Desk) -> Answer:
    """The document, to be read: one page, no script, nothing from elsewhere."""
    del inbound, desk
    headers = [("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'")]
    return Answer((await asyncio.to_thread(_made))[1], content_type="text/html; charset=utf-8", headers=headers)


@cache
def _made() -> tuple[bytes, bytes]:
    """Imported here: serving calls needs none of it, and waits for none of it."""
    from routes._openapi.document import document
    from routes._openapi.page import page

    told = document()
    return encode(told), page(told).encode()

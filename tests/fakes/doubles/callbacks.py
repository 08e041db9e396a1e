"""A webhook sender in a page: one POST over a fresh connection, no redirects, the status or None back.

It owns the raw HTTP of callbacks that doubles send; it knows nothing about their contents.
"""

import asyncio
import base64
import hashlib
import hmac
from urllib.parse import urlsplit


async def post(url: str, body: bytes, headers: dict[str, str]) -> int | None:
    """POST `body`; the status of the answer, or None when there was none."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=parts.scheme == "https" or None)
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            fields = {"host": parts.netloc, "content-length": str(len(body)), "connection": "close"} | headers
            head = f"POST {target or '/'} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items())
            writer.write(head.encode() + b"\r\n" + body)
            await writer.drain()
            line = await reader.readline()
            writer.close()
    except (OSError, TimeoutError):
        return None
    return int(line.split()[1]) if line.startswith(b"HTTP/") else None


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` value of the Standard Webhooks scheme."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()

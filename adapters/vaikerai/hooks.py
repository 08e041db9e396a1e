"""Reports that an upstream sends us when a prediction is over: whether one is genuine, and what it is about.

It owns the check of Standard Webhooks' signatures and remembers which reports came; it refuses to believe what they say
beyond an id: whoever waits reads the prediction itself. Invariants: signatures are compared in constant time, over the
bytes as they came; a report too old, too far ahead, or sent a second time wakes nobody.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping

from adapters.accents import object_in
from proxy.errors import PermissionDenied, Unavailable, UpstreamError

REMEMBERED = 10_000
ASK_AGAIN_S = 30.0


def key_of(secret: str) -> bytes:
    """`whsec_` and base64 → the key. ValueError for anything else."""
    encoded = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith("whsec_") or not key:
        raise ValueError("a webhook secret is `whsec_` and base64")
    return key


def signed_by(key: bytes, identity: str, timestamp: str, body: bytes, signatures: str) -> bool:
    """Whether one of the `v1` signatures is this key's. Each is compared, in constant time."""
    message = f"{identity}.{timestamp}.".encode("utf-8", "replace") + body
    wanted = base64.b64encode(hmac.new(key, message, hashlib.sha256).digest())
    good = False
    for entry in signatures.split(" ")[:16]:
        version, _, given = entry.partition(",")
        good |= version == "v1" and hmac.compare_digest(given.encode("utf-8", "replace"), wanted)
    return good


class Hooks:
    """One upstream's reports. `secret` asks for the signing secret; it is kept once it is known."""

    def __init__(
        self,
        secret: Callable[[], Awaitable[str]],
        *,
        tolerance_s: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._secret = secret
        self._tolerance_s = tolerance_s
        self._now = now
        self._key: bytes | None = None
        self._ask_at = 0.0
        self._asking = asyncio.Lock()
        self._seen: OrderedDict[str, float] = OrderedDict()

    async def genuine(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """The id of the prediction that a report is about; None if it came before, or is about none.

        PermissionDenied for one that is not signed as it must be, Unavailable while nobody knows how. Header names are
        lower case.
        """
        identity, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not identity or not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
            raise PermissionDenied("The report carries no id or no time.")
        if abs(self._now() - int(timestamp)) > self._tolerance_s:
            raise PermissionDenied("The report is too old, or comes from the future.")
        if not signed_by(await self._signing(), identity, timestamp, body, headers.get("webhook-signature", "")):
            raise PermissionDenied("The report is not signed with this upstream's secret.")
        if self._repeated(identity):
            return None
        prediction = object_in(body).get("id")
        return prediction if isinstance(prediction, str) else None

    async def _signing(self) -> bytes:
        async with self._asking:
            if self._key is None:
                if self._now() < self._ask_at:  # strangers must not make us ask upstream all the time
                    raise Unavailable("The secret of this upstream's reports is not known yet.")
                self._ask_at = self._now() + ASK_AGAIN_S
                try:
                    self._key = key_of(await self._secret())
                except (UpstreamError, ValueError):
                    raise Unavailable("The secret of this upstream's reports cannot be had.") from None
            return self._key

    def _repeated(self, identity: str) -> bool:
        """Only signed ids come here, and only as long as their time is believed must they be remembered."""
        now = self._now()
        while self._seen:
            oldest = next(iter(self._seen))
            if len(self._seen) < REMEMBERED and now - self._seen[oldest] <= 2 * self._tolerance_s:
                break
            del self._seen[oldest]
        if identity in self._seen:
            return True
        self._seen[identity] = now
        return False

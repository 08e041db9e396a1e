"""When a key ends, in the three forms that Venice takes: `""` (never), a day, a moment in UTC. Pure."""

import re
from datetime import UTC, datetime, timedelta

from proxy.errors import BadRequest

_ORIGIN = datetime(1970, 1, 1, tzinfo=UTC)
DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{3})?Z", re.ASCII)


def parse(text: str | None, now_us: int) -> int | None:
    """µs since 1970, or None for a key that does not end. A day begins the end: its first moment, UTC.

    Raises:
        BadRequest: another form, no such day, or a moment that has passed.
    """
    if not text:
        return None
    if not (DAY.fullmatch(text) or MOMENT.fullmatch(text)):
        raise BadRequest(
            "Invalid expiresAt: give YYYY-MM-DD, YYYY-MM-DDTHH:MM:SSZ, or an empty text.", param="expiresAt"
        )
    try:
        moment = datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC)
    except ValueError:
        raise BadRequest("Invalid expiresAt: there is no such day or time.", param="expiresAt") from None
    us = (moment - _ORIGIN) // timedelta(microseconds=1)
    if us <= now_us:
        raise BadRequest("Invalid expiresAt: that moment has passed.", param="expiresAt")
    return us

"""GET billing/usage: the ledger's lines as Venice bills them, page by page, as JSON or CSV."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from proxy.errors import BadRequest
from proxy.wire.body import tree
from routes import _books
from routes._endpoint import Answer, Desk
from routes._inbound import Inbound

if TYPE_CHECKING:
    from proxy.ledger.usage import Filter

CURRENCIES = ("USD", "VCU", "DIEM")
ORDERS = ("asc", "desc")
LIMIT, LIMIT_MAX = 200, 500
PAGE_MAX = 10**9
_ORIGIN = datetime(1970, 1, 1, tzinfo=UTC)


async def usage(inbound: Inbound, desk: Desk) -> Answer:
    """Everybody's lines, or one key's with `?keyId=`. A line without a known price is on no bill."""
    from proxy.ledger.usage import as_csv, bill, entry

    asked = filter_of(inbound.query())
    found = await _books.read(desk, lambda database: bill(database, asked))
    pages = {"limit": found.limit, "page": found.page, "total": found.total, "totalPages": found.pages}
    headers = [
        ("x-pagination-limit", str(found.limit)),
        ("x-pagination-page", str(found.page)),
        ("x-pagination-total", str(found.total)),
        ("x-pagination-total-pages", str(found.pages)),
        ("vary", "accept"),
    ]
    if likes_csv(inbound.header(b"accept") or ""):
        headers.append(("content-disposition", "attachment; filename=billing_usage.csv"))
        return Answer(as_csv(found.lines).encode(), content_type="text/csv; charset=utf-8", headers=headers)
    return Answer({"data": [entry(line) for line in found.lines], "pagination": pages}, headers=headers)


def filter_of(query: dict[str, str]) -> "Filter":
    """Raises BadRequest naming the parameter."""
    from proxy.ledger.usage import Filter

    currency, order = query.get("currency"), query.get("sortOrder", "desc")
    if currency is not None and currency not in CURRENCIES:
        raise _refused("currency", f"Expected one of {', '.join(CURRENCIES)}")
    if order not in ORDERS:
        raise _refused("sortOrder", "Expected asc or desc")
    end = _moment(query, "endDate")
    return Filter(
        key_id=query.get("keyId") or None,
        currency=currency,
        since_us=_moment(query, "startDate"),
        until_us=None if end is None else end + 1000,  # what is shown with this very millisecond is within
        order="asc" if order == "asc" else "desc",
        limit=_number(query, "limit", LIMIT, LIMIT_MAX),
        page=_number(query, "page", 1, PAGE_MAX),
    )


def _number(query: dict[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
    if not 0 < number <= most:
        raise _refused(name, f"Expected a whole number from 1 to {most}")
    return number


def _moment(query: dict[str, str], name: str) -> int | None:
    """A day or a moment (UTC, if it says nothing else) → µs."""
    text = query.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip().replace(" ", "+"))  # a plus that was not escaped comes as a blank
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - _ORIGIN) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise _refused(name, "Expected a date or a date-time (ISO 8601)") from None


def _refused(name: str, said: str) -> BadRequest:
    return BadRequest(f"Invalid request: '{name}': {said}.", param=name, details=tree(name, said))


def likes_csv(accept: str) -> bool:
    """Whether an Accept header would rather have CSV than JSON. Equal preference goes to JSON."""
    quality: dict[str, float] = {}
    for part in accept.lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        given = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            quality[media] = float(given)
        except ValueError:
            quality[media] = 0.0
    anything = quality.get("*/*", 0.0)
    csv = quality.get("text/csv", quality.get("text/*", anything))
    json = quality.get("application/json", quality.get("application/*", anything))
    return csv > json

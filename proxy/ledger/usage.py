"""What the books say to whoever asks: lines of a bill, sums, one receipt. It reads, and never writes.

A call is one row with up to four lines: fresh prompt tokens, cached ones, produced ones, and units (images, characters).
A line without an amount (its price is not known) is on no bill; `unpriced` counts the calls that have one.
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

import msgspec
from sqlalchemy import Connection, Select, and_, func, literal, select, union_all
from sqlalchemy.sql.elements import ColumnElement

from proxy.ledger.database import Database
from proxy.ledger.row import timestamp
from proxy.ledger.tables import calls

T = TypeVar("T")
DAY_US = 86_400_000_000
SKUS = {"input": "llm-input-mtoken", "cached": "llm-cache-input-mtoken", "output": "llm-output-mtoken"}
COLUMNS = (
    "timestamp",
    "sku",
    "units",
    "pricePerUnitUsd",
    "amount",
    "currency",
    "notes",
    "requestId",
    "promptTokens",
    "completionTokens",
    "inferenceExecutionTime",
)


async def _asked(database: Database, question: Callable[[Connection], T]) -> T:
    """With every row in it whose answer a client has seen."""
    if database.settled is not None:
        await database.settled()
    return await database.read(question)


class Filter(msgspec.Struct, frozen=True):
    """Which lines. Times in µs, `until_us` exclusive; `key_id` None is everybody's."""

    key_id: str | None = None
    currency: str | None = None
    since_us: int | None = None
    until_us: int | None = None
    order: Literal["asc", "desc"] = "desc"
    limit: int = 200
    page: int = 1


class Line(msgspec.Struct, frozen=True):
    """One line of a bill. `quantity` in tokens, characters or units; `price` in nano-units per `per` of them."""

    call_id: str
    created_us: int
    kind: str
    model: str
    operation: str
    unit: str | None
    quantity: int
    price: int
    amount_micro: int
    currency: str
    prompt_tokens: int | None
    completion_tokens: int | None
    total_ms: float | None

    @property
    def per(self) -> int:
        return 1 if self.kind == "unit" and self.unit != "tts-mcharacter" else 1_000_000

    @property
    def sku(self) -> str:
        return f"{self.model}-{self.unit if self.kind == 'unit' else SKUS[self.kind]}"


class Bill(msgspec.Struct, frozen=True):
    lines: list[Line]
    total: int  # of lines, on all pages
    limit: int
    page: int

    @property
    def pages(self) -> int:
        return -(-self.total // self.limit)


def _line_of(kind: str, quantity: Any, price: Any, amount: Any, where: ColumnElement[bool]) -> Select[Any]:
    return select(
        calls.c.call_id,
        calls.c.created_us,
        literal(kind).label("kind"),
        calls.c.model,
        calls.c.operation,
        calls.c.unit,
        quantity.label("quantity"),
        price.label("price"),
        amount.label("amount_micro"),
        calls.c.currency,
        calls.c.prompt_tokens,
        calls.c.completion_tokens,
        calls.c.total_ms,
    ).where(and_(where, quantity > 0, amount.is_not(None)))


def _conditions(given: Filter) -> ColumnElement[bool]:
    parts: list[ColumnElement[bool]] = [literal(value=True) == literal(value=True)]
    if given.key_id is not None:
        parts.append(calls.c.key_id == given.key_id)
    if given.currency is not None:
        parts.append(calls.c.currency == given.currency)
    if given.since_us is not None:
        parts.append(calls.c.created_us >= given.since_us)
    if given.until_us is not None:
        parts.append(calls.c.created_us < given.until_us)
    return and_(*parts)


async def bill(database: Database, given: Filter) -> Bill:
    """One page of lines, in the order of their calls."""
    where, column = _conditions(given), calls.c
    cached = func.coalesce(column.cached_tokens, 0)
    units = func.coalesce(func.nullif(column.characters, 0), column.images, 0)
    lines = union_all(
        _line_of("input", column.prompt_tokens - cached, column.input_price, column.input_micro, where),
        _line_of("cached", cached, column.cached_price, column.cached_micro, where),
        _line_of("output", column.completion_tokens, column.output_price, column.output_micro, where),
        _line_of("unit", units, column.unit_price, column.unit_micro, where),
    ).subquery()
    by_time = lines.c.created_us.asc() if given.order == "asc" else lines.c.created_us.desc()
    page = (
        select(lines)
        .order_by(by_time, lines.c.call_id, lines.c.kind)
        .limit(given.limit)
        .offset((given.page - 1) * given.limit)
    )

    def look(connection: Connection) -> Bill:
        total = connection.execute(select(func.count()).select_from(lines)).scalar_one()
        found = [Line(**row._mapping) for row in connection.execute(page)]
        return Bill(found, total, given.limit, given.page)

    return await _asked(database, look)


def entry(line: Line) -> dict[str, Any]:
    """A line as `GET billing/usage` answers it; an amount below nothing is a charge."""
    return {
        "timestamp": timestamp(line.created_us),
        "sku": line.sku,
        "units": line.quantity / line.per,
        "pricePerUnitUsd": line.price / 1e9,
        "amount": -line.amount_micro / 1e6,
        "currency": line.currency,
        "notes": "API Inference",
        "inferenceDetails": {
            "requestId": line.call_id,
            "promptTokens": line.prompt_tokens if line.kind != "unit" else None,
            "completionTokens": line.completion_tokens if line.kind != "unit" else None,
            "inferenceExecutionTime": None if line.total_ms is None else round(line.total_ms),
        },
    }


def as_csv(lines: Iterable[Line]) -> str:
    """The same, one row a line, with a heading."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for line in lines:
        found = entry(line)
        details = found.pop("inferenceDetails")
        flat = {**found, **details}
        writer.writerow([_cell(flat[name]) for name in COLUMNS])
    return out.getvalue()


def _cell(value: Any) -> str:
    """Numbers without an exponent; a text that a spreadsheet would take for a formula is made harmless."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".")
    text = str(value)
    return "'" + text if text[:1] in "=+@\t\r" else text


async def receipt(database: Database, call_id: str, key_id: str | None = None) -> dict[str, Any] | None:
    """The whole row of one call; None if there is none (or it is somebody else's)."""
    query = select(calls).where(calls.c.call_id == call_id)
    if key_id is not None:
        query = query.where(calls.c.key_id == key_id)

    def look(connection: Connection) -> dict[str, Any] | None:
        row = connection.execute(query).mappings().first()
        return dict(row) if row is not None else None

    return await _asked(database, look)


async def spent(database: Database, since_us: int, key_ids: Sequence[str] | None = None) -> dict[str, int]:
    """Micro-units (USD) by key since then: for budgets at a start, and for the trailing seven days of a list of keys."""
    query = select(calls.c.key_id, func.sum(calls.c.amount_micro)).where(calls.c.created_us >= since_us)
    if key_ids is not None:
        query = query.where(calls.c.key_id.in_(list(key_ids)))

    def look(connection: Connection) -> dict[str, int]:
        found = connection.execute(query.group_by(calls.c.key_id))
        return {key_id: int(total or 0) for key_id, total in found}

    return await _asked(database, look)


By = Literal["day", "model", "key"]


class Total(msgspec.Struct, frozen=True):
    """One row of `traghetto usage`: the sums of a day, a model, a key, or of each that was asked for; "" for the others."""

    day: str
    model: str
    key: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    characters: int
    images: int
    amount_micro: int
    unpriced: int  # calls without an amount


async def totals(database: Database, given: Filter, by: Sequence[By] = ("day", "model")) -> list[Total]:
    """Sums by day (UTC), model and key, in this order; `limit`, `page` and `order` are not looked at."""
    groups: dict[str, Any] = {
        "day": calls.c.created_us - calls.c.created_us % DAY_US,
        "model": calls.c.model,
        "key": calls.c.key_id,
    }
    wanted = [groups[name].label(f"by_{name}") for name in groups if name in by]
    summed = [calls.c.prompt_tokens, calls.c.completion_tokens, calls.c.characters, calls.c.images]
    query = (
        select(
            *wanted,
            func.count(),
            *(func.sum(column) for column in (*summed, calls.c.amount_micro)),
            func.count() - func.count(calls.c.amount_micro),
        )
        .where(_conditions(given))
        .group_by(*wanted)
        .order_by(*wanted)
    )

    def total(row: Any) -> Total:
        names = dict(zip([name for name in groups if name in by], row, strict=False))
        day = timestamp(int(names["day"]))[:10] if "day" in names else ""
        return Total(
            day, names.get("model", ""), names.get("key", ""), *(int(value or 0) for value in row[len(names) :])
        )

    return await _asked(database, lambda connection: [total(tuple(row)) for row in connection.execute(query)])

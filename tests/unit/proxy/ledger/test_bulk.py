"""Many rows as few parameters: whatever they have in common, they come out as they went in."""

import random
import sqlite3
from typing import Any

from sqlalchemy import create_engine

from proxy.ledger.bulk import AT_ONCE, FEW, Bulk, Shape
from proxy.ledger.row import Row
from proxy.ledger.tables import calls, metadata


def database() -> sqlite3.Connection:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    connection: Any = engine.raw_connection().driver_connection
    return connection  # type: ignore[no-any-return]


def values(number: int, **shared: object) -> tuple[Any, ...]:
    given = {"key_id": "k", "operation": "chat", "model": "m", "upstream": "u", "target": "t", "ending": "finished"}
    from msgspec.structs import astuple

    return astuple(Row(f"c{number:05}", **{**given, **shared}, created_us=number, settled_us=number + 1))  # type: ignore[arg-type]


def test_rows_come_out_as_they_went_in() -> None:
    chance = random.Random(3)
    rows = [
        values(
            number,
            key_id=chance.choice(["k1", "k2", "k3"]),
            model=chance.choice(["m1", "m2"]) if number % 50 else f"rare {number}",
            error=chance.choice([None, None, "cut"]),
            amount_micro=chance.choice([None, 3]),
            stream=chance.random() < 0.5,
            total_ms=chance.random(),
        )
        for number in range(700)
    ]
    connection, bulk, counted = database(), Bulk(Shape.of(calls)), 0
    for text, parameters, count in bulk.statements(iter(rows)):
        connection.execute(text, parameters)
        counted += count
    assert counted == len(rows)
    assert connection.execute("SELECT * FROM calls ORDER BY call_id").fetchall() == rows


def test_what_is_there_stays() -> None:
    connection, bulk = database(), Bulk(Shape.of(calls))
    for amount in (5, 7):
        for company in (1, FEW, AT_ONCE + 1):
            rows = [values(number + 1000 * company, amount_micro=amount) for number in range(company)]
            for text, parameters, _ in bulk.statements(rows):
                connection.execute(text, parameters)
    found = connection.execute("SELECT amount_micro, count(*) FROM calls GROUP BY 1").fetchall()
    assert found == [(5, 1 + FEW + AT_ONCE + 1)]


def test_what_rows_share_is_bound_once() -> None:
    alike = list(Bulk(Shape.of(calls)).statements([values(number) for number in range(AT_ONCE)]))
    assert len(alike) == 1
    assert len(alike[0][1]) < AT_ONCE * len(calls.columns) * 0.6
    different = list(
        Bulk(Shape.of(calls)).statements([values(number, key_id=f"k{number}") for number in range(AT_ONCE)])
    )
    assert [count for _, _, count in different] == [AT_ONCE], "rows without company go in together"

"""billing/usage over sockets: pages, filters, JSON and CSV; and what is wrong with a question."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.accounts import Keyed, keyed
from proxy.errors import BadRequest
from routes.billing import filter_of, likes_csv

PATH = "/api/v1/billing/usage"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    with keyed(tmp_path_factory.mktemp("books")) as running:
        for _ in range(3):
            assert running.chat().status_code == 200
        assert running.chat(running.admin).status_code == 200
        assert running.chat(model="free").status_code == 200
        yield running


@pytest.mark.parametrize("prefix", ["/v1", "/api/v1"])
def test_a_page(gate: Keyed, prefix: str) -> None:
    answer = gate.ask("GET", f"{prefix}/billing/usage?limit=3&sortOrder=asc&page=2", gate.admin)
    assert answer.status_code == 200
    body = answer.json()
    assert body["pagination"] == {"limit": 3, "page": 2, "total": 8, "totalPages": 3}
    names = ("limit", "page", "total", "total-pages")
    assert [answer.headers[f"x-pagination-{name}"] for name in names] == ["3", "2", "8", "3"]
    assert set(body["data"][0]) == {
        "timestamp",
        "sku",
        "units",
        "pricePerUnitUsd",
        "amount",
        "currency",
        "notes",
        "inferenceDetails",
    }
    assert [line["sku"] for line in body["data"]] == [
        "m-llm-output-mtoken",
        "m-llm-input-mtoken",
        "m-llm-output-mtoken",
    ]


def test_the_pages_together_are_the_ledger(gate: Keyed) -> None:
    lines = [
        line
        for page in range(1, 5)
        for line in gate.ask("GET", f"{PATH}?limit=2&page={page}", gate.admin).json()["data"]
    ]
    assert len(lines) == 8
    assert [line["timestamp"] for line in lines] == sorted((line["timestamp"] for line in lines), reverse=True)
    rows = gate.rows()
    assert round(sum(line["amount"] for line in lines) * 1e6) == -sum(row["amount_micro"] or 0 for row in rows)
    assert {line["inferenceDetails"]["requestId"] for line in lines} == {
        row["call_id"] for row in rows if row["amount_micro"] is not None
    }


def test_filters(gate: Keyed) -> None:
    def total(query: str) -> int:
        return int(gate.ask("GET", f"{PATH}?{query}", gate.admin).json()["pagination"]["total"])

    assert (total(f"keyId={gate.user_id}"), total(f"keyId={gate.admin_id}"), total("keyId=nobody")) == (6, 2, 0)
    assert (total("currency=USD"), total("currency=DIEM")) == (8, 0)
    assert (total("endDate=2001-01-01"), total("startDate=2001-01-01"), total("startDate=2100-01-01T00:00:00Z")) == (
        0,
        8,
        0,
    )
    first = gate.ask("GET", f"{PATH}?sortOrder=asc&limit=1", gate.admin).json()["data"][0]["timestamp"]
    assert total(f"endDate={first}&startDate={first}") >= 2, "both ends are within"


def test_csv(gate: Keyed) -> None:
    answer = gate.ask("GET", f"{PATH}?limit=5", gate.admin, headers={"accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == "attachment; filename=billing_usage.csv"
    assert answer.headers["x-pagination-total"] == "8"
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    json = gate.ask("GET", f"{PATH}?limit=5", gate.admin).json()["data"]
    assert [row["requestId"] for row in rows] == [line["inferenceDetails"]["requestId"] for line in json]


def test_it_is_the_administrators(gate: Keyed) -> None:
    assert gate.ask("GET", PATH, gate.user).status_code == 403
    assert gate.ask("GET", PATH).status_code == 401


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=many", "limit"),
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=99999999999999999999", "page"),
        ("currency=EUR", "currency"),
        ("sortOrder=up", "sortOrder"),
        ("startDate=yesterday", "startDate"),
        ("endDate=2024-13-01", "endDate"),
    ],
)
def test_a_bad_question_names_its_parameter(gate: Keyed, query: str, param: str) -> None:
    answer = gate.ask("GET", f"{PATH}?{query}", gate.admin)
    assert answer.status_code == 400
    assert answer.json()["details"][param]["_errors"]


def test_dates_in_their_forms() -> None:
    assert filter_of({"startDate": "2024-01-01"}).since_us == 1_704_067_200_000_000
    assert filter_of({"startDate": "2024-01-01T01:00:00 01:00"}).since_us == 1_704_067_200_000_000
    assert filter_of({"endDate": "2024-01-01T00:00:00.000Z"}).until_us == 1_704_067_200_001_000
    with pytest.raises(BadRequest):
        filter_of({"startDate": "0001-01-01T00:00:00+14:00 "} | {"limit": "x"})


@pytest.mark.parametrize(
    ("accept", "csv"),
    [
        ("", False),
        ("*/*", False),
        ("text/csv", True),
        ("application/json, text/csv", False),
        ("text/csv, application/json;q=0.5", True),
        ("text/*, application/json;q=0.9", True),
        ("text/csv;q=0", False),
        ("text/csv;q=much", False),
        ("application/xml", False),
    ],
)
def test_what_an_accept_header_likes(accept: str, csv: bool) -> None:
    assert likes_csv(accept) is csv


def test_without_a_ledger_it_is_a_501(tmp_path: Path) -> None:
    from fakes.gateway import gateway

    with gateway(f'[store]\nurl = "sqlite:///{tmp_path}/t.db"\nledger = false\n') as gate:
        import httpx2

        assert httpx2.get(f"{gate.venice}/billing/usage").status_code == 501

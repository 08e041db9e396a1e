"""traghetto usage."""

import asyncio
import csv
import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from sqlalchemy import insert

from proxy.cli import cli
from proxy.cli.usage import BAR, bar, moment, plot, table
from proxy.errors import BadRequest
from proxy.ledger.database import connect
from proxy.ledger.journal import ROW, Journal
from proxy.ledger.row import Row
from proxy.ledger.tables import calls
from proxy.ledger.usage import DAY_US, Total

NOON = 1_700_049_600_000_000  # 2023-11-15T12:00Z


def total(day: str, **more: Any) -> Total:
    given = dict.fromkeys(("model", "key"), "") | dict.fromkeys(Total.__struct_fields__[3:], 0)
    return Total(**{**given, "day": day, **more})


def row(number: int, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "call_id": f"req_{number}",
        "key_id": "key-a",
        "operation": "chat",
        "model": "llama",
        "upstream": "up",
        "target": "up/m",
        "created_us": NOON,
        "settled_us": NOON,
        "ending": "finished",
        "prompt_tokens": 1000,
        "completion_tokens": 10,
        "amount_micro": 1_500_000,
    }
    return msgspec.structs.asdict(Row(**{**given, **more}))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "t.toml"
    url = f"sqlite:///{tmp_path}/t.db"
    file.write_text(f'[store]\nurl = "{url}"\n')
    rows = [
        row(1),
        row(2, created_us=NOON + DAY_US),
        row(3, created_us=NOON + 3 * DAY_US, model="=cheap", key_id="key-b", amount_micro=7),
        row(4, model="=cheap", key_id="key-b", amount_micro=None),
    ]

    async def fill() -> None:
        database = await connect(url)
        await database.write(lambda connection: connection.execute(insert(calls), rows).rowcount)
        await database.aclose()

    asyncio.run(fill())
    return file


def run(config: Path, *arguments: str) -> str:
    done = CliRunner().invoke(cli, ["usage", "--since", "all", *arguments, "--config", str(config)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_rows_that_a_dead_server_left_are_counted(config: Path, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "t.db.state")
    journal.write(ROW, "req_9", msgspec.msgpack.encode(Row(**row(9, model="late"))))
    journal.drop()  # as the kernel does when a process is killed
    assert any(line.split()[:2] == ["late", "1"] for line in run(config).splitlines())
    assert list((tmp_path / "t.db.state").iterdir()) == []


def test_by_model_the_dearest_first(config: Path) -> None:
    lines = run(config).splitlines()
    assert lines[0].split() == ["model", "calls", "prompt", "completion", "unpriced", "usd"]
    assert lines[2].split() == ["llama", "2", "2,000", "20", "0", "3.000000"]
    assert lines[3].split() == ["=cheap", "2", "2,000", "20", "1", "0.000007"]
    assert lines[5].split() == ["total", "4", "4,000", "40", "1", "3.000007"]
    days = lines[lines.index("usd a day") + 1 :]
    assert [line[:10] for line in days] == ["2023-11-15", "2023-11-16", "2023-11-17", "2023-11-18"]
    assert [line.count("█") for line in days] == [BAR, BAR, 0, 0]
    assert days[2] == "2023-11-17", "a day without a call is there, and has no bar"
    assert "▏" in days[3]


def test_by_day_and_by_key(config: Path) -> None:
    days = msgspec.json.decode(run(config, "--by", "day", "--json"))
    assert [found["day"] for found in days["rows"]] == ["2023-11-15", "2023-11-16", "2023-11-18"]
    assert [found["unpricedCalls"] for found in days["rows"]] == [1, 0, 0]
    keys = msgspec.json.decode(run(config, "--by", "key", "--json"))["rows"]
    assert [(found["key"], found["calls"], found["amountMicro"]) for found in keys] == [
        ("key-a", 2, 3_000_000),
        ("key-b", 2, 7),
    ]


def test_filters(config: Path) -> None:
    def count(*arguments: str) -> int:
        return sum(found["calls"] for found in msgspec.json.decode(run(config, *arguments, "--json"))["rows"])

    assert count() == 4
    assert count("--key", "key-b") == 2
    assert count("--since", "2023-11-16") == 2
    assert count("--since", "2023-11-16", "--until", "2023-11-18T12:00:00Z") == 1
    assert count("--since", "7d") == 0


def test_csv_starts_no_formula(config: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run(config, "--csv"))))
    assert [(found["model"], found["amountUsd"]) for found in rows] == [("llama", "3.000000"), ("'=cheap", "0.000007")]


def test_nothing_to_show(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text(f'[store]\nurl = "sqlite:///{tmp_path}/none.db"\n')
    done = CliRunner().invoke(cli, ["usage", "--config", str(file)])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no calls since" in done.stderr
    assert not (tmp_path / "none.db").exists(), "looking makes nothing"
    bad = CliRunner().invoke(cli, ["usage", "--since", "lately", "--config", str(file)])
    assert bad.exit_code == 1
    assert "--since: 'lately'" in bad.stderr


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("90m", NOON - 90 * 60_000_000),
        ("24h", NOON - DAY_US),
        ("7d", NOON - 7 * DAY_US),
        ("2w", NOON - 14 * DAY_US),
        ("2023-11-15", NOON - DAY_US // 2),
        ("2023-11-15T13:00:00+01:00", NOON),
        ("all", None),
        ("", None),
    ],
)
def test_moments(text: str, us: int | None) -> None:
    assert moment(text, NOON, "--since") == us


@pytest.mark.parametrize("text", ["-1d", "7", "d", "2023-02-30", "last week", "99999999d"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(BadRequest):
        moment(text, NOON, "--since")


def test_a_plot_in_calls_where_nothing_has_a_price() -> None:
    days = [total("2024-02-28", calls=1), total("2024-03-01", calls=4)]
    assert plot(days, fancy=False).splitlines() == [
        "calls a day",
        "2024-02-28  " + "#" * (BAR // 4) + " 1",
        "2024-02-29",
        "2024-03-01  " + "#" * BAR + " 4",
    ]
    long = plot([total("2020-01-01", calls=1), total("2024-01-01", calls=1)])
    assert len(long.splitlines()) == 61


def test_bars() -> None:
    assert bar(1, 10**9, fancy=True) == "▏"
    assert bar(10**9, 10**9, fancy=True) == "█" * BAR
    assert bar(0, 5, fancy=False) == ""


def test_names_draw_nothing_of_their_own() -> None:
    drawn = table([total("", model="a\x1b[31m\nb", calls=1)], "model")
    assert "\x1b" not in drawn
    assert "a?[31m?b" in drawn

"""traghetto keys."""

import asyncio
import time
from pathlib import Path

import msgspec
from click.testing import CliRunner
from sqlalchemy import insert

from proxy.cli import cli
from proxy.ledger.database import connect
from proxy.ledger.row import Row
from proxy.ledger.tables import calls
from proxy.ledger.usage import DAY_US


def test_create_list_revoke(tmp_path: Path) -> None:
    config = tmp_path / "t.toml"
    config.write_text(f'[store]\nurl = "sqlite:///{tmp_path}/t.db"\n')

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(cli, ["keys", *arguments, "--config", str(config)])
        assert done.exit_code == 0, done.output
        return done.stdout

    made = msgspec.json.decode(
        run("create", "--type", "ADMIN", "--description", "me", "--expires", "2090-01-01", "--json")
    )
    assert made["apiKey"].startswith("tgt_")
    assert (made["apiKeyType"], made["expiresAt"]) == ("ADMIN", "2090-01-01T00:00:00.000Z")
    limited = msgspec.json.decode(run("create", "--usd", "5", "--diem", "2.5", "--vcu", "0", "--json"))
    assert limited["consumptionLimit"] == {"usd": 5.0, "diem": 2.5, "vcu": 0.0}
    assert run("revoke", limited["id"]) == "revoked\n"
    plain = run("create")
    assert plain.startswith("tgt_")
    assert len(msgspec.json.decode(run("list", "--json"))) == 2
    assert made["id"] in run("list")
    assert run("revoke", made["id"]) == "revoked\n"
    assert made["id"] not in run("list")
    again = CliRunner().invoke(cli, ["keys", "revoke", made["id"], "--config", str(config)])
    assert again.exit_code == 1
    assert "no key" in again.output


def test_what_each_key_spent_in_a_week(tmp_path: Path) -> None:
    config = tmp_path / "t.toml"
    config.write_text(f'[store]\nurl = "sqlite:///{tmp_path}/t.db"\n[limits]\nvcu_usd = 0.5\n')
    options = ["--config", str(config)]
    made = msgspec.json.decode(CliRunner().invoke(cli, ["keys", "create", "--json", *options]).stdout)
    now = time.time_ns() // 1000
    given = {"operation": "chat", "model": "m", "upstream": "u", "target": "t", "settled_us": now, "ending": "finished"}
    rows = [
        msgspec.structs.asdict(Row(call_id=f"r{days}", key_id=made["id"], created_us=now - days * DAY_US, **given))
        | {"amount_micro": 10**days}
        for days in (0, 6, 8)
    ]

    async def fill() -> None:
        database = await connect(f"sqlite:///{tmp_path}/t.db")
        await database.write(lambda connection: connection.execute(insert(calls), rows).rowcount)
        await database.aclose()

    asyncio.run(fill())
    (listed,) = msgspec.json.decode(CliRunner().invoke(cli, ["keys", "list", "--json", *options]).stdout)
    assert listed["usage"]["trailingSevenDays"] == {"usd": "1.000001", "diem": "1.000001", "vcu": "2.000002"}
    assert "$1.000001 in 7 days" in CliRunner().invoke(cli, ["keys", "list", *options]).stdout


def test_a_bad_date_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "t.toml"
    config.write_text(f'[store]\nurl = "sqlite:///{tmp_path}/t.db"\n')
    done = CliRunner().invoke(cli, ["keys", "create", "--expires", "soon", "--config", str(config)])
    assert done.exit_code == 1
    assert "expiresAt" in done.output

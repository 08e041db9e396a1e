"""traghetto keys."""

from pathlib import Path

import msgspec
from click.testing import CliRunner

from proxy.cli import cli


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


def test_a_bad_date_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "t.toml"
    config.write_text(f'[store]\nurl = "sqlite:///{tmp_path}/t.db"\n')
    done = CliRunner().invoke(cli, ["keys", "create", "--expires", "soon", "--config", str(config)])
    assert done.exit_code == 1
    assert "expiresAt" in done.output

"""traghetto doctor: one line for each upstream and model, and an exit code that scripts can use."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from fakes.evil import evil_thread
from fakes.houses import ECHO
from proxy.cli import cli
from proxy.mock import fault


def doctor(tmp_path: Path, toml: str, *more: str, key: str | None = None) -> Result:
    file = tmp_path / "t.toml"
    file.write_text(toml)
    return CliRunner(env={"FAR_KEY": key}).invoke(cli, ["doctor", "-c", str(file), *more])


def rows(ran: Result) -> dict[str, dict[str, Any]]:
    return {row["what"]: row for row in json.loads(ran.stdout)}


def test_what_is_not_configured_is_a_note(tmp_path: Path) -> None:
    ran = doctor(tmp_path, ECHO, "--json")
    assert ran.exit_code == 0
    found = rows(ran)
    assert found["upstream near"]["state"] == "ok"
    assert found["upstream far"]["said"] == "not used: no api_key is configured"
    assert (found["model parrot"]["state"], found["model parrot"]["said"]) == ("ok", "near/p")
    assert found["model lonely"]["state"] == "note"


def test_what_works_and_what_does_not(tmp_path: Path) -> None:
    with evil_thread(api_key="right-key") as mock:
        toml = ECHO.replace("http://127.0.0.1:9/v1", mock.url)
        good = doctor(tmp_path, toml, "--json", key="right-key")
        assert good.exit_code == 0, good.output
        assert "reachable, " in rows(good)["upstream far"]["said"]
        bad = doctor(tmp_path, toml, key="wrong-key")
        assert bad.exit_code == 1
        (line,) = [line for line in bad.stdout.splitlines() if "upstream far" in line]
        assert line.startswith("bad ")
        assert line.endswith("Check its api_key.")
        assert "wrong-key" not in bad.output


def test_no_answer_in_time(tmp_path: Path) -> None:
    with evil_thread(faults=(fault("stall_head"),)) as mock:
        toml = ECHO.replace("http://127.0.0.1:9/v1", mock.url)
        ran = doctor(tmp_path, toml, "--json", "--timeout", "0.2", key="any-key")
    assert ran.exit_code == 1
    assert "no answer within 0.2 s" in rows(ran)["upstream far"]["said"]
    assert rows(ran)["model lonely"]["state"] == "bad"


def test_the_stores(tmp_path: Path) -> None:
    where = f'[store]\nurl = "sqlite:///{tmp_path}/s.db"\n'
    fine = rows(doctor(tmp_path, ECHO + where, "--json"))
    assert (fine["store"]["state"], "not there yet" in fine["store"]["said"]) == ("ok", True)
    off = rows(doctor(tmp_path, ECHO + where + "ledger = false\n", "--json"))
    assert off["ledger"]["state"] == "note"
    (tmp_path / "s.db").write_bytes(b"no database at all" * 400)
    ran = doctor(tmp_path, ECHO + where + 'redis = "redis://127.0.0.1:9/0"\n', "--json")
    assert ran.exit_code == 1
    assert [rows(ran)[what]["state"] for what in ("store", "limits")] == ["bad", "bad"]


def test_local_models_are_looked_at_and_not_loaded(tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(b"GGUF")
    toml = '[upstreams.local]\nkind = "llama"\n[store]\nledger = false\n'
    for name, reference in (("good", "demo"), ("cut", cut), ("gone", "nowhere.gguf")):
        toml += f'[models.{name}]\ntargets = [{{upstream = "local", model = "{reference}"}}]\n'
    ran = doctor(tmp_path, toml, "--json")
    assert ran.exit_code == 1
    said = {name: rows(ran)[f"model {name}"] for name in ("good", "cut", "gone")}
    assert [row["state"] for row in said.values()] == ["ok", "bad", "bad"]
    assert "truncated" in said["cut"]["said"]
    assert "traghetto pull" in said["gone"]["said"]
    assert "loaded: nothing" in rows(ran)["upstream local"]["said"]

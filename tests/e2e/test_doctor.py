"""The command over the five kinds at once: one line each, what works, and what to do about what does not."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fakes.doubles import faults
from fakes.doubles.aime import AimeDouble
from fakes.doubles.bytez import BytezDouble
from fakes.doubles.novita import NovitaDouble
from fakes.doubles.server import Double
from fakes.doubles.vaikerai import VaikerDouble
from fakes.doubles.venice import VeniceDouble
from proxy.cli import cli

DOUBLES: dict[str, type[Double]] = {
    "venice": VeniceDouble,
    "vaikerai": VaikerDouble,
    "novita": NovitaDouble,
    "bytez": BytezDouble,
    "aime": AimeDouble,
}
MODELS = {
    "venice": "llama-3.3-70b",
    "vaikerai": "meta/meta-llama-3-70b-instruct",
    "novita": "deepseek/deepseek-r1",
    "bytez": "Qwen/Qwen3-4B",
    "aime": "lab_chat",
}
kinds = pytest.mark.parametrize("kind", DOUBLES)


@pytest.fixture(scope="module")
def five() -> Iterator[dict[str, Any]]:
    with ExitStack() as open_:
        doubles = {kind: double() for kind, double in DOUBLES.items()}
        doubles["vaikerai"] = VaikerDouble(reads_per_min=1e6)  # a person does not run this as often as these tests
        yield {kind: open_.enter_context(double) for kind, double in doubles.items()}


def configured(five: dict[str, Any], *, keys: dict[str, str] | None = None, urls: dict[str, str] | None = None) -> str:
    text = ""
    for kind, double in five.items():
        key = (keys or {}).get(kind, double.key)
        url = (urls or {}).get(kind, double.base_url)
        text += f'[upstreams.{kind}]\nkind = "{kind}"\nbase_url = "{url}"\napi_key = "{key}"\n'
        text += f'[models.m-{kind}]\ntargets = [{{upstream = "{kind}", model = "{MODELS[kind]}"}}]\n'
    return text


def run(tmp_path: Path, toml: str, *arguments: str) -> Result:
    file = tmp_path / "t.toml"
    file.write_text(toml)
    return CliRunner().invoke(cli, [*arguments, "-c", str(file)])


def lines(ran: Result) -> dict[str, dict[str, str]]:
    return {row["what"]: row for row in json.loads(ran.stdout)}


def test_all_is_well(five: dict[str, Any], tmp_path: Path) -> None:
    ran = run(tmp_path, configured(five), "doctor", "--json")
    assert ran.exit_code == 0, ran.output
    found = lines(ran)
    for kind in DOUBLES:
        row = found[f"upstream {kind}"]
        assert row["state"] == "ok"
        assert row["said"].startswith("reachable")
        assert "models" in row["said"] or "endpoints" in row["said"]
        assert found[f"model m-{kind}"]["said"] == f"{kind}/{MODELS[kind]}"
    assert "organization acme" in found["upstream vaikerai"]["said"]
    assert "balance 100.00 USD" in found["upstream venice"]["said"]
    as_text = run(tmp_path, configured(five), "doctor")
    told = [line for line in as_text.stdout.splitlines() if line.split()[1] in ("upstream", "model")]
    assert len(told) == 2 * len(DOUBLES), "one line each"


@kinds
def test_a_wrong_key(five: dict[str, Any], tmp_path: Path, kind: str) -> None:
    ran = run(tmp_path, configured(five, keys={kind: "canary-wrong-key-77aa"}), "doctor", "--json")
    assert ran.exit_code == 1
    found = lines(ran)
    assert [what for what, row in found.items() if row["state"] == "bad"] == [f"upstream {kind}", f"model m-{kind}"]
    assert found[f"upstream {kind}"]["said"].endswith("Check its api_key.")
    assert "canary-wrong-key" not in ran.output


@kinds
def test_nobody_there(five: dict[str, Any], tmp_path: Path, kind: str) -> None:
    ran = run(tmp_path, configured(five, urls={kind: "http://127.0.0.1:9"}), "doctor", "--json")
    row = lines(ran)[f"upstream {kind}"]
    assert (ran.exit_code, row["state"]) == (1, "bad")
    assert row["said"].endswith("could not be reached. Check base_url.")


@kinds
@pytest.mark.parametrize("fault", [faults.html_502(), faults.garbage_json(), faults.reset()], ids=lambda f: f.name)
def test_one_that_is_ill(five: dict[str, Any], tmp_path: Path, kind: str, fault: Any) -> None:
    for _ in range(2):  # a GET may be sent again
        five[kind].script(fault)
    try:
        row = lines(run(tmp_path, configured(five), "doctor", "--json"))[f"upstream {kind}"]
    finally:
        five[kind]._faults.clear()
    assert row["state"] == "bad"
    assert five[kind].key not in row["said"]


@kinds
def test_a_model_that_is_not_there(five: dict[str, Any], tmp_path: Path, kind: str) -> None:
    """Its own line says so, and which of several targets it is. What is only not listed may work all the same."""
    toml = configured(five).replace(MODELS[kind], "no-such/model")
    toml += f'[models.two]\ntargets = [{{upstream = "{kind}", model = "no-such/model"}}, '
    toml += '{upstream = "venice", model = "deepseek-r1-671b"}]\n'
    found = lines(run(tmp_path, toml, "doctor", "--json"))
    row = found[f"model m-{kind}"]
    if kind == "vaikerai":
        assert (row["state"], row["said"]) == ("bad", f"{kind}/no-such/model: the upstream has no such model")
    else:
        assert row["state"] == "note"
        assert "'no-such/model'" in row["said"]
    assert found[f"upstream {kind}"]["state"] == "ok"
    assert found["model two"]["state"] == "note"
    assert "venice/deepseek-r1-671b" in found["model two"]["said"]
    assert len([row for row in found.values() if row["state"] != "ok"]) == 2


def test_no_balance_left(five: dict[str, Any], tmp_path: Path) -> None:
    five["venice"].balance = 0.0
    try:
        ran = run(tmp_path, configured(five), "doctor", "--json")
    finally:
        five["venice"].balance = 100.0
    row = lines(ran)["upstream venice"]
    assert (ran.exit_code, row["state"]) == (1, "bad")
    assert "balance 0 USD: top it up" in row["said"]


@kinds
def test_models_of_an_upstream(five: dict[str, Any], tmp_path: Path, kind: str) -> None:
    """Those that have a word in their names, and no others."""
    word = MODELS[kind].rpartition("/")[2][:6]
    ran = run(tmp_path, configured(five), "models", "--json", "--upstream", kind, "--search", word)
    assert ran.exit_code == 0, ran.output
    names = [row["id"] for row in json.loads(ran.stdout)]
    assert MODELS[kind] in names
    nothing = run(tmp_path, configured(five), "models", "--json", "--upstream", kind, "--search", "no-such-thing")
    assert json.loads(nothing.stdout) == []

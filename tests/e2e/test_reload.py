"""Reload: a whole new snapshot beside the old one. Running calls end on theirs; a broken file changes nothing."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.evil import EvilThread, evil_thread
from fakes.serving import Served, served
from proxy.mock import Script, fault

TOML = """
[upstreams.{name}]
kind = "openai"
base_url = "{url}"
api_key = "upstream-secret-key"
[models.{model}]
targets = [{{upstream = "{name}", model = "x"}}]
"""


@pytest.fixture(scope="module")
def mock() -> Iterator[EvilThread]:
    with evil_thread(models=("*",), api_key="upstream-secret-key") as running:
        yield running


@pytest.fixture
def file(tmp_path: Path, mock: EvilThread) -> Path:
    file = tmp_path / "traghetto.toml"
    file.write_text(TOML.format(name="one", url=mock.url, model="old"))
    return file


@pytest.fixture
def server(file: Path) -> Iterator[Served]:
    with served("--config", str(file), cwd=file.parent) as running:
        yield running


def models(server: Served) -> list[str]:
    _, body = server.ask("GET", "/v1/models")
    return [row["id"] for row in json.loads(body)["data"]]


def test_a_stream_runs_to_its_end_on_the_old_one(server: Served, file: Path, mock: EvilThread) -> None:
    mock.clear()
    mock.script(Script(content="one two three four", faults=(fault("stall"),)))
    connection = server.connect()
    connection.request("POST", "/v1/chat/completions", server.chat("old", stream=True), server.JSON)
    answer = connection.getresponse()
    assert answer.status == 200
    begun = answer.readline()
    exchange = mock.wait_for(1)
    mock.wait(exchange, "held")
    for model in ("new", "newer"):  # twice: what the first call uses is then two snapshots old
        file.write_text(TOML.format(name=model, url=mock.url, model=model))
        status, body = server.ask("POST", "/admin/reload")
        assert (status, json.loads(body)["status"]) == (200, "reloaded")
        assert models(server) == [model]
    assert server.ask("POST", "/v1/chat/completions", server.chat("old"))[0] == 404
    assert server.ask("POST", "/v1/chat/completions", server.chat("newer"))[0] == 200
    mock.release(exchange)
    rest = begun + answer.read()
    assert rest.endswith(b"data: [DONE]\n\n")
    assert b'"error"' not in rest
    connection.close()


BROKEN = {
    "a typo": ("[server]\nprot = 1\n", "server.prot"),
    "no TOML": ("[", "not valid TOML"),
    "a bad size": ('[server]\nmax_body_bytes = "1 cup"\n', "server.max_body_bytes"),
    "no such address": ('[upstreams.z]\nkind = "openai"\nbase_url = "nowhere"\n', "upstreams.z"),
}


def test_a_broken_file_changes_nothing(server: Served, file: Path) -> None:
    good = file.read_text()
    for text, where in BROKEN.values():
        file.write_text(text + good)
        status, body = server.ask("POST", "/admin/reload")
        assert status >= 400
        assert where in json.loads(body)["error"]["message"]
        assert models(server) == ["old"]
        assert server.ask("POST", "/v1/chat/completions", server.chat("old"))[0] == 200
    file.unlink()
    assert server.ask("POST", "/admin/reload")[0] >= 400
    assert models(server) == ["old"]


def test_a_hangup_reads_it_again(server: Served, file: Path, mock: EvilThread) -> None:
    file.write_text("[server]\nprot = 1\n")
    server.process.send_signal(signal.SIGHUP)
    assert "server.prot" in server.said("not reloaded")
    assert models(server) == ["old"]
    file.write_text(TOML.format(name="one", url=mock.url, model="new"))
    server.process.send_signal(signal.SIGHUP)
    server.said("reloaded")
    assert models(server) == ["new"]

"""The command as a process: what it loads, what it exits with, that it says when it is ready, and that it drains."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.evil import evil_thread
from fakes.serving import ROOT, served
from proxy import __version__
from proxy.mock import Script, fault

ECHO = '[upstreams.e]\nkind = "echo"\n[models.m]\ntargets = [{upstream = "e", model = "x"}]\ntraits = ["default"]\n'


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_help_loads_no_server(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['traghetto', '--help']\n"
        "from proxy.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code in (0, None), end.code\n"
        "heavy = {'litestar', 'uvicorn', 'httpx', 'numpy', 'sqlalchemy', 'llama_cpp', 'tiktoken', 'PIL', 'av', 'redis'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))\n"
    )
    ran = python("-c", code, cwd=tmp_path)
    assert "LOADED []" in ran.stdout, ran.stdout[-500:] + ran.stderr
    for command in ("serve", "check", "doctor", "models", "mock", "verify"):
        assert f"  {command} " in ran.stdout


# Each is loaded by whom needs it, not by a start: models' own libraries, other databases, what a framework guesses at.
NOT_AT_START = {
    "pydantic", "attr", "rich", "pygments", "aiohttp", "httpx_aiohttp", "alembic", "sqlalchemy.orm",
    "sqlalchemy.ext.asyncio", "asyncpg", "aiosqlite", "redis", "eth_account", "tiktoken", "jinja2", "numpy", "llama_cpp",
    "PIL", "av", "espeakng_loader", "adapters.llama.worker", "adapters.llama.engine",
}  # fmt: skip
AWAY = ECHO.replace('kind = "echo"', 'kind = "openai"\nneeds_key = false\nbase_url = "http://127.0.0.1:9/v1"')


@pytest.mark.parametrize("configured", [AWAY, ECHO, ""], ids=["openai", "echo", "embedded"])
def test_a_start_loads_only_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: str) -> None:
    """With all that is on by default; where there is a database already, too."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    if configured:
        (tmp_path / "traghetto.toml").write_text(configured)
    for _ in ("a new database", "one that is there"):
        with served(cwd=tmp_path) as server:
            loaded = {line.rpartition("|")[2].strip() for line in server.log if line.startswith("import time:")}
        assert {"litestar.app", "proxy.ledger.books"} <= loaded, "it says what it loads"
        assert loaded & NOT_AT_START == set()
        assert ("httpx" in loaded) == (configured == AWAY)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--version"], 0, __version__),
        (["no-such-command"], 2, "No such command"),
        (["serve", "--port", "70000"], 2, "70000"),
        (["models", "--config", "echo.toml", "--upstream", "e"], 1, "cannot list"),
        (["models", "--config", "nowhere.toml"], 78, "nowhere.toml"),
    ],
)
def test_exit_codes(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    (tmp_path / "echo.toml").write_text(ECHO)
    ran = python("-m", "proxy", *arguments, cwd=tmp_path)
    assert ran.returncode == code, ran.stderr
    assert said in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


def test_ready_answers_and_ends(tmp_path: Path) -> None:
    (tmp_path / "traghetto.toml").write_text(ECHO)
    with served(cwd=tmp_path) as server:
        status, body = server.ask("POST", "/v1/chat/completions", server.chat("default"))
        assert status == 200
        assert json.loads(body)["choices"][0]["message"]["content"] == "hi"
        assert server.ask("GET", "/readyz")[0] == 200
        assert server.stop() in (0, -signal.SIGTERM)


def test_a_running_stream_is_drained(tmp_path: Path) -> None:
    with evil_thread(models=("*",)) as mock:
        (tmp_path / "traghetto.toml").write_text(
            f'[upstreams.u]\nkind = "openai"\nneeds_key = false\nbase_url = "{mock.url}"\n'
            '[models.m]\ntargets = [{upstream = "u", model = "x"}]\n'
        )
        mock.script(Script(content="one two three four", faults=(fault("stall"),)))
        with served(cwd=tmp_path) as server:
            connection = server.connect()
            connection.request("POST", "/v1/chat/completions", server.chat("m", stream=True), server.JSON)
            answer = connection.getresponse()
            begun = answer.readline()
            exchange = mock.wait_for(1)
            mock.wait(exchange, "held")
            server.process.terminate()
            refused = False
            while not refused:  # until the listener is closed, which is how its end is seen from outside
                try:
                    server.ask("GET", "/livez")
                except OSError:
                    refused = True
            assert server.process.poll() is None, "it waits for the stream"
            mock.release(exchange)
            rest = begun + answer.read()
            connection.close()
            assert rest.endswith(b"data: [DONE]\n\n")
            assert server.process.wait(15) in (0, -signal.SIGTERM)

"""The composition root: which file is read, the URL table under both prefixes, reloads that change all or nothing."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fakes.asgi import asked
from fakes.houses import ECHO, read
from proxy import app as root
from proxy.app import Application, read_config
from proxy.errors import ConfigError
from routes import TABLE

NOBODY = "[auth]\nrequired = false\n"
CHAT = {"model": "parrot", "messages": [{"role": "user", "content": "one two"}]}


def test_which_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    default, file = read_config(None, {})
    assert (file, "demo" in default.models) == ("", True)
    Path("traghetto.toml").write_text(ECHO)
    here, file = read_config(None, {})
    assert (file, set(here.models)) == ("traghetto.toml", {"parrot", "lonely"})
    with pytest.raises(ConfigError):
        read_config(tmp_path / "nowhere.toml", {})


@pytest.mark.asyncio
async def test_every_route_is_there_under_both_prefixes_or_at_the_root() -> None:
    app = Application(read(NOBODY + ECHO)).asgi
    for route in TABLE:
        path = route.path.replace("{model_id:path}", "parrot")
        for prefix in ("/v1", "/api/v1") if route.prefixed else ("",):
            answer = await asked(app, "PATCH", prefix + path)
            assert (answer.status, route.method in answer.headers["allow"]) == (405, True), prefix + path
    assert (await asked(app, "GET", "/v1/livez")).status == 404


@pytest.mark.asyncio
@pytest.mark.parametrize(("path", "shape"), [("/v1/nowhere", dict), ("/api/v1/nowhere", str), ("/", dict)])
async def test_what_litestar_refuses_wears_our_envelopes(path: str, shape: type) -> None:
    answer = await asked(Application(read(NOBODY + ECHO)).asgi, "GET", path)
    assert answer.status == 404
    assert isinstance(answer.json()["error"], shape)
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.asyncio
async def test_a_call() -> None:
    answer = await asked(Application(read(NOBODY + ECHO)).asgi, "POST", "/v1/chat/completions", CHAT)
    assert answer.json()["choices"][0]["message"]["content"] == "one two"


class Reloading:
    """An Application over a file, as a server has it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "t.toml"
        self.write(ECHO)
        self.app = Application(read_config(self.file, {})[0], str(self.file))

    def write(self, toml: str) -> None:
        self.file.write_text(NOBODY + toml)


@pytest.mark.asyncio
async def test_a_reload_swaps_and_keeps_what_did_not_change(tmp_path: Path) -> None:
    reloading = Reloading(tmp_path)
    old = reloading.app.house
    reloading.write(ECHO.replace("127.0.0.1:9", "127.0.0.1:10").replace("[models.lonely]", "[models.other]"))
    notes = await reloading.app.reload()
    new = reloading.app.house
    assert new is not old
    assert set(new.catalogue.models) == {"parrot", "other"}
    assert new.adapters["near"] is old.adapters["near"]
    assert any("'far' is unavailable" in note for note in notes)


@pytest.mark.asyncio
@pytest.mark.parametrize("broken", ["[sever]", '[server]\nmax_body_bytes = "x"', '[upstreams.near]\nkind = "nope"'])
async def test_a_broken_file_changes_nothing(tmp_path: Path, broken: str) -> None:
    reloading = Reloading(tmp_path)
    old, limit = reloading.app.house, reloading.app.desk.max_body
    reloading.write(broken)
    with pytest.raises(ConfigError):
        await reloading.app.reload()
    assert reloading.app.house is old
    assert reloading.app.desk.max_body == limit


@pytest.mark.asyncio
async def test_what_only_the_old_house_used_is_closed_with_its_last_call(tmp_path: Path) -> None:
    reloading = Reloading(tmp_path)
    old = reloading.app.house
    closed: dict[str, asyncio.Event] = {}
    for name, adapter in old.adapters.items():
        closed[name] = asyncio.Event()
        watched: Any = adapter
        watched.aclose = _closing(closed[name])
    old.enter()
    reloading.write(ECHO.replace("127.0.0.1:9", "127.0.0.1:10"))
    await reloading.app.reload()
    await asyncio.sleep(0)
    assert not closed["far"].is_set(), "a call may be there"
    old.leave()
    await asyncio.wait_for(closed["far"].wait(), 5)
    assert not closed["near"].is_set(), "the new house uses it"


def _closing(done: asyncio.Event) -> Any:
    async def aclose() -> None:
        done.set()

    return aclose


@pytest.mark.asyncio
async def test_a_crash_outside_the_endpoints_is_told_by_its_id_alone(capsys: Any) -> None:
    request: Any = type("Request", (), {"scope": {"path": "/v1/models", "method": "GET"}})()
    response = root._refused(request, RuntimeError("at 10.0.0.7"))
    assert response.status_code == 500
    assert b"10.0.0.7" not in response.content
    assert response.headers["x-request-id"] in capsys.readouterr().err


def test_a_factory_for_servers_that_want_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "t.toml"
    file.write_text(NOBODY + ECHO)
    monkeypatch.setenv("TRAGHETTO_CONFIG", str(file))
    assert callable(root.create())
    monkeypatch.setenv("TRAGHETTO_CONFIG", str(tmp_path / "nowhere.toml"))
    with pytest.raises(ConfigError):
        root.create()

"""Before any handler: method and key. After it: a Call or an Answer. At the end: an envelope, whatever happened."""

import asyncio
import gzip
from typing import Any

import pytest

from fakes.asgi import asked
from fakes.houses import desk
from proxy.call import ANYBODY, Principal
from proxy.errors import Conflict, KeyInvalid
from routes import chat
from routes._endpoint import Access, Answer, Endpoint, Route

CHAT = {"model": "parrot", "messages": [{"role": "user", "content": "one two"}]}


class Door:
    """Two keys: one for the administrator, one for everybody else."""

    required = True
    keys = ("admin-key", "user-key")
    fresh = "fresh-key"  # another worker has just made it

    async def look_again(self, secret: str) -> bool:
        if secret == self.fresh:
            self.keys = (*self.keys, secret)
        return secret == self.fresh

    def known(self, header: bytes) -> Principal | None:
        return None

    def principal(self, secret: str) -> Principal:
        if secret not in self.keys:
            raise KeyInvalid("This key is not known.")
        return Principal(id=secret, admin=secret == "admin-key")


def endpoint(handler: Any, access: Access = Access.OPEN, *, path: str = "/v1/x", **more: Any) -> Endpoint:
    return Endpoint(path, {"POST": Route("POST", "/x", handler, access)}, desk(**more))


async def who(inbound: Any, desk: Any) -> Answer:
    return Answer({"id": inbound.principal.id}, status=201, headers=[("x-a", "b")])


class Proven(Door):
    """It knows the user's header already."""

    def known(self, header: bytes) -> Principal | None:
        return Principal(id="user-key") if header == b"Bearer user-key" else None

    def principal(self, secret: str) -> Principal:
        raise AssertionError("it was proven before")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("required", "access", "status", "name"),
    [
        (True, Access.KEY, 201, "user-key"),
        (True, Access.ADMIN, 403, None),
        (False, Access.KEY, 201, ANYBODY.id),  # whoever brings a key where none is asked for is like the others
        (False, Access.ADMIN, 201, ANYBODY.id),
    ],
)
async def test_a_header_that_was_proven_says_who_calls_where_keys_are_asked_for(
    required: bool, access: Access, status: int, name: str | None
) -> None:
    door = Proven()
    door.required = required
    answer = await asked(endpoint(who, access, keyring=door), "POST", headers={"authorization": "Bearer user-key"})
    assert (answer.status, answer.json().get("id")) == (status, name)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("access", "headers", "status", "code"),
    [
        (Access.OPEN, {}, 201, None),
        (Access.KEY, {}, 401, "invalid_api_key"),
        (Access.KEY, {"authorization": "Basic user-key"}, 401, "invalid_api_key"),
        (Access.KEY, {"authorization": "Bearer wrong"}, 401, "invalid_api_key"),
        (Access.KEY, {"authorization": "bearer user-key"}, 201, None),
        (Access.KEY, {"x-api-key": "user-key"}, 201, None),
        (Access.KEY, {"authorization": "Bearer wrong", "x-api-key": "user-key"}, 401, "invalid_api_key"),
        (Access.ADMIN, {"authorization": "Bearer user-key"}, 403, "permission_denied"),
        (Access.ADMIN, {"authorization": "Bearer admin-key"}, 201, None),
    ],
)
async def test_who_may(access: Access, headers: dict[str, str], status: int, code: str | None) -> None:
    answer = await asked(endpoint(who, access, keyring=Door()), "POST", headers=headers)
    assert answer.status == status
    assert answer.headers["x-request-id"].startswith("req_")
    if code is not None:
        assert answer.json()["error"]["code"] == code
    else:
        given = " ".join(headers.values()).split()
        assert answer.json()["id"] == (given[-1] if given else ANYBODY.id)


@pytest.mark.asyncio
async def test_a_key_that_is_a_moment_old_is_looked_for() -> None:
    answer = await asked(endpoint(who, Access.KEY, keyring=Door()), "POST", headers={"x-api-key": "fresh-key"})
    assert (answer.status, answer.json()["id"]) == (201, "fresh-key")


@pytest.mark.asyncio
async def test_where_no_keys_are_asked_for_everybody_is_somebody() -> None:
    answer = await asked(endpoint(who, Access.ADMIN), "POST")
    assert (answer.json()["id"], answer.headers["x-a"]) == (ANYBODY.id, "b")


@pytest.mark.asyncio
@pytest.mark.parametrize(("path", "key"), [("/v1/x", "error"), ("/api/v1/x", "error"), ("/v1/messages", "type")])
async def test_another_method(path: str, key: str) -> None:
    answer = await asked(endpoint(who, path=path), "GET")
    assert (answer.status, answer.headers["allow"]) == (405, "OPTIONS, POST")
    assert key in answer.json()
    assert ("request-id" in answer.headers) is (key == "type")


@pytest.mark.asyncio
async def test_head_and_options() -> None:
    """HEAD is GET where there is one; OPTIONS tells the methods, to anybody."""
    door = Endpoint("/v1/x", {"GET": Route("GET", "/x", who, Access.KEY)}, desk(keyring=Door()))
    told = await asked(door, "OPTIONS")
    assert (told.status, told.headers["allow"], told.body) == (200, "GET, HEAD, OPTIONS", b"")
    assert (await asked(door, "HEAD")).status == 401
    head = await asked(door, "HEAD", headers={"x-api-key": "user-key"})
    whole = await asked(door, "GET", headers={"x-api-key": "user-key"})
    assert (head.status, head.headers["content-length"]) == (201, whole.headers["content-length"])
    assert (await asked(endpoint(who), "HEAD")).headers["allow"] == "OPTIONS, POST"


@pytest.mark.asyncio
async def test_a_crash_is_told_by_its_id_alone(capsys: Any) -> None:
    async def crash(inbound: Any, desk: Any) -> Answer:
        raise RuntimeError("the database is at 10.0.0.7")

    answer = await asked(endpoint(crash), "POST")
    assert answer.status == 500
    assert "10.0.0.7" not in answer.body.decode()
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]
    logged = capsys.readouterr().err
    assert answer.headers["x-request-id"] in logged
    assert "RuntimeError" in logged


@pytest.mark.asyncio
async def test_what_a_handler_refuses() -> None:
    async def refuse(inbound: Any, desk: Any) -> Answer:
        raise Conflict("twice", param="p")

    app = endpoint(refuse)
    answer = await asked(app, "POST")
    assert (answer.status, answer.json()["error"]["param"]) == (409, "p")
    assert b'route="/v1/x",status="409"} 1.0' in app._desk.metrics.exposition()


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [10, 5000])
async def test_large_answers_are_packed_where_that_is_liked(size: int) -> None:
    async def large(inbound: Any, desk: Any) -> Answer:
        return Answer(b"x" * size, content_type="text/plain")

    answer = await asked(endpoint(large), "POST", headers={"accept-encoding": "gzip"})
    packed = answer.headers.get("content-encoding") == "gzip"
    assert packed is (size > 1024)
    assert (gzip.decompress(answer.body) if packed else answer.body) == b"x" * size
    assert answer.headers["content-length"] == str(len(answer.body))


@pytest.mark.asyncio
async def test_a_call_walks_through_the_house() -> None:
    app = endpoint(chat.create)
    answer = await asked(app, "POST", body=CHAT)
    assert answer.json()["choices"][0]["message"]["content"] == "one two"
    assert answer.headers["x-traghetto-route"] == "near/p; attempt=1; reason=first"
    assert app._desk.house.running == 0


@pytest.mark.asyncio
async def test_dry_runs_are_never_meant_by_halves() -> None:
    for slip in ("?dry_run=", "?dry_run=ture", "?dry_run=null"):
        answer = await asked(endpoint(chat.create), "POST", "/v1/x" + slip, CHAT)
        assert (answer.status, answer.json()["error"]["param"]) == (400, "dry_run")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("query", "headers", "dry"),
    [("?dry_run=true", {}, True), ("?dry_run=0", {}, False), ("", {"x-traghetto-dry-run": "1"}, True)],
)
async def test_dry_runs(query: str, headers: dict[str, str], dry: bool) -> None:
    answer = await asked(endpoint(chat.create), "POST", "/v1/x" + query, CHAT, headers=headers)
    assert (answer.json()["object"] == "dry_run") is dry


@pytest.mark.asyncio
async def test_a_failed_call_still_tells_its_route() -> None:
    body = {**CHAT, "model": "lonely"}
    answer = await asked(endpoint(chat.create, env={"FAR_KEY": "k" * 9}), "POST", body=body)
    assert answer.status == 502
    assert answer.headers["x-traghetto-route"].startswith("far/z; attempt=")


@pytest.mark.asyncio
async def test_a_client_that_leaves_is_told_nothing_and_counted() -> None:
    left = asyncio.Event()
    slow = '[upstreams.e]\nkind = "echo"\ndelay_s = 30\n[models.parrot]\ntargets = [{upstream = "e", model = "p"}]'
    app = endpoint(chat.create, toml=slow)
    asking = asyncio.create_task(asked(app, "POST", body=CHAT, leaves=left))
    while not app._desk.house.running:  # noqa: ASYNC110 - it counts, and tells nobody
        await asyncio.sleep(0.001)
    left.set()
    await asyncio.wait({asking}, timeout=5)
    assert isinstance(asking.exception(), IndexError), "nothing was sent"
    assert app._desk.house.running == 0
    assert b'status="499"} 1.0' in app._desk.metrics.exposition()

"""Every line of the route table × every state of a key: the status, the envelope of its prefix, the headers that belong to it.

The table is walked, so that a route cannot be forgotten: one that serves calls needs a body in BODIES, all others stand in
NO_CALLS. Over real sockets, with real keys in a database.
"""

import asyncio
import base64
import http.client
import io
import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from PIL import Image

from fakes.evil import EvilThread, evil_thread
from fakes.gateway import Gateway, gateway, upstream
from proxy.keys.format import mac, mint
from proxy.ledger.keyrows import KeyRow
from routes import PREFIXES, TABLE
from routes._endpoint import Access, Route

CHAT = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (300, 300), "navy").save(out, "PNG")
    return out.getvalue()


PNG = picture()
B64 = base64.b64encode(PNG).decode()


def form(**fields: str | bytes) -> tuple[bytes, str]:
    parts = []
    for name, value in fields.items():
        head = f'content-disposition: form-data; name="{name}"'
        head += f'; filename="{name}.bin"' if isinstance(value, bytes) else ""
        data = value if isinstance(value, bytes) else value.encode()
        parts.append(b"--XX\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n")
    return b"".join(parts) + b"--XX--\r\n", "multipart/form-data; boundary=XX"


# path: what is sent, and the status that a good key gets
BODIES: dict[str, tuple[Any, int]] = {
    "/chat/completions": (CHAT, 200),
    "/completions": ({"model": "m", "max_tokens": 5, "prompt": "hi"}, 200),
    "/responses": ({"model": "m", "max_output_tokens": 16, "input": "hi"}, 200),
    "/messages": (CHAT, 200),
    "/messages/count_tokens": (CHAT, 200),
    "/embeddings": ({"model": "v", "input": "hi"}, 200),
    "/audio/speech": ({"model": "tts", "input": "hi", "response_format": "wav"}, 200),
    # the scripted upstream hears nothing: it has no such route
    "/audio/transcriptions": (form(model="ears", file=b"RIFF----WAVE"), 502),
    "/image/generate": ({"model": "pic", "prompt": "p", "width": 64, "height": 64}, 200),
    "/images/generations": ({"model": "pic", "prompt": "p"}, 200),
    "/image/upscale": ({"image": B64, "scale": 2}, 200),
    "/image/edit": ({"image": B64, "prompt": "p"}, 200),
    "/images/edits": (form(model="edit", image=PNG, prompt="p"), 200),
}
# Routes that cost nobody's money and count against no limit.
NO_CALLS = {
    *("/image/styles", "/models", "/models/traits", "/models/traits/explain", "/models/compatibility_mapping"),
    *("/models/{model_id:path}", "/characters", "/api_keys", "/api_keys/rate_limits", "/api_keys/rate_limits/log"),
    *("/api_keys/generate_web3_key", "/billing/usage", "/requests/{request_id:str}", "/webhooks/{upstream:str}"),
    *("/livez", "/readyz", "/health", "/metrics", "/openapi.json", "/docs", "/admin/reload", "/admin/models/load"),
    *("/admin/models/status", "/admin/models/instances", "/admin/models/delete"),
}

MODELS = """
[upstreams.here]
kind = "offline"
[models.v]
type = "embedding"
targets = [{upstream = "up", model = "v"}]
pricing = {input_usd = 1000}
[models.ears]
type = "asr"
targets = [{upstream = "up", model = "ears"}]
pricing = {input_usd = 1000, generation_usd = 1000, characters_usd = 1000}
[models.tts]
type = "tts"
targets = [{upstream = "here", model = "tts-kokoro"}]
pricing = {characters_usd = 1000}
[models.pic]
type = "image"
targets = [{upstream = "here", model = "dev-placeholder"}]
traits = ["default"]
pricing = {generation_usd = 1}
[models.edit]
type = "inpaint"
targets = [{upstream = "here", model = "dev-placeholder"}]
traits = ["default"]
pricing = {generation_usd = 1}
[models.big]
type = "upscale"
targets = [{upstream = "here", model = "lanczos"}]
traits = ["default"]
pricing = {upscale_2x_usd = 1, upscale_4x_usd = 1}
[auth]
required = true
[tiers.once]
text = {rpm = 1}
embedding = {rpm = 1}
image = {rpm = 1}
tts = {rpm = 1}
upscale = {rpm = 1}
inpaint = {rpm = 1}
asr = {rpm = 1}
[limits.abuse]
failures = 0
"""


class Door(NamedTuple):
    method: str
    path: str  # as it is asked
    route: Route

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def doors(access: Access | None = None) -> list[Door]:
    return [
        Door(route.method, prefix + "/".join("x" if p.startswith("{") else p for p in route.path.split("/")), route)
        for route in TABLE
        for prefix in (PREFIXES if route.prefixed else ("",))
        if access in (None, route.access)
    ]


def calls() -> list[Door]:
    return [door for door in doors() if door.route.path in BODIES]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Place:
    """A gateway with keys, made without the twenty a minute."""

    def __init__(self, gate: Gateway) -> None:
        self.gate = gate

    def key(self, **more: Any) -> str:
        return self.gate.call(self._made(more))  # type: ignore[return-value]

    async def _made(self, more: dict[str, Any]) -> str:
        store = await self.gate.app.accounts.keyring.store()
        new = mint()
        admin = more.pop("admin", False)
        row = KeyRow(new.id, mac(store.pepper, new.text), new.last6, admin, "", time.time_ns() // 1000, **more)
        await store.rows.add(row, per_minute=10_000, active=10_000)
        await store.directory.refresh()
        return new.text

    def revoked(self) -> str:
        text = self.key()

        async def revoke() -> None:
            store = await self.gate.app.accounts.keyring.store()
            assert await store.desk.revoke(store.directory.principal(text).id)

        self.gate.call(revoke())
        return text

    def ask(self, door: Door, key: str | None = None, **headers: str) -> Answer:
        body, type_ = b"", "application/json"
        if door.method == "POST":
            given: Any = BODIES[door.route.path][0] if door.route.path in BODIES else {}
            body, type_ = given if isinstance(given, tuple) else (json.dumps(given).encode(), type_)
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        connection = http.client.HTTPConnection("127.0.0.1", self.gate.port, timeout=30)
        try:
            connection.request(door.method, door.path, body or None, {"content-type": type_, **headers})
            got = connection.getresponse()
            return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def upstreams() -> Iterator[EvilThread]:
    with evil_thread(models=("*",), embedding_models=("*",), api_key="upstream-secret-key") as running:
        yield running


@pytest.fixture(scope="module")
def place(upstreams: EvilThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    toml = upstream(upstreams.url).replace("[models.m]", "[models.m]\npricing = {input_usd = 1000, output_usd = 1000}")
    toml += MODELS + f'[store]\nurl = "sqlite:///{tmp_path_factory.mktemp("db")}/t.db"\n[routing]\nretries = 0\n'
    with gateway(toml) as running:
        yield Place(running)


def test_the_lists_here_are_complete() -> None:
    """Every route either serves calls, and then what it takes stands above, or it serves none."""
    paths = {route.path for route in TABLE}
    assert sorted(paths - set(BODIES) - NO_CALLS) == [], "say whether this route serves calls"
    assert sorted(NO_CALLS - paths) == []
    assert not set(BODIES) & NO_CALLS


def right_envelope(door: Door, answer: Answer, code: str, venice: str) -> None:
    said = json.loads(answer.body)
    assert answer.headers["x-request-id"].startswith("req_")
    if door.path.startswith("/api/"):
        assert isinstance(said["error"], str)
        assert said["code"] == venice
    elif "/messages" in door.path:
        assert said["type"] == "error"
        assert set(said["error"]) == {"type", "message"}
    else:
        assert set(said["error"]) >= {"message", "type", "param", "code"}
        assert said["error"]["code"] == code


CLOSED = [door for door in doors() if door.route.access is not Access.OPEN]


@pytest.fixture(scope="module")
def bad_keys(place: Place) -> dict[str, str | None]:
    past = time.time_ns() // 1000 - 1
    return {
        "no key": None,
        "wrong key": "sk-of-nobody",
        "a made-up key of our form": mint().text,
        "expired": place.key(expires_us=past),
        "revoked": place.revoked(),
        "expired admin": place.key(expires_us=past, admin=True),
    }


@pytest.mark.parametrize("door", CLOSED, ids=str)
def test_without_a_good_key(place: Place, bad_keys: dict[str, str | None], door: Door) -> None:
    for name, key in bad_keys.items():
        answer = place.ask(door, key)
        assert answer.status == 401, name
        right_envelope(door, answer, "invalid_api_key", "AUTHENTICATION_FAILED")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert key is None or key.encode() not in answer.body


@pytest.mark.parametrize("door", doors(Access.OPEN), ids=str)
def test_open_doors_ask_for_no_key(place: Place, door: Door) -> None:
    assert place.ask(door).status not in (401, 403)
    assert place.ask(door, "sk-of-nobody").status not in (401, 403)


@pytest.mark.parametrize("door", doors(Access.ADMIN), ids=str)
def test_an_inference_key_is_no_admin(place: Place, door: Door) -> None:
    answer = place.ask(door, place.key())
    assert answer.status == 403
    right_envelope(door, answer, "permission_denied", "UNAUTHORIZED")


@pytest.mark.parametrize("door", calls(), ids=str)
def test_over_the_limit(place: Place, upstreams: EvilThread, door: Door) -> None:
    """The first call passes, which also shows that it is a good one; the second is told exactly when it would."""
    key = place.key(tier="once")
    first = place.ask(door, key)
    assert first.status == BODIES[door.route.path][1], first.body[:300]
    if first.status == 200:
        assert (first.headers["x-ratelimit-limit-requests"], first.headers["x-ratelimit-remaining-requests"]) == (
            "1",
            "0",
        )
    seen = len(upstreams.exchanges)
    again = place.ask(door, key)
    assert again.status == 429, again.body[:300]
    right_envelope(door, again, "rate_limit_exceeded", "RATE_LIMIT_EXCEEDED")
    assert 50 <= int(again.headers["retry-after"]) <= 60
    reset = again.headers["x-ratelimit-reset-requests"]
    if door.path.startswith("/api/"):
        assert 50 <= int(reset) - time.time() <= 61
    else:
        assert reset.endswith("s")
        assert float(reset.removesuffix("s").replace("1m", "6").replace("m", "")) > 50
    assert len(upstreams.exchanges) == seen, "nothing was sent"


@pytest.mark.parametrize("door", calls(), ids=str)
def test_over_the_budget(place: Place, upstreams: EvilThread, door: Door) -> None:
    seen = len(upstreams.exchanges)
    hearing = (
        door.route.path == "/audio/transcriptions"
    )  # what it costs at most, nobody can tell: it needs something left
    answer = place.ask(door, place.key(usd_micro=0 if hearing else 1))
    assert answer.status == 402, answer.body[:300]
    right_envelope(door, answer, "insufficient_quota", "INSUFFICIENT_BALANCE")
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert len(upstreams.exchanges) == seen, "nothing was sent"


@pytest.mark.parametrize("door", [one for one in calls() if one.route.path == "/audio/transcriptions"], ids=str)
def test_hours_of_sound_cannot_be_told_beforehand(place: Place, upstreams: EvilThread, door: Door) -> None:
    seen = len(upstreams.exchanges)
    assert place.ask(door, place.key(usd_micro=1)).status == BODIES[door.route.path][1]
    assert len(upstreams.exchanges) == seen + 1, "while anything is left it is sent"


@pytest.mark.parametrize("door", calls(), ids=str)
def test_a_model_that_the_key_may_not_use(place: Place, door: Door) -> None:
    answer = place.ask(door, place.key(models='["another"]'))
    assert answer.status == 403
    right_envelope(door, answer, "permission_denied", "UNAUTHORIZED")


def test_a_key_that_keeps_failing_is_blocked_everywhere_but_on_admin_routes(
    upstreams: EvilThread, tmp_path: Any
) -> None:
    toml = upstream(upstreams.url) + f'[auth]\nrequired = true\n[store]\nurl = "sqlite:///{tmp_path}/t.db"\n'
    with gateway(toml + "[limits.abuse]\nfailures = 3\n") as running:
        place = Place(running)
        key, other = place.key(admin=True), place.key()
        chat = next(door for door in calls() if door.path == "/api/v1/chat/completions")
        wrong = next(door for door in doors() if door.path == "/api/v1/requests/x")
        for _ in range(4):
            assert place.ask(wrong, key).status == 404
        blocked = place.ask(chat, key)
        assert blocked.status == 429
        assert "failed attempts (> 3)" in json.loads(blocked.body)["error"]
        assert 1 <= int(blocked.headers["retry-after"]) <= 30
        assert place.ask(chat, other).status == 200
        listed = next(door for door in doors(Access.ADMIN) if door.path == "/v1/api_keys" and door.method == "GET")
        assert place.ask(listed, key).status == 200, "so that somebody can still revoke it"


def test_each_hit_is_in_the_log(place: Place) -> None:
    key = place.key(tier="once")
    chat = next(door for door in calls() if door.path == "/v1/chat/completions")
    assert [place.ask(chat, key).status for _ in range(2)] == [200, 429]
    accounts = place.gate.app.accounts
    owner = accounts.keyring.principal(key).id
    (hit,) = asyncio.run_coroutine_threadsafe(accounts.hits.last(owner), place.gate.loop).result(10)
    assert (hit.model, hit.tier, hit.measure, hit.need, hit.have) == ("m", "once", "RPM", 1, 0)
    assert hit.passes_us is not None
    assert 0 < hit.passes_us - hit.at_us <= 60_000_000

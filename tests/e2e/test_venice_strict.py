"""Success answers against Venice's own schemas, made strict: no field that the seed does not name, under both prefixes, over a
real socket, offline. What we have beyond it stands in ADDED and CHANGED, by name.
"""

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from eth_account.messages import encode_defunct
from PIL import Image

from fakes.offline import WALLET, Offline, offline
from fakes.openapi_facts import SEED, Schema, seed, strict

pytestmark = pytest.mark.skipif(
    not SEED.is_file(), reason="shared/seeds/venice-swagger.yaml is not beside this checkout"
)

# Operation → fields of ours that the seed does not have.
ADDED: dict[str, tuple[str, ...]] = {
    "POST /chat/completions": (
        "choices[].message.refusal",  # OpenAI's clients expect the key
        "usage.completion_tokens_details",  # reasoning tokens, as OpenAI and later Venice have them
    ),
    "GET /models": ("data[].model_spec.description", "data[].model_spec.engine"),
}
# Operation → fields whose values the seed lists and which are a configuration's own here.
CHANGED: dict[str, dict[str, Any]] = {"GET /models": {"data[].owned_by": "venice.ai"}}

CHAT = {"model": "default", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
PROMPT = {"model": "default", "prompt": "A ferry at dusk", "width": 256, "height": 256, "seed": 3}


def png() -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offline]:
    with offline(tmp_path_factory.mktemp("offline")) as running:
        yield running


@pytest.fixture(params=["/v1", "/api/v1"])
def client(gate: Offline, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    with gate.client(str(request.param)) as open_:
        yield open_


class Held:
    """An answer held against the seed's operation."""

    document: Schema = seed() if SEED.is_file() else {}

    def __init__(self, operation: str, answer: httpx.Response) -> None:
        self.operation, self.answer = operation, answer
        method, path = operation.split(" ")
        assert answer.status_code == 200, answer.text
        self.told = self.document["paths"][path][method.lower()]["responses"]["200"]
        self.type = answer.headers["content-type"].partition(";")[0]
        assert self.type in self.told["content"]
        assert answer.headers["x-request-id"].startswith("req_")

    def json(self) -> Any:
        """The body, once it has passed; without what is ours."""
        assert self.type == "application/json"
        body = self.answer.json()
        for path in ADDED.get(self.operation, ()):
            _drop(body, path)
        for path, value in CHANGED.get(self.operation, {}).items():
            for holder, name in _at(body, path):
                holder[name] = value
        schema = strict(self.told["content"][self.type]["schema"], self.document)
        jsonschema.Draft202012Validator(schema).validate(body)
        return body


def _at(body: Any, path: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The holders of a field, and its name: `data[].model_spec.engine`."""
    step, _, rest = path.partition(".")
    if not rest:
        if step in body:
            yield body, step
    else:
        name, many = step.removesuffix("[]"), step.endswith("[]")
        for inner in body.get(name, ()) if many else [body[name]] if name in body else ():
            yield from _at(inner, rest)


def _drop(body: Any, path: str) -> None:
    for holder, name in list(_at(body, path)):
        del holder[name]


def test_chat(client: httpx.Client) -> None:
    for more in ({}, {"n": 2}, {"stop": "o"}, {"venice_parameters": {"strip_thinking_response": True}}):
        held = Held("POST /chat/completions", client.post("/chat/completions", json={**CHAT, **more}))
        assert len(held.json()["choices"]) == more.get("n", 1)


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_answers_are_packed_as_asked(client: httpx.Client, encoding: str) -> None:
    for path, body in (
        ("/chat/completions", {**CHAT, "logprobs": True, "top_logprobs": 5}),
        ("/embeddings", {"model": "default", "input": "A ferry"}),
        ("/image/generate", PROMPT),
        ("/images/generations", {"prompt": "A ferry", "size": "256x256"}),
    ):
        answer = client.post(path, json=body, headers={"accept-encoding": encoding})
        assert answer.headers["content-encoding"] == encoding
        assert (
            encoding
            in Held.document["paths"][path]["post"]["responses"]["200"]["headers"]["Content-Encoding"]["schema"]["enum"]
        )
        assert answer.json()


def test_embeddings(client: httpx.Client) -> None:
    for input_ in ("A ferry", ["A ferry", "An oar"], [5, 6, 7], [[5, 6], [7]]):
        Held("POST /embeddings", client.post("/embeddings", json={"model": "default", "input": input_})).json()


@pytest.mark.parametrize("format", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_speech(client: httpx.Client, format: str) -> None:
    body = {"input": "Hello.", "response_format": format}
    held = Held("POST /audio/speech", client.post("/audio/speech", json=body))
    assert held.type == {"mp3": "audio/mpeg"}.get(format, f"audio/{format}")
    assert len(held.answer.content) > 500


def _flags(answer: httpx.Response) -> None:
    for name in ("x-venice-is-blurred", "x-venice-is-content-violation"):
        assert answer.headers[name] in ("true", "false")


@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
def test_generated_pictures(client: httpx.Client, format: str) -> None:
    body = {**PROMPT, "format": format}
    told = Held("POST /image/generate", client.post("/image/generate", json=body))
    _flags(told.answer)
    (picture,) = told.json()["images"]
    bare = Held("POST /image/generate", client.post("/image/generate", json={**body, "return_binary": True}))
    _flags(bare.answer)
    assert bare.type == f"image/{format}"
    assert base64.b64decode(picture) == bare.answer.content


@pytest.mark.parametrize("shape", ["b64_json", "url"])
def test_generations(client: httpx.Client, shape: str) -> None:
    body = {"prompt": "A ferry", "size": "256x256", "response_format": shape}
    held = Held("POST /images/generations", client.post("/images/generations", json=body))
    _flags(held.answer)
    assert set(held.json()["data"][0]) == {shape}


@pytest.mark.parametrize("route", ["upscale", "edit"])
def test_pictures_that_are_sent(client: httpx.Client, route: str) -> None:
    more = {"prompt": "Blue"} if route == "edit" else {}
    text = base64.b64encode(png()).decode()
    asked = client.post(f"/image/{route}", json={"image": text, **more})
    assert Held(f"POST /image/{route}", asked).type == "image/png"
    form = client.post(f"/image/{route}", data=more, files={"image": ("a.png", png(), "image/png")})
    assert Held(f"POST /image/{route}", form).answer.content == asked.content


@pytest.mark.parametrize("type_", ["embedding", "image", "text", "tts", "upscale", "inpaint", "all", "code"])
def test_models(client: httpx.Client, type_: str) -> None:
    held = Held("GET /models", client.get("/models", params={"type": type_}))
    assert held.json()["type"] == type_
    assert bool(held.answer.json()["data"]) == (type_ != "code")


def test_what_is_ours_is_still_there(client: httpx.Client) -> None:
    """A line of ADDED that no answer needs any more goes."""
    said = {
        "POST /chat/completions": client.post("/chat/completions", json=CHAT).json(),
        "GET /models": client.get("/models").json(),
    }
    assert said.keys() == ADDED.keys()
    for operation, paths in ADDED.items():
        for path in paths:
            assert list(_at(said[operation], path)), path


@pytest.mark.parametrize("route", ["traits", "compatibility_mapping"])
@pytest.mark.parametrize("type_", ["embedding", "image", "text", "tts", "upscale", "inpaint"])
def test_names(client: httpx.Client, route: str, type_: str) -> None:
    body = Held(f"GET /models/{route}", client.get(f"/models/{route}", params={"type": type_})).json()
    assert body["type"] == type_
    assert Held(f"GET /models/{route}", client.get(f"/models/{route}")).json()["type"] == "text"


def test_styles_and_characters(client: httpx.Client) -> None:
    assert len(Held("GET /image/styles", client.get("/image/styles")).json()["data"]) > 50
    (character,) = Held("GET /characters", client.get("/characters")).json()["data"]
    assert character["slug"] == "gondolier"


def test_keys(client: httpx.Client) -> None:
    body = {"apiKeyType": "INFERENCE", "description": "d", "consumptionLimit": {"usd": 5}, "expiresAt": "2099-01-01"}
    made = Held("POST /api_keys", client.post("/api_keys", json=body)).json()["data"]
    assert made["expiresAt"].startswith("2099-01-01T00:00:00")
    listed = Held("GET /api_keys", client.get("/api_keys")).json()["data"]
    assert made["id"] in [key["id"] for key in listed]
    gone = client.delete("/api_keys", params={"id": made["id"]})
    assert Held("DELETE /api_keys", gone).json() == {"success": True}


def test_a_wallet_s_key(client: httpx.Client) -> None:
    path = "/api_keys/generate_web3_key"
    token = Held(f"GET {path}", client.get(path)).json()["data"]["token"]
    signature = WALLET.sign_message(encode_defunct(text=token)).signature.hex()
    body = {"apiKeyType": "INFERENCE", "address": WALLET.address, "token": token}
    made = client.post(path, json={**body, "signature": "0x" + signature.removeprefix("0x")})
    assert Held(f"POST {path}", made).json()["data"]["description"] == "Web3 API Key"


def test_limits_and_their_log(client: httpx.Client) -> None:
    assert Held("GET /api_keys/rate_limits", client.get("/api_keys/rate_limits")).json()["data"]["accessPermitted"]
    Held("GET /api_keys/rate_limits/log", client.get("/api_keys/rate_limits/log")).json()


def test_what_was_charged(client: httpx.Client) -> None:
    assert client.post("/chat/completions", json=CHAT).status_code == 200
    told = Held("GET /billing/usage", client.get("/billing/usage", params={"limit": 3}))
    assert len(told.json()["data"]) == 3
    for name in ("limit", "page", "total", "total-pages"):
        assert int(told.answer.headers[f"x-pagination-{name}"]) > 0
    table = Held("GET /billing/usage", client.get("/billing/usage", headers={"accept": "text/csv"}))
    assert table.type == "text/csv"
    assert table.answer.headers["content-disposition"] == "attachment; filename=billing_usage.csv"


@pytest.mark.parametrize(
    ("route", "status", "sent"),
    [
        ("/chat/completions", 400, {"json": {**CHAT, "temperature": 3}}),
        ("/chat/completions", 401, {"json": CHAT, "headers": {"authorization": "Bearer nobody's"}}),
        ("/chat/completions", 415, {"content": b"x", "headers": {"content-type": "text/plain"}}),
        ("/embeddings", 400, {"json": {"model": "default", "input": [], "colour": 1}}),
        ("/image/edit", 400, {"json": {"prompt": "x", "image": "?"}}),
        ("/api_keys", 400, {"json": {"apiKeyType": "ROOT"}}),
    ],
)
def test_refusals(gate: Offline, route: str, status: int, sent: dict[str, Any]) -> None:
    """Under Venice's prefix each is what the seed says, and `code` and `param` beside it."""
    with gate.client("/api/v1") as client:
        answer = client.post(route, **sent)
    assert answer.status_code == status, answer.text
    told = Held.document["paths"][route]["post"]["responses"][str(status)]["content"]["application/json"]["schema"]
    schema = strict(told, Held.document)
    body = {key: value for key, value in answer.json().items() if key not in ("code", "param")}
    jsonschema.Draft202012Validator(schema).validate(body)
    assert answer.json()["code"].isupper()


def test_strictness_bites() -> None:
    """A field too many is seen, in a list and in a union."""
    operation = Held.document["paths"]["/chat/completions"]["post"]["responses"]["200"]["content"]["application/json"]
    schema = strict(operation["schema"], Held.document)
    message = {"role": "assistant", "content": "x"}
    choice = {"index": 0, "finish_reason": "stop", "logprobs": None, "message": message}
    usage = {"completion_tokens": 1, "prompt_tokens": 1, "total_tokens": 2}
    body: Any = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "usage": usage,
        "choices": [choice],
    }
    check = jsonschema.Draft202012Validator(schema)
    check.validate(body)
    assert not check.is_valid({**body, "extra": 1})
    assert not check.is_valid({**body, "choices": [{**choice, "message": {**message, "extra": 1}}]})
    assert not check.is_valid({**body, "choices": [{**choice, "finish_reason": "tool_calls"}]})

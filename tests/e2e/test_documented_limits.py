"""Each documented limit at both of its edges, over a real socket, offline: what is within is answered, what is beyond is a 400
that names its field, in the dialect of its prefix.
"""

import base64
import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from PIL import Image

from fakes.decoded_audio import hear
from fakes.offline import Offline, offline
from proxy.media.inspect import MAX_PIXELS, MAX_UPSCALED_PIXELS, MIN_PIXELS
from proxy.wire.images import SIZES
from proxy.wire.speech import VOICES
from routes._openapi import fields

BOTH, VENICE, OPENAI = ("/v1", "/api/v1"), ("/api/v1",), ("/v1",)


class Limit(NamedTuple):
    """`good` and `bad` are values of `field`; what has to go with them is in `also`."""

    route: str
    field: str
    good: list[Any]
    bad: list[Any]
    prefixes: tuple[str, ...] = BOTH
    also: dict[str, Any] | None = None


def png(width: int = 256, height: int = 256) -> str:
    out = io.BytesIO()
    Image.new("1", (width, height), 1).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


HELLO = {"role": "user", "content": "Hi"}
CHAT, SPEECH, EMBED = "/chat/completions", "/audio/speech", "/embeddings"
GENERATE, GENERATIONS, UPSCALE, EDIT = "/image/generate", "/images/generations", "/image/upscale", "/image/edit"
BASE: dict[str, dict[str, Any]] = {
    CHAT: {"model": "default", "messages": [HELLO], "max_tokens": 1},
    EMBED: {"model": "default", "input": "x"},
    SPEECH: {"input": "Hi."},
    GENERATE: {"model": "default", "prompt": "x", "width": 64, "height": 64, "return_binary": True},
    GENERATIONS: {"prompt": "x", "size": "256x256"},
    UPSCALE: {"image": png(), "scale": 1.1},
    EDIT: {"image": png(), "prompt": "x"},
}


def text(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
FORMATTED = {"max_tokens": 30}
QUICK = {"speed": 4, "response_format": "pcm"}

LIMITS = [
    Limit(CHAT, "temperature", [0, 2], [-0.01, 2.01, "1"]),
    Limit(CHAT, "top_p", [0, 1], [-0.01, 1.01]),
    Limit(CHAT, "min_p", [0, 1], [-0.01, 1.01]),
    Limit(CHAT, "min_temp", [0, 2], [-0.01, 2.01], also={"max_temp": 2}),
    Limit(CHAT, "max_temp", [0, 2], [-0.01, 2.01]),
    Limit(CHAT, "frequency_penalty", [-2, 2], [-2.01, 2.01]),
    Limit(CHAT, "presence_penalty", [-2, 2], [-2.01, 2.01]),
    Limit(CHAT, "repetition_penalty", [0.5, 1.2], [-0.01]),
    Limit(CHAT, "top_k", [0, 40], [1.5]),
    Limit(CHAT, "top_k", [], [-1], VENICE),
    Limit(CHAT, "seed", [1, 2**63 - 1], ["1", 2**63]),
    Limit(CHAT, "seed", [], [0, -1], VENICE),
    Limit(CHAT, "seed", [0, -(2**63)], [-(2**63) - 1], OPENAI),
    Limit(CHAT, "n", [1, 4], [0, 129]),
    Limit(CHAT, "max_tokens", [1], [-1, 1.5, 2**31]),
    Limit(CHAT, "max_completion_tokens", [1], [-1]),
    Limit(CHAT, "top_logprobs", [0, 20], [-1, 21], also={"logprobs": True}),
    Limit(CHAT, "stop", ["x", ["x"], list("wxyz")], [[1], 5]),
    Limit(CHAT, "stop", [], [[], list("vwxyz")], VENICE),
    Limit(CHAT, "stop_token_ids", [[], [5]], [["x"]]),
    Limit(CHAT, "stream", [False], ["yes"]),
    Limit(CHAT, "messages", [[HELLO]], [[], [{"role": "user"}], [{**HELLO, "role": "boss"}], "Hi"]),
    Limit(
        CHAT, "messages", [text({"type": "text", "text": "x"})], [text({"type": "text"}), text({"type": "image_url"})]
    ),
    Limit(CHAT, "messages", [], [text({"type": "text", "text": ""})], VENICE),
    Limit(CHAT, "messages", [], [[HELLO, {"role": "tool", "content": "x"}]]),
    Limit(CHAT, "model", ["default"], ["", 1]),
    Limit(CHAT, "response_format", [{"type": "json_object"}], [1], also=FORMATTED),
    Limit(CHAT, "response_format", [{"type": "json_schema", "json_schema": SCHEMA}], [], also=FORMATTED),
    Limit(CHAT, "response_format", [], [{"type": "x"}, {"type": "json_schema"}], VENICE, also=FORMATTED),
    Limit(CHAT, "tools", [[{"type": "function", "function": {"name": "f"}}]], [[{}], [{"function": {"name": ""}}], {}]),
    Limit(CHAT, "venice_parameters", [{"enable_web_search": "off"}], [{"enable_web_search": "yes"}, {"typo": 1}]),
    Limit(EMBED, "input", ["x", ["x"] * 8, [1], [[1]]], ["", [], [""], ["x", 1], [[]], {}, [-1]]),
    Limit(EMBED, "input", [["x"] * 2048], [["x"] * 2049]),
    Limit(EMBED, "input", [], [[0], [1] * 2049], VENICE),
    Limit(EMBED, "input", [], [[1] * 8193, [[1] * 8193]]),
    Limit(EMBED, "dimensions", [1, 64], [0, 1.5]),
    Limit(EMBED, "encoding_format", ["float", "base64"], ["hex"]),
    Limit(EMBED, "model", ["default"], ["", "x" * 513]),
    Limit(SPEECH, "input", ["x", "abcd " * 819 + "."], ["", "x" * 4097], also=QUICK),
    Limit(SPEECH, "speed", [0.25, 4], [0.24, 4.01]),
    Limit(SPEECH, "response_format", ["mp3", "opus", "aac", "flac", "wav", "pcm"], ["ogg"]),
    Limit(SPEECH, "voice", list(VOICES), ["nobody"], also=QUICK),
    Limit(SPEECH, "streaming", [True, False], ["yes"]),
    Limit(GENERATE, "prompt", ["x", "x" * 1500], ["", "x" * 1501]),
    Limit(GENERATE, "negative_prompt", ["", "x" * 1500], ["x" * 1501]),
    Limit(GENERATE, "width", [8, 1280], [0, 7, 1281, 1288]),
    Limit(GENERATE, "height", [8, 1280], [0, 7, 1281, 1288]),
    Limit(GENERATE, "steps", [1, 50], [0, 51]),
    Limit(GENERATE, "cfg_scale", [0.01, 20], [0, 20.01]),
    Limit(GENERATE, "seed", [-999_999_999, 0, 999_999_999], [-1_000_000_000, 1_000_000_000]),
    Limit(GENERATE, "lora_strength", [0, 100], [-1, 101]),
    Limit(GENERATE, "format", ["jpeg", "png", "webp"], ["gif"]),
    Limit(GENERATE, "style_preset", ["Anime"], ["Nobody's"]),
    *(
        Limit(GENERATE, name, [True, False], ["yes"])
        for name in ("return_binary", "safe_mode", "hide_watermark", "embed_exif_metadata")
    ),
    Limit(GENERATIONS, "prompt", ["x", "x" * 1500], [""]),
    Limit(GENERATIONS, "prompt", [], ["x" * 1501], VENICE),
    Limit(GENERATIONS, "n", [1], [0, 11]),
    Limit(GENERATIONS, "n", [], [2], VENICE),
    Limit(GENERATIONS, "n", [2], [], OPENAI),
    Limit(GENERATIONS, "size", ["auto", *SIZES], ["1x", "9999x9999"]),
    Limit(GENERATIONS, "size", [], ["640x480"], VENICE),
    Limit(GENERATIONS, "size", ["640x480"], [], OPENAI),
    Limit(GENERATIONS, "response_format", ["b64_json", "url"], ["png"]),
    Limit(GENERATIONS, "output_format", ["jpeg", "png", "webp"], ["gif"]),
    Limit(GENERATIONS, "output_compression", [0, 100], [-1, 101], also={"output_format": "jpeg"}),
    Limit(GENERATIONS, "moderation", ["low", "auto"], ["high"]),
    Limit(GENERATIONS, "background", ["transparent", "opaque", "auto"], ["pink"]),
    Limit(GENERATIONS, "quality", ["auto", "high", "medium", "low", "hd", "standard"], ["best"]),
    Limit(GENERATIONS, "style", ["vivid", "natural"], ["loud"]),
    Limit(UPSCALE, "scale", [1.01, 4], [0.99, 4.01]),
    Limit(UPSCALE, "scale", [1], [], also={"enhance": True}),
    Limit(UPSCALE, "scale", [], [1]),
    Limit(UPSCALE, "enhance", [True, False, "true", "false"], ["maybe"]),
    Limit(UPSCALE, "enhanceCreativity", [0, 1], [-0.01, 1.01]),
    Limit(UPSCALE, "enhancePrompt", ["", "x" * 1500], ["x" * 1501]),
    Limit(UPSCALE, "replication", [0, 1], [-0.01, 1.01]),
    Limit(UPSCALE, "image", [png(256, MIN_PIXELS // 256)], [png(256, MIN_PIXELS // 256 - 1), "", "?", None]),
    Limit(EDIT, "image", [png(256, MIN_PIXELS // 256)], [png(256, MIN_PIXELS // 256 - 1), "", "?", None]),
    Limit(EDIT, "prompt", ["x", "x" * 1500], ["", "x" * 1501]),
]
CLOSED = [CHAT, EMBED, SPEECH, GENERATE, GENERATIONS, UPSCALE, EDIT]
CASES = [(prefix, limit) for limit in LIMITS for prefix in limit.prefixes]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offline]:
    with offline(tmp_path_factory.mktemp("offline")) as running:
        yield running


@pytest.fixture(scope="module")
def client(gate: Offline) -> Iterator[httpx.Client]:
    with gate.client() as open_:
        yield open_


def named(answer: httpx.Response, field: str, status: int = 400) -> bool:
    """Whether it is a refusal that names the field."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text[:300]}"
    body = answer.json()
    venice = "/api/v1/" in str(answer.url)
    said, param = (body["error"], body.get("param")) if venice else (body["error"]["message"], body["error"]["param"])
    assert isinstance(said, str)
    return (param or "").partition("[")[0].partition(".")[0] == field and field in said


@pytest.mark.parametrize(("prefix", "limit"), CASES, ids=lambda x: x if isinstance(x, str) else f"{x.route} {x.field}")
def test_both_edges(client: httpx.Client, prefix: str, limit: Limit) -> None:
    base = {**BASE[limit.route], **(limit.also or {})}
    for value in limit.good:
        answer = client.post(prefix + limit.route, json={**base, limit.field: value})
        assert answer.status_code == 200, f"{str(value)[:80]}: {answer.text[:300]}"
    for value in limit.bad:
        answer = client.post(prefix + limit.route, json={**base, limit.field: value})
        assert named(answer, limit.field), f"{str(value)[:80]}: {answer.text[:300]}"


@pytest.mark.parametrize("route", CLOSED)
def test_unknown_fields_are_refused_by_name(client: httpx.Client, route: str) -> None:
    """By Venice's prefix always; OpenAI's hands them on where it is OpenAI's dialect."""
    body = {**BASE[route], "vendor_key": 1}
    assert named(client.post("/api/v1" + route, json=body), "vendor_key")
    open_ = client.post("/v1" + route, json=body)
    if route in (GENERATE, UPSCALE, EDIT):
        assert named(open_, "vendor_key")
    else:
        assert open_.status_code == 200


STRUCTS = {
    CHAT: "ChatRequest",
    EMBED: "EmbeddingsRequest",
    SPEECH: "SpeechRequest",
    GENERATE: "GenerateRequest",
    GENERATIONS: "GenerationsRequest",
    UPSCALE: "UpscaleRequest",
    EDIT: "EditRequest",
    "/images/edits": "EditsRequest",
}
# Told by comparison with the answer to a request that says nothing; a seed and temperature 0 make answers repeatable.
PLAIN: dict[str, dict[str, Any]] = {
    CHAT: {"model": "default", "messages": [HELLO], "max_tokens": 8, "temperature": 0, "seed": 1},
    EMBED: {"model": "default", "input": "x"},
    SPEECH: {"input": "Hi."},
    GENERATE: {"model": "default", "prompt": "x", "seed": 1},
    GENERATIONS: {"prompt": "x"},
    UPSCALE: {"image": png()},
    EDIT: {"image": png(), "prompt": "x"},
    "/images/edits": {"image": png(), "prompt": "x"},
}


def essence(route: str, answer: httpx.Response) -> Any:
    """What of an answer a default can change."""
    assert answer.status_code == 200, answer.text
    kind = answer.headers["content-type"]
    if kind.startswith("audio/"):  # no two encodings are alike
        heard = hear(answer.content)
        return kind, heard.codec, round(heard.seconds, 1), round(heard.rms, 2)
    if not kind.startswith("application/json"):
        return kind, answer.content
    body = answer.json()
    if route == GENERATIONS:  # it has no seed: what is alike is the form
        return [Image.open(io.BytesIO(base64.b64decode(item["b64_json"]))).size for item in body["data"]]
    return [body.get(key) for key in ("choices", "data", "images")]


@pytest.mark.parametrize("route", STRUCTS)
def test_defaults_are_those_that_are_taken(client: httpx.Client, route: str) -> None:
    """To say a documented default is to say nothing."""
    silent = essence(route, client.post("/v1" + route, json=PLAIN[route]))
    for field, value in fields.DEFAULTS[STRUCTS[route]].items():
        said = client.post("/v1" + route, json={**PLAIN[route], field: value})
        assert essence(route, said) == silent, field
    if route == CHAT:
        for field, value in fields.DEFAULTS["VeniceParameters"].items():
            said = client.post("/v1" + route, json={**PLAIN[route], "venice_parameters": {field: value}})
            assert essence(route, said) == silent, field


def test_every_default_is_asked_for() -> None:
    assert set(STRUCTS.values()) | {"VeniceParameters"} == fields.DEFAULTS.keys()


HUGE = 10**25


@pytest.mark.parametrize("prefix", BOTH)
@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"maxProperties": HUGE}}}]},
        {"response_format": {"type": "json_schema", "json_schema": {"type": "integer", "maximum": HUGE}}},
        {"messages": [{**HELLO, "vendor": HUGE}]},
        {"stop_token_ids": [HUGE]},
        {"seed": HUGE},
    ],
    ids=lambda more: next(iter(more)),
)
def test_numbers_beyond_64_bits(client: httpx.Client, prefix: str, more: dict[str, Any]) -> None:
    """JSON has no end to its integers; engines have."""
    assert client.post(prefix + CHAT, json={**BASE[CHAT], **more}).status_code == 400


REQUIRED = {CHAT: ("model", "messages"), EMBED: ("model", "input"), SPEECH: ("input",), GENERATE: ("model", "prompt")}
REQUIRED |= {GENERATIONS: ("prompt",), UPSCALE: ("image",), EDIT: ("image", "prompt")}


@pytest.mark.parametrize("prefix", BOTH)
@pytest.mark.parametrize("route", CLOSED)
def test_required_fields(client: httpx.Client, prefix: str, route: str) -> None:
    for field in REQUIRED[route]:
        body = {key: value for key, value in BASE[route].items() if key != field}
        assert named(client.post(prefix + route, json=body), field)


@pytest.mark.parametrize("prefix", BOTH)
@pytest.mark.parametrize("route", CLOSED)
def test_other_content_types(client: httpx.Client, prefix: str, route: str) -> None:
    answer = client.post(prefix + route, content=b"x", headers={"content-type": "text/plain"})
    assert answer.status_code == 415


@pytest.mark.parametrize("prefix", BOTH)
@pytest.mark.parametrize(
    ("route", "most", "more"),
    [(UPSCALE, MAX_UPSCALED_PIXELS, {"enhance": True, "scale": 1}), (EDIT, MAX_PIXELS, {"prompt": "x"})],
)
def test_too_many_pixels(client: httpx.Client, prefix: str, route: str, most: int, more: dict[str, Any]) -> None:
    """One row more than fits. (That a picture of exactly the limit passes, and what it costs, is tested with hostile ones.)"""
    picture = png(4096, most // 4096 + 1)
    answer = client.post(prefix + route, json={"image": picture, **more})
    assert named(answer, "image", 413)


@pytest.mark.parametrize("prefix", BOTH)
@pytest.mark.parametrize(
    ("path", "field", "good", "bad"),
    [
        ("/models", "type", ["embedding", "image", "text", "tts", "upscale", "inpaint", "all", "code"], ["video", ""]),
        ("/models/traits", "type", ["embedding", "image", "text", "tts", "upscale", "inpaint"], ["all", "code"]),
        ("/models/compatibility_mapping", "type", ["text", "inpaint"], ["all", "code"]),
        ("/models/traits/explain", "trait", ["default", "fastest"], [""]),
        ("/billing/usage", "limit", ["1", "500"], ["0", "501", "x", "1.5"]),
        ("/billing/usage", "page", ["1", "7"], ["0", "-1", "x"]),
        ("/billing/usage", "currency", ["USD", "VCU", "DIEM"], ["EUR"]),
        ("/billing/usage", "sortOrder", ["asc", "desc"], ["up"]),
        ("/billing/usage", "startDate", ["2024-01-01T00:00:00Z", "2024-01-01"], ["yesterday", ""]),
        ("/billing/usage", "endDate", ["2024-12-31T23:59:59Z"], ["2024-13-01"]),
    ],
)
def test_query_parameters(
    client: httpx.Client, prefix: str, path: str, field: str, good: list[str], bad: list[str]
) -> None:
    for value in good:
        assert client.get(prefix + path, params={field: value}).status_code == 200, value
    for value in bad:
        assert named(client.get(prefix + path, params={field: value}), field), value


@pytest.mark.parametrize("prefix", BOTH)
@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("apiKeyType", ["INFERENCE"], ["ROOT", None]),
        ("description", ["", "x" * 512], ["x" * 513, 1]),
        ("consumptionLimit", [{"usd": 0}, {"vcu": None}], [{"usd": -1}, {"eur": 1}, 5]),
        ("expiresAt", ["", "2099-12-31"], ["2099-13-31", "soon", "2001-01-01"]),
    ],
)
def test_new_keys(client: httpx.Client, prefix: str, field: str, good: list[Any], bad: list[Any]) -> None:
    base = {"apiKeyType": "INFERENCE", "description": "x"}
    for value in bad:
        assert named(client.post(prefix + "/api_keys", json={**base, field: value}), field), value
    for value in good:
        made = client.post(prefix + "/api_keys", json={**base, field: value})
        assert made.status_code == 200, made.text
        assert client.delete(prefix + "/api_keys", params={"id": made.json()["data"]["id"]}).status_code == 200

"""The Venice double is plausible: all its JSON answers fit Venice's published schema, the OpenAI client is content, and what
the schema or the model does not take is refused in Venice's words."""

import base64
import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from fakes.doubles import faults, media
from fakes.doubles.clockwork import Pace
from fakes.doubles.venice import VeniceDouble
from fakes.doubles.venice_schema import OPERATIONS, faults_of_answer

TEXT, VISION, THINKS = "llama-3.3-70b", "qwen-2.5-vl", "deepseek-r1-671b"
HELLO = [{"role": "user", "content": "Hello there"}]
PICTURE = base64.b64encode(media.png(256, 256)).decode()


@pytest.fixture
def double() -> Iterator[VeniceDouble]:
    with VeniceDouble(pace=Pace.quick()) as running:
        yield running


@pytest.fixture
def client(double: VeniceDouble) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {double.admin_key}"}
    with httpx.Client(base_url=double.base_url, headers=headers, trust_env=False) as made:
        yield made


@pytest.fixture
def sdk(double: VeniceDouble) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=double.key, base_url=double.base_url, max_retries=0) as made:
        yield made


REQUESTS: dict[str, Any] = {
    "POST /chat/completions": {"model": TEXT, "messages": HELLO},
    "POST /image/generate": {"model": "flux-dev", "prompt": "a boat", "width": 64, "height": 64, "format": "png"},
    "POST /images/generations": {"prompt": "a boat", "size": "256x256"},
    "POST /embeddings": {"model": "text-embedding-bge-m3", "input": ["a", "b"]},
    "POST /api_keys": {
        "apiKeyType": "INFERENCE",
        "description": "mine",
        "consumptionLimit": {"usd": 5},
        "expiresAt": "2030-01-01",
    },
}


def test_all_twenty_operations_are_served(double: VeniceDouble) -> None:
    served = {f"{row.method} {row.pattern.pattern.removeprefix('/api/v1')}" for row in double.routes}
    assert served == set(OPERATIONS)
    assert len(served) == 20


@pytest.mark.parametrize(
    "operation", [name for name, row in OPERATIONS.items() if "application/json" in row["answers"]]
)
def test_each_json_answer_fits_the_published_schema(double: VeniceDouble, client: httpx.Client, operation: str) -> None:
    method, path = operation.split(" ")
    body = REQUESTS.get(operation)
    if operation == "DELETE /api_keys":
        path += "?id=" + next(iter(double.keys))
    if operation == "POST /api_keys/generate_web3_key":
        token = client.get(path).json()["data"]["token"]
        body = {"apiKeyType": "ADMIN", "address": "0x" + "a" * 40, "signature": "0x" + "b" * 130, "token": token}
    client.post("/chat/completions", json=REQUESTS["POST /chat/completions"])  # something to bill
    answer = client.request(method, path, json=body)
    assert answer.status_code == 200, answer.text
    assert faults_of_answer(operation, answer.json()) == []


def test_no_schema_is_so_lax_that_nonsense_passes() -> None:
    for operation, row in OPERATIONS.items():
        if "application/json" in row["answers"]:
            assert faults_of_answer(operation, {"nonsense": 1}) != []


# -- chat -------------------------------------------------------------------------------------------------------------


def test_the_openai_client_chats_and_streams(double: VeniceDouble, sdk: openai.OpenAI) -> None:
    said = sdk.chat.completions.create(model="default", messages=HELLO)  # type: ignore[arg-type]
    assert (said.model, said.choices[0].message.content) == (TEXT, "You said: Hello there")
    ask: Any = {"model": "gpt-4o", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    with sdk.chat.completions.create(**ask) as events:
        chunks = list(events)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "You said: Hello there"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens) == ([], 4)
    assert len({c.id for c in chunks}) == 1


def test_tools_stream_in_parts(double: VeniceDouble, sdk: openai.OpenAI) -> None:
    double.will(say=[], calls=[("weather", '{"city": "Venice"}')])
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    with sdk.chat.completions.create(model=TEXT, messages=HELLO, tools=[tool], stream=True) as events:  # type: ignore[call-overload]
        chunks = list(events)
    parts = [c.choices[0].delta.tool_calls[0] for c in chunks if c.choices[0].delta.tool_calls]
    assert "".join(p.function.arguments for p in parts) == '{"city": "Venice"}'
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_thoughts_suffixes_and_citations(double: VeniceDouble, client: httpx.Client) -> None:
    shown = []
    for name in (THINKS, f"{THINKS}:strip_thinking_response=true", f"{THINKS}:disable_thinking=true"):
        double.will(think=["hm"], say=["Yes"])
        body = client.post("/chat/completions", json={"model": name, "messages": HELLO}).json()
        shown.append((body["model"], body["choices"][0]["message"]["reasoning_content"]))
    assert shown == [(THINKS, "hm"), (THINKS, None), (THINKS, None)]
    ask = {"model": f"{TEXT}:enable_web_search=on&enable_web_citations=true", "messages": HELLO}
    whole = client.post("/chat/completions", json=ask).json()
    assert whole["venice_parameters"]["web_search_citations"][0]["url"].startswith("https://")
    assert whole["choices"][0]["message"]["content"].endswith("[REF]0[/REF]")
    assert faults_of_answer("POST /chat/completions", whole) == []
    for more, place in (({}, -2), ({"venice_parameters": {"include_search_results_in_stream": True}}, 0)):
        events = client.post("/chat/completions", json=ask | more | {"stream": True}).text.strip().split("\n\n")
        assert events[-1] == "data: [DONE]"
        chunk = json.loads(events[place][6:])
        assert (chunk["choices"], len(chunk["venice_parameters"]["web_search_citations"])) == ([], 1)


@pytest.mark.parametrize(
    ("change", "path", "text"),
    [
        ({"function_call": "x"}, [], "Unrecognized key(s) in object: 'function_call'"),
        ({"temperature": 3}, ["temperature"], "Number must be less than or equal to 2"),
        ({"seed": 0}, ["seed"], "Number must be greater than 0"),
        ({"messages": []}, ["messages"], "Array must contain at least 1 element(s)"),
        ({"model": None}, ["model"], "Expected string, received null"),
        ({"stop": 5}, ["stop"], "Invalid input"),
        ({"stop": ["a"] * 5}, ["stop"], "Invalid input"),
        ({"messages": [{"role": "developer", "content": "x"}]}, ["messages", "0"], "Invalid input"),
        ({"messages": [{"role": "assistant"}]}, ["messages", "0"], "Invalid input"),
        (
            {"venice_parameters": {"enable_web_search": "yes"}},
            ["venice_parameters", "enable_web_search"],
            "Invalid enum value",
        ),
        ({"logit_bias": {"5": 1}}, [], "logit_bias"),
        ({"reasoning_effort": "low"}, [], "reasoning_effort"),
        ({"model": f"{TEXT}:nonsense=1"}, ["model"], "Unknown model feature"),
        ({"model": VISION, "tools": [{"type": "function", "function": {"name": "f"}}]}, ["tools"], "not supported"),
        ({"model": THINKS, "response_format": {"type": "json_object"}}, ["response_format"], "not supported"),
        ({"model": THINKS, "logprobs": True}, ["logprobs"], "not supported"),
    ],
)
def test_bad_chats_are_refused_with_details(
    double: VeniceDouble, client: httpx.Client, change: dict[str, Any], path: list[str], text: str
) -> None:
    answer = client.post("/chat/completions", json={"model": TEXT, "messages": HELLO} | change)
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid request parameters")
    node = answer.json()["details"]
    for step in path:
        assert node["_errors"] == []
        node = node[step]
    assert any(text in error for error in node["_errors"])
    assert double.created == 0


def test_images_in_messages(double: VeniceDouble, client: httpx.Client) -> None:
    def ask(model: str, picture: bytes) -> int:
        url = "data:image/png;base64," + base64.b64encode(picture).decode()
        parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": url}}]
        return client.post(
            "/chat/completions", json={"model": model, "messages": [{"role": "user", "content": parts}]}
        ).status_code

    assert [ask(VISION, media.png(64, 64)), ask(VISION, media.png(63, 64)), ask(TEXT, media.png(64, 64))] == [
        200,
        400,
        400,
    ]


def test_unknown_and_offline_models(double: VeniceDouble, client: httpx.Client) -> None:
    assert client.post("/chat/completions", json={"model": "nope", "messages": HELLO}).status_code == 404
    assert client.post("/chat/completions", json={"model": "flux-dev", "messages": HELLO}).status_code == 404
    assert client.post("/chat/completions", json={"model": "venice-uncensored", "messages": HELLO}).status_code == 503
    slug = {"venice_parameters": {"character_slug": "who"}}
    assert client.post("/chat/completions", json={"model": TEXT, "messages": HELLO} | slug).json() == {
        "error": "Character not found"
    }


# -- keys, rates, money -----------------------------------------------------------------------------------------------


def test_who_may_do_what(double: VeniceDouble) -> None:
    def status(path: str, key: str | None) -> int:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.get(double.base_url + path, headers=headers, trust_env=False).status_code

    for path in ("/models", "/models/traits", "/models/compatibility_mapping", "/image/styles"):
        assert [status(path, k) for k in (None, double.key, "wrong")] == [200, 200, 401]
    assert [status("/characters", k) for k in (None, double.key)] == [401, 200]
    for path in ("/api_keys", "/billing/usage"):
        assert [status(path, k) for k in (None, double.key, double.admin_key)] == [401, 401, 200]
    assert status("/api_keys/rate_limits", double.key) == 200
    assert status("/nothing", double.key) == 404
    assert status("/chat/completions", double.key) == 405


def test_a_made_key_works_until_it_is_deleted(double: VeniceDouble, client: httpx.Client) -> None:
    made = client.post("/api_keys", json=REQUESTS["POST /api_keys"]).json()["data"]
    headers = {"authorization": f"Bearer {made['apiKey']}"}
    ask = {"model": TEXT, "messages": HELLO}
    assert client.post("/chat/completions", json=ask, headers=headers).status_code == 200
    assert (
        next(k for k in client.get("/api_keys").json()["data"] if k["id"] == made["id"])["consumptionLimits"]["usd"]
        == 5
    )
    assert client.delete("/api_keys", params={"id": made["id"]}).json() == {"success": True}
    assert client.post("/chat/completions", json=ask, headers=headers).status_code == 401
    assert client.delete("/api_keys", params={"id": made["id"]}).status_code == 400
    assert client.post("/api_keys", json={"apiKeyType": "ROOT", "description": "x"}).status_code == 400
    assert (
        client.post("/api_keys", json={"apiKeyType": "ADMIN", "description": "x", "expiresAt": "tomorrow"}).status_code
        == 400
    )


def test_rates_balance_and_the_abuse_guard() -> None:
    with VeniceDouble(pace=Pace.quick(), requests_per_min=3, failures_allowed=5) as double:
        headers = {"authorization": f"Bearer {double.admin_key}"}
        with httpx.Client(base_url=double.base_url, headers=headers, trust_env=False) as client:
            ask = {"model": TEXT, "messages": HELLO}
            answers = [client.post("/chat/completions", json=ask) for _ in range(4)]
            assert [a.status_code for a in answers] == [200, 200, 200, 429]
            assert answers[0].headers["x-ratelimit-remaining-requests"] == "2"
            assert int(answers[3].headers["x-ratelimit-reset-requests"]) > 1_600_000_000
            assert int(answers[3].headers["retry-after"]) >= 1
            assert client.get("/api_keys/rate_limits/log").json()["data"][0]["modelId"] == TEXT
            assert double.balance < 100
            double.balance = 0
            broke = client.post("/chat/completions", json=ask | {"model": VISION})
            assert (broke.status_code, list(broke.json())) == (402, ["error"])
            statuses = [client.post("/chat/completions", json={"bad": 1}).status_code for _ in range(7)]
            assert statuses[0] == 400
            assert statuses[-1] == 429


def test_bills_in_both_forms(double: VeniceDouble, client: httpx.Client) -> None:
    for _ in range(3):
        client.post("/chat/completions", json={"model": TEXT, "messages": HELLO})
    page = client.get("/billing/usage", params={"limit": 2, "page": 2})
    assert page.json()["pagination"] == {"limit": 2, "page": 2, "total": 3, "totalPages": 2}
    assert (len(page.json()["data"]), page.headers["x-pagination-total-pages"]) == (1, "2")
    sheet = client.get("/billing/usage", headers={"accept": "text/csv"})
    assert sheet.headers["content-disposition"].endswith("billing_usage.csv")
    rows = list(csv.DictReader(io.StringIO(sheet.text)))
    assert [r["sku"] for r in rows] == [f"{TEXT}-llm-output-mtoken"] * 3
    assert client.get("/billing/usage", params={"limit": 501}).status_code == 400
    assert client.get("/models", params={"type": "video"}).status_code == 400


# -- images, speech, embeddings ---------------------------------------------------------------------------------------


def test_images(double: VeniceDouble, client: httpx.Client) -> None:
    ask = REQUESTS["POST /image/generate"]
    made = client.post("/image/generate", json=ask)
    assert media.size_of(base64.b64decode(made.json()["images"][0])) == ("png", 64, 64)
    assert made.headers["content-encoding"] == "gzip"
    for form in media.IMAGES:
        raw = client.post("/image/generate", json=ask | {"format": form, "return_binary": True})
        assert (raw.headers["content-type"], media.size_of(raw.content)) == (f"image/{form}", (form, 64, 64))
        assert "content-encoding" not in raw.headers
    double.will(violation=True)
    refused = client.post("/image/generate", json=ask)
    assert (refused.status_code, refused.json()["images"]) == (200, [])
    assert refused.headers["x-venice-is-content-violation"] == "true"
    url = client.post("/images/generations", json={"prompt": "x", "model": "unknown", "response_format": "url"}).json()[
        "data"
    ][0]["url"]
    assert url.startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    "change",
    [{"width": 60}, {"width": 1288}, {"steps": 31}, {"style_preset": "Nope"}, {"model": "flux-dev-tiny", "prompt": "x" * 65},
     {"n": 2}, {"cfg_scale": 0}, {"format": "gif"}],
)  # fmt: skip
def test_images_out_of_bounds(double: VeniceDouble, client: httpx.Client, change: dict[str, Any]) -> None:
    answer = client.post("/image/generate", json=REQUESTS["POST /image/generate"] | change)
    assert (answer.status_code, double.created) == (400, 0)


def test_upscale_and_edit_as_json_and_as_form(double: VeniceDouble, client: httpx.Client) -> None:
    big = client.post("/image/upscale", json={"image": PICTURE, "scale": 4})
    assert media.size_of(big.content) == ("png", 1024, 1024)
    file = {"image": ("x.png", media.png(256, 256), "image/png")}
    form = client.post("/image/upscale", files=file, data={"scale": "2", "enhance": "true"})
    assert (form.status_code, media.size_of(form.content)) == (200, ("png", 512, 512))
    edited = client.post("/image/edit", files=file, data={"prompt": "Colorize"})
    assert (edited.headers["content-type"], media.size_of(edited.content)) == ("image/png", ("png", 256, 256))
    bad = [
        client.post("/image/upscale", json={"image": PICTURE, "scale": 1}),
        client.post("/image/upscale", json={"image": PICTURE, "scale": 5}),
        client.post("/image/upscale", files=file, data={"scale": "much"}),
        client.post("/image/upscale", json={"image": "no image"}),
        client.post("/image/upscale", json={"image": base64.b64encode(media.png(64, 64)).decode()}),
        client.post("/image/edit", files=file),
        client.post("/image/edit", files=file, data={"prompt": "x", "size": "y"}),
        client.post("/image/edit", json={"prompt": "x", "image": 5}),
    ]
    assert [b.status_code for b in bad] == [400] * len(bad)
    plain = client.post("/image/edit", content=b"x", headers={"content-type": "text/plain"})
    assert (plain.status_code, plain.json()) == (415, {"error": "Invalid content type"})


@pytest.mark.parametrize("form", media.AUDIO)
def test_speech(double: VeniceDouble, client: httpx.Client, form: str) -> None:
    answer = client.post("/audio/speech", json={"input": "One. Two.", "response_format": form})
    assert (answer.headers["content-type"], len(answer.content) > 50) == (
        f"audio/{'mpeg' if form == 'mp3' else form}",
        True,
    )
    assert client.post("/audio/speech", json={"input": "x", "voice": "alloy"}).status_code == 400
    assert client.post("/audio/speech", json={"input": "x", "speed": 5}).status_code == 400


def test_embeddings_with_the_openai_client(double: VeniceDouble, sdk: openai.OpenAI, client: httpx.Client) -> None:
    one = sdk.embeddings.create(model="text-embedding-3-small", input="a")  # asks for base64
    two = sdk.embeddings.create(model="text-embedding-bge-m3", input=["a", "b"], encoding_format="float", dimensions=4)
    assert (len(one.data[0].embedding), [len(d.embedding) for d in two.data]) == (16, [4, 4])
    assert client.post("/embeddings", json={"model": "text-embedding-bge-m3", "input": [1, 2]}).status_code == 200
    assert client.post("/embeddings", json={"model": "text-embedding-bge-m3", "input": ["a", 2]}).status_code == 400


# -- faults -----------------------------------------------------------------------------------------------------------


def test_faults_in_a_stream(double: VeniceDouble, client: httpx.Client) -> None:
    ask = {"model": TEXT, "messages": HELLO, "stream": True}
    double.will(say=["é", "🚣"])
    double.script(faults.shred())
    assert "🚣" in client.post("/chat/completions", json=ask).text
    double.script(faults.without_last())
    assert "[DONE]" not in client.post("/chat/completions", json=ask).text
    double.script(faults.duplicated(1))
    assert client.post("/chat/completions", json=ask).text.count('"content": "You"') == 2
    double.script(faults.cut(300))
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/chat/completions", json=ask)
    assert double.requests[-1].ended == "fault:cut"
    double.script(faults.throttled(7), faults.html_502(), faults.garbage_json(), faults.empty_200())
    statuses = [client.post("/chat/completions", json=ask) for _ in range(4)]
    assert [s.status_code for s in statuses] == [429, 502, 200, 200]
    assert statuses[0].headers["retry-after"] == "7"
    assert double.unused_faults == 0

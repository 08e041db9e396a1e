"""One suite over the kinds of upstream that are not simply OpenAI's: the same chat, the same errors, the same manners.

Each kind is a row: its double, how it is configured, how it says no. The gateway runs over sockets, and openai-python is the
caller; the doubles count what was created and how each exchange ended.
"""

import json
import re
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import openai
import pytest

from adapters import patience
from fakes import staging
from fakes.doubles import faults
from fakes.doubles.aime import AimeDouble
from fakes.doubles.bytez import BytezDouble
from fakes.doubles.clockwork import Pace
from fakes.doubles.faults import Fault
from fakes.doubles.novita import NovitaDouble
from fakes.doubles.server import Double
from fakes.doubles.vaikerai import VaikerDouble
from fakes.doubles.venice import VeniceDouble
from fakes.gateway import gateway

GONE_S = 0.1
SLOW = Pace(queue=0.02, first=0.02, token=0.25, image=0.02, cold=0.02)
QUICK = Pace.quick()


def as_error(status: int, body: Any) -> Fault:
    return faults.answer(status, body)


@dataclass(frozen=True)
class Row:
    """One kind. `refusals`: what the upstream answers to a create → (status, code) that our caller reads."""

    kind: str
    double: Callable[..., Double]
    model: str
    create: str
    refusals: dict[str, tuple[Fault, int, str]]
    options: dict[str, str] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)  # key of the options → the double's port whose origin it names
    name: str = ""
    tools: bool = False
    counts: bool = True  # usage comes from upstream
    leaves: str = "closes"  # closes | abandons | cancels
    queues: str = ""  # what a waiting stream says, as a pattern
    breaks: int = 700  # bytes of a stream after which a cut is one in the middle

    @property
    def id(self) -> str:
        return self.name or self.kind


def openai_like(unauthorised: Any, broke: Any, missing: Any, busy: Any, down: Any) -> dict[str, tuple[Fault, int, str]]:
    """The usual five refusals, as (status, body) each."""
    return {
        "401": (as_error(*unauthorised), 502, "upstream_auth_failed"),
        "402": (as_error(*broke), 503, "upstream_unavailable"),
        "404": (as_error(*missing), 502, "upstream_error"),
        "429": (as_error(*busy), 429, "upstream_rate_limited"),
        "5xx": (as_error(*down), 502, "upstream_error"),
        "html": (faults.html_502(), 502, "upstream_error"),
        "garbage": (faults.garbage_json(), 502, "upstream_error"),
        "empty": (faults.empty_200(), 502, "upstream_error"),
        "reset": (faults.reset(), 502, "upstream_error"),
    }


def flat(status: int, reason: str) -> tuple[int, Any]:
    return status, {"code": status, "reason": reason, "message": reason.lower().replace("_", " "), "metadata": {}}


ROWS = [
    Row(
        "venice",
        VeniceDouble,
        "llama-3.3-70b",
        "/chat/completions",
        openai_like(
            (401, {"error": "Authentication failed"}),
            (402, {"error": "Insufficient USD or Diem balance to complete request"}),
            (404, {"error": "Specified model not found"}),
            (429, {"error": "Rate limit exceeded"}),
            (500, {"error": "Inference processing failed"}),
        )
        | {"full": (as_error(503, {"error": "The model is at capacity."}), 503, "upstream_unavailable")},
        tools=True,
    ),
    Row(
        "novita",
        NovitaDouble,
        "deepseek/deepseek-r1",
        "/chat/completions",
        openai_like(
            flat(403, "INVALID_API_KEY"),
            flat(403, "NOT_ENOUGH_BALANCE"),
            flat(404, "MODEL_NOT_FOUND"),
            flat(429, "TOKEN_LIMIT_EXCEEDED"),
            flat(500, "GET_RESULT_FAILED"),
        )
        | {
            "wallet": (as_error(*flat(400, "BILLING_BALANCE_NOT_ENOUGH")), 503, "upstream_unavailable"),
            "no key": (as_error(*flat(400, "MISSING_API_KEY")), 502, "upstream_auth_failed"),
            "body": (as_error(*flat(400, "INVALID_REQUEST_BODY")), 400, "invalid_request"),
            "down": (as_error(*flat(503, "SERVICE_NOT_AVAILABLE")), 503, "upstream_unavailable"),
        },
        tools=True,
    ),
    Row(
        "bytez",
        lambda **more: BytezDouble(plan=8, **more),
        "Qwen/Qwen3-4B",
        "/chat/completions",
        openai_like(
            (401, {"error": "Unauthorized", "output": None}),
            (402, {"status": 402, "error": "Payment Required", "message": "You have run out of credits"}),
            (404, {"error": "Model x not found", "output": None}),
            (429, {"error": "Rate limit exceeded", "output": None}),
            (500, {"error": "Internal", "output": None}),
        )
        | {"error in 200": (as_error(200, {"error": "CUDA out of memory", "output": None}), 502, "upstream_error")},
    ),
    Row(
        "aime",
        AimeDouble,
        "lab_chat",
        "^/lab_chat",
        openai_like(
            (401, {"success": False, "error": ["Key not valid"], "ep_version": 3}),
            (400, {"success": False, "error": "Job queue reached max length 20!"}),
            (402, {"success": False, "error": ["Client has no active request with this job id"], "ep_version": 3}),
            (429, {"success": False, "error": "slow down"}),
            (500, {"description": "Internal Server Error", "status": 500, "message": "oops"}),
        )
        | {
            "no endpoint": (as_error(404, {"description": "Not Found", "status": 404}), 502, "upstream_error"),
            "validation": (as_error(400, {"success": False, "error": ["top_k is odd"]}), 400, "invalid_request"),
        },
        leaves="abandons",
        queues=r"queue_position=\d+.*progress=\d+%",
    ),
    Row(
        "vaikerai",
        VaikerDouble,
        "meta/meta-llama-3-70b-instruct",
        "/predictions$",
        openai_like(
            (
                401,
                {"title": "Unauthenticated", "detail": "You did not pass a valid authentication token", "status": 401},
            ),
            (402, {"title": "Insufficient credit", "detail": "You have insufficient credit", "status": 402}),
            (404, {"detail": "The specified model does not exist", "status": 404}),
            (429, {"detail": "Request was throttled. Expected available in 1 second."}),
            (500, {"detail": "oops", "status": 500}),
        )
        | {
            "input": (
                as_error(422, {"title": "Input validation failed", "detail": "- input.x"}),
                400,
                "invalid_request",
            ),
            "version": (
                as_error(422, {"title": "Invalid version or not permitted", "detail": "x"}),
                502,
                "upstream_error",
            ),
        },
        leaves="cancels",
        queues="status=(queued|processing)",
    ),
]
# Models that are loaded first, and answer in raw text behind an echo of what they were told.
ROWS.append(
    replace(
        next(row for row in ROWS if row.kind == "bytez"),
        name="bytez-v1",
        model="openai-community/gpt2",
        create="/model/run$",
        options={"api": '"v1"', "reads_per_s": "1000"},
        queues="waiting for the model",
        breaks=70,
    )
)
ROWS.append(replace(ROWS[-2], name="vaikerai-events", hosts={"stream_hosts": "stream"}))
TOOL = {"type": "function", "function": {"name": "ferry", "parameters": {"type": "object"}, "strict": True}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}


class Stage(staging.Stage):
    def ask(self, text: str = "one two three", **more: Any) -> Any:
        more = {"messages": [{"role": "user", "content": text}]} | more
        return self.client.chat.completions.create(model="m", **more)


TIGHT = {"connect_s": 2, "first_byte_s": 0.4, "between_bytes_s": 0.4, "total_s": 1.5}


def toml_of(row: Row, double: Any, **more: Any) -> str:
    model = staging.model("m", row.model)
    return staging.toml_of(row.kind, double, model, options=row.options, hosts=row.hosts, **more)


def staged(row: Row, pace: Pace, **more: Any) -> Iterator[Stage]:
    with row.double(pace=pace) as double, staging.staged(Stage, row, double, toml_of(row, double, **more)) as stage:
        yield stage


rows = pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])


@pytest.fixture
def stage(row: Row) -> Iterator[Stage]:
    yield from staged(row, QUICK)


@pytest.fixture
def slow(row: Row) -> Iterator[Stage]:
    yield from staged(row, SLOW)


@pytest.fixture
def eager(row: Row) -> Iterator[Stage]:
    """With retries, as a deployment has them."""
    yield from staged(row, QUICK, routing="retries = 2")


@pytest.fixture
def tight(row: Row) -> Iterator[Stage]:
    """With little patience."""
    yield from staged(row, QUICK, clocks=TIGHT)


@rows
def test_a_chat(stage: Stage) -> None:
    got = stage.ask("one two three", temperature=0.5, max_tokens=50)
    assert got.choices[0].message.content.strip() == "You said: one two three"
    assert (got.choices[0].finish_reason, got.model, got.object) == ("stop", "m", "chat.completion")
    assert got.usage.prompt_tokens > 0
    assert got.usage.completion_tokens > 0
    assert stage.double.created in (0, 1)  # not every double counts chats
    assert len(stage.creates()) == 1


@rows
def test_a_stream(stage: Stage) -> None:
    chunks = list(stage.ask("uno dos tres", stream=True, stream_options={"include_usage": True}))
    deltas = [c.choices[0].delta for c in chunks if c.choices]
    assert deltas[0].role == "assistant"
    assert "".join(d.content or "" for d in deltas).strip() == "You said: uno dos tres"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens > 0
    assert {c.model for c in chunks} == {"m"}
    assert len(stage.creates()) == 1


@rows
def test_a_limit_ends_with_length(stage: Stage) -> None:
    got = stage.ask("one two three four five", max_completion_tokens=2)
    assert got.choices[0].finish_reason == "length"
    assert "five" not in got.choices[0].message.content


@rows
@pytest.mark.parametrize("stream", [False, True])
def test_stop_sequences_hold(stage: Stage, stream: bool) -> None:
    got = stage.ask("one two three", stop=["two"], stream=stream)
    if stream:
        chunks = [c for c in got if c.choices]
        text = "".join(c.choices[0].delta.content or "" for c in chunks)
        finish = chunks[-1].choices[0].finish_reason
    else:
        text, finish = got.choices[0].message.content, got.choices[0].finish_reason
    assert text.strip() == "You said: one"
    assert finish == "stop"


@rows
def test_split_characters_arrive_whole(stage: Stage) -> None:
    stage.double.script(faults.shred(), path=stage.row.create)
    chunks = stage.ask("köszönöm 渡し船 🚤", stream=True)
    assert (
        "".join(c.choices[0].delta.content or "" for c in chunks if c.choices).strip() == "You said: köszönöm 渡し船 🚤"
    )


@rows
@pytest.mark.parametrize("name", ["tools", "response_format"])
def test_what_changes_the_answer_is_passed_or_refused_by_name(stage: Stage, name: str) -> None:
    value: Any = [TOOL] if name == "tools" else SCHEMA
    if stage.row.tools:
        stage.ask(**{name: value})
        assert name in stage.creates()[0].json
    else:
        with pytest.raises(openai.BadRequestError) as caught:
            stage.ask(**{name: value})
        assert (caught.value.code, caught.value.param) == ("unsupported_parameter", name)
        assert stage.creates() == []


@rows
def test_a_hint_that_it_cannot_take_is_dropped_and_named(stage: Stage) -> None:
    raw = stage.client.chat.completions.with_raw_response.create(
        model="m", messages=[{"role": "user", "content": "x"}], extra_body={"verbosity": "low"}
    )
    assert "verbosity" in raw.headers["x-traghetto-dropped"]
    assert b"verbosity" not in stage.creates()[0].body


REFUSALS = [(row, name) for row in ROWS for name in row.refusals]


@pytest.mark.parametrize(("row", "name"), REFUSALS, ids=[f"{row.id}-{name}" for row, name in REFUSALS])
@pytest.mark.parametrize("stream", [False, True])
def test_refusals_are_told_as_ours(stage: Stage, name: str, stream: bool) -> None:
    fault, status, code = stage.row.refusals[name]
    stage.double.script(fault, method="POST", path=stage.row.create)
    with pytest.raises(openai.APIStatusError) as caught:
        list(stage.ask(stream=True)) if stream else stage.ask()
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert stage.double.key not in caught.value.response.text
    assert stage.double.unused_faults == 0


@rows
def test_a_revoked_key_is_never_the_callers(row: Row) -> None:
    with row.double(pace=QUICK) as double:
        toml = toml_of(row, double).replace(double.key, "canary-of-a-wrong-key-31f0")
        with gateway(toml) as gate, openai.OpenAI(base_url=gate.v1, api_key="x", max_retries=0) as client:
            with pytest.raises(openai.InternalServerError) as caught:
                client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
            assert (caught.value.status_code, caught.value.code) == (502, "upstream_auth_failed")
            assert "canary-of-a-wrong-key" not in caught.value.response.text


@rows
def test_an_unknown_outcome_is_not_tried_again(eager: Stage) -> None:
    eager.double.script(faults.reset(accepted=True), method="POST", path=eager.row.create)
    with pytest.raises(openai.InternalServerError) as caught:
        eager.ask()
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(eager.creates()) == 1


@pytest.mark.parametrize("row", [r for r in ROWS if r.leaves == "closes"], ids=lambda row: row.id)
def test_a_stream_cut_in_the_middle_is_an_error(stage: Stage) -> None:
    stage.double.script(faults.cut(stage.row.breaks), path=stage.row.create)
    with pytest.raises(openai.APIError) as caught:
        list(stage.ask("one two three four five six seven eight nine ten", stream=True))
    assert caught.value.code == "upstream_error"


@rows
@pytest.mark.parametrize("stream", [False, True])
def test_silence_before_the_first_byte_is_a_timeout(tight: Stage, stream: bool) -> None:
    tight.double.script(faults.hang(accepted=True), method="POST", path=tight.row.create)
    began = time.monotonic()
    with pytest.raises(openai.InternalServerError) as caught:
        list(tight.ask(stream=True)) if stream else tight.ask()
    assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
    assert time.monotonic() - began < 3
    assert len(tight.creates()) == 1


@rows
def test_silence_in_the_middle_is_a_timeout(tight: Stage) -> None:
    """A stream that stops, or a job of which nothing more is heard; one that is also told otherwise is read there."""
    if tight.row.hosts:
        tight.double.script(faults.paused(2, 30.0), port="stream")
    elif tight.row.leaves == "closes":
        tight.double.script(faults.paused(2, 30.0), method="POST", path=tight.row.create)
    else:
        tight.double.script(*[faults.hang()] * 50, method="GET", path="/progress$|/predictions/")
    began = time.monotonic()
    if tight.row.hosts:
        chunks = [c for c in tight.ask("one two three", stream=True) if c.choices]
        assert "".join(c.choices[0].delta.content or "" for c in chunks).strip() == "You said: one two three"
    else:
        with pytest.raises(openai.APIError) as caught:
            list(tight.ask("one two three", stream=True))
        assert caught.value.code == "upstream_timeout"
    assert time.monotonic() - began < 4
    assert len(tight.creates()) == 1


@pytest.mark.parametrize("row", [r for r in ROWS if r.queues], ids=lambda row: row.id)
def test_a_stream_that_queues_says_how_it_goes(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comments, which openai-python passes over; they are read from the wire."""
    monkeypatch.setitem(patience.opened.__kwdefaults__, "commit_after_s", 0.05)
    monkeypatch.setattr(patience, "EVERY_S", 0.05)
    for stage in staged(row, Pace(queue=0.4, first=0.2, token=0.01, image=0.1, cold=0.5)):
        with post(stage, stream=True) as client:
            client.settimeout(10)
            got = whole(client)
        comments = re.findall(rb"^: (.+?)\r?$", got, re.M)
        assert [words for words in comments if re.search(row.queues.encode(), words)], comments
        assert got.index(b"\n: ") < got.index(b"data:")
        assert next(iter(stage.ask("one", stream=True))).choices[0].delta.role == "assistant"


def whole(client: socket.socket) -> bytes:
    """What is said until the stream is done."""
    got = b""
    while b"data: [DONE]" not in got:
        piece = client.recv(65536)
        assert piece, got
        got += piece
    return got


def post(stage: Stage, stream: bool) -> socket.socket:
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": " ".join("abcdefghij")}]}
    data = json.dumps(body).encode()
    client = socket.create_connection(("127.0.0.1", stage.gate.port))
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    client.sendall(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
    return client


def until(true: Callable[[], object], seconds: float) -> float:
    """Wait for it; how long it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds
        time.sleep(0.002)
    return time.monotonic() - began


@rows
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_is_noticed_at_once(slow: Stage, stream: bool) -> None:
    if not stream and slow.row.leaves == "closes":
        slow.double.script(faults.late(2.0), method="POST", path=slow.row.create)
    client = post(slow, stream)
    if stream:
        got = b""
        while b"data:" not in got:
            got += client.recv(65536)
    else:
        followed = "" if slow.row.leaves == "closes" else "/progress$|/predictions/"
        until(lambda: slow.creates() and (not followed or slow.double.seen("GET", followed)), 5)
    client.close()
    until(lambda: let_go(slow), GONE_S)
    until(lambda: slow.gate.app.stays.gate.running == 0, 2)
    assert len(slow.creates()) == 1


def let_go(stage: Stage) -> bool:
    """What each kind owes an upstream whose client is gone."""
    adapter: Any = stage.gate.app.house.adapters["up"]
    if stage.row.leaves == "abandons" and adapter.engine.in_flight:
        return bool(adapter.engine.abandoned == 1)
    if stage.row.leaves == "cancels" and stage.double.created:
        return len(stage.double.seen("POST", "/cancel$")) == 1
    return all(seen.ended == "client_closed" for seen in stage.creates())


@rows
def test_no_secret_is_told_to_anybody(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    secrets = [stage.double.key, getattr(stage.double, "worker_secret", stage.double.key)]
    raw = stage.client.chat.completions.with_raw_response.create(model="m", messages=[{"role": "user", "content": "x"}])
    told += [raw.text, str(raw.headers)]
    told.append("".join(chunk.to_json() for chunk in stage.ask(stream=True)))
    leaky = {
        "error": f"key {stage.double.key} is bad",
        "message": f"{stage.double.key}",
        "code": 400,
        "detail": stage.double.key,
    }
    for status in (400, 401, 429, 500):
        stage.double.script(as_error(status, leaky), method="POST", path=stage.row.create)
        with pytest.raises(openai.APIStatusError) as caught:
            stage.ask()
        told += [caught.value.response.text, str(caught.value.response.headers)]
    with urllib.request.urlopen(f"{stage.gate.origin}/metrics") as metrics:
        told.append(metrics.read().decode())
    out, err = capfd.readouterr()
    assert not [secret for secret in secrets for text in (*told, out, err) if secret in text]
    assert stage.double.leaks == []

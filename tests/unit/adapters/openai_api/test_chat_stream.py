"""Streams as upstreams really write them, cut everywhere: the same answer must come out, and nothing may look finished
that is not.
"""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.openai_api.chat_stream import ChatStream, usage_of
from adapters.openai_api.regular import Regular
from proxy.call import Ending, UsageSource
from proxy.errors import Fault, UpstreamError
from proxy.stream import events

TEXTS = [
    "The",
    ' ferry \\ "crosses"',
    ' "usage":{"total_tokens":9}',
    "\n\ndata: [DONE]\n\n",
    " 🛶 à\u2028b",
    ' "finish_reason":"stop"',
]
USAGE = {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {
        "id": "c-1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "theirs",
        "choices": [choice],
        **more,
    }


def openai_like() -> list[dict[str, Any]]:
    first = chunk({"role": "assistant", "content": "", "refusal": None}, system_fingerprint="fp_1")
    body = [chunk({"content": text}, system_fingerprint="fp_1") for text in TEXTS]
    last = {**chunk({}), "choices": [], "usage": USAGE}
    return [first, *body, chunk({}, "stop", system_fingerprint="fp_1"), last]


def openai_asked_for_usage() -> list[dict[str, Any]]:
    """Null on every chunk but the last, in the middle of it; behind it a key that pads."""
    *body, last = openai_like()
    return [*({**c, "usage": None, "obfuscation": "x" * at} for at, c in enumerate(body)), {**last, "obfuscation": ""}]


def vllm_like() -> list[dict[str, Any]]:
    """Usage with every chunk, keys of its own behind the choices."""
    out = [chunk({"role": "assistant", "content": ""}, prompt_token_ids=None)]
    for count, text in enumerate(TEXTS):
        usage = {"prompt_tokens": 5, "completion_tokens": count, "total_tokens": 5 + count}
        out.append(chunk({"content": text}, usage=usage))
    return [*out, chunk({"content": ""}, "stop", usage=USAGE), {**chunk({}), "choices": [], "usage": USAGE}]


def llama_server_like() -> list[dict[str, Any]]:
    return [{"choices": c["choices"], **{k: v for k, v in c.items() if k != "choices"}} for c in openai_like()]


def thinking() -> list[dict[str, Any]]:
    thoughts = [chunk({"reasoning": "hm "}), chunk({"reasoning": "so"})]
    return [chunk({"role": "assistant"}), *thoughts, *openai_like()[1:]]


def calling() -> list[dict[str, Any]]:
    def call(**more: Any) -> dict[str, Any]:
        return chunk({"tool_calls": [more]})

    return [
        chunk({"role": "assistant", "content": None}),
        call(index=0, id="call_1", type="function", function={"name": "f", "arguments": ""}),
        call(index=0, function={"arguments": '{"a":'}),
        call(index=0, function={"arguments": '{"a": 1}}'}),
        call(index=1, id="call_2", type="function", function={"name": "g", "arguments": "{}"}),
        chunk({}, "tool_calls", usage=USAGE),
    ]


CHUNKS = {
    "openai": openai_like(),
    "openai, asked for usage": openai_asked_for_usage(),
    "vllm": vllm_like(),
    "choices first": llama_server_like(),
    "thinking": thinking(),
    "tools": calling(),
}


def compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def plain(chunks: list[dict[str, Any]]) -> bytes:
    return b"".join(b"data: " + compact(c) + b"\n\n" for c in chunks) + b"data: [DONE]\n\n"


def spaced(chunks: list[dict[str, Any]]) -> bytes:
    return b"".join(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks) + b"data: [DONE]\n\n"


def commented(chunks: list[dict[str, Any]]) -> bytes:
    frames = [b": PROCESSING\n\nid: 4\ndata:" + compact(c) + b"\n\n" for c in chunks]
    return b"\xef\xbb\xbfretry: 10\n\n" + b"".join(frames) + b"event: ping\n\ndata:\n\ndata: [DONE]\n\n"


WRITINGS = {
    "plain": plain,
    "spaced": spaced,
    "crlf": lambda chunks: plain(chunks).replace(b"\n", b"\r\n"),
    "cr": lambda chunks: plain(chunks).replace(b"\n", b"\r"),
    "commented": commented,
}
STREAMS = {f"{a}, {b}": WRITINGS[b](CHUNKS[a]) for a in CHUNKS for b in WRITINGS}
ALL = pytest.mark.parametrize("raw", STREAMS.values(), ids=STREAMS)


def stream(*, usage: bool = False, strip: bool = False, choices: int = 1) -> ChatStream:
    return ChatStream(
        model="ours", call_id="x", upstream="up", wants_usage=usage, strip_thinking=strip, choices=choices
    )


def fed(pieces: list[bytes], **options: Any) -> tuple[list[Any], ChatStream]:
    chat = stream(**options)
    out = b"".join([*(chat.feed(piece) for piece in pieces), chat.end()])
    assert chat.ending is Ending.FINISHED
    assert b"\r" not in out
    datas = [event.data or b"" for event in events(out)]
    assert out == b"".join(b"data: " + data + b"\n\n" for data in datas), "only data lines, one an event"
    assert datas.pop() == b"[DONE]"
    return [json.loads(data) for data in datas], chat


def joined(chunks: list[Any]) -> dict[str, Any]:
    """What a client makes of a stream. Checks what must hold of every one on the way."""
    assert len({(c["id"], c["created"], c["model"], c["object"]) for c in chunks}) == 1
    assert chunks[0]["model"] == "ours"
    told: dict[str, Any] = {"content": "", "reasoning": "", "tools": {}, "finish": [], "usage": None, "roles": []}
    for position, chunk_ in enumerate(chunks):
        told["usage"] = chunk_.get("usage") or told["usage"]
        assert "error" not in chunk_
        if not chunk_["choices"]:
            assert position == len(chunks) - 1
            assert chunk_["usage"]
        for choice in chunk_["choices"]:
            assert not chunk_.get("usage"), "usage comes on a chunk of its own"
            delta = choice["delta"]
            told["roles"] += [delta["role"]] if "role" in delta else []
            assert told["roles"] == ["assistant"]
            told["content"] += delta.get("content") or ""
            told["reasoning"] += delta.get("reasoning_content") or ""
            assert "reasoning" not in delta
            told["finish"] += [choice["finish_reason"]] if choice["finish_reason"] else []
            for call in delta.get("tool_calls") or ():
                at = told["tools"].setdefault(call["index"], {"id": None, "name": None, "arguments": ""})
                if "id" in call:
                    assert at["id"] is None
                    at["id"], at["name"] = call["id"], call["function"]["name"]
                at["arguments"] += call["function"]["arguments"]
    assert len(told["finish"]) == 1
    return told


@ALL
def test_what_comes_out(raw: bytes) -> None:
    told = joined(fed([raw])[0])
    if told["tools"]:
        assert told["finish"] == ["tool_calls"]
        assert told["tools"] == {
            0: {"id": "call_1", "name": "f", "arguments": '{"a":{"a": 1}}'},
            1: {"id": "call_2", "name": "g", "arguments": "{}"},
        }
    else:
        assert told["content"] == "".join(TEXTS)
        assert told["finish"] == ["stop"]
    assert told["usage"] is None
    wanted, chat = fed([raw], usage=True)
    assert joined(wanted) == {**told, "usage": USAGE}
    assert all(c["usage"] is None for c in wanted[:-1])
    assert chat.usage is not None
    assert (chat.usage.prompt_tokens, chat.usage.completion_tokens) == (5, 6)
    assert chat.usage.source is UsageSource.UPSTREAM


@ALL
@pytest.mark.parametrize("usage", [False, True], ids=["", "usage"])
def test_split_at_every_byte(raw: bytes, usage: bool) -> None:
    whole = joined(fed([raw], usage=usage)[0])
    assert joined(fed([raw[i : i + 1] for i in range(len(raw))], usage=usage)[0]) == whole
    for at in range(1, len(raw), 11 if usage else 1):
        assert joined(fed([raw[:at], raw[at:]], usage=usage)[0]) == whole


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.sampled_from(list(STREAMS.values())), st.lists(st.integers(1, 400), max_size=30))
def test_random_splits(raw: bytes, sizes: list[int]) -> None:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(raw[at : at + size])
        at += size
    pieces = [piece for piece in [*pieces, raw[at:]] if piece]
    assert joined(fed(pieces)[0]) == joined(fed([raw])[0])


@ALL
def test_cut_at_every_byte_never_looks_finished(raw: bytes) -> None:
    """A clean end anywhere: an error, unless the finish reason and all that it ends were here already."""
    whole = joined(fed([raw])[0])
    for at in range(len(raw)):
        chat = stream()
        try:
            out = chat.feed(raw[:at])
            out += chat.end()
        except UpstreamError as error:
            failed = error
        else:
            assert joined([json.loads(e.data or b"") for e in events(out)[:-1]]) == whole
            continue
        assert failed.fault in (Fault.CUT, Fault.MALFORMED)
        assert failed.accepted is True
        assert chat.ending is None


@pytest.mark.parametrize("name", ["openai", "choices first"])
def test_the_fast_path_is_taken_and_says_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = plain(CHUNKS[name])
    pieces = [piece + b"\n\n" for piece in raw.split(b"\n\n") if piece]
    passed: list[bytes] = []
    original = Regular.passed_on

    def spy(self: Regular, part: bytes) -> bytes:
        passed.append(part)
        return original(self, part)

    monkeypatch.setattr(Regular, "passed_on", spy)
    fast, chat = fed(pieces)
    assert bool(passed) is (name == "openai"), "else this test compares the slow path with itself"
    monkeypatch.setattr(ChatStream, "_learn", lambda *_: None)
    slow, _ = fed(pieces)
    assert joined(fast) == joined(slow)
    assert fast == slow or name == "openai"
    assert {k for c in fast for k in c} == {k for c in slow for k in c}
    assert chat.usage is not None


def one_by_one(chat: ChatStream, raw: bytes) -> bytes:
    return b"".join(chat.feed(piece + b"\n\n") for piece in raw.split(b"\n\n") if piece)


@pytest.mark.parametrize("write", [plain, spaced])
@pytest.mark.parametrize("wanted", [False, True], ids=["not wanted", "wanted"])
@pytest.mark.parametrize("split", [False, True], ids=["in blocks", "event by event"])
def test_no_usage_yet_takes_the_fast_path(write: Any, wanted: bool, split: bool, monkeypatch: Any) -> None:
    """All but the first chunk and the last two pass unseen, and read as if each had been looked at."""
    raw = write(openai_asked_for_usage())
    parts = [piece + b"\n\n" for piece in raw.split(b"\n\n") if piece and b"data: [DONE]\\n" not in piece]
    pieces = parts if split else [parts[0], b"".join(parts[1:])]
    passed: list[bytes] = []
    original = Regular.passed_on

    def spy(self: Regular, part: bytes) -> bytes:
        passed.append(part)
        return original(self, part)

    monkeypatch.setattr(Regular, "passed_on", spy)
    fast, _ = fed(pieces, usage=wanted)
    assert b"".join(passed) == b"".join(parts[1 : len(TEXTS)])
    monkeypatch.setattr(ChatStream, "_learn", lambda *_: None)
    slow, _ = fed(pieces, usage=wanted)
    assert fast == slow
    assert all(("usage" in c) is wanted for c in fast)


def test_usage_null_passes_as_it_came() -> None:
    chunks = [{**chunk({"content": text}), "model": "ours", "usage": None} for text in TEXTS]
    chat = stream(usage=True)
    one_by_one(chat, plain(chunks[:1]).removesuffix(b"data: [DONE]\n\n"))
    block = plain(chunks[1:]).removesuffix(b"data: [DONE]\n\n")
    assert chat.feed(block) == block


@pytest.mark.parametrize("wanted", [False, True], ids=["not wanted", "wanted"])
def test_usage_that_is_there_is_never_passed_by(wanted: bool) -> None:
    """Null at first, then numbers, then nothing, in one block: read, and told as the contract says."""
    first, *rest = [chunk({"content": text}, usage=None) for text in "abcd"]
    rest[1]["usage"] = USAGE
    del rest[2]["usage"]
    raw = plain([first, *rest, chunk({}, "stop")])
    cut = raw.index(b"\n\n") + 2
    chunks, chat = fed([raw[:cut], raw[cut:]], usage=wanted)
    told = joined(chunks)
    assert (told["content"], told["usage"]) == ("abcd", USAGE if wanted else None)
    assert all(("usage" in c) is wanted for c in chunks)
    assert chat.usage is not None
    assert chat.usage.total_tokens == 11


def test_a_key_behind_the_choices_is_not_written_twice() -> None:
    """What the head of an event is made of is what stands in it, not what the whole first chunk has."""
    chunks = [chunk({"content": text}, system_fingerprint="fp") for text in ("", "a", "b")]
    raw = plain([*chunks, chunk({}, "stop", system_fingerprint="fp")])
    chat = stream()
    out = one_by_one(chat, raw)
    for event in events(out)[:-1]:
        assert (event.data or b"").count(b'"system_fingerprint"') <= 1


def test_a_truncated_event_inside_a_stream_is_an_error() -> None:
    frames = [compact(chunk({"content": text})) for text in ("", "one", "two")]
    chat = stream()
    chat.feed(b"data: " + frames[0] + b"\n\n")
    with pytest.raises(UpstreamError) as caught:
        chat.feed(b"data: " + frames[1][:-9] + b"\n\n" + b"data: " + frames[2] + b"\n\ndata: [DONE]\n\n")
    assert caught.value.fault is Fault.MALFORMED


def test_n_choices_must_all_finish() -> None:
    """Two were asked for; the upstream ends behind the first one's finish."""
    chat = stream(choices=2)
    chat.feed(b"data: " + compact(chunk({"content": "a"}, "stop")) + b"\n\n")
    with pytest.raises(UpstreamError) as caught:
        chat.end()
    assert caught.value.fault is Fault.CUT


def test_interleaved_choices_keep_their_order_and_finish() -> None:
    def of(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        made = chunk(delta, finish)
        made["choices"][0]["index"] = index
        return made

    raw = plain(
        [of(0, {"content": "a"}), of(1, {"content": "b"}), of(0, {}, "stop"), of(1, {"content": "c"}, "length")]
    )
    chunks, _ = fed([raw], choices=2)
    texts = {0: "", 1: ""}
    finishes = []
    for part in chunks:
        for choice in part["choices"]:
            texts[choice["index"]] += choice["delta"].get("content", "")
            finishes += [(choice["index"], choice["finish_reason"])] if choice["finish_reason"] else []
    assert texts == {0: "a", 1: "bc"}
    assert finishes == [(0, "stop"), (1, "length")]


def test_no_done_but_finished() -> None:
    raw = plain(openai_like()).removesuffix(b"data: [DONE]\n\n")
    assert joined(fed([raw], usage=True)[0])["usage"] == USAGE


def test_done_without_a_finish_reason_owes_one() -> None:
    raw = plain([chunk({"content": "a"})])
    assert joined(fed([raw])[0])["finish"] == ["stop"]


def test_usage_is_estimated_when_none_came() -> None:
    _, chat = fed([plain([chunk({"content": "x" * 40}), chunk({}, "stop")])])
    assert chat.usage is not None
    assert chat.usage.source is UsageSource.ESTIMATE
    assert chat.usage.completion_tokens == 10


def test_what_has_come_of_a_stream_that_is_broken_off() -> None:
    chat = stream()
    assert chat.so_far is None
    chat.feed(plain([chunk({"role": "assistant", "content": ""})]).removesuffix(b"data: [DONE]\n\n"))
    assert chat.so_far is not None
    assert chat.so_far.completion_tokens == 0
    chat.feed(plain([chunk({"content": "x" * 40})] * 5).removesuffix(b"data: [DONE]\n\n"))
    assert chat.usage is None
    assert 40 <= chat.so_far.completion_tokens <= 60


def test_what_comes_behind_done_is_dropped() -> None:
    chat = stream()
    chat.feed(plain([chunk({"content": "a"}, "stop")]))
    assert chat.feed(b'data: {"error":"late"}\n\n') == b""
    assert chat.end() == b""


def test_fields_of_vendors_survive() -> None:
    last = chunk({}, "stop", timings={"predicted_ms": 4}, error=None)
    last["choices"][0]["stop_reason"] = 13
    chunks, _ = fed([plain([chunk({"content": "a"}), last])])
    assert chunks[-1]["timings"] == {"predicted_ms": 4}
    assert chunks[-1]["choices"][0]["stop_reason"] == 13
    assert "error" not in chunks[-1]


@pytest.mark.parametrize(
    ("event", "status", "said"),
    [
        (b'data: {"error":{"message":"boom","type":"server_error","code":500}}', 502, "boom"),
        (b'data: {"error":"slow down","code":429}', 429, "slow down"),
        (b'data: {"error":["a","b"]}', 502, "a; b"),
        (b'event: error\ndata: {"message":"boom"}', 502, "boom"),
        (b'error: {"message":"boom","code":503}', 503, "boom"),
        (b'data: {"object":"error","message":"boom","code":400}', 400, "boom"),
        (b"data: nonsense", 502, "not JSON"),
        (b"data: [1]", 502, "no object"),
        (b"data: {}", 502, "without choices"),
        (b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"error","error":{"message":"boom"}}]}', 502, "boom"),
    ],
)
@pytest.mark.parametrize("begun", [False, True], ids=["first", "later"])
def test_errors_inside_the_stream(event: bytes, status: int, said: str, begun: bool) -> None:
    chat = stream()
    if begun:
        chat.feed(b"data: " + compact(chunk({"content": "a"})) + b"\n\n")
    with pytest.raises(UpstreamError) as caught:
        chat.feed(event + b"\n\n")
    assert caught.value.status == status
    assert said in caught.value.message
    assert caught.value.accepted is True
    assert chat.ending is None


def test_an_event_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.stream.MAX_EVENT", 100)
    with pytest.raises(UpstreamError, match="without an end"):
        stream().feed(b"data: " + b"x" * 200)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
odd = json_values | st.integers(2**64, 2**80)
functions = st.fixed_dictionaries({}, optional={"name": odd, "arguments": odd})
tools = st.lists(
    st.fixed_dictionaries({}, optional={"index": odd, "id": odd, "type": odd, "function": functions | odd}) | odd,
    max_size=3,
)
deltas = st.fixed_dictionaries(
    {}, optional={"role": odd, "content": odd, "reasoning": odd, "reasoning_content": odd, "tool_calls": tools | odd}
)
any_choice = st.fixed_dictionaries(
    {}, optional={"index": odd, "delta": deltas | odd, "finish_reason": odd, "logprobs": odd}
)
any_chunk = st.fixed_dictionaries(
    {"choices": st.lists(any_choice | odd, max_size=2) | odd},
    optional={
        "id": odd,
        "created": odd,
        "model": odd,
        "usage": odd,
        "error": odd,
        "object": odd,
        "system_fingerprint": odd,
    },
)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(st.lists(any_chunk, max_size=4), st.booleans(), st.booleans())
def test_no_shape_of_chunk_is_a_crash(chunks: list[Any], usage: bool, strip: bool) -> None:
    """Whatever JSON an upstream sends: frames, or an UpstreamError."""
    chat = stream(usage=usage, strip=strip)
    try:
        out = chat.feed(plain(chunks)) + chat.end()
    except UpstreamError:
        return
    assert out.endswith(b"data: [DONE]\n\n")
    for event in events(out)[:-1]:
        assert isinstance(json.loads(event.data or b""), dict)


@pytest.mark.parametrize("depth", [*range(800, 1010, 7), 100_000])
def test_deep_nesting_is_no_crash(depth: int) -> None:
    """What could just be read may be too deep to be written again, a few levels further down."""
    deep = b"[" * depth + b"]" * depth
    event = compact(chunk({"content": "a", "x": 0}, "stop")).replace(b'"x":0', b'"x":' + deep)
    chat = stream()
    try:
        out = chat.feed(b"data: " + event + b"\n\ndata: [DONE]\n\n")
    except UpstreamError as error:
        fault = error.fault
    else:
        assert deep in out
        return
    assert fault is Fault.MALFORMED


def test_usage_of() -> None:
    usage = usage_of(
        {
            "prompt_tokens": 3.0,
            "completion_tokens": "many",
            "prompt_tokens_details": {"cached_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": -1},
        }
    )
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens) == (3, 0, 2, 0)
    assert usage.total_tokens == 3

"""What the scripted backend says."""

import base64
import struct
from typing import Any

import msgspec
import pytest

from proxy.mock.inbound import ChatRequest, CompletionRequest, EmbeddingRequest, decode
from proxy.mock.script import Script
from proxy.mock.scripted import (
    SENTENCES,
    chat_body,
    chat_chunks,
    completion_body,
    completion_chunks,
    embedding_body,
    say_chat,
    say_completion,
    words,
)

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {"type": "object", "properties": {"x": {"type": "integer"}, "why": {"type": "string"}}},
    },
}
OTHER = {"type": "function", "function": {"name": "other", "parameters": {"type": "object", "properties": {}}}}


def request(prompt: str = "hi", **fields: Any) -> ChatRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}], **fields}
    return decode(msgspec.json.encode(body), ChatRequest, refuse_unknown=True)


def both(asked: ChatRequest, script: Script | None = None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    saying = say_chat(asked, 1, script or Script())
    return chat_body(saying, asked), chat_chunks(saying, asked)


def joined(chunks: list[dict[str, Any]], index: int = 0) -> dict[str, Any]:
    """The chunks of one choice put together by the rules of the API."""
    content, calls, reasons = "", {}, []
    for chunk in chunks:
        for choice in chunk["choices"]:
            if choice["index"] != index:
                continue
            content += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls", []):
                known = calls.setdefault(call["index"], {"arguments": ""})
                known["arguments"] += call["function"]["arguments"]
                known |= {key: call["function"][key] for key in ("name",) if key in call["function"]}
            reasons += [choice["finish_reason"]] if choice["finish_reason"] else []
    return {"content": content, "calls": list(calls.values()), "reasons": reasons}


def test_the_stream_says_what_the_whole_answer_says() -> None:
    body, chunks = both(request(n=2))
    for index in (0, 1):
        assert body["choices"][index]["message"]["content"] == SENTENCES[index]
        assert joined(chunks, index) == {"content": SENTENCES[index], "calls": [], "reasons": ["stop"]}
    assert {(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks} == {
        (body["id"], body["created"], body["model"])
    }


def test_the_sentence_has_characters_of_every_length() -> None:
    assert {len(character.encode()) for character in SENTENCES[0]} == {1, 2, 3, 4}


def test_the_same_number_gives_the_same_answer_and_another_another_id() -> None:
    asked = request()
    assert both(asked) == both(asked)
    assert say_chat(asked, 1, Script()).id != say_chat(asked, 2, Script()).id


def test_usage_comes_only_when_asked_for_and_adds_up() -> None:
    body, bare = both(request(stream=True))
    assert not any("usage" in chunk for chunk in bare)
    _, chunks = both(request(stream=True, stream_options={"include_usage": True}))
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == body["usage"]
    usage = body["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]


@pytest.mark.parametrize(
    ("fields", "content", "reason"),
    [
        ({"max_tokens": 2}, "The ferry", "length"),
        ({"max_completion_tokens": 1}, "The", "length"),
        ({"stop": " crosses"}, "The ferry", "stop"),
        ({"stop": ["Canal", "ferry"]}, "The ", "stop"),
        ({"stop": ["nowhere"], "max_tokens": 1000}, SENTENCES[0], "stop"),
    ],
)
def test_limits_and_stop_words_are_kept(fields: dict[str, Any], content: str, reason: str) -> None:
    body, chunks = both(request(**fields))
    assert body["choices"][0]["message"]["content"] == content
    assert body["choices"][0]["finish_reason"] == reason
    assert joined(chunks) == {"content": content, "calls": [], "reasons": [reason]}


def test_a_tool_is_called_with_what_the_prompt_gives() -> None:
    body, chunks = both(request('Add 3 because of "luck"', tools=[ADD, OTHER]))
    call = body["choices"][0]["message"]["tool_calls"][0]
    assert call["function"] == {"name": "add", "arguments": '{"x":3,"why":"luck"}'}
    assert body["choices"][0]["message"]["content"] is None
    assert joined(chunks) == {"content": "", "calls": [call["function"]], "reasons": ["tool_calls"]}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"tool_choice": {"type": "function", "function": {"name": "other"}}}, "other"),
        ({"tool_choice": "required"}, "add"),
        ({"tool_choice": "none"}, None),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, None),
    ],
)
def test_whether_a_tool_is_called_depends_on_the_choice(fields: dict[str, Any], name: str | None) -> None:
    body, _ = both(request(tools=[ADD, OTHER], **fields))
    calls = body["choices"][0]["message"].get("tool_calls", [])
    assert [call["function"]["name"] for call in calls] == ([name] if name else [])


def test_parallel_calls_are_one_for_each_quoted_span() -> None:
    body, chunks = both(request('Add "one" and "two"', tools=[ADD], parallel_tool_calls=True))
    calls = body["choices"][0]["message"]["tool_calls"]
    assert [msgspec.json.decode(call["function"]["arguments"])["why"] for call in calls] == ["one", "two"]
    assert len({call["id"] for call in calls}) == 2
    assert joined(chunks)["calls"] == [call["function"] for call in calls]


def test_a_schema_is_filled_and_json_mode_is_json() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    body, _ = both(request("take 5", response_format=wanted))
    assert msgspec.json.decode(body["choices"][0]["message"]["content"]) == {"n": 5}
    body, _ = both(request(response_format={"type": "json_object"}))
    assert msgspec.json.decode(body["choices"][0]["message"]["content"])


def test_logprobs_have_an_entry_for_each_token() -> None:
    body, chunks = both(request(logprobs=True, top_logprobs=2))
    entries = body["choices"][0]["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == SENTENCES[0]
    assert bytes(byte for entry in entries for byte in entry["bytes"]).decode() == SENTENCES[0]
    assert {len(entry["top_logprobs"]) for entry in entries} == {2}
    streamed = [c["choices"][0]["logprobs"]["content"][0] for c in chunks if c["choices"][0]["logprobs"]]
    assert streamed == entries


def test_a_script_replaces_the_words() -> None:
    script = Script(pieces=("a", "bc", ""), reasoning="hm, so", finish="content_filter")
    body, chunks = both(request(tools=[ADD]), script)
    assert body["choices"][0]["message"] == {
        "role": "assistant", "content": "abc", "refusal": None, "reasoning_content": "hm, so"
    }  # fmt: skip
    assert joined(chunks) == {"content": "abc", "calls": [], "reasons": ["content_filter"]}
    thoughts = [chunk["choices"][0]["delta"].get("reasoning_content") for chunk in chunks]
    assert [thought for thought in thoughts if thought] == ["hm,", " so"]


@pytest.mark.parametrize("text", ["", " ", "a", " a  b ", "x\n\ny z\n"])
def test_words_join_to_the_text(text: str) -> None:
    assert "".join(words(text)) == text


def test_a_legacy_completion_answers_each_prompt() -> None:
    body = b'{"model":"m","prompt":["one","two"],"n":2,"echo":true,"logprobs":1,"max_tokens":3}'
    asked = decode(body, CompletionRequest, refuse_unknown=True)
    saying = say_completion(asked, 1, Script())
    whole, chunks = completion_body(saying, asked), completion_chunks(saying, asked)
    texts = [choice["text"] for choice in whole["choices"]]
    assert [text[:3] for text in texts] == ["one", "one", "two", "two"]
    for index, text in enumerate(texts):
        rows = [c["choices"][0] for c in chunks if c["choices"] and c["choices"][0]["index"] == index]
        assert "".join(row["text"] for row in rows) == text
        assert [row["finish_reason"] for row in rows if row["finish_reason"]] == ["length"]
    logprobs = whole["choices"][0]["logprobs"]
    assert [texts[0][at:].startswith(t) for at, t in zip(logprobs["text_offset"], logprobs["tokens"], strict=True)]


@pytest.mark.parametrize("dimensions", [None, 1, 256])
def test_an_embedding_is_the_same_vector_in_both_encodings(dimensions: int | None) -> None:
    def asked(encoding: str) -> dict[str, Any]:
        body = {"model": "m", "input": ["a", "b"], "encoding_format": encoding, "dimensions": dimensions}
        return embedding_body(decode(msgspec.json.encode(body), EmbeddingRequest, refuse_unknown=True))

    floats, packed = asked("float"), asked("base64")
    for one, other in zip(floats["data"], packed["data"], strict=True):
        raw = base64.b64decode(other["embedding"])
        assert list(struct.unpack(f"<{dimensions or 16}f", raw)) == one["embedding"]
        assert sum(value * value for value in one["embedding"]) == pytest.approx(1, rel=1e-5)
    assert floats["data"][0]["embedding"] != floats["data"][1]["embedding"] or dimensions == 1

"""Chunks bent by faults: each does what its line in the table says, and leaves the rest alone."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from proxy.mock.faults import FAULTS, fault
from proxy.mock.inbound import ChatRequest, CompletionRequest, decode
from proxy.mock.script import Script
from proxy.mock.scripted import SENTENCES, chat_chunks, completion_chunks, say_chat, say_completion
from proxy.mock.warp import warp_chunks

Json = dict[str, Any]
TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"why": {"type": "string"}}}},
}
CHUNK_FAULTS = [name for name, spec in FAULTS.items() if spec.phase == "chunk"]


def warped(name: str, tools: bool = False, asked: bool = True, n: int = 1, **params: object) -> list[Json]:
    body: Json = {
        "model": "m",
        "messages": [{"role": "user", "content": 'Add "one" and "two"'}],
        "stream": True,
        "n": n,
    }
    if asked:
        body["stream_options"] = {"include_usage": True}
    if tools:
        body |= {"tools": [TOOL], "parallel_tool_calls": True}
    request = decode(msgspec.json.encode(body), ChatRequest, refuse_unknown=True)
    saying = say_chat(request, 1, Script())
    return warp_chunks(chat_chunks(saying, request), [fault(name, **params)] if name else [], saying.usage)


def values(chunks: list[Json], key: str) -> list[Any]:
    """`key` of each choice, or of its delta."""
    rows = [choice for chunk in chunks for choice in chunk.get("choices") or ()]
    return [row[key] if key in row else row["delta"].get(key) for row in rows]


def calls(chunks: list[Json]) -> list[Json]:
    return [call for found in values(chunks, "tool_calls") for call in found or ()]


def usages(chunks: list[Json]) -> list[int]:
    return [at for at, chunk in enumerate(chunks) if chunk.get("usage")]


def test_finish_reasons() -> None:
    assert set(values(warped("no_finish"), "finish_reason")) == {None}
    assert values(warped("two_finishes"), "finish_reason")[-3:] == [None, "stop", "stop"]
    assert values(warped("finish", value=""), "finish_reason")[-1] == ""
    assert values(warped("late_delta"), "finish_reason")[-2:] == ["stop", None]
    assert values(warped("late_delta"), "content")[-1] == " late"


def test_roles() -> None:
    assert set(values(warped("no_role"), "role")) == {None}
    assert set(values(warped("role_always"), "role")) == {"assistant"}


def test_identity() -> None:
    clean = warped("")
    assert len({chunk["id"] for chunk in warped("id_changes")}) == len(clean)
    assert not any("id" in chunk for chunk in warped("no_id"))
    assert all(isinstance(chunk["created"], float) for chunk in warped("created_float"))
    assert len({chunk["created"] for chunk in warped("created_changes")}) == len(clean)
    assert {chunk["model"] for chunk in warped("model_changes")} == {"m", "m-backend"}
    assert {chunk["object"] for chunk in warped("wrong_object")} == {"chat.completion"}
    assert all(chunk["error"] is None for chunk in warped("error_null"))
    assert all(chunk["system_fingerprint"] is None for chunk in warped("fingerprint_null"))


def test_content() -> None:
    assert "".join(text or "" for text in values(warped("u2028"), "content")).count("\u2028") > 5
    assert isinstance(values(warped("content_list"), "content")[1], list)
    assert "choices" not in warped("choices_missing")[1]


@pytest.mark.parametrize(
    ("field", "keys"), [("reasoning", {"reasoning"}), ("both", {"reasoning", "reasoning_content"})]
)
def test_thoughts_come_before_the_content_under_the_name_asked_for(field: str, keys: set[str]) -> None:
    chunks = warped("reasoning", field=field)
    thoughts = [
        at for at, chunk in enumerate(chunks) if chunk["choices"] and keys <= chunk["choices"][0]["delta"].keys()
    ]
    assert thoughts == list(range(1, 1 + len(thoughts)))
    assert "".join(text or "" for text in values(chunks, "content")) == SENTENCES[0]


def test_thoughts_inside_the_content_are_split_inside_their_tags() -> None:
    text = [text for text in values(warped("think"), "content") if text]
    assert text[:2] == ["<thi", "nk>"]
    assert "".join(text).startswith("<think>The passenger")
    assert "".join(text).endswith("</think>\n\n" + SENTENCES[0])


def test_choices() -> None:
    assert values(warped("choice_order", n=2), "index")[0] == 1
    assert set(values(warped("one_choice", n=2), "index")) == {0}


def test_usage() -> None:
    clean = warped("")
    assert usages(clean) == [len(clean) - 1]
    assert usages(warped("usage_missing")) == []
    assert usages(warped("usage_unasked", asked=False)) == [len(clean) - 1]
    assert usages(warped("usage_always")) == list(range(len(clean)))
    counts = [chunk["usage"]["completion_tokens"] for chunk in warped("usage_always")]
    assert counts == sorted(counts)
    assert usages(warped("usage_twice")) == [len(clean) - 1, len(clean)]
    assert usages(warped("usage_early")) == [len(clean) - 2]
    assert not any("usage" in chunk for chunk in warped("usage_no_null")[:-1])
    assert "choices" not in warped("usage_choices", shape="missing")[-1]
    assert warped("usage_choices", shape="null")[-1]["choices"] is None
    assert len(warped("usage_choices", shape="non_empty")[-1]["choices"]) == 1
    usage = warped("usage_wrong_sum")[-1]["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] != usage["total_tokens"]


def test_tool_calls() -> None:
    assert {call["index"] for call in calls(warped("tool_index_gap", tools=True))} == {0, 2}
    assert {call["index"] for call in calls(warped("tool_index_from_one", tools=True))} == {1, 2}
    assert not any("index" in call for call in calls(warped("tool_index_missing", tools=True)))
    assert all(call["function"]["name"] == "add" and call["id"] for call in calls(warped("tool_repeated", tools=True)))
    assert not any("type" in call for call in calls(warped("tool_no_type", tools=True)))
    objects = [call["function"]["arguments"] for call in calls(warped("tool_object", tools=True))]
    assert objects == [{"why": "one"}, {"why": "two"}]
    cumulative = [c["function"]["arguments"] for c in calls(warped("tool_cumulative", tools=True)) if c["index"] == 1]
    assert all(later.startswith(earlier) for earlier, later in pairwise(cumulative))
    assert msgspec.json.decode(cumulative[-1]) == {"why": "two"}
    assert values(warped("tool_finish_stop", tools=True), "finish_reason")[-1] == "stop"


@pytest.mark.parametrize("name", [name for name in CHUNK_FAULTS if name.startswith("tool_")])
def test_a_tool_fault_leaves_plain_text_alone(name: str) -> None:
    assert warped(name) == warped("")


@pytest.mark.parametrize("name", CHUNK_FAULTS)
def test_every_fault_takes_every_kind_of_stream_and_changes_no_original(name: str) -> None:
    for tools in (True, False):
        for asked in (True, False):
            for n in (1, 2):
                warped(name, tools, asked, n)
    request = decode(b'{"model":"m","prompt":"a","stream":true}', CompletionRequest, refuse_unknown=True)
    saying = say_completion(request, 1, Script())
    chunks = completion_chunks(saying, request)
    before = msgspec.json.encode(chunks)
    warp_chunks(chunks, [fault(name)], saying.usage)
    assert msgspec.json.encode(chunks) == before

"""Chunk faults: valid JSON that says the wrong thing, for answers in chunks.

Owns how each fault of the phase `chunk` bends the objects. Knows no framing and no bytes. Invariant: a fault that finds
nothing to bend (a tool fault on plain text) leaves the answer as it was.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from proxy.mock.faults import Fault
from proxy.mock.scripted import THOUGHT, words

Json = dict[str, Any]
Chunks = list[Json]


def warp_chunks(chunks: Chunks, faults: Iterable[Fault], usage: Json) -> Chunks:
    """The chunks with the faults applied in order; `usage` is the true count, for faults that send it unasked."""
    chunks = copy.deepcopy(chunks)
    for fault in faults:
        bend = _CHUNKS.get(fault.name)
        if bend is not None:
            chunks = bend(chunks, fault, usage)
    return chunks


def _choices(chunks: Chunks) -> Iterator[Json]:
    for chunk in chunks:
        yield from chunk.get("choices") or ()


def _deltas(chunks: Chunks) -> Iterator[Json]:
    return (choice["delta"] for choice in _choices(chunks) if "delta" in choice)


def _tool_deltas(chunks: Chunks) -> Iterator[Json]:
    for delta in _deltas(chunks):
        yield from delta.get("tool_calls") or ()


def _finishing(chunks: Chunks) -> list[int]:
    return [at for at, chunk in enumerate(chunks) if any(c.get("finish_reason") for c in chunk.get("choices") or ())]


def _usage_at(chunks: Chunks) -> list[int]:
    return [at for at, chunk in enumerate(chunks) if chunk.get("usage")]


def _texts(chunks: Chunks) -> Iterator[tuple[Json, str]]:
    for choice in _choices(chunks):
        if choice.get("delta", {}).get("content"):
            yield choice["delta"], "content"
        elif choice.get("text"):
            yield choice, "text"


# -- finish, role, identity -----------------------------------------------------------------------------


def _no_finish(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    for choice in _choices(chunks):
        choice["finish_reason"] = None
    return chunks


def _two_finishes(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    for at in reversed(_finishing(chunks)):
        chunks.insert(at, copy.deepcopy(chunks[at]))
    return chunks


def _finish(chunks: Chunks, fault: Fault, _: Json) -> Chunks:
    for choice in _choices(chunks):
        if choice.get("finish_reason"):
            choice["finish_reason"] = fault["value"]
    return chunks


def _late_delta(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    for at in _finishing(chunks)[-1:]:
        late = copy.deepcopy(chunks[at])
        for choice in late["choices"]:
            choice.update(
                {"finish_reason": None} | ({"delta": {"content": " late"}} if "delta" in choice else {"text": " late"})
            )
        chunks.insert(at + 1, late)
    return chunks


def _no_role(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    for delta in _deltas(chunks):
        delta.pop("role", None)
    return chunks


def _role_always(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    for delta in _deltas(chunks):
        delta["role"] = "assistant"
    return chunks


def _each(change: Callable[[int, Json], object]) -> Callable[[Chunks, Fault, Json], Chunks]:
    def bend(chunks: Chunks, _: Fault, __: Json) -> Chunks:
        for at, chunk in enumerate(chunks):
            change(at, chunk)
        return chunks

    return bend


def _wrong_object(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    for chunk in chunks:
        chunk["object"] = "chat.completion" if chunk["object"] == "chat.completion.chunk" else "text_completion.chunk"
    return chunks


# -- choices and content --------------------------------------------------------------------------------


def _choices_missing(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    head = {key: value for key, value in chunks[0].items() if key not in ("choices", "usage")}
    chunks.insert(1, head)
    return chunks


def _choice_order(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    last = max((choice["index"] for choice in _choices(chunks)), default=0)
    body = [chunk for chunk in chunks if chunk.get("choices")]
    rest = [chunk for chunk in chunks if not chunk.get("choices")]
    return sorted(body, key=lambda chunk: chunk["choices"][0]["index"] != last) + rest


def _one_choice(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    return [chunk for chunk in chunks if all(choice["index"] == 0 for choice in chunk.get("choices") or ())]


def _content_list(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    for holder, key in list(_texts(chunks)):
        holder[key] = [{"type": "text", "text": holder[key]}]
    return chunks


def _u2028(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    for holder, key in list(_texts(chunks)):
        holder[key] += "\u2028\u0085"
    return chunks


def _reasoning(chunks: Chunks, fault: Fault, _: Json) -> Chunks:
    fields = ("reasoning", "reasoning_content") if fault["field"] == "both" else (fault["field"],)
    return _before_content(chunks, [dict.fromkeys(fields, piece) for piece in words(THOUGHT)])


def _think(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    pieces = ["<thi", "nk>", *words(THOUGHT), "</th", "ink>\n\n"]
    return _before_content(chunks, [{"content": piece} for piece in pieces])


def _before_content(chunks: Chunks, deltas: list[Json]) -> Chunks:
    first = next((at for at, chunk in enumerate(chunks) if next(_texts([chunk]), None)), None)
    if first is None or "delta" not in chunks[first]["choices"][0]:
        return chunks
    made = []
    for delta in deltas:
        chunk = copy.deepcopy(chunks[first])
        chunk["choices"][0]["delta"] = delta
        made.append(chunk)
    return chunks[:first] + made + chunks[first:]


# -- usage ----------------------------------------------------------------------------------------------


def _usage_missing(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    return [chunk for chunk in chunks if not chunk.get("usage")]


def _usage_unasked(chunks: Chunks, _: Fault, usage: Json) -> Chunks:
    if not _usage_at(chunks):
        chunks.append({**chunks[-1], "choices": [], "usage": usage})
    return chunks


def _usage_always(chunks: Chunks, _: Fault, usage: Json) -> Chunks:
    prompt, said = usage["prompt_tokens"], usage["completion_tokens"]
    for at, chunk in enumerate(chunks):
        if not chunk.get("usage"):
            count = min(at, said)
            chunk["usage"] = {"prompt_tokens": prompt, "completion_tokens": count, "total_tokens": prompt + count}
    return chunks


def _usage_twice(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    return chunks + [copy.deepcopy(chunks[at]) for at in _usage_at(chunks)]


def _usage_no_null(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    for chunk in chunks:
        if "usage" in chunk and chunk["usage"] is None:
            del chunk["usage"]
    return chunks


def _usage_choices(chunks: Chunks, fault: Fault, _: Json) -> Chunks:
    for at in _usage_at(chunks):
        if fault["shape"] == "missing":
            chunks[at].pop("choices", None)
        elif fault["shape"] == "null":
            chunks[at]["choices"] = None
        else:
            empty = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}
            chunks[at]["choices"] = [empty if "delta" in chunks[0]["choices"][0] else {**empty, "text": ""}]
    return chunks


def _usage_early(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    early = [chunks[at] for at in _usage_at(chunks)]
    rest = _usage_missing(chunks, _, __)
    at = (_finishing(rest) or [len(rest)])[0]
    return rest[:at] + early + rest[at:]


def wrong_sum(holder: Json) -> None:
    if holder.get("usage"):
        holder["usage"] = {**holder["usage"], "total_tokens": holder["usage"]["total_tokens"] + 7}


# -- tool calls -----------------------------------------------------------------------------------------


def _tool_index(change: Callable[[int], int | None]) -> Callable[[Chunks, Fault, Json], Chunks]:
    def bend(chunks: Chunks, _: Fault, __: Json) -> Chunks:
        for call in _tool_deltas(chunks):
            index = change(call.pop("index"))
            if index is not None:
                call["index"] = index
        return chunks

    return bend


def _tool_repeated(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    known: dict[int, Json] = {}
    for call in _tool_deltas(chunks):
        if "id" in call:
            known[call["index"]] = call
        else:
            head = known[call["index"]]
            call.update(id=head["id"], type=head["type"])
            call["function"]["name"] = head["function"]["name"]
    return chunks


def _no_type(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    for call in _tool_deltas(chunks):
        call.pop("type", None)
    return chunks


def _tool_object(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    # The whole arguments as one object on the call's first delta, the way such servers send them.
    whole: dict[tuple[int, int], str] = {}
    for choice in _choices(chunks):
        for call in choice["delta"].get("tool_calls") or () if "delta" in choice else ():
            key = (choice["index"], call["index"])
            whole[key] = whole.get(key, "") + call["function"]["arguments"]
    kept: Chunks = []
    for chunk in chunks:
        calls = list(_tool_deltas([chunk]))
        if calls and "id" not in calls[0]:
            continue
        for call in calls:
            text = whole[chunk["choices"][0]["index"], call["index"]]
            call["function"]["arguments"] = msgspec.json.decode(text)
        kept.append(chunk)
    return kept


def _tool_cumulative(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    so_far: dict[tuple[int, int], str] = {}
    for choice in _choices(chunks):
        for call in choice.get("delta", {}).get("tool_calls") or ():
            key = (choice["index"], call["index"])
            so_far[key] = so_far.get(key, "") + call["function"]["arguments"]
            call["function"]["arguments"] = so_far[key]
    return chunks


def _tool_finish_stop(chunks: Chunks, _: Fault, __: Json) -> Chunks:
    for choice in _choices(chunks):
        if choice.get("finish_reason") == "tool_calls":
            choice["finish_reason"] = "stop"
    return chunks


_CHUNKS: dict[str, Callable[[Chunks, Fault, Json], Chunks]] = {
    "no_finish": _no_finish,
    "two_finishes": _two_finishes,
    "finish": _finish,
    "late_delta": _late_delta,
    "no_role": _no_role,
    "role_always": _role_always,
    "id_changes": _each(lambda at, chunk: chunk.update(id=f"{chunk['id']}-{at}")),
    "no_id": _each(lambda _, chunk: chunk.pop("id", None)),
    "created_float": _each(lambda _, chunk: chunk.update(created=chunk["created"] + 0.5)),
    "created_changes": _each(lambda at, chunk: chunk.update(created=chunk["created"] + at)),
    "model_changes": _each(lambda at, chunk: chunk.update(model=chunk["model"] + ("" if at == 0 else "-backend"))),
    "wrong_object": _wrong_object,
    "error_null": _each(lambda _, chunk: chunk.update(error=None)),
    "fingerprint_null": _each(lambda _, chunk: chunk.update(system_fingerprint=None)),
    "choices_missing": _choices_missing,
    "choice_order": _choice_order,
    "one_choice": _one_choice,
    "content_list": _content_list,
    "u2028": _u2028,
    "reasoning": _reasoning,
    "think": _think,
    "usage_missing": _usage_missing,
    "usage_unasked": _usage_unasked,
    "usage_always": _usage_always,
    "usage_twice": _usage_twice,
    "usage_no_null": _usage_no_null,
    "usage_choices": _usage_choices,
    "usage_wrong_sum": _each(lambda _, chunk: wrong_sum(chunk)),
    "usage_early": _usage_early,
    "tool_index_gap": _tool_index(lambda index: index * 2),
    "tool_index_missing": _tool_index(lambda _: None),
    "tool_index_from_one": _tool_index(lambda index: index + 1),
    "tool_repeated": _tool_repeated,
    "tool_no_type": _no_type,
    "tool_object": _tool_object,
    "tool_cumulative": _tool_cumulative,
    "tool_finish_stop": _tool_finish_stop,
}

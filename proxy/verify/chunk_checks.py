"""Checks on chunks: what the JSON of a stream says, and in which order.

Owns the promises about identity, roles, deltas, finishing and usage. Reads the parsed streams only.
"""

from typing import Any

from proxy.verify.check import check
from proxy.verify.seen import STREAMS, Fail, Seen, Skip, choices, clip, deltas
from proxy.verify.sse import Stream

FINISHES = ("stop", "length", "tool_calls", "content_filter", "function_call")
_READ = ("stream.content", "stream.error")
_TOLD = (*_READ, "stream.whole")
_USAGE = ("stream", "stream_n", "stream_tools")


@check("chunk.shape", "id, object, created (an integer) and model on every chunk", STREAMS, _READ)
def shape(seen: Seen) -> None:
    for name, chunk in seen.chunks():
        fine = (
            isinstance(chunk.get("id"), str)
            and chunk.get("object") == "chat.completion.chunk"
            and type(chunk.get("created")) is int
            and isinstance(chunk.get("model"), str)
        )
        if not fine:
            raise Fail(f"{name}: {clip(chunk)}")


@check("chunk.stable", "the same id, created and model on every chunk of a stream", STREAMS, _READ)
def stable(seen: Seen) -> None:
    for name, stream in seen.streams.items():
        for key in ("id", "created", "model"):
            values = [chunk[key] for chunk in stream.chunks if key in chunk]
            other = next((value for value in values if value != values[0]), None)
            if other is not None:
                raise Fail(f"{name}: {key} is {values[0]!r}, later {other!r}")


@check("chunk.choices", "every chunk has a list of choices, each with index, delta and finish_reason", STREAMS, _READ)
def has_choices(seen: Seen) -> None:
    for name, chunk in seen.chunks():
        if chunk.get("usage"):
            continue  # the usage chunk's choices are usage.choices'
        found = chunk.get("choices")
        good = isinstance(found, list) and all(
            isinstance(choice, dict)
            and type(choice.get("index")) is int
            and isinstance(choice.get("delta"), dict)
            and "finish_reason" in choice
            for choice in found
        )
        if not good:
            raise Fail(f"{name}: {clip(chunk)}")


@check("chunk.delta", "content is a string or null", STREAMS, _READ)
def delta(seen: Seen) -> None:
    for name, stream in seen.streams.items():
        for piece in deltas(stream):
            if not isinstance(piece.get("content"), str | None):
                raise Fail(f"{name}: {clip(piece)}")


@check("chunk.reasoning", "thoughts come in reasoning_content, too", STREAMS, _READ, "should")
def reasoning(seen: Seen) -> None:
    for name, stream in seen.streams.items():
        for piece in deltas(stream):
            if piece.get("reasoning") and not piece.get("reasoning_content"):
                raise Fail(f"{name}: {clip(piece)}")


@check("chunk.error-key", "no error key in a chunk that is no error", STREAMS, _READ)
def error_key(seen: Seen) -> None:
    for name, chunk in seen.chunks():
        if "error" in chunk:
            raise Fail(f"{name}: {clip(chunk)}")


@check(
    "chunk.fingerprint", "system_fingerprint is a string or absent, never null", (*STREAMS, "plain"), severity="should"
)
def fingerprint(seen: Seen) -> None:
    for name, chunk in [*seen.chunks(), *(("plain", answer) for answer in _plain(seen))]:
        if not isinstance(chunk.get("system_fingerprint", ""), str):
            raise Fail(f"{name}: {clip(chunk)}")


def _plain(seen: Seen) -> list[dict[str, Any]]:
    """The plain answer, where there is one that can be read."""
    try:
        return [seen.json("plain")]
    except (Fail, Skip):
        return []


def _by_choice(stream: Stream) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for chunk in stream.chunks:
        for choice in choices(chunk):
            found.setdefault(choice.get("index", 0), []).append(choice)
    return found


@check("chunk.role", "each choice begins with role assistant, said once", STREAMS, (*_READ, "chunk.choices"))
def role(seen: Seen) -> None:
    for name, stream in seen.streams.items():
        for index, rows in _by_choice(stream).items():
            roles = [row["delta"].get("role") for row in rows if isinstance(row.get("delta"), dict)]
            if roles[:1] != ["assistant"] or any(roles[1:]):
                raise Fail(f"{name}: choice {index}: {clip(roles[:4])}")


@check("chunk.finish", "each choice has exactly one finish_reason", STREAMS, (*_TOLD, "chunk.choices"))
def finish(seen: Seen) -> None:
    for name, stream in seen.streams.items():
        for index, rows in _by_choice(stream).items():
            reasons = [row["finish_reason"] for row in rows if row.get("finish_reason") is not None]
            if len(reasons) != 1:
                raise Fail(f"{name}: choice {index}: {clip(reasons)}")


@check("chunk.finish-enum", f"finish_reason is one of {', '.join(FINISHES)}", STREAMS, (*_READ, "chunk.choices"))
def finish_enum(seen: Seen) -> None:
    for name, stream in seen.streams.items():
        for index, rows in _by_choice(stream).items():
            for row in rows:
                if row.get("finish_reason") not in (None, *FINISHES):
                    raise Fail(f"{name}: choice {index}: {row['finish_reason']!r}")


@check("chunk.finish-last", "a choice says nothing after its finish_reason", STREAMS, ("chunk.finish",))
def finish_last(seen: Seen) -> None:
    for name, stream in seen.streams.items():
        for index, rows in _by_choice(stream).items():
            at = next(at for at, row in enumerate(rows) if row.get("finish_reason") is not None)
            late = [row for row in rows[at + 1 :] if any(row.get("delta", {}).values())]
            if late:
                raise Fail(f"{name}: choice {index}: {clip(late[0])}")


# -- usage ----------------------------------------------------------------------------------------------


def _with_usage(seen: Seen) -> list[tuple[str, list[dict[str, Any]]]]:
    found = [(name, seen.streams[name].chunks) for name in _USAGE if name in seen.streams]
    if not found:
        raise Skip("no stream was asked for usage")
    return found


@check("usage.once", "asked for usage: exactly one chunk has it", _USAGE, _TOLD)
def usage_once(seen: Seen) -> None:
    for name, chunks in _with_usage(seen):
        count = sum(bool(chunk.get("usage")) for chunk in chunks)
        if count != 1:
            raise Fail(f"{name}: on {count} of {len(chunks)} chunks")


@check("usage.last", "asked for usage: it is on the last chunk", _USAGE, ("usage.once",))
def usage_last(seen: Seen) -> None:
    for name, chunks in _with_usage(seen):
        if not chunks[-1].get("usage"):
            raise Fail(f"{name}: the last chunk: {clip(chunks[-1])}")


@check("usage.choices", "asked for usage: its chunk has choices: []", _USAGE, ("usage.once",))
def usage_choices(seen: Seen) -> None:
    for name, chunks in _with_usage(seen):
        chunk = next(chunk for chunk in chunks if chunk.get("usage"))
        if chunk.get("choices", "missing") != []:
            raise Fail(f"{name}: {clip(chunk)}")


@check("usage.null", "asked for usage: usage: null on the chunks before", _USAGE, ("usage.once",), "should")
def usage_null(seen: Seen) -> None:
    for name, chunks in _with_usage(seen):
        bare = next((chunk for chunk in chunks if "choices" in chunk and "usage" not in chunk), None)
        if bare is not None:
            raise Fail(f"{name}: {clip(bare)}")


@check("usage.unasked", "not asked for usage: no chunk has it", ("stream_bare", "stream_usage_off"), _READ)
def usage_unasked(seen: Seen) -> None:
    for name in ("stream_bare", "stream_usage_off"):
        for chunk in seen.streams[name].chunks if name in seen.streams else ():
            if chunk.get("usage"):
                raise Fail(f"{name}: {clip(chunk)}")


@check("usage.sum", "counts are integers, and total is their sum", (*_USAGE, "plain"))
def usage_sum(seen: Seen) -> None:
    counted = [(name, chunk["usage"]) for name, chunk in seen.chunks() if chunk.get("usage")]
    counted += [("plain", answer["usage"]) for answer in _plain(seen) if answer.get("usage")]
    if not counted:
        raise Skip("no usage was seen")
    for name, usage in counted:
        numbers = [usage.get(f"{key}_tokens") for key in ("prompt", "completion", "total")] if _is(usage) else []
        if [type(number) for number in numbers] != [int] * 3 or numbers[0] + numbers[1] != numbers[2]:
            raise Fail(f"{name}: {clip(usage)}")


def _is(value: object) -> bool:
    return isinstance(value, dict)


CHECKS = (
    shape,
    stable,
    has_choices,
    delta,
    reasoning,
    error_key,
    fingerprint,
    role,
    finish,
    finish_enum,
    finish_last,
    usage_once,
    usage_last,
    usage_choices,
    usage_null,
    usage_unasked,
    usage_sum,
)

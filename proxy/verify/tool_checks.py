"""Checks on tool calls, in a stream and in a whole answer.

Owns the promises about indices, ids and arguments. Where the server or its model makes no calls, they are skipped: not
every model can.
"""

from typing import Any

import msgspec

from proxy.verify.check import check
from proxy.verify.seen import Fail, Seen, Skip, choices, clip, deltas

_ASKS = ("stream_tools",)
_WHOLE = ("plain_tools",)
_READ = ("stream.content", "stream.error", "stream.whole", "chunk.choices")


def _pieces(seen: Seen) -> list[dict[str, Any]]:
    """The tool deltas of the stream. Raises `Skip` where there are none."""
    found: list[dict[str, Any]] = []
    for delta in deltas(seen.stream("stream_tools"), 0):
        calls = delta.get("tool_calls")
        found += [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    if not found:
        raise Skip("the stream made no tool call")
    return found


def _calls(seen: Seen) -> list[dict[str, Any]]:
    """The tool calls of the whole answer. Raises `Skip` where there are none."""
    message = _message(seen)
    calls = message.get("tool_calls")
    if not calls:
        raise Skip("the answer made no tool call")
    return [call for call in calls if isinstance(call, dict)]


def _message(seen: Seen) -> dict[str, Any]:
    found = choices(seen.json("plain_tools"))
    message = found[0].get("message") if found else None
    if not isinstance(message, dict):
        raise Fail(f"plain_tools: no message: {clip(seen.body('plain_tools'))}")
    return message


def _grouped(pieces: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    groups: dict[int, list[dict[str, Any]]] = {}
    for piece in pieces:
        groups.setdefault(piece["index"], []).append(piece)
    return groups


def _function(piece: dict[str, Any]) -> dict[str, Any]:
    function = piece.get("function")
    return function if isinstance(function, dict) else {}


@check("tools.index", "every tool delta has an index; calls count 0, 1, 2 …", _ASKS, _READ)
def index(seen: Seen) -> None:
    order: list[int] = []
    for piece in _pieces(seen):
        if type(piece.get("index")) is not int:
            raise Fail(f"no index: {clip(piece)}")
        if piece["index"] not in order:
            order.append(piece["index"])
    if order != list(range(len(order))):
        raise Fail(f"indices in order of appearance: {order}")


@check("tools.head", "a call's first delta has id, type and name", _ASKS, ("tools.index",))
def head(seen: Seen) -> None:
    for pieces in _grouped(_pieces(seen)).values():
        first = pieces[0]
        name = _function(first).get("name")
        if not first.get("id") or first.get("type") != "function" or not isinstance(name, str) or not name:
            raise Fail(clip(first))


@check("tools.once", "later deltas repeat neither id nor name", _ASKS, ("tools.index",))
def once(seen: Seen) -> None:
    for pieces in _grouped(_pieces(seen)).values():
        for piece in pieces[1:]:
            if piece.get("id") or _function(piece).get("name"):
                raise Fail(clip(piece))


@check("tools.arguments", "arguments come in pieces of text that join to JSON", _ASKS, ("tools.index",))
def arguments(seen: Seen) -> None:
    for pieces in _grouped(_pieces(seen)).values():
        parts = [_function(piece).get("arguments") or "" for piece in pieces]
        if not all(isinstance(part, str) for part in parts):
            raise Fail(f"no text: {clip(parts)}")
        _decoded("".join(parts))


@check("tools.finish", "a choice with tool calls finishes with tool_calls", _ASKS, (*_READ, "chunk.finish-enum"))
def finish(seen: Seen) -> None:
    _pieces(seen)
    reasons = {
        str(choice.get("finish_reason"))
        for chunk in seen.stream("stream_tools").chunks
        for choice in choices(chunk)
        if choice.get("index") == 0 and choice.get("finish_reason")
    }
    if not reasons <= {"tool_calls"}:
        raise Fail(clip(sorted(reasons)))


@check("tools.plain", "a whole answer's calls have id, type, name and arguments as JSON text", _WHOLE, ("plain.shape",))
def plain(seen: Seen) -> None:
    for call in _calls(seen):
        function = _function(call)
        if not call.get("id") or call.get("type") != "function" or not function.get("name"):
            raise Fail(clip(call))
        if not isinstance(function.get("arguments"), str):
            raise Fail(f"arguments are no text: {clip(call)}")
        _decoded(function["arguments"])


@check("tools.plain-finish", "a whole answer with tool calls finishes with tool_calls", _WHOLE, ("plain.finish",))
def plain_finish(seen: Seen) -> None:
    _calls(seen)
    reason = choices(seen.json("plain_tools"))[0].get("finish_reason")
    if reason != "tool_calls":
        raise Fail(f"finish_reason {reason!r}")


@check(
    "tools.result",
    "a tool's result is taken, after an assistant message without content",
    ("tool_result",),
    ("plain.status",),
)
def result(seen: Seen) -> None:
    answer = seen.answer("tool_result")
    if "tool" in seen.body("tool_result").decode("utf-8", "replace") and answer.status == 400:
        raise Skip(f"tools were refused: {clip(seen.body('tool_result'))}")
    if answer.status != 200:
        raise Fail(f"{answer.status}: {clip(seen.body('tool_result'))}")


def _decoded(text: str) -> None:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise Fail(f"no JSON ({error}): {clip(text)}") from error
    if not isinstance(value, dict):
        raise Fail(f"no object: {clip(text)}")


CHECKS = (index, head, once, arguments, finish, plain, plain_finish, result)

"""The event stream: chunks as server-sent events, and what can be wrong with that framing.

Owns the bytes of a stream's body, one piece an event, and the faults of the phase `frame`. Knows no HTTP. Invariant:
without faults every piece is `data: ` + one line + a blank line, and the last one is `[DONE]`.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from proxy.mock.faults import Fault

Pieces = list[bytes]

DONE = b"data: [DONE]\n\n"


def frame(chunks: Iterable[dict[str, Any]]) -> Pieces:
    """Each chunk as an event, then `[DONE]`."""
    return [b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks] + [DONE]


def split(recorded: bytes) -> Pieces:
    """A recorded stream cut after each blank line, so that faults can act between its events; joins to itself."""
    pieces = re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)|(?<=\r\r)", recorded)
    return [piece for piece in pieces if piece]


def deframe(pieces: Pieces, faults: Iterable[Fault]) -> Pieces:
    """The pieces with the faults applied in order."""
    for fault in faults:
        pieces = _FRAMES[fault.name](pieces, fault)
    return pieces


def error_event(shape: str, code: str) -> bytes:
    """An error inside a stream, in one of `faults.EVENT_SHAPES`."""
    message = "the model stopped in the middle"
    inner: dict[str, object] = {"message": message, "type": "server_error", "param": None, "code": code}
    if shape == "object":
        return b"data: " + msgspec.json.encode({"error": inner}) + b"\n\n"
    if shape == "string":
        return b"data: " + msgspec.json.encode({"error": message}) + b"\n\n"
    if shape == "list":
        return b"data: " + msgspec.json.encode([{"error": {"code": 500, "message": message}}]) + b"\n\n"
    flat = msgspec.json.encode({"object": "error", "message": message, "type": "InternalServerError", "code": 500})
    if shape == "flat":
        return b"data: " + flat + b"\n\n"
    prefix = b"event: error\ndata: " if shape == "event" else b"error: "
    return prefix + flat + b"\n\n"


def _each(change: Callable[[bytes], bytes]) -> Callable[[Pieces, Fault], Pieces]:
    return lambda pieces, _: [change(piece) for piece in pieces]


def _insert(make: Callable[[Fault], bytes]) -> Callable[[Pieces, Fault], Pieces]:
    def bend(pieces: Pieces, fault: Fault) -> Pieces:
        # Never after [DONE]: there an inserted event would not be in the middle of anything.
        at = min(fault["after"], max(0, len(pieces) - 1))
        return [*pieces[:at], make(fault), *pieces[at:]]

    return bend


def _without_done(pieces: Pieces, _: Fault) -> Pieces:
    return [piece for piece in pieces if b"[DONE]" not in piece]


def _numbered(pieces: Pieces, _: Fault) -> Pieces:
    return [b"id: %d\n" % number + piece for number, piece in enumerate(pieces)]


def _multi_line(piece: bytes) -> bytes:
    # Between two keys: a newline there is whitespace to a JSON parser that joins the lines.
    return piece.replace(b',"', b',\ndata: "', 1)


def _error(pieces: Pieces, fault: Fault) -> Pieces:
    at = min(fault["after"], max(0, len(pieces) - 1))
    return [*pieces[:at], error_event(fault["shape"], fault["code"]), *([DONE] if fault["done"] else [])]


def _duplicate(pieces: Pieces, fault: Fault) -> Pieces:
    at = min(fault["after"], len(pieces) - 1)
    return [*pieces[: at + 1], *pieces[at:]]


def _reorder(pieces: Pieces, fault: Fault) -> Pieces:
    at = fault["after"]
    if at + 1 >= len(pieces):
        return pieces
    return [*pieces[:at], pieces[at + 1], pieces[at], *pieces[at + 2 :]]


def _after_done(pieces: Pieces, _: Fault) -> Pieces:
    return [*pieces, pieces[min(1, len(pieces) - 1)]]


def _unterminated(pieces: Pieces, _: Fault) -> Pieces:
    return [*pieces[:-1], pieces[-1].rstrip(b"\r\n") + b"\n"]


def _event_lines(pieces: Pieces, fault: Fault) -> Pieces:
    name = fault["value"].encode()
    return [b"event: " + name + b"\n" + piece for piece in pieces]


_FRAMES: dict[str, Callable[[Pieces, Fault], Pieces]] = {
    "crlf": _each(lambda piece: piece.replace(b"\n", b"\r\n")),
    "cr": _each(lambda piece: piece.replace(b"\n", b"\r")),
    "no_space": _each(lambda piece: piece.replace(b"data: ", b"data:")),
    "multi_line": _each(_multi_line),
    "single_newline": _each(lambda piece: piece.replace(b"\n\n", b"\n")),
    "comments": _each(lambda piece: b": processing\n\n" + piece),
    "id_lines": _numbered,
    "retry_line": lambda pieces, _: [b"retry: 3000\n\n", *pieces],
    "event_lines": _event_lines,
    "ping": _insert(lambda _: b"event: ping\n\n"),
    "empty_data": _insert(lambda _: b"data:\n\n"),
    "bom": lambda pieces, _: [b"\xef\xbb\xbf" + pieces[0], *pieces[1:]] if pieces else pieces,
    "bad_json": _insert(lambda _: b'data: {"id":"chatcmpl-broken","choices":[{"index":0,"del\n\n'),
    "bad_utf8": _insert(lambda _: b'data: {"choices":[],"note":"\xff\xfe\xc3("}\n\n'),
    "error_event": _error,
    "no_done": _without_done,
    "two_dones": lambda pieces, _: [*pieces, DONE],
    "after_done": _after_done,
    "duplicate": _duplicate,
    "reorder": _reorder,
    "unterminated": _unterminated,
}

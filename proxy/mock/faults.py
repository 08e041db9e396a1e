"""The catalogue of what an upstream can get wrong: one table, one line a fault.

Owns the `Fault` value, its parameters and their defaults. Knows nothing of how a fault is carried out: `warp` bends
chunks, `frames` bends the event stream, `answers` bends the status and body, `transcript` bends the bytes on the wire.
Invariant: a `Fault` that exists is in the table, with parameters that the table knows, of the type of their default.
"""

import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import msgspec

Value = str | int | float | bool
Phase = Literal["answer", "chunk", "frame", "wire"]

STATUSES = (400, 401, 402, 403, 404, 405, 408, 409, 413, 415, 422, 424, 425, 429, 500, 501, 502, 503, 504, 529)
ERROR_SHAPES = ("openai", "string", "venice", "detail", "flat", "html")
OK_ERROR_SHAPES = ("object", "string", "list", "flat", "html")
ENDS = ("fin", "reset", "clean")
EVENT_SHAPES = ("object", "string", "list", "flat", "event", "field")


class FaultSpec(NamedTuple):
    """One row of the table: where the fault acts, what it does, its parameters with their defaults."""

    phase: Phase
    text: str
    defaults: dict[str, Value]


def _row(phase: Phase, text: str, **defaults: Value) -> FaultSpec:
    return FaultSpec(phase, text, defaults)


FAULTS: dict[str, FaultSpec] = {
    # -- the answer as a whole: another status, another body, another type ------------------------------
    "status": _row(
        "answer",
        f"refuse with STATUS in one of the shapes {', '.join(ERROR_SHAPES)}; retry_after is sent as it stands",
        status=503,
        shape="openai",
        retry_after="",
        should_retry="",
    ),
    "rate_limit": _row("answer", "429 with Retry-After (empty: none)", retry_after="1", shape="openai"),
    "ok_error": _row("answer", f"200 whose JSON body is an error: {', '.join(OK_ERROR_SHAPES)}", shape="object"),
    "ok_json": _row("answer", "200 with a whole JSON answer to a stream request"),
    "empty": _row("answer", "200 with the right type and no body at all"),
    "garbage": _row("answer", "200 with the right type and seeded random bytes for a body", size=256),
    "wrong_type": _row("answer", "the right body under a wrong content type", type="text/html; charset=utf-8"),
    "no_type": _row("answer", "the right body without a content type"),
    "refuse_stream_options": _row("answer", "400 to a request that carries stream_options"),
    "refusal_shape": _row("answer", "what deserves to be refused is refused in this shape", shape="string"),
    "refusal_status": _row("answer", "what deserves to be refused is refused with this status", status=500),
    "refusal_type": _row("answer", "what deserves to be refused is refused with this type", type="server_error"),
    "redirect": _row("answer", "307 to another address", location="http://127.0.0.1:9/v1/chat/completions"),
    "gzip": _row("answer", "the body compressed with gzip though nobody asked"),
    "huge_headers": _row("answer", "a response head of SIZE bytes more than usual", size=70_000, lines=4),
    "no_request_id": _row("answer", "no x-request-id"),
    "no_cache_control": _row("answer", "no cache-control on a stream"),
    # -- chunks: valid events that say the wrong thing --------------------------------------------------
    "no_finish": _row("chunk", "no finish_reason ever"),
    "two_finishes": _row("chunk", "the finishing chunk twice"),
    "finish": _row("chunk", "finish_reason replaced by VALUE (eos, error, or nothing at all)", value="eos"),
    "late_delta": _row("chunk", "one more content delta after the finishing chunk"),
    "no_role": _row("chunk", "no delta has a role"),
    "role_always": _row("chunk", "every delta has the role"),
    "id_changes": _row("chunk", "another id on every chunk"),
    "no_id": _row("chunk", "no id"),
    "created_float": _row("chunk", "created as a float"),
    "created_changes": _row("chunk", "created counts up with the chunks"),
    "model_changes": _row("chunk", "another model name from the second chunk on"),
    "wrong_object": _row("chunk", "object is that of the other form (stream or not)"),
    "error_null": _row("chunk", '"error": null in every chunk'),
    "fingerprint_null": _row("chunk", "system_fingerprint: null"),
    "choices_missing": _row("chunk", "one content chunk without choices"),
    "empty_choices": _row("chunk", "a whole answer with choices: []"),
    "choice_order": _row("chunk", "of n choices the last one is sent first"),
    "one_choice": _row("chunk", "n is ignored: one choice only"),
    "content_list": _row("chunk", "content as a list of parts"),
    "u2028": _row("chunk", "a raw U+2028 and U+0085 inside the content"),
    "reasoning": _row("chunk", "thoughts first, in FIELD: reasoning, reasoning_content, both", field="reasoning"),
    "think": _row("chunk", "thoughts inside the content, between <think> and </think>"),
    "usage_missing": _row("chunk", "no usage though asked"),
    "usage_unasked": _row("chunk", "usage though nobody asked"),
    "usage_always": _row("chunk", "cumulative usage on every chunk"),
    "usage_twice": _row("chunk", "the usage chunk twice"),
    "usage_no_null": _row("chunk", "no usage: null before the usage chunk"),
    "usage_choices": _row("chunk", "the usage chunk's choices: null, missing, non_empty", shape="missing"),
    "usage_wrong_sum": _row("chunk", "total_tokens is not the sum"),
    "usage_early": _row("chunk", "the usage chunk comes before the finishing chunk"),
    "tool_index_gap": _row("chunk", "tool call indices 0, 2, 4 …"),
    "tool_index_missing": _row("chunk", "tool deltas without an index"),
    "tool_index_from_one": _row("chunk", "tool call indices from 1"),
    "tool_repeated": _row("chunk", "id, type and name on every tool delta"),
    "tool_no_type": _row("chunk", "tool calls without a type"),
    "tool_object": _row("chunk", "arguments as an object"),
    "tool_cumulative": _row("chunk", "arguments so far instead of the next piece"),
    "tool_finish_stop": _row("chunk", "tool calls that end with finish_reason stop"),
    # -- frames: the event stream itself ----------------------------------------------------------------
    "crlf": _row("frame", "lines end with CRLF"),
    "cr": _row("frame", "lines end with CR"),
    "no_space": _row("frame", "data: without the space"),
    "multi_line": _row("frame", "each JSON broken over two data lines"),
    "single_newline": _row("frame", "one newline between events instead of a blank line"),
    "comments": _row("frame", "a comment before each event"),
    "id_lines": _row("frame", "an id: line in each event"),
    "retry_line": _row("frame", "a retry: line as the first event"),
    "event_lines": _row("frame", "event: VALUE in each event", value="message"),
    "ping": _row("frame", "an event: ping without data after AFTER events", after=2),
    "empty_data": _row("frame", "an event with empty data after AFTER events", after=2),
    "bom": _row("frame", "a byte order mark first"),
    "bad_json": _row("frame", "an event with broken JSON after AFTER events", after=2),
    "bad_utf8": _row("frame", "an event with bytes that are not UTF-8 after AFTER events", after=2),
    "error_event": _row(
        "frame",
        f"an error after AFTER events, then the end: {', '.join(EVENT_SHAPES)}; done adds [DONE]",
        after=3,
        shape="object",
        code="server_error",
        done=False,
    ),
    "no_done": _row("frame", "no [DONE]"),
    "two_dones": _row("frame", "[DONE] twice"),
    "after_done": _row("frame", "one more chunk after [DONE]"),
    "duplicate": _row("frame", "the event number AFTER twice", after=2),
    "reorder": _row("frame", "two neighbouring events in the wrong order", after=2),
    "unterminated": _row("frame", "the last event without its blank line"),
    # -- the wire: bytes, time, connection --------------------------------------------------------------
    "cut": _row("wire", "the body ends at byte AT: fin, reset, or clean (a well-formed end)", at=200, end="fin"),
    "cut_utf8": _row("wire", "the body ends inside a multi-byte character: fin, reset or clean", end="fin"),
    "close_head": _row("wire", "the connection is closed before the head"),
    "reset_head": _row("wire", "the connection is reset before the head"),
    "reset": _row("wire", "the connection is reset after AFTER pieces of the body", after=2),
    "stall_head": _row("wire", "silence for SECONDS before the head (0: until released)", seconds=0.0),
    "stall_first": _row("wire", "silence for SECONDS between head and body (0: until released)", seconds=0.0),
    "stall": _row("wire", "silence for SECONDS after AFTER pieces (0: until released)", after=2, seconds=0.0),
    "slow": _row("wire", "SECONDS before each piece of the body", seconds=0.02),
    "late_end": _row("wire", "the end of the body comes SECONDS after its last piece", seconds=1.0),
    "dribble": _row("wire", "everything in writes of SIZE bytes, SECONDS apart", size=1, seconds=0.0),
    "one_piece": _row("wire", "head and body in a single write"),
    "bad_head": _row("wire", "seeded random bytes in place of a response head", size=64),
    "informational": _row("wire", "a 103 before the answer"),
    "chunk_cut": _row("wire", "chunked coding without its last chunk, then FIN"),
    "chunk_overrun": _row("wire", "a chunk that promises more bytes than come, then FIN"),
    "chunk_garbage": _row("wire", "a chunk size that is not a number after AFTER pieces", after=2),
    "length_long": _row("wire", "content-length BYTES more than come, then FIN", bytes=10),
    "length_short": _row("wire", "content-length BYTES fewer than come", bytes=10),
    "until_close": _row("wire", "no length and no chunks: the body ends with the connection"),
    "connection_close": _row("wire", "connection: close, and closed after the answer"),
    "trailers": _row("wire", "a trailer after the last chunk"),
}


# Parameters that take one of a few words, by fault and name.
CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("status", "shape"): ERROR_SHAPES,
    ("rate_limit", "shape"): ERROR_SHAPES,
    ("refusal_shape", "shape"): ERROR_SHAPES,
    ("ok_error", "shape"): OK_ERROR_SHAPES,
    ("error_event", "shape"): EVENT_SHAPES,
    ("reasoning", "field"): ("reasoning", "reasoning_content", "both"),
    ("usage_choices", "shape"): ("null", "missing", "non_empty"),
    ("cut", "end"): ENDS,
    ("cut_utf8", "end"): ENDS,
}


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fault by name, with parameters that override the table's defaults.

    Raises `ValueError` for a name or parameter that the table does not have, or a value of the wrong type; decoding
    one from JSON turns that into `msgspec.ValidationError`.
    """

    name: str
    params: dict[str, Value] = {}

    def __post_init__(self) -> None:
        spec = FAULTS.get(self.name)
        if spec is None:
            raise ValueError(f"unknown fault {self.name!r}")
        for key, value in self.params.items():
            if key not in spec.defaults:
                known = ", ".join(spec.defaults) or "none"
                raise ValueError(f"fault {self.name!r} has no parameter {key!r} (it has: {known})")
            default = spec.defaults[key]
            fits = isinstance(value, (int, float)) if isinstance(default, float) else type(value) is type(default)
            if not fits:
                raise ValueError(f"fault {self.name!r}: {key} must be {type(default).__name__}, not {value!r}")
            allowed = CHOICES.get((self.name, key))
            if allowed is not None and value not in allowed:
                raise ValueError(f"fault {self.name!r}: {key} must be one of {', '.join(allowed)}, not {value!r}")

    @property
    def phase(self) -> Phase:
        return FAULTS[self.name].phase

    def __getitem__(self, key: str) -> Any:
        """The parameter's value: the one given, else the table's default."""
        return self.params.get(key, FAULTS[self.name].defaults[key])

    def __str__(self) -> str:
        given = ",".join(f"{key}={_as_text(value)}" for key, value in self.params.items())
        return f"{self.name}:{given}" if given else self.name


def fault(name: str, **params: Value) -> Fault:
    """`fault("cut", at=100)`: the short way to write a Fault in Python."""
    return Fault(name, params)


def parse_fault(text: str) -> Fault:
    """A Fault from `name` or `name:key=value,key=value`, the way a command line writes it. Raises `ValueError`."""
    name, _, rest = text.partition(":")
    spec = FAULTS.get(name)
    if spec is None:
        raise ValueError(f"unknown fault {name!r}")
    params: dict[str, Value] = {}
    for key, value in re.findall(r"([a-z_0-9]+)=((?:[^,]|,(?![a-z_0-9]+=))*)", rest):
        params[key] = _as_type(value, spec.defaults.get(key, ""))
    if rest and not params:
        raise ValueError(f"fault {name!r}: expected key=value, found {rest!r}")
    return Fault(name, params)


def _as_text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _as_type(text: str, default: Value) -> Value:
    if isinstance(default, bool):
        if text not in ("true", "false"):
            raise ValueError(f"expected true or false, found {text!r}")
        return text == "true"
    if isinstance(default, int):
        return int(text)
    return float(text) if isinstance(default, float) else text


def of_phase(faults: Iterable[Fault], phase: Phase) -> list[Fault]:
    """The faults that act in one phase, in the order given."""
    return [item for item in faults if item.phase == phase]


def find(faults: Iterable[Fault], name: str) -> Fault | None:
    """The first fault of that name, if any."""
    return next((item for item in faults if item.name == name), None)


def listing() -> str:
    """The table as text, one line a fault, grouped by the phase it acts in."""
    lines: list[str] = []
    for phase in ("answer", "chunk", "frame", "wire"):
        lines.append(f"[{phase}]")
        for name, spec in FAULTS.items():
            if spec.phase == phase:
                params = ",".join(f"{key}={_as_text(value)}" for key, value in spec.defaults.items())
                lines.append(f"  {name + (':' + params if params else ''):<50} {spec.text}")
    return "\n".join(lines)

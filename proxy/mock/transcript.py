"""From an answer to the steps on the wire: every byte, pause and end of connection, decided before the first is sent.

Owns HTTP's framing of an answer and the faults of the phase `wire`. Touches no socket: `connection` plays the steps.
Invariant: same answer, same faults, same steps; whatever the faults, the steps end.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal, NamedTuple

from proxy.mock.faults import Fault

Do = Literal["head", "piece", "end", "send", "pause", "hold", "close", "drop", "reset"]


class Step(NamedTuple):
    """One thing to do: send bytes, wait `seconds`, hold until released, close (FIN, lawful), drop (FIN, unlawful) or
    reset (RST).

    `head`, `piece` (of the body, not yet coded) and `end` exist only while faults are applied; `steps` turns them
    into `send`.
    """

    do: Do
    data: bytes = b""
    seconds: float = 0.0


@dataclass(slots=True)
class Answer:
    """A response before it is bytes: `pieces` are the body, each written (and coded as a chunk) by itself.

    `chunked` is for streams; everything else has a content-length. `pace` is seconds before each piece but the first.
    """

    status: int
    headers: list[tuple[str, str]]
    pieces: list[bytes]
    chunked: bool = False
    pace: float = 0.0
    ttft: float = 0.0
    faults: list[Fault] = field(default_factory=list)


def steps(answer: Answer, *, keep_alive: bool, head_only: bool, seed: str) -> list[Step]:
    """What to do for `answer`, its wire faults applied. The last step closes unless the connection may be kept."""
    wire = [fault for fault in answer.faults if fault.phase == "wire"]
    framing = _framing(answer, wire)
    plan = [Step("head", _head(answer, framing, keep_alive, wire))]
    if answer.ttft:
        plan.append(Step("pause", seconds=answer.ttft))
    for number, piece in enumerate([] if head_only else answer.pieces):
        if answer.pace and number:
            plan.append(Step("pause", seconds=answer.pace))
        plan.append(Step("piece", piece))
    plan.append(Step("end", b"0\r\n\r\n" if framing == "chunked" and not head_only else b""))
    if not keep_alive or framing == "close":
        plan.append(Step("close"))
    for fault in wire:
        bend = _EARLY.get(fault.name)
        if bend is not None:
            plan = bend(plan, fault)
    plan = _coded(plan, framing)
    for fault in wire:
        late = _LATE.get(fault.name)
        if late is not None:
            plan = late(plan, fault, random.Random(f"{seed}/{fault.name}"))
    return _ended(plan)


def _framing(answer: Answer, wire: list[Fault]) -> str:
    names = {fault.name for fault in wire}
    if "until_close" in names:
        return "close"
    if names & {"length_long", "length_short"}:
        return "length"
    if names & {"chunk_cut", "chunk_overrun", "chunk_garbage", "trailers"}:
        return "chunked"
    return "chunked" if answer.chunked else "length"


def _head(answer: Answer, framing: str, keep_alive: bool, wire: list[Fault]) -> bytes:
    headers = [item for item in answer.headers if item[0] not in ("content-length", "transfer-encoding")]
    if framing == "chunked":
        headers.append(("transfer-encoding", "chunked"))
    elif framing == "length":
        length = sum(len(piece) for piece in answer.pieces)
        for fault in wire:
            length += {"length_long": 1, "length_short": -1}.get(fault.name, 0) * (
                fault["bytes"] if "length" in fault.name else 0
            )
        headers.append(("content-length", str(max(0, length))))
    if not keep_alive or framing == "close" or any(fault.name == "connection_close" for fault in wire):
        headers.append(("connection", "close"))
    try:
        reason = HTTPStatus(answer.status).phrase
    except ValueError:
        reason = "Unknown"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {answer.status} {reason}\r\n{lines}\r\n".encode("latin-1", "replace")


def _coded(plan: list[Step], framing: str) -> list[Step]:
    coded: list[Step] = []
    for step in plan:
        if step.do == "piece" and framing == "chunked":
            if step.data:
                coded.append(Step("send", b"%x\r\n%b\r\n" % (len(step.data), step.data)))
        elif step.do in ("head", "piece", "end"):
            if step.data:
                coded.append(Step("send", step.data))
        else:
            coded.append(step)
    return coded


def _ended(plan: list[Step]) -> list[Step]:
    """Nothing after the first close or reset."""
    for at, step in enumerate(plan):
        if step.do in ("close", "drop", "reset"):
            return plan[: at + 1]
    return plan


# -- faults on an answer in pieces ----------------------------------------------------------------------

Plan = list[Step]


def _finale(how: str) -> Plan:
    return [Step("end", b"0\r\n\r\n")] if how == "clean" else [Step("reset" if how == "reset" else "drop")]


def _cut_at(plan: Plan, at: int, how: str) -> Plan:
    kept: Plan = []
    for step in plan:
        if step.do == "piece":
            if len(step.data) > at:
                return [*kept, *([Step("piece", step.data[:at])] if at else []), *_finale(how)]
            at -= len(step.data)
        kept.append(step)
    return kept


def _cut(plan: Plan, fault: Fault) -> Plan:
    return _cut_at(plan, fault["at"], fault["end"])


def _cut_utf8(plan: Plan, fault: Fault) -> Plan:
    body = b"".join(step.data for step in plan if step.do == "piece")
    first = next((at for at, byte in enumerate(body) if byte >= 0xC0), None)
    return plan if first is None else _cut_at(plan, first + 1, fault["end"])


def _after_pieces(plan: Plan, count: int, extra: Plan) -> Plan:
    """`extra` after `count` pieces, or before the end where there are fewer."""
    seen = 0
    for at, step in enumerate(plan):
        if (step.do == "piece" and seen == count) or step.do == "end":
            return [*plan[:at], *extra, *plan[at:]]
        seen += step.do == "piece"
    return [*plan, *extra]


def _silence(seconds: float) -> Step:
    return Step("pause", seconds=seconds) if seconds > 0 else Step("hold")


def _stall_first(plan: Plan, fault: Fault) -> Plan:
    return [plan[0], _silence(fault["seconds"]), *plan[1:]]


def _slow(plan: Plan, fault: Fault) -> Plan:
    slowed: Plan = []
    for step in plan:
        slowed += [Step("pause", seconds=fault["seconds"]), step] if step.do == "piece" else [step]
    return slowed


def _late_end(plan: Plan, fault: Fault) -> Plan:
    at = next((at for at, step in enumerate(plan) if step.do == "end"), len(plan))
    return [*plan[:at], Step("pause", seconds=fault["seconds"]), *plan[at:]]


def _with_end(plan: Plan, last: Plan) -> Plan:
    at = next((at for at, step in enumerate(plan) if step.do == "end"), len(plan))
    return [*plan[:at], *last]


_EARLY: dict[str, Callable[[Plan, Fault], Plan]] = {
    "cut": _cut,
    "cut_utf8": _cut_utf8,
    "close_head": lambda _, __: [Step("drop")],
    "reset_head": lambda _, __: [Step("reset")],
    "reset": lambda plan, fault: _after_pieces(plan, fault["after"], [Step("reset")]),
    "stall_head": lambda plan, fault: [_silence(fault["seconds"]), *plan],
    "stall_first": _stall_first,
    "stall": lambda plan, fault: _after_pieces(plan, fault["after"], [_silence(fault["seconds"])]),
    "slow": _slow,
    "late_end": _late_end,
    "chunk_cut": lambda plan, _: _with_end(plan, [Step("drop")]),
    "chunk_overrun": lambda plan, _: _with_end(plan, [Step("end", b"ffff\r\ndata: "), Step("drop")]),
    "chunk_garbage": lambda plan, fault: _after_pieces(plan, fault["after"], [Step("send", b"xyz\r\n"), Step("drop")]),
    "length_long": lambda plan, _: _with_end(plan, [Step("drop")]),
    "connection_close": lambda plan, _: [*plan, Step("close")],
    "trailers": lambda plan, _: _with_end(plan, [Step("end", b"0\r\nx-mock-trailer: last\r\n\r\n"), *_closes(plan)]),
}


def _closes(plan: Plan) -> Iterable[Step]:
    return [step for step in plan if step.do == "close"]


# -- faults on bytes ------------------------------------------------------------------------------------


def _dribble(plan: Plan, fault: Fault, _: random.Random) -> Plan:
    size, pause = max(1, fault["size"]), fault["seconds"]
    small: Plan = []
    for step in plan:
        if step.do != "send":
            small.append(step)
            continue
        for at in range(0, len(step.data), size):
            small.append(Step("send", step.data[at : at + size]))
            # A pause of nothing still hands the loop over, so that each write meets the socket by itself.
            small.append(Step("pause", seconds=pause))
    return small


def _one_piece(plan: Plan, _: Fault, __: random.Random) -> Plan:
    joined: Plan = []
    for step in plan:
        if step.do == "send" and joined and joined[-1].do == "send":
            joined[-1] = _joined(joined[-1], step.data)
        else:
            joined.append(step)
    return joined


def _joined(step: Step, more: bytes) -> Step:
    """The step with `more` bytes after its own."""
    return step._replace(data=step.data + more)


def _bad_head(_: Plan, fault: Fault, rng: random.Random) -> Plan:
    return [Step("send", rng.randbytes(fault["size"])), Step("drop")]


def _informational(plan: Plan, _: Fault, __: random.Random) -> Plan:
    return [Step("send", b"HTTP/1.1 103 Early Hints\r\nlink: </mock>; rel=preload\r\n\r\n"), *plan]


_LATE: dict[str, Callable[[Plan, Fault, random.Random], Plan]] = {
    "informational": _informational,
    "bad_head": _bad_head,
    "one_piece": _one_piece,
    "dribble": _dribble,
}

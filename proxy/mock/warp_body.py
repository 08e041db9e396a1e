"""Chunk faults on whole answers: the same wrong things, said in one object.

Owns how each fault of the phase `chunk` bends a non-stream answer. Knows no bytes. Invariant: a fault that has no
meaning for a whole answer leaves it as it was.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from proxy.mock.faults import Fault
from proxy.mock.scripted import THOUGHT
from proxy.mock.warp import wrong_sum

Json = dict[str, Any]


def warp_body(body: Json, faults: Iterable[Fault]) -> Json:
    """The whole answer of a chat or a completion with the faults applied in order; anything else as it is."""
    if body["object"] not in ("chat.completion", "text_completion"):
        return body
    body = copy.deepcopy(body)
    for fault in faults:
        bend = _BODIES.get(fault.name)
        if bend is not None:
            bend(body, fault)
    return body


def _body_choices(body: Json) -> list[Json]:
    choices: list[Json] = body.get("choices") or []
    return choices


def _messages(body: Json) -> list[Json]:
    return [choice["message"] for choice in _body_choices(body) if "message" in choice]


def _body_reasoning(body: Json, fault: Fault) -> None:
    fields = ("reasoning", "reasoning_content") if fault["field"] == "both" else (fault["field"],)
    for message in _messages(body):
        message.update(dict.fromkeys(fields, THOUGHT))


def _body_calls(change: Callable[[Json], object]) -> Callable[[Json, Fault], object]:
    def bend(body: Json, _: Fault) -> None:
        for message in _messages(body):
            for call in message.get("tool_calls") or ():
                change(call)

    return bend


def _body_messages(change: Callable[[Json], object]) -> Callable[[Json, Fault], object]:
    def bend(body: Json, _: Fault) -> None:
        for message in _messages(body):
            change(message)

    return bend


def _body_finish(value: Callable[[Json, Fault], object]) -> Callable[[Json, Fault], object]:
    def bend(body: Json, fault: Fault) -> None:
        for choice in _body_choices(body):
            choice["finish_reason"] = value(choice, fault)

    return bend


def _decode_arguments(call: Json) -> None:
    call["function"]["arguments"] = msgspec.json.decode(call["function"]["arguments"])


_BODIES: dict[str, Callable[[Json, Fault], object]] = {
    "no_finish": _body_finish(lambda _, __: None),
    "finish": _body_finish(lambda _, fault: fault["value"]),
    "tool_finish_stop": _body_finish(lambda choice, _: choice["finish_reason"].replace("tool_calls", "stop")),
    "no_role": _body_messages(lambda message: message.pop("role")),
    "content_list": _body_messages(lambda m: m.update(content=[{"type": "text", "text": m["content"] or ""}])),
    "u2028": _body_messages(lambda m: m.update(content=(m["content"] or "") + "\u2028\u0085")),
    "think": _body_messages(lambda m: m.update(content=f"<think>{THOUGHT}</think>\n\n{m['content'] or ''}")),
    "reasoning": _body_reasoning,
    "tool_object": _body_calls(_decode_arguments),
    "tool_no_type": _body_calls(lambda call: call.pop("type", None)),
    "no_id": lambda body, _: body.pop("id", None),
    "created_float": lambda body, _: body.update(created=body["created"] + 0.5),
    "wrong_object": lambda body, _: body.update(object=body["object"] + ".chunk"),
    "error_null": lambda body, _: body.update(error=None),
    "fingerprint_null": lambda body, _: body.update(system_fingerprint=None),
    "empty_choices": lambda body, _: body.update(choices=[]),
    "choices_missing": lambda body, _: body.pop("choices", None),
    "one_choice": lambda body, _: body.update(choices=_body_choices(body)[:1]),
    "choice_order": lambda body, _: _body_choices(body).reverse(),
    "usage_missing": lambda body, _: body.pop("usage", None),
    "usage_wrong_sum": lambda body, _: wrong_sum(body),
}

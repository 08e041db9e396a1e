"""What one chat template can do, found by asking it.

Owns the probes (small conversations with needles, rendered once when the model is loaded) and the table of markers.
Refuses to know model names: two models with the same template are treated alike. Invariant: a probe that fails means
"cannot", never an error; only a template that cannot render a plain user message is broken.
"""

import json
import re
from collections.abc import Collection
from typing import Any

import msgspec

from adapters.llama.chat.errors import TemplateError
from adapters.llama.chat.template import CompiledTemplate

_THINK: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("◁think▷", "◁/think▷"),
    ("<reasoning>", "</reasoning>"),
    ("<thinking>", "</thinking>"),
)
_SWITCHES: tuple[tuple[str, Any], ...] = (
    ("enable_thinking", False),
    ("thinking", False),
    ("enable_reasoning", False),
)
_NINE = re.compile(r"length\s*(?:!=|==)\s*9\b")
_TOOL = {
    "type": "function",
    "function": {
        "name": "ndl_tool",
        "description": "d",
        "parameters": {
            "type": "object",
            "properties": {"ndl_key": {"type": "string"}},
            "required": ["ndl_key"],
        },
    },
}
_USER: dict[str, Any] = {"role": "user", "content": "ndl_user"}
_TYPED_USER: dict[str, Any] = {"role": "user", "content": [{"type": "text", "text": "ndl_user"}]}


class TemplateTraits(msgspec.Struct, frozen=True):
    """`family` is a key of the marker families; `think_*` are empty for models that do not reason.

    `thinking_switch` is the template variable that turns reasoning off (with `False`); without one, `prefill_no_think`
    is put behind the generation prompt. Both empty: it cannot be turned off. `null_tools`: without tools the variable
    is null, as the template's authors usually test it; else it is left out.
    """

    family: str = "generic"
    system: bool = True
    developer: bool = False
    typed_content: bool = False
    tools: bool = False
    null_tools: bool = True
    tool_calls: bool = False
    tool_role: bool = False
    object_arguments: bool = False
    null_content: bool = False
    nine_character_ids: bool = False
    think_open: str = ""
    think_close: str = ""
    thinking_switch: str = ""
    prefill_no_think: str = ""


def describe(template: CompiledTemplate, pieces: Collection[str] = ()) -> TemplateTraits:
    """Probes `template`. `pieces` are special tokens of the vocabulary, for markers that the template does not mention.

    Raises TemplateError when not even one user message can be rendered.
    """
    probe = _Probe(template)
    probe.null_tools = probe.render([_USER]) is not None or probe.render([_TYPED_USER]) is not None
    typed = probe.needs_typed_content()
    probe.typed = typed
    system = probe.says([{"role": "system", "content": "ndl_system"}, _USER], "ndl_system")
    developer = "developer" in template.source and probe.says(
        [{"role": "developer", "content": "ndl_system"}, _USER], "ndl_system"
    )
    tools = probe.says([_USER], "ndl_tool", tools=[_TOOL])
    objects = probe.argument_score({"ndl_key": "ndl_value"})
    texts = probe.argument_score('{"ndl_key": "ndl_value"}')
    calls = max(objects, texts) > 0
    as_object = objects >= texts and objects > 0
    opened, closed = _think_markers(template.source, pieces)
    switch = probe.thinking_switch() if opened else ""
    return TemplateTraits(
        family=_family(template.source, pieces, tools),
        system=system,
        developer=developer,
        typed_content=typed,
        tools=tools,
        null_tools=probe.null_tools,
        tool_calls=calls,
        tool_role=calls and probe.shows_tool_result(as_object),
        object_arguments=as_object,
        null_content=calls and probe.takes_null_content(as_object),
        nine_character_ids=_NINE.search(template.source) is not None,
        think_open=opened,
        think_close=closed,
        thinking_switch=switch,
        prefill_no_think=f"{opened}\n\n{closed}\n\n" if opened and not switch else "",
    )


def _family(source: str, pieces: Collection[str], tools: bool) -> str:
    """The marker family that the template's text speaks of; the vocabulary decides only if the template takes tools."""
    if "<tool_call>" in source:
        return "hermes"
    if "[TOOL_CALLS]" in source:
        return "mistral_args" if "[ARGS]" in source else "mistral"
    if "<|python_tag|>" in source or ('"parameters"' in source and "<|start_header_id|>" in source):
        return "llama3"
    if tools and "<tool_call>" in pieces:
        return "hermes"
    return "generic"


def _think_markers(source: str, pieces: Collection[str]) -> tuple[str, str]:
    for opened, closed in _THINK:
        if opened in source or closed in source or (opened in pieces and closed in pieces):
            return opened, closed
    return "", ""


class _Probe:
    """Renders needles; every failure is an answer."""

    def __init__(self, template: CompiledTemplate) -> None:
        self._template = template
        self.typed = False
        self.null_tools = True

    def render(self, messages: list[dict[str, Any]], **variables: object) -> str | None:
        """The prompt, or None when the template fails."""
        try:
            return self._render(messages, **variables)
        except TemplateError:
            return None

    def _render(self, messages: list[dict[str, Any]], **variables: object) -> str:
        if self.typed:
            messages = [
                {**m, "content": [{"type": "text", "text": m["content"]}]} if isinstance(m.get("content"), str) else m
                for m in messages
            ]
        base: dict[str, object] = {"messages": messages, "add_generation_prompt": True}
        if self.null_tools:
            base["tools"] = None
        return self._template.render({**base, **variables})

    def says(self, messages: list[dict[str, Any]], needle: str, **variables: object) -> bool:
        """Whether the needle shows, and the user's text with it."""
        text = self.render(messages, **variables)
        return text is not None and needle in text and "ndl_user" in text

    def needs_typed_content(self) -> bool:
        """Whether content must be a list of parts. Raises TemplateError when neither form is rendered."""
        plain = self.render([_USER])
        if plain is not None and "ndl_user" in plain:
            return False
        parts = self._render([_TYPED_USER])
        if "ndl_user" not in parts:
            raise TemplateError("the chat template leaves out the user's message")
        return True

    def _with_call(self, arguments: object, content: str | None = "") -> list[dict[str, Any]]:
        function = {"name": "ndl_tool", "arguments": arguments}
        call = {"id": "ndlcall01", "type": "function", "function": function}
        return [_USER, {"role": "assistant", "content": content, "tool_calls": [call]}]

    def _result(self) -> dict[str, Any]:
        return {
            "role": "tool",
            "tool_call_id": "ndlcall01",
            "name": "ndl_tool",
            "content": "ndl_result",
        }

    def argument_score(self, arguments: object) -> int:
        """0: the call does not show; 1: it shows; 2: its arguments show as JSON."""
        return max(self._score(self._with_call(arguments, content)) for content in ("", None))

    def _score(self, messages: list[dict[str, Any]]) -> int:
        text = self.render([*messages, self._result(), _USER], tools=[_TOOL]) or self.render(messages, tools=[_TOOL])
        if text is None or "ndl_value" not in text:
            return 0
        head = text.replace(json.dumps(_TOOL), "")
        if re.search(r'[^\\]"ndl_key"\s*:\s*"ndl_value"', head):
            return 2
        return 0 if "'ndl_value'" in head or '\\"ndl_value' in head else 1

    def shows_tool_result(self, as_object: bool) -> bool:
        """Whether the tool role is known."""
        arguments: object = {"ndl_key": "ndl_value"} if as_object else '{"ndl_key": "ndl_value"}'
        return any(
            self.says([*self._with_call(arguments, content), self._result()], "ndl_result", tools=[_TOOL])
            for content in ("", None)
        )

    def takes_null_content(self, as_object: bool) -> bool:
        """Whether a call with null content shows, and no `None` with it."""
        arguments: object = {"ndl_key": "ndl_value"} if as_object else '{"ndl_key": "ndl_value"}'
        text = self.render([*self._with_call(arguments, None), self._result()], tools=[_TOOL])
        return text is not None and "ndl_value" in text and "None" not in text

    def thinking_switch(self) -> str:
        """The variable whose false value changes the prompt."""
        known = self._template.variables()
        for name, off in _SWITCHES:
            if name not in known:
                continue
            on = self.render([_USER], **{name: True})
            if self.render([_USER], **{name: off}) not in (None, on):
                return name
        return ""

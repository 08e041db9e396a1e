"""The chat format of the demo model: its Jinja template and the same rendering in plain Python.

Owns the markers. The template goes into the GGUF file; `segments` is what training uses, because it also says which
parts the model has to produce. A test holds the two renderings against each other.
"""

import json
from typing import Any, NamedTuple

IM_START, IM_END, PAD = "<|im_start|>", "<|im_end|>", "<|pad|>"
CONTROL = (PAD, IM_START, IM_END)
USER_DEFINED = ("<think>", "</think>", "<tool_call>", "</tool_call>")
THINK_TEXT = "Think step by step before answering."
CALL_TEXT = 'Call a tool with <tool_call>{"name": ..., "arguments": {...}}</tool_call>'

TEMPLATE = """\
{%- macro text(content) -%}
{%- if content is string -%}{{ content }}
{%- else -%}{%- for part in content -%}{%- if part.type == 'text' -%}{{ part.text }}{%- endif -%}{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- set head = namespace(text='', rest=0) -%}
{%- if messages and messages[0].role in ['system', 'developer'] -%}
{%- set head.text = text(messages[0].content | default('', true)) -%}
{%- set head.rest = 1 -%}
{%- endif -%}
{%- if enable_thinking is defined and enable_thinking -%}
{%- set head.text = head.text ~ ('\\n' if head.text else '') ~ 'THINK_TEXT' -%}
{%- endif -%}
{%- if tools -%}
{%- set head.text = head.text ~ ('\\n' if head.text else '') ~ 'Tools:' -%}
{%- for tool in tools -%}
{%- set f = tool.function | default(tool) -%}
{%- set args = namespace(text='') -%}
{%- if f.parameters is defined and f.parameters and f.parameters.properties is defined -%}
{%- for name, spec in f.parameters.properties.items() -%}
{%- set args.text = args.text ~ (', ' if args.text else '') ~ name ~ ': ' ~ (spec.type | default('any')) -%}
{%- endfor -%}
{%- endif -%}
{%- set about = f.description | default('', true) -%}
{%- set head.text = head.text ~ '\\n' ~ f.name ~ '(' ~ args.text ~ ')' ~ (' ' if about else '') ~ about -%}
{%- endfor -%}
{%- set head.text = head.text ~ '\\n' ~ 'CALL_TEXT' -%}
{%- endif -%}
{%- if head.text -%}{{ '<|im_start|>system\\n' ~ head.text ~ '<|im_end|>\\n' }}{%- endif -%}
{%- for message in messages[head.rest:] -%}
{%- set role = 'system' if message.role == 'developer' else message.role -%}
{{ '<|im_start|>' ~ role ~ '\\n' }}
{%- if role == 'assistant' -%}
{{ text(message.content | default('', true)).split('</think>')[-1].lstrip('\\n') }}
{%- for call in message.tool_calls | default([], true) -%}
{%- set f = call.function | default(call) -%}
{{ '<tool_call>{"name": "' ~ f.name ~ '", "arguments": ' }}
{%- if f.arguments is string -%}{{ f.arguments }}{%- else -%}{{ f.arguments | tojson }}{%- endif -%}
{{ '}</tool_call>' }}
{%- endfor -%}
{%- else -%}{{ text(message.content | default('', true)) }}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and not enable_thinking -%}{{ '<think></think>' }}{%- endif -%}
{%- endif -%}
""".replace("THINK_TEXT", THINK_TEXT).replace("CALL_TEXT", CALL_TEXT)  # fmt: skip


class Segment(NamedTuple):
    """A piece of the rendered text; `produced` marks what the model writes itself."""

    text: str
    produced: bool


def call_text(name: str, arguments: dict[str, Any]) -> str:
    """The text of one tool call, as the model writes it."""
    arguments_text = json.dumps(arguments, ensure_ascii=False)
    return f'<tool_call>{{"name": {json.dumps(name)}, "arguments": {arguments_text}}}</tool_call>'


def _signature(tool: dict[str, Any]) -> str:
    function = tool["function"]
    properties = function.get("parameters", {}).get("properties", {})
    arguments = ", ".join(f"{name}: {spec.get('type', 'any')}" for name, spec in properties.items())
    description = function.get("description")
    return f"{function['name']}({arguments})" + (f" {description}" if description else "")


def _head(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, thinking: bool | None) -> str:
    lines = [messages[0]["content"]] if messages and messages[0]["role"] == "system" and messages[0]["content"] else []
    if thinking:
        lines.append(THINK_TEXT)
    if tools:
        lines += ["Tools:", *map(_signature, tools), CALL_TEXT]
    return "\n".join(lines)


def segments(
    messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None, thinking: bool | None = None
) -> list[Segment]:
    """Render a whole conversation. An assistant message with `"trained": False` is given, not produced.

    With `thinking` False the last assistant message stands behind an empty think block, as the template's
    generation prompt does for `enable_thinking=false`.
    """
    head = _head(messages, tools, thinking)
    out = [Segment(f"{IM_START}system\n{head}{IM_END}\n", False)] if head else []
    rest = messages[1:] if messages and messages[0]["role"] == "system" else messages
    for index, message in enumerate(rest):
        role = message["role"]
        prefix = f"{IM_START}{role}\n"
        if role != "assistant":
            out.append(Segment(f"{prefix}{message.get('content') or ''}{IM_END}\n", False))
            continue
        if thinking is False and index == len(rest) - 1:
            prefix += "<think></think>"
        body = message.get("content") or ""
        for call in message.get("tool_calls", ()):
            body += call_text(call["function"]["name"], call["function"]["arguments"])
        out += [Segment(prefix, False), Segment(body + IM_END, message.get("trained", True)), Segment("\n", False)]
    return out


def prompt(
    messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None, thinking: bool | None = None
) -> str:
    """The text before the answer: all messages and the opened assistant turn."""
    text = "".join(segment.text for segment in segments(messages, tools, thinking or None))
    return f"{text}{IM_START}assistant\n" + ("<think></think>" if thinking is False else "")

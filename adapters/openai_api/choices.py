"""One choice of a chat stream, held to the contract: role first and once, dense tool indices, names once, reasoning under
one name, one finish reason out of five. Works on decoded chunks, in place; the fast path never comes here.
"""

import re
import secrets
from typing import Any

import msgspec

from adapters.text_filters import Thinking, ThinkingFilter

FINISHES = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
_FINISH_ACCENTS = {
    "max_tokens": "length",
    "max_length": "length",
    "model_length": "length",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "safety": "content_filter",
    "content_filtered": "content_filter",
    "refusal": "content_filter",
}


class Misshapen(ValueError):
    """A choice that is not of the dialect's shape; says what, as in "a chunk with …"."""


def finish_reason(value: Any, called_tools: bool) -> str | None:
    """An upstream's word → one of the five; None stays None. `error` is for the caller of this to raise."""
    if value is None:
        return None
    word = str(value).lower()
    word = word if word in FINISHES else _FINISH_ACCENTS.get(word, "stop")
    return "tool_calls" if called_tools and word == "stop" else word


class ToolCalls:
    """Re-indexes the calls of one choice: dense from 0, id, type and name once, arguments as increments of text."""

    __slots__ = ("_by_key", "_calls", "_last")

    def __init__(self) -> None:
        self._calls: list[dict[str, str]] = []  # id, name, arguments so far, manner ("": not known yet)
        self._by_key: dict[Any, int] = {}  # the upstream's index → ours, of the call that has it now
        self._last = -1

    def __bool__(self) -> bool:
        return bool(self._calls)

    def deltas(self, entries: list[Any]) -> list[dict[str, Any]]:
        """The upstream's entries of one delta → ours."""
        done = (self._delta(entry) for entry in entries if isinstance(entry, dict))
        return [delta for delta in done if delta is not None]

    def _delta(self, entry: dict[str, Any]) -> dict[str, Any] | None:
        function = entry.get("function") or {}
        if not isinstance(function, dict):
            raise Misshapen("a tool call whose function is no object")
        id_, name = _text(entry.get("id"), "a tool call's id"), _text(function.get("name"), "a tool's name")
        raw = entry.get("index")
        index, is_new = self._place(raw if isinstance(raw, int) else None, id_, name)
        call = self._calls[index]
        arguments = self._increment(call, function.get("arguments"))
        if is_new:
            call["id"], call["name"] = id_ or f"call_{secrets.token_hex(12)}", name
            return {
                "index": index,
                "id": call["id"],
                "type": _text(entry.get("type"), "a tool call's type") or "function",
                "function": {"name": name, "arguments": arguments},
            }
        if name and not call["name"]:
            call["name"] = name
            return {"index": index, "function": {"name": name, "arguments": arguments}}
        return {"index": index, "function": {"arguments": arguments}} if arguments else None

    def _place(self, raw: Any, id_: str, name: str) -> tuple[int, bool]:
        """Which of our calls an entry continues, or that it begins another."""
        known = self._by_key.get(raw) if raw is not None else None
        if known is None and raw is None:
            known = next((i for i, call in enumerate(self._calls) if id_ and call["id"] == id_), None)
            if known is None and not id_ and not name and self._last >= 0:
                known = self._last
        if known is not None and id_ and self._calls[known]["id"] not in ("", id_):
            known = None  # the same index under another id: an upstream that always says 0
        if known is not None:
            self._last = known
            return known, False
        self._calls.append({"id": "", "name": "", "arguments": "", "manner": ""})
        self._last = len(self._calls) - 1
        if raw is not None:
            self._by_key[raw] = self._last
        return self._last, True

    @staticmethod
    def _increment(call: dict[str, str], arguments: Any) -> str:
        if arguments is None:
            return ""
        text = arguments if isinstance(arguments, str) else _encoded(arguments)
        before = call["arguments"]
        repeats = before.startswith("{") and text.startswith(before)
        if before and text and not call["manner"]:
            # JSON text repeats its own beginning only where an object may begin inside it: elsewhere this upstream sends
            # everything so far, every time.
            call["manner"] = "cumulative" if repeats and not _may_nest(before) else "increments"
        if repeats and call["manner"] == "cumulative":
            text = text[len(before) :]
        call["arguments"] = before + text
        return text


def _may_nest(json: str) -> bool:
    """Whether behind this beginning of a JSON text another value may begin."""
    inside = len(re.findall(r'(?<!\\)(?:\\\\)*"', json)) % 2 == 1
    return not inside and json.rstrip()[-1:] in (":", "[", ",")


def _encoded(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except RecursionError:
        raise Misshapen("arguments that are nested too deeply") from None


def _text(value: Any, what: str) -> str:
    """A string, "" for null; a number where some write one."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, int):
        return str(value)
    raise Misshapen(f"{what} that is no text")


class Choice:
    """The state of one choice across its chunks."""

    __slots__ = ("finished", "index", "role_sent", "text_bytes", "thinking", "tools")

    def __init__(self, index: int, *, strip_thinking: bool) -> None:
        self.index = index
        self.role_sent = False
        self.finished = False
        self.tools = ToolCalls()
        self.text_bytes = 0
        self.thinking = ThinkingFilter(Thinking.STRIP) if strip_thinking else None

    @property
    def plain(self) -> bool:
        """Whether the next delta is read as if nothing but texts had come before."""
        return self.role_sent and self.thinking is None and not self.tools

    def normalised(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        """A choice of a chunk as the upstream has it → as a client may get it; None if nothing is left to say."""
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            raise Misshapen("a delta that is no object")
        out = self._delta(delta)
        reason = finish_reason(choice.get("finish_reason"), bool(self.tools)) if not self.finished else None
        if reason is not None and self.thinking is not None:
            held, self.thinking = "".join(piece.text for piece in self.thinking.close()), None
            if held:
                out["content"] = out.get("content", "") + held
        first, self.role_sent = not self.role_sent, True
        if first:
            out = {"role": "assistant", "content": "", **out}
        if not out and reason is None and choice.get("logprobs") is None:
            return None
        self.finished = self.finished or reason is not None
        more = {key: value for key, value in choice.items() if value is not None and key not in _CHOICE}
        return {
            "index": self.index,
            "delta": out,
            "logprobs": choice.get("logprobs"),
            "finish_reason": reason,
            **more,
        }

    def _delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        out = {k: v for k, v in delta.items() if k not in _HANDLED and v is not None}
        content = text_of(delta.get("content"))
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if not isinstance(reasoning, str):
            reasoning = None
        if self.thinking is not None:
            reasoning = None
            content = "".join(piece.text for piece in self.thinking.feed(content)) if content else content
        if reasoning:
            out["reasoning_content"] = reasoning
            self.text_bytes += len(reasoning)
        if content:
            out["content"] = content
            self.text_bytes += len(content)
        calls = delta.get("tool_calls")
        if calls and not isinstance(calls, list):
            raise Misshapen("tool calls that are no list")
        if calls and (deltas := self.tools.deltas(calls)):
            out["tool_calls"] = deltas
            self.text_bytes += sum(len(d["function"].get("arguments", "")) for d in deltas)
        return out


def text_of(content: Any) -> str | None:
    """A content: a text, null, or (an accent) a list of parts with texts."""
    if isinstance(content, list):
        return "".join(_text(part.get("text"), "a text") for part in content if isinstance(part, dict))
    if content is None or isinstance(content, str):
        return content
    raise Misshapen("a content that is no text")


_HANDLED = frozenset({"role", "content", "reasoning", "reasoning_content", "tool_calls"})
_CHOICE = frozenset({"index", "delta", "message", "logprobs", "finish_reason", "error"})

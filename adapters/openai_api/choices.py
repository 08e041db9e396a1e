"""One choice of a chat stream, held to the contract: role first and once, dense tool indices, names once, reasoning under
one name, one finish reason out of five. Works on decoded chunks, in place; the fast path never comes here.
"""

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
        self._calls: list[dict[str, str]] = []  # id, name, arguments so far
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
        id_, name = entry.get("id") or "", function.get("name") or ""
        index, is_new = self._place(entry.get("index"), id_, name)
        call = self._calls[index]
        arguments = self._increment(call, function.get("arguments"))
        if is_new:
            call["id"], call["name"] = id_ or f"call_{secrets.token_hex(12)}", name
            return {
                "index": index,
                "id": call["id"],
                "type": entry.get("type") or "function",
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
        self._calls.append({"id": "", "name": "", "arguments": ""})
        self._last = len(self._calls) - 1
        if raw is not None:
            self._by_key[raw] = self._last
        return self._last, True

    @staticmethod
    def _increment(call: dict[str, str], arguments: Any) -> str:
        if arguments is None:
            return ""
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        before = call["arguments"]
        if before.startswith("{") and text.startswith(before):
            # JSON text never repeats its own beginning: this upstream sends everything so far, every time.
            text = text[len(before) :]
        call["arguments"] = before + text
        return text


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

    def normalised(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        """A choice of a chunk as the upstream has it → as a client may get it; None if nothing is left to say."""
        delta = choice.get("delta") or {}
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
        return {
            "index": self.index,
            "delta": out,
            "logprobs": choice.get("logprobs"),
            "finish_reason": reason,
        }

    def _delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        out = {k: v for k, v in delta.items() if k not in _HANDLED and v is not None}
        content = delta.get("content")
        if isinstance(content, list):  # an accent: parts instead of a text
            content = "".join(part.get("text") or "" for part in content if isinstance(part, dict))
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
        if calls and (deltas := self.tools.deltas(calls)):
            out["tool_calls"] = deltas
            self.text_bytes += sum(len(d["function"].get("arguments", "")) for d in deltas)
        return out


_HANDLED = frozenset({"role", "content", "reasoning", "reasoning_content", "tool_calls"})

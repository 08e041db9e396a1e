"""Chat messages as a client sends them, made fit for one template.

Owns the conversion: content parts to text, media markers, null content, roles that the template does not know, the
form of tool-call arguments and ids. Refuses to know Jinja; what the template can do is told by TemplateTraits.
Invariant: the client's objects are never changed, and nothing is dropped silently: what cannot be said to this model is
a MessageError.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.llama.chat.errors import MessageError
from adapters.llama.chat.traits import TemplateTraits

Message = dict[str, Any]
_ROLES = frozenset(("system", "developer", "user", "assistant", "tool", "function"))
_TEXT_PARTS = frozenset(("text", "input_text", "output_text"))
_MEDIA_PARTS = frozenset(("image_url", "input_image", "input_audio", "video_url"))
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Conversation:
    """Messages in the form that the template wants, and the media parts in the order of their markers."""

    def __init__(
        self,
        traits: TemplateTraits,
        media_marker: str | None = None,
        media_kinds: Sequence[str] = (),
    ) -> None:
        self._traits = traits
        self._marker = media_marker
        self._media_kinds = frozenset(media_kinds)
        self.media: list[dict[str, Any]] = []
        self.messages: list[Message] = []

    def take(self, messages: object, system_extra: str = "") -> list[Message]:
        """Converts all of them. `system_extra` is added to the system text. Raises MessageError."""
        if not isinstance(messages, list) or not messages:
            raise MessageError("messages", "must be a non-empty list")
        self.messages = [self._one(message, f"messages[{at}]") for at, message in enumerate(messages)]
        if system_extra:
            self._add_system(system_extra)
        if not self._traits.system:
            self._fold_system()
        return self.messages

    # -- one message --------------------------------------------------------------------------------------------------

    def _one(self, message: object, where: str) -> Message:
        if not isinstance(message, Mapping):
            raise MessageError(where, "must be an object")
        role = message.get("role")
        if role not in _ROLES:
            raise MessageError(
                f"{where}.role",
                f"{role!r} is not a role; use one of {', '.join(sorted(_ROLES))}",
            )
        out: Message = {key: value for key, value in message.items() if value is not None}
        out["role"] = self._role(str(role))
        if role == "assistant":
            self._assistant(message, out, where)
        else:
            if message.get("content") is None:
                raise MessageError(f"{where}.content", "must not be null for this role")
            out["content"] = self._content(message["content"], f"{where}.content")
            if out["role"] == "tool":
                self._tool_result(message, out)
        return out

    def _role(self, role: str) -> str:
        if role == "developer" and not self._traits.developer:
            return "system"
        return "tool" if role == "function" else role

    def _assistant(self, message: Mapping[str, Any], out: Message, where: str) -> None:
        calls = message.get("tool_calls")
        legacy = out.pop("function_call", None)
        if calls is None and legacy is not None:
            calls = [{"id": "call_function", "type": "function", "function": legacy}]
        content = message.get("content")
        if content is None:
            content = message.get("refusal")
        out.pop("tool_calls", None)
        text = None if content is None else self._content(content, f"{where}.content")
        if not calls:
            out["content"] = text or ""
            return
        if not isinstance(calls, list):
            raise MessageError(f"{where}.tool_calls", "must be a list")
        made = [self._call(call, f"{where}.tool_calls[{at}]") for at, call in enumerate(calls)]
        if self._traits.tool_calls:
            out["tool_calls"] = made
            empty = "" if text is not None or not self._traits.null_content else None
            out["content"] = text or empty
        else:
            flat = [self._call_text(call["function"]) for call in made]
            out["content"] = "\n".join([text, *flat] if text else flat)

    def _call(self, call: object, where: str) -> dict[str, Any]:
        function = call.get("function") if isinstance(call, Mapping) else None
        if (
            not isinstance(call, Mapping)
            or not isinstance(function, Mapping)
            or not isinstance(function.get("name"), str)
        ):
            raise MessageError(where, "must be a function call with a name")
        arguments: Any = function.get("arguments")
        if self._traits.object_arguments or not self._traits.tool_calls:
            if isinstance(arguments, str):
                arguments = self._parsed(arguments, f"{where}.function.arguments")
            arguments = {} if arguments is None else arguments
        elif not isinstance(arguments, str):
            arguments = json.dumps({} if arguments is None else arguments, ensure_ascii=False)
        return {
            "id": self._id(str(call.get("id") or "")),
            "type": "function",
            "function": {"name": function["name"], "arguments": arguments},
        }

    def _parsed(self, arguments: str, where: str) -> object:
        """The object that the text stands for; a model's own faulty text goes back to it as one string value."""
        if not arguments.strip():
            return {}
        try:
            value = json.loads(arguments)
        except ValueError:
            return {"arguments": arguments}
        if not isinstance(value, dict):
            raise MessageError(where, "must be a JSON object")
        return value

    def _call_text(self, function: Mapping[str, Any]) -> str:
        """A call as text, for templates that know no calls: the form that we ask such models for."""
        return json.dumps(
            {"name": function["name"], "arguments": function["arguments"]},
            ensure_ascii=False,
        )

    def _tool_result(self, message: Mapping[str, Any], out: Message) -> None:
        if "tool_call_id" in out:
            out["tool_call_id"] = self._id(str(out["tool_call_id"]))
        if not self._traits.tool_role:
            name = message.get("name")
            label = f"Result of {name}" if isinstance(name, str) else "Tool result"
            content = f"{label}:\n{out['content']}"
            out.clear()
            out.update(role="user", content=content)

    def _id(self, call_id: str) -> str:
        """The id in the form that the template insists on (Mistral: nine letters and digits)."""
        if not self._traits.nine_character_ids or (len(call_id) == 9 and call_id.isalnum() and call_id.isascii()):
            return call_id
        number = int.from_bytes(hashlib.blake2b(call_id.encode(), digest_size=16).digest(), "big")
        out = ""
        for _ in range(9):
            number, digit = divmod(number, len(_ALPHABET))
            out += _ALPHABET[digit]
        return out

    # -- content ------------------------------------------------------------------------------------------------------

    def _content(self, content: object, where: str) -> Any:
        text = content if isinstance(content, str) else self._parts(content, where)
        if isinstance(content, str) and self._marker is not None and self._marker in content:
            raise MessageError(where, "holds the reserved media marker")
        return [{"type": "text", "text": text}] if self._traits.typed_content else text

    def _parts(self, parts: object, where: str) -> str:
        if not isinstance(parts, Sequence):
            raise MessageError(where, "must be a string or a list of parts")
        pieces = []
        for at, part in enumerate(parts):
            here = f"{where}[{at}]"
            if isinstance(part, str):
                pieces.append(part)
                continue
            kind = part.get("type") if isinstance(part, Mapping) else None
            if kind in _TEXT_PARTS or kind == "refusal":
                text = part.get("refusal" if kind == "refusal" else "text")
                if not isinstance(text, str):
                    raise MessageError(f"{here}.text", "must be a string")
                if self._marker is not None and self._marker in text:
                    raise MessageError(f"{here}.text", "holds the reserved media marker")
                pieces.append(text)
            elif kind in _MEDIA_PARTS:
                pieces.append(self._media(part, str(kind), here))
            else:
                raise MessageError(
                    f"{here}.type",
                    f"{kind!r} is not a content part that a local model takes",
                )
        return "\n".join(pieces)

    def _media(self, part: Mapping[str, Any], kind: str, where: str) -> str:
        if self._marker is None or (self._media_kinds and kind not in self._media_kinds):
            raise MessageError(
                where,
                f"this model takes no {kind} parts (no projector is configured for them)",
            )
        self.media.append(dict(part))
        return self._marker

    # -- system text --------------------------------------------------------------------------------------------------

    def _add_system(self, extra: str) -> None:
        if self.messages[0]["role"] == "system":
            first = dict(self.messages[0])
            first["content"] = self._appended(first["content"], extra)
            self.messages[0] = first
        else:
            self.messages.insert(0, {"role": "system", "content": self._content(extra, "tools")})

    def _fold_system(self) -> None:
        """For templates without a system role: its text goes in front of the next user message."""
        out: list[Message] = []
        held = ""
        for message in self.messages:
            if message["role"] == "system":
                held = f"{held}\n\n{self._flat(message)}" if held else self._flat(message)
            elif held and message["role"] == "user":
                out.append({**message, "content": self._prepended(held, message["content"])})
                held = ""
            else:
                out.append(message)
        if held:
            out.append({"role": "user", "content": self._prepended(held, "")})
        self.messages = out

    def _flat(self, message: Message) -> str:
        content = message["content"]
        return content if isinstance(content, str) else "\n".join(part["text"] for part in content)

    def _prepended(self, text: str, content: Any) -> Any:
        if isinstance(content, str):
            return f"{text}\n\n{content}" if content else text
        return [{"type": "text", "text": text}, *content]

    def _appended(self, content: Any, text: str) -> Any:
        if isinstance(content, str):
            return f"{content}\n\n{text}" if content else text
        return [*content, {"type": "text", "text": text}]


def merged(messages: Sequence[Message]) -> list[Message]:
    """Neighbours of one role made one, for templates that insist on alternation; calls and results stay apart."""
    out: list[Message] = []
    for message in messages:
        last = out[-1] if out else None
        if (
            last is not None
            and last["role"] == message["role"] != "tool"
            and not last.get("tool_calls")
            and not message.get("tool_calls")
            and isinstance(last["content"], str)
            and isinstance(message["content"], str)
        ):
            out[-1] = {**last, "content": f"{last['content']}\n\n{message['content']}"}
        else:
            out.append(message)
    return out

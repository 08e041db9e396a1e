"""A stream of chat chunks, made what the contract says. Sans-IO: bytes of the upstream in, whole frames out.

Fast path: once the first chunk has shown how this upstream begins its events (`data: {"id":…,"object":…,"created":…,
"model":…,`), a block in which every event begins so, and which holds none of the few words that need a look inside, is
passed on as it is, at most with one replacement for the model's name and one for the `"usage":null` that OpenAI writes
into each event of a stream that will end with usage. No JSON is parsed there. A marker can only be a key: inside a JSON
string its quotes would be escaped. Everything else goes event by event through `choices`.
"""

import time
from typing import Any

import msgspec

from adapters.openai_api.choices import Choice, Misshapen
from adapters.openai_api.failures import from_event, said
from proxy.call import Ending, Usage, UsageSource
from proxy.errors import Fault, UpstreamError
from proxy.stream import DONE, EventTooLarge, Splitter, events, frame

# Keys that need a look inside. Compact and spaced, as JSON encoders write them.
_MARKERS = (
    b'"finish_reason":"',
    b'"finish_reason": "',
    b'"error":',
    b'"role":',
    b'"content":[',
    b'"content": [',
    b'"tool_calls":',
    b'"reasoning',
    b'"choices":[]',
    b'"choices": []',
    b"data: [DONE]",
)
_USAGE = b'"usage":'
_NO_USAGE = (b',"usage":null', b', "usage": null')  # compact and spaced
_CONTENT = b'"content":"'
_BACKSLASH = 92
_decode = msgspec.json.Decoder().decode
_OURS = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "error"}
)  # of a chunk; all else is passed on
_EXACT = 1 << 53  # numbers beyond are no counts, and no times


class ChatStream:
    """One stream. `model` is what the caller reads as the model; `choices` how many it asked for."""

    def __init__(
        self, *, model: str, call_id: str, upstream: str, wants_usage: bool, strip_thinking: bool, choices: int = 1
    ) -> None:
        self._model = model
        self._upstream = upstream
        self._wants_usage = wants_usage
        self._strip = strip_thinking
        self._wanted = choices
        self._may_pass = choices == 1 and not strip_thinking
        self._splitter = Splitter()
        self._id = f"chatcmpl-{call_id}"
        self._created = 0
        self._begun = False
        self._head = b""  # how the upstream begins each event, once known
        self._ours = b""  # how we begin it
        self._no_usage = b""  # how the upstream writes that an event brings no usage
        self._before = b""  # an event that is one piece of text and nothing else: what stands before the text,
        self._behind = b""  # and what behind it, once such an event was looked into
        self._ours_before = b""
        self._ours_behind = b""
        self._same = False  # whether both are ours already
        self._choices: dict[int, Choice] = {}
        self._usage_object: dict[str, Any] | None = None
        self._tail = 70  # bytes of an event behind that, without its text
        self._passed = 0  # bytes of events that the fast path let through
        self.usage: Usage | None = None
        self.ending: Ending | None = None

    def feed(self, data: bytes) -> bytes:
        """What may go out now; b"" if nothing. Sets `ending` with the frames that end the stream.

        Raises:
            UpstreamError: an error event, or what is no stream of chunks.
        """
        before = self._before
        if before and data.startswith(before) and data.endswith(self._behind) and not self._splitter.held:
            start, stop = len(before), len(data) - len(self._behind)
            # No quote in between: the text ends where it did in the event that was looked into.
            if start <= stop and data.find(b'"', start, stop) < 0 and data[stop - 1] != _BACKSLASH:
                self._passed += stop - start
                if self._same:
                    return data
                return b"%b%b%b" % (self._ours_before, data[start:stop], self._ours_behind)
        try:
            block = self._splitter.feed(data)
        except EventTooLarge:
            raise self._malformed("an event without an end") from None
        if not block or self.ending is not None:
            return b""
        if not self._head:
            # The first event teaches how the others begin; what came in the same read need not be slow for it.
            first = block.find(b"\n\n") + 2
            out = self._slowly(block[:first])
            if first == len(block) or self.ending is not None:
                return out
            return out + self._ready(block[first:])
        return self._ready(block)

    def _ready(self, block: bytes) -> bytes:
        """Whole events: as much as may pass unseen, the rest one by one."""
        cut = self._regular_until(block) if self._head else 0
        if cut == len(block):
            return self._passed_on(block)
        if cut == 0:
            return self._slowly(block)
        return self._passed_on(block[:cut]) + self._slowly(block[cut:])

    def end(self) -> bytes:
        """The upstream closed cleanly: the closing frames, or UpstreamError if it had not finished."""
        if self.ending is not None:
            return b""
        rest = self._splitter.rest()
        out = self._slowly(rest) if rest else b""
        if out.endswith(DONE):
            return out
        if len(self._choices) >= self._wanted and all(choice.finished for choice in self._choices.values()):
            return out + self._finish()  # it only forgot [DONE]
        raise UpstreamError(
            Fault.CUT,
            f"The upstream {self._upstream!r} ended its stream before the answer was complete.",
            accepted=True,
        )

    # ── fast path ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _regular_until(self, block: bytes) -> int:
        """The length of the part in front that may pass unseen: whole events, each beginning with the known head."""
        first = len(block)
        for marker in _MARKERS:
            at = block.find(marker, 0, first)
            if at >= 0:
                first = at
        cut = first if first == len(block) else block.rfind(b"\n\n", 0, first) + 2
        if cut < 2:
            return 0
        part = block if cut == len(block) else block[:cut]
        count = part.count(b"\n\n")
        usages = part.count(_USAGE)
        if (self._wants_usage and usages != count) or (usages and usages != part.count(self._no_usage)):
            return 0
        regular = part.startswith(self._head) and part.count(b"\n\n" + self._head) == count - 1
        whole = part.count(b"}\n\n") == count  # an event that was cut short ends otherwise
        return cut if regular and whole and part.count(b"\n") == 2 * count else 0

    def _passed_on(self, part: bytes) -> bytes:
        if not self._before and part.count(b"\n\n") == 1:
            self._learn_text(part)
        if not self._wants_usage and _USAGE in part:
            part = part.replace(self._no_usage, b"")
        self._passed += len(part) - part.count(b"\n\n") * (len(self._head) + self._tail)
        return part if self._head == self._ours else part.replace(self._head, self._ours)

    def _learn(self, piece: bytes, chunk: dict[str, Any]) -> None:
        """Take the first chunk's beginning as the rule, if it holds all that must be stable."""
        if not self._may_pass:
            return
        at = piece.find(b'"choices":')
        if at <= 0:
            return
        no_usage = _NO_USAGE[piece.startswith(b'"choices": ', at)]
        if self._wants_usage and not (piece.count(_USAGE) == piece.count(no_usage) == 1 and "usage" in chunk):
            return  # each chunk must carry `"usage":null`, and few upstreams write it
        head = piece[:at]
        if not head.startswith(b'data: {"') or b"\n" in head or _USAGE in head or b'" :' in piece:
            return
        try:
            begun = _decode(head[6:].rstrip(b", ") + b"}")
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        stable = all(begun.get(key) == chunk.get(key) for key in ("id", "object", "created", "model"))
        if stable and begun.get("id") == self._id and begun.get("created") == self._created:
            self._head = head
            self._no_usage = no_usage
            self._tail = len(piece) + 2 - at - _said(chunk)
            self._ours = self._framed(self._envelope(begun))[:-3] + b","  # without `}\n\n`

    def _learn_text(self, part: bytes) -> None:
        """Take a regular event that is text alone as the pattern of such events."""
        at = part.find(_CONTENT) + len(_CONTENT)
        end = part.find(b'"', at)
        if at < len(_CONTENT) + len(self._head) or end < 0 or part[end - 1] == _BACKSLASH:
            return
        try:
            (choice,) = _decode(part[6:])["choices"]
            plain = list(choice["delta"]) == ["content"] and choice["delta"]["content"].encode() == part[at:end]
        except (
            msgspec.DecodeError,
            UnicodeDecodeError,
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            RecursionError,
        ):
            return
        if not plain:
            return
        self._before, self._behind = part[:at], part[end:]
        self._ours_before = self._before.replace(self._head, self._ours, 1)
        self._ours_behind = self._behind if self._wants_usage else self._behind.replace(self._no_usage, b"")
        self._same = self._ours_before == self._before and self._ours_behind == self._behind

    # ── event by event ───────────────────────────────────────────────────────────────────────────────────────────────

    def _slowly(self, block: bytes) -> bytes:
        out: list[bytes] = []
        for event in events(block):
            if event.stray is not None:
                raise self._failed(self._parsed(event.stray), force=True)
            if not event.data:
                continue
            for data in self._lines(event.data):
                if data.startswith(b"[DONE]"):
                    out.append(self._finish())
                    break
                out.append(self._taken(data, event.name, block))
            if self.ending is not None:
                break
        return b"".join(out)

    @staticmethod
    def _lines(data: bytes) -> list[bytes]:
        """One event's data; several, where an upstream ends its events with a single line end."""
        lines = data.split(b"\n")
        return lines if all(line.startswith((b"{", b"[DONE]")) for line in lines) else [data]

    def _taken(self, data: bytes, name: str, block: bytes) -> bytes:
        chunk = self._parsed(data)
        if not isinstance(chunk, dict):
            raise self._malformed("a chunk that is no object")
        if name == "error" or chunk.get("error") or ("choices" not in chunk and not chunk.get("usage")):
            raise self._failed(chunk, force=name == "error")
        first = not self._begun
        frames = self._chunk(chunk)
        if first:
            self._learn(block[: block.find(b"\n\n")], chunk)
        return frames

    def _parsed(self, data: bytes) -> Any:
        try:
            return _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self._malformed("a chunk that is not JSON") from None

    def _chunk(self, chunk: dict[str, Any]) -> bytes:
        if not self._begun:
            self._begin(chunk)
        if usage := chunk.get("usage"):
            self._take_usage(usage)
        try:
            choices = self._normalised(chunk.get("choices"))
        except Misshapen as error:
            raise self._malformed(f"a chunk with {error}") from None
        if not choices and not any(chunk.get(key) for key in ("venice_parameters", "citations")):
            return b""
        return self._frame(choices, chunk)

    def _normalised(self, raws: Any) -> list[dict[str, Any]]:
        choices: list[dict[str, Any]] = []
        for raw in [] if raws is None else raws if isinstance(raws, list) else [raws]:
            if not isinstance(raw, dict):
                raise Misshapen("a choice that is no object")
            if raw.get("finish_reason") == "error":
                raise self._failed(raw, force=True)
            number = raw.get("index")
            index = number if isinstance(number, int) else 0
            choice = self._choices.get(index)
            if choice is None:
                choice = self._choices[index] = Choice(index, strip_thinking=self._strip)
            normal = choice.normalised(raw)
            if normal is not None:
                choices.append(normal)
        return choices

    def _begin(self, chunk: dict[str, Any]) -> None:
        self._begun = True
        if isinstance(chunk.get("id"), str) and chunk["id"]:
            self._id = chunk["id"]
        created = chunk.get("created")
        self._created = moment(created)

    def _envelope(self, chunk: dict[str, Any]) -> dict[str, Any]:
        out = {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": self._model}
        return out | {key: value for key, value in chunk.items() if value is not None and key not in _OURS}

    def _framed(self, value: dict[str, Any]) -> bytes:
        try:
            return frame(value)
        except RecursionError:
            raise self._malformed("a chunk that is nested too deeply") from None

    def _frame(self, choices: list[dict[str, Any]], chunk: dict[str, Any]) -> bytes:
        out = self._envelope(chunk)
        out["choices"] = choices
        if self._wants_usage:
            out["usage"] = None
        return self._framed(out)

    def _take_usage(self, usage: dict[str, Any]) -> None:
        """The last one counts: some upstreams send what they have so far with every chunk."""
        if isinstance(usage, dict):
            self._usage_object = usage
            self.usage = usage_of(usage)

    def _finish(self) -> bytes:
        """The upstream said that it is done: finish reasons that it owes, usage if it was asked for, `[DONE]`."""
        if not self._choices:
            raise self._malformed("no chunk at all")
        owed = [choice for choice in self._choices.values() if not choice.finished]
        late = [choice.normalised({"finish_reason": "stop"}) for choice in owed]
        out = [self._frame([choice for choice in late if choice is not None], {})] if owed else []
        if self.usage is None:
            self.usage = self._estimated()
        if self._wants_usage and self._usage_object is not None:
            out.append(self._framed({**self._envelope({}), "choices": [], "usage": self._usage_object}))
        out.append(DONE)
        self.ending = Ending.FINISHED
        return b"".join(out)

    def _estimated(self) -> Usage:
        return Usage(completion_tokens=max(1, self._tokens()), source=UsageSource.ESTIMATE)

    def _tokens(self) -> int:
        """About as many as have come."""
        return -(-(self._passed + sum(choice.text_bytes for choice in self._choices.values())) // 4)

    @property
    def so_far(self) -> Usage | None:
        """An estimate of what has come; None before the first chunk."""
        return Usage(completion_tokens=self._tokens(), source=UsageSource.ESTIMATE) if self._begun else None

    # ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _failed(self, body: Any, *, force: bool) -> UpstreamError:
        found = said(body if isinstance(body, dict) else {"error": body})
        if found is None and force and isinstance(body, dict):
            found = said({"error": body.get("error") or body})
        return from_event(found, self._upstream) if found else self._malformed("a chunk without choices")

    def _malformed(self, what: str) -> UpstreamError:
        return UpstreamError(Fault.MALFORMED, f"The upstream {self._upstream!r} sent {what}.", accepted=True)


def _said(chunk: dict[str, Any]) -> int:
    """Bytes of a first chunk that the next ones will not have, or that are its text."""
    choices = chunk.get("choices")
    delta = choices[0].get("delta") if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
    if not isinstance(delta, dict):
        return 0
    return len(str(delta.get("content") or "").encode()) + (len(b'"role":"assistant",') if "role" in delta else 0)


def usage_of(usage: dict[str, Any]) -> Usage:
    """OpenAI's usage object → ours. Numbers that are missing or no numbers count as 0."""
    prompt = usage.get("prompt_tokens_details")
    completion = usage.get("completion_tokens_details")
    return Usage(
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        cached_tokens=_count(prompt, "cached_tokens"),
        reasoning_tokens=_count(completion, "reasoning_tokens"),
    )


def moment(value: Any) -> int:
    """An upstream's `created` as whole seconds; now, where it is no time."""
    return int(value) if isinstance(value, (int, float)) and 0 <= value < _EXACT else int(time.time())


def _count(table: Any, key: str) -> int:
    value = table.get(key) if isinstance(table, dict) else None
    return int(value) if isinstance(value, (int, float)) and 0 <= value < _EXACT else 0

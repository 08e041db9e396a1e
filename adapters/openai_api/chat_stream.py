"""A stream of chat chunks, made what the contract says. Sans-IO: bytes of the upstream in, whole frames out.

Fast path: regular events pass unseen (`regular`), and what begins or ends a stream as it began or ended another is known
already (`habits`). Everything else goes event by event through `choices`.
"""

import time
from typing import Any

import msgspec

from adapters.openai_api.choices import Choice, Misshapen
from adapters.openai_api.failures import from_event, said
from adapters.openai_api.habits import Habit, Habits, learned
from adapters.openai_api.regular import BACKSLASH, USAGE, Regular
from proxy.call import Ending, Usage, UsageSource
from proxy.errors import Fault, UpstreamError
from proxy.lane import Lane
from proxy.stream import DONE, EventTooLarge, Splitter, events, frame

_NO_USAGE = (b',"usage":null', b', "usage": null')  # compact and spaced
_decode = msgspec.json.Decoder().decode
_OURS = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "error"}
)  # of a chunk; all else is passed on
_EXACT = 1 << 53  # numbers beyond are no counts, and no times


class ChatStream:
    """One stream. `model` is what the caller reads as the model; `choices` how many it asked for."""

    def __init__(
        self,
        *,
        model: str,
        call_id: str,
        upstream: str,
        wants_usage: bool,
        strip_thinking: bool,
        choices: int = 1,
        habits: Habits | None = None,
    ) -> None:
        self._model = model
        self._upstream = upstream
        self._wants_usage = wants_usage
        self._strip = strip_thinking
        self._wanted = choices
        self._may_pass = choices == 1 and not strip_thinking
        self._habits = habits
        self._habit: Habit | None = None  # what is known of streams that begin as this one did
        self._splitter = Splitter()
        self._id = f"chatcmpl-{call_id}"
        self._created = 0
        self._begun = False
        self._regular = Regular(wants_usage=wants_usage)
        self._choices: dict[int, Choice] = {}
        self._usage_object: dict[str, Any] | None = None
        self.lane: Lane | None = None  # takes events that need not come here
        self.usage: Usage | None = None
        self.ending: Ending | None = None

    def feed(self, data: bytes) -> bytes:
        """What may go out now; b"" if nothing. Sets `ending` with the frames that end the stream.

        Raises:
            UpstreamError: an error event, or what is no stream of chunks.
        """
        regular = self._regular
        before = regular.before
        if before and data.startswith(before) and data.endswith(regular.behind) and not self._splitter.held:
            start, stop = len(before), len(data) - len(regular.behind)
            # No quote in between: the text ends where it did in the event that was looked into.
            if start <= stop and data.find(b'"', start, stop) < 0 and data[stop - 1] != BACKSLASH:
                regular.passed += stop - start
                if regular.same:
                    return data
                return b"%b%b%b" % (regular.ours_before, data[start:stop], regular.ours_behind)
        try:
            block = self._splitter.feed(data)
        except EventTooLarge:
            raise self._malformed("an event without an end") from None
        if not block or self.ending is not None:
            return b""
        if not regular.head:
            # The first event teaches how the others begin; what came in the same read need not be slow for it.
            first = block.find(b"\n\n") + 2
            out = self._recalled(block[: first - 2]) or self._slowly(block[:first])
            if first == len(block) or self.ending is not None:
                return out
            return out + self._ready(block[first:])
        return self._ready(block)

    def guide(self, lane: Lane) -> None:
        """Tell a lane whether it may take the next event."""
        regular = self._regular
        if regular.before and not lane.known:
            lane.know(regular.before, regular.behind, regular.ours_before, regular.ours_behind)
        lane.ready = lane.known and not self._splitter.held

    def _ready(self, block: bytes) -> bytes:
        """Whole events: as much as may pass unseen, the rest one by one."""
        regular = self._regular
        cut = regular.until(block)
        if cut == 0:
            return self._looked_into(block)
        part = block[:cut]
        if not regular.before and (text := regular.text_in(part)) is not None:
            regular.know_text(*text)
            if self._habit is not None:
                self._habit.learn_text(text)
        passed = regular.passed_on(part)
        return passed + self._looked_into(block[cut:]) if cut < len(block) else passed

    def _looked_into(self, block: bytes) -> bytes:
        out, used = self._finished(block)
        return out + self._slowly(block[used:]) if used < len(block) else out

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

    # ── from event to event, and from stream to stream ───────────────────────────────────────────────────────────────

    def _learn(self, piece: bytes, chunk: dict[str, Any], frames: bytes) -> None:
        """Take the first chunk's beginning as the rule, if it holds all that must be stable."""
        if not self._may_pass:
            return
        at = piece.find(b'"choices":')
        if at <= 0:
            return
        no_usage = _NO_USAGE[piece.startswith(b'"choices": ', at)]
        if self._wants_usage and not (piece.count(USAGE) == piece.count(no_usage) == 1 and "usage" in chunk):
            return  # each chunk must carry `"usage":null`, and few upstreams write it
        head = piece[:at]
        if not head.startswith(b'data: {"') or b"\n" in head or USAGE in head or b'" :' in piece:
            return
        try:
            begun = _decode(head[6:].rstrip(b", ") + b"}")
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        stable = all(begun.get(key) == chunk.get(key) for key in ("id", "object", "created", "model"))
        if stable and begun.get("id") == self._id and begun.get("created") == self._created:
            regular = self._regular
            regular.head, regular.no_usage = head, no_usage
            regular.tail = len(piece) + 2 - at - _said(chunk)
            regular.ours = self._framed(self._envelope(begun))[:-3] + b","  # without `}\n\n`
            if not chunk.get("usage"):
                self._remember(piece, frames)

    def _remember(self, piece: bytes, frames: bytes) -> None:
        """Keep how this stream began, unless it began with a text or a tool, which are never the same twice."""
        choice = self._choices.get(0)
        if self._habits is None or choice is None or not choice.plain or choice.finished or choice.text_bytes:
            return
        self._habit = learned(self._regular, piece, frames, self._id, self._created)
        if self._habit is not None:
            self._habits.keep((self._model, self._wants_usage), self._habit)

    def _recalled(self, event: bytes) -> bytes:
        """The frame for the first event, if another stream began with the same; else b""."""
        habit = self._habits.of((self._model, self._wants_usage)) if self._habits is not None else None
        if habit is None or not self._may_pass or self._begun or (known := habit.recognise(event)) is None:
            return b""
        self._habit = habit
        self._begun = True
        self._id, self._created = known
        habit.follow(self._regular, event)
        self._choices[0] = choice = Choice(0, strip_thinking=False)
        choice.role_sent = True
        return self._regular.ours + habit.first_out

    def _finished(self, block: bytes) -> tuple[bytes, int]:
        """The frame for an event that finishes as others did, and its length in `block`; b"" and 0 if there is none."""
        habit, choice = self._habit, self._choices.get(0)
        if habit is None or choice is None or choice.finished or not choice.plain or len(self._choices) != 1:
            return b"", 0
        frame, used = habit.finish(self._regular, block)
        choice.finished = used > 0
        return frame, used

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
        first, before = not self._begun, self._so_far(0)
        frames = self._chunk(chunk)
        if first:
            self._learn(block[: block.find(b"\n\n")], chunk, frames)
        elif before is not None and self._habit is not None and not chunk.get("usage"):
            choice = self._choices[0]
            if choice.finished and choice.plain and before == (False, choice.text_bytes):  # finished, and nothing else
                self._habit.finished(self._regular, b"data: " + data, frames)
        return frames

    def _so_far(self, index: int) -> tuple[bool, int] | None:
        choice = self._choices.get(index)
        return None if choice is None else (choice.finished, choice.text_bytes)

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
        passed = self._regular.passed + (self.lane.text if self.lane is not None else 0)
        return -(-(passed + sum(choice.text_bytes for choice in self._choices.values())) // 4)

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

"""One object per running sequence: token bytes in, events out.

Owns the order of the stages: UTF-8, then reasoning, then tool calls, then stop strings. Refuses to know tokens: the
scheduler asks `done` after each token and `over_budget` while reasoning. Invariants: stop strings are looked for in the
visible answer only (neither reasoning nor arguments), nothing follows a stop, and the plain case costs one decode.
"""

import msgspec

from adapters.llama.text.events import Event, Reasoning, Text
from adapters.llama.text.families import FAMILIES
from adapters.llama.text.markers import MarkerScan
from adapters.llama.text.reasoning import ReasoningMarkers, ReasoningSplit
from adapters.llama.text.tools import ToolSplit
from adapters.llama.text.utf8 import Utf8Decoder


class ToolOptions(msgspec.Struct, frozen=True):
    """`family` is a key of FAMILIES; `names` the tools on offer (bare JSON with another name stays text)."""

    family: str
    names: tuple[str, ...] = ()
    parallel: bool = True


class SplitterOptions(msgspec.Struct, frozen=True):
    """What to look for; shared by all choices of a request. `max_reasoning` counts tokens (feeds)."""

    stops: tuple[str, ...] = ()
    reasoning: ReasoningMarkers | None = None
    tools: ToolOptions | None = None
    max_reasoning: int | None = None


class Splitter:
    """`feed` each token's bytes, `finish` once at the end (also after a stop; it then gives nothing)."""

    __slots__ = (
        "_decoder",
        "_max_reasoning",
        "_plain",
        "_reasoning",
        "_stops",
        "_tools",
        "reasoning_tokens",
        "stopped",
    )

    def __init__(self, options: SplitterOptions) -> None:
        self._decoder = Utf8Decoder()
        self._reasoning = None if options.reasoning is None else ReasoningSplit(options.reasoning)
        tools = options.tools
        self._tools = (
            None if tools is None else ToolSplit(FAMILIES[tools.family], frozenset(tools.names), tools.parallel)
        )
        self._stops = MarkerScan(options.stops) if any(options.stops) else None
        self._max_reasoning = options.max_reasoning
        self._plain = self._reasoning is None and self._tools is None and self._stops is None
        self.reasoning_tokens = 0
        self.stopped: str | None = None

    @property
    def done(self) -> bool:
        """Nothing more is wanted: a stop string matched, or the one call that was allowed is complete."""
        return self.stopped is not None or (self._tools is not None and self._tools.complete)

    @property
    def calls(self) -> int:
        """Tool calls begun so far."""
        return 0 if self._tools is None else self._tools.calls

    @property
    def in_reasoning(self) -> bool:
        """Whether the sequence is between the reasoning markers (a lazy grammar must not begin here)."""
        return self._reasoning is not None and self._reasoning.inside

    @property
    def over_budget(self) -> bool:
        """The reasoning has used its tokens: feed the closing marker's tokens as if they had been sampled."""
        return self._max_reasoning is not None and self.in_reasoning and self.reasoning_tokens >= self._max_reasoning

    def feed(self, piece: bytes) -> list[Event]:
        """Events that are certain after this token; often one, none while something is held back."""
        if self._plain:
            text = self._decoder.feed(piece)  # fast path: nothing to look for (any more)
            return [Text(text)] if text else []
        if self.done:
            return []
        if self._reasoning is not None and self._reasoning.inside:
            self.reasoning_tokens += 1
        text = self._decoder.feed(piece)
        return self._route(text) if text else []

    def finish(self) -> list[Event]:
        """What is still held back, at the end of the sequence."""
        if self.done:
            return []
        text = self._decoder.finish()
        out = self._route(text) if text else []
        if self._reasoning is not None and not self._reasoning.over:
            thought, answer = self._reasoning.finish()
            if thought:
                out.append(Reasoning(thought))
            if answer:
                self._answer(answer, out)
        if self._tools is not None and not self.done:
            self._spread(self._tools.finish(), out)
        if self._stops is not None and self.stopped is None:
            _say(self._stops.flush(), out)
        return out

    def _route(self, text: str) -> list[Event]:
        out: list[Event] = []
        if self._reasoning is None or self._reasoning.over:
            self._answer(text, out)
        else:
            thought, answer = self._reasoning.feed(text)
            if thought:
                out.append(Reasoning(thought))
            if answer:
                self._answer(answer, out)
            self._settle()
        return out

    def _settle(self) -> None:
        """Takes the fast path from here on if there is nothing left to look for."""
        self._plain = (
            (self._reasoning is None or self._reasoning.over)
            and self._stops is None
            and (self._tools is None or self._tools.idle)
        )

    def _answer(self, text: str, out: list[Event]) -> None:
        if self._tools is None:
            self._visible(text, out)
            return
        self._spread(self._tools.feed(text), out)
        if self._tools.idle:
            self._settle()

    def _spread(self, events: list[Event], out: list[Event]) -> None:
        """Text goes on to the stop strings; a call first lets out what they held back."""
        for event in events:
            if self.stopped is not None:
                return
            if isinstance(event, Text):
                self._visible(event.text, out)
                continue
            if self._stops is not None:
                _say(self._stops.flush(), out)
            out.append(event)

    def _visible(self, text: str, out: list[Event]) -> None:
        if self._stops is None:
            _say(text, out)
            return
        safe, self.stopped, _ = self._stops.feed(text)
        _say(safe, out)


def _say(text: str, out: list[Event]) -> None:
    if not text:
        return
    last = out[-1] if out else None
    if isinstance(last, Text):
        out[-1] = Text(last.text + text)
    else:
        out.append(Text(text))

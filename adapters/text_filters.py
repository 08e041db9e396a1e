"""What happens to a model's text between the upstream and the caller, piece by piece and in a fixed order.

It owns the removal of an echoed prompt, the parting of thinking from content, stop sequences and the
differences of cumulative text; it refuses to know upstreams, SSE and tokens. Invariants: how the text was cut into pieces
never changes what comes out; nothing that came out is taken back; a filter holds back no more than it must.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class Channel(StrEnum):
    """Where a piece of text belongs."""

    CONTENT = "content"
    REASONING = "reasoning"


class Piece(NamedTuple):
    channel: Channel
    text: str


class Thinking(StrEnum):
    """What becomes of a leading <think>…</think>: left as it stands, sent as reasoning, or left out."""

    LEAVE = "leave"
    PART = "part"
    STRIP = "strip"


class Cumulative:
    """An upstream that repeats the whole text each time: what is new since the last time.

    A tail that the upstream rewrites is held back until the text again begins with what has been sent; nothing is retracted.
    """

    def __init__(self) -> None:
        self.sent = ""

    def feed(self, whole: str) -> str:
        if len(whole) <= len(self.sent) or not whole.startswith(self.sent):
            return ""
        new = whole[len(self.sent) :]
        self.sent = whole
        return new

    def diverges(self, whole: str) -> bool:
        """Whether the final text contradicts what was sent."""
        return not whole.startswith(self.sent)


class EchoRemoval:
    """Takes the prompt off the front of a text that repeats it; at the first difference everything held back is let through."""

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._held = ""
        self._over = not prompt

    def feed(self, text: str) -> str:
        if self._over:
            return text
        self._held += text
        if self._prompt.startswith(self._held) and len(self._held) < len(self._prompt):
            return ""
        self._over = True
        return self._held.removeprefix(self._prompt)

    def close(self) -> str:
        """What is still held: a text shorter than the prompt was no echo."""
        held, self._held = ("" if self._over else self._held), ""
        self._over = True
        return held


class ThinkingFilter:
    """Parts a leading thinking block from the content.

    With `opened` the text begins inside the block (the prompt ended with the opening tag). PART sends the thoughts on as
    they come; STRIP holds them, and lets them out as content if the block is never closed, since otherwise nothing would
    be left of the answer.
    """

    OPEN, CLOSE = "<think>", "</think>"

    def __init__(self, mode: Thinking, *, opened: bool = False) -> None:
        self._mode = mode
        self._state = "done" if mode is Thinking.LEAVE else ("inside" if opened else "before")
        self._held = ""
        self._thoughts: list[str] = []

    def feed(self, text: str) -> list[Piece]:
        if self._state == "done":
            return [Piece(Channel.CONTENT, text)] if text else []
        self._held += text
        out: list[Piece] = []
        if self._state == "before":
            out += self._before()
        if self._state == "inside":
            out += self._inside()
        if self._state == "after":
            out += self._after()
        return out

    def _before(self) -> list[Piece]:
        start = self._held.lstrip()
        if self.OPEN.startswith(start) and len(start) < len(self.OPEN):
            return []
        if start.startswith(self.OPEN):
            self._held, self._state = start[len(self.OPEN) :], "inside"
            return []
        return self._let_go()

    def _inside(self) -> list[Piece]:
        thought, found, rest = self._held.partition(self.CLOSE)
        if found:
            self._held, self._state = rest, "after"
        else:
            keep = _overlap(self._held, self.CLOSE)
            thought, self._held = (
                self._held[: len(self._held) - keep],
                self._held[len(self._held) - keep :],
            )
        if self._mode is Thinking.STRIP:
            self._thoughts = [] if found else [*self._thoughts, thought]
            return []
        return [Piece(Channel.REASONING, thought)] if thought else []

    def _after(self) -> list[Piece]:
        self._held = self._held.lstrip("\r\n\t ")  # the blank line that models put behind the block
        return self._let_go() if self._held else []

    def _let_go(self) -> list[Piece]:
        held, self._held, self._state = self._held, "", "done"
        return [Piece(Channel.CONTENT, held)] if held else []

    def close(self) -> list[Piece]:
        inside, self._state = self._state == "inside", "done"
        held, self._held = "".join(self._thoughts) + self._held, ""
        self._thoughts = []
        channel = Channel.REASONING if inside and self._mode is Thinking.PART else Channel.CONTENT
        return [Piece(channel, held)] if held else []


class StopFilter:
    """Ends the text before the first stop sequence. Only what may be the beginning of one is held back.

    Of several, the one that is complete first counts, as it would in an engine that looks at each token; so the outcome
    does not depend on how the text was cut into pieces.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(dict.fromkeys(s for s in stops if s))
        self._held = ""
        self.hit: str | None = None

    def feed(self, text: str) -> str:
        if self.hit is not None:
            return ""
        if not self._stops:
            return text
        self._held += text
        first: tuple[int, int, str] | None = None
        for stop in self._stops:
            at = self._held.find(stop)
            if at >= 0:
                found = (at + len(stop), at, stop)
                first = found if first is None else min(first, found)
        if first is not None:
            self.hit = first[2]
            out, self._held = self._held[: first[1]], ""
            return out
        keep = max(_overlap(self._held, stop) for stop in self._stops)
        out, self._held = (
            self._held[: len(self._held) - keep],
            self._held[len(self._held) - keep :],
        )
        return out

    def close(self) -> str:
        held, self._held = self._held, ""
        return held


def _overlap(text: str, token: str) -> int:
    """How many characters at the end of `text` may be the beginning of `token`."""
    for size in range(min(len(text), len(token) - 1), 0, -1):
        if text.endswith(token[:size]):
            return size
    return 0


class TextFilters:
    """The filters of one choice, chained: echo, thinking, stops. `stopped` says that the upstream may be closed."""

    def __init__(
        self,
        *,
        prompt_echo: str = "",
        thinking: Thinking = Thinking.LEAVE,
        thinking_opened: bool = False,
        stops: Iterable[str] = (),
    ) -> None:
        self._echo = EchoRemoval(prompt_echo)
        self._thinking = ThinkingFilter(thinking, opened=thinking_opened)
        self._stops = StopFilter(stops)

    @property
    def stopped(self) -> str | None:
        """The stop sequence that ended the text, or None."""
        return self._stops.hit

    def feed(self, text: str) -> list[Piece]:
        """The pieces that may go out now; nothing once stopped."""
        if self._stops.hit is not None:
            return []
        return self._stop(self._thinking.feed(self._echo.feed(text)))

    def close(self) -> list[Piece]:
        """The text ended well: what was held back."""
        if self._stops.hit is not None:
            return []
        pieces = self._stop(self._thinking.feed(self._echo.close()) + self._thinking.close())
        tail = self._stops.close()
        return [*pieces, Piece(Channel.CONTENT, tail)] if tail else pieces

    def _stop(self, pieces: list[Piece]) -> list[Piece]:
        out: list[Piece] = []
        for piece in pieces:
            if piece.channel is Channel.REASONING:
                out.append(piece)
                continue
            text = self._stops.feed(piece.text)
            if text:
                out.append(Piece(Channel.CONTENT, text))
            if self._stops.hit is not None:
                break
        return out

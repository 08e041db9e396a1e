"""How an upstream writes its streams, kept from one stream to the next. Sans-IO.

Most of a stream's first event, and of the one that finishes it, is the same in every stream of an upstream but for the id
and the time. Both were decoded and made what the contract says once; an event that has the same bytes around another id and
another time means the same, and is not decoded again. Nothing is guessed: one byte more or less is another event.
"""

from collections import OrderedDict

from adapters.openai_api.regular import Regular

MAX_EVENT = 4096  # bytes; a longer event is not worth keeping
MAX_FINISHES = 8
MAX_HABITS = 256

Around = tuple[bytes, bytes, bytes]  # before an id, between it and a time, behind that


class Habit:
    """One way to begin a stream, with how texts and ends are written in those that began so."""

    __slots__ = ("_around", "_finishes", "_first", "_no_usage", "_ours", "_tail", "_text", "first_out")

    def __init__(self, around: Around, ours: Around, regular: Regular, first: bytes, first_out: bytes) -> None:
        self._around = around  # of id and time in the upstream's head
        self._ours = ours  # and in ours
        self._no_usage = regular.no_usage
        self._tail = regular.tail
        self._first = first  # the first event behind its head,
        self.first_out = first_out  # and what we make of it, behind ours
        self._text: tuple[bytes, bytes] | None = (
            None  # around the text of an event that is text alone, without its head
        )
        self._finishes: dict[bytes, bytes] = {}  # an event that finishes a plain choice, behind its head → behind ours

    def recognise(self, event: bytes) -> tuple[str, int] | None:
        """The id and the time of a first event that is this one but for them; else None."""
        front, middle, back = self._around
        start = len(front)
        end = event.find(b'"', start)
        stop = len(event) - len(self._first) - len(back)
        known = event.startswith(front) and event.startswith(middle, end) and event.endswith(back + self._first)
        id_, time = event[start:end], event[end + len(middle) : stop]
        return (id_.decode(), int(time)) if known and _plain(id_) and _whole(time) else None

    def follow(self, regular: Regular, event: bytes) -> None:
        """Let a stream go on as those before it; `event` is its first, and was recognised."""
        regular.head = head = event[: len(event) - len(self._first)]
        front, middle, back = self._around
        end = head.find(b'"', len(front))
        time = head[end + len(middle) : len(head) - len(back)]
        regular.ours = head[len(front) : end].join(self._ours[:2]) + time + self._ours[2]
        regular.no_usage, regular.tail = self._no_usage, self._tail
        if self._text is not None:
            regular.know_text(*self._text)

    def learn_text(self, text: tuple[bytes, bytes]) -> None:
        """See `Regular.text_in`."""
        if len(text[0]) + len(text[1]) <= MAX_EVENT:
            self._text = text

    def finish(self, regular: Regular, block: bytes) -> tuple[bytes, int]:
        """The frame for an event in front that finishes as another did, and the event's length; b"" and 0 if none does."""
        if self._finishes and block.startswith(regular.head):
            stop = block.find(b"\n\n")
            out = self._finishes.get(block[len(regular.head) : stop])
            if out is not None:
                return regular.ours + out, stop + 2
        return b"", 0

    def finished(self, regular: Regular, event: bytes, frame: bytes) -> None:
        """An event that finished a plain choice and brought nothing else, and the frame that was made of it."""
        if event.startswith(regular.head) and frame.startswith(regular.ours) and len(event) <= MAX_EVENT:
            if len(self._finishes) >= MAX_FINISHES:
                self._finishes.clear()
            self._finishes[event[len(regular.head) :]] = frame[len(regular.ours) :]


class Habits:
    """The habits of one upstream, by the model that callers read and whether they want usage. The oldest give way."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, bool], Habit] = OrderedDict()

    def of(self, key: tuple[str, bool]) -> Habit | None:
        return self._known.get(key)

    def keep(self, key: tuple[str, bool], habit: Habit) -> None:
        self._known[key] = habit
        self._known.move_to_end(key)
        if len(self._known) > MAX_HABITS:
            self._known.popitem(last=False)


def learned(regular: Regular, event: bytes, frame: bytes, id_: str, created: int) -> Habit | None:
    """The habit in a first event and the frame we made of it; None if id and time cannot be told apart in them."""
    name, time = id_.encode(), b"%d" % created
    if not _plain(name) or len(event) > MAX_EVENT or not frame.startswith(regular.ours):
        return None
    around, ours = _split(regular.head, name, time), _split(regular.ours, name, time)
    if around is None or ours is None:
        return None
    return Habit(around, ours, regular, event[len(regular.head) :], frame[len(regular.ours) :])


def _split(head: bytes, name: bytes, time: bytes) -> Around | None:
    front, found, rest = head.partition(b'"' + name + b'"')
    middle, made, back = rest.partition(time)
    once = head.count(name) == 1 and head.count(time) == 1
    known = found and made and once and middle.endswith((b":", b": ")) and back.startswith(b",")
    return (front + b'"', b'"' + middle, back) if known else None


def _plain(name: bytes) -> bool:
    """Whether these bytes stand for themselves in a JSON string."""
    return name != b"" and name.isascii() and name.decode().isprintable() and b"\\" not in name and b'"' not in name


def _whole(time: bytes) -> bool:
    return time.isdigit() and len(time) < 16 and not time.startswith(b"0")

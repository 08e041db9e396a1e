"""Events of a chat stream that may pass without a look inside. Sans-IO.

Once the first chunk has shown how this upstream begins its events (`data: {"id":…,"object":…,"created":…,"model":…,`), a block
in which every event begins so, and which holds none of the few words that need a look inside, is passed on as it is, at
most with one replacement for the head and one for the `"usage":null` that OpenAI writes into each event of a stream that
will end with usage. No JSON is parsed. A marker can only be a key: inside a JSON string its quotes would be escaped.
"""

import msgspec

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
USAGE = b'"usage":'
BACKSLASH = 92
_CONTENT = b'"content":"'
_decode = msgspec.json.Decoder().decode


class Regular:
    """What one upstream's regular events look like in one stream; `head` is b"" until it is known."""

    __slots__ = (
        "before",
        "behind",
        "head",
        "no_usage",
        "ours",
        "ours_before",
        "ours_behind",
        "passed",
        "same",
        "tail",
        "wants_usage",
    )

    def __init__(self, *, wants_usage: bool) -> None:
        self.wants_usage = wants_usage  # the caller does, and gets a null in each event
        self.head = b""  # how the upstream begins each event
        self.ours = b""  # how we begin it
        self.no_usage = b""  # how the upstream writes that an event brings no usage
        self.tail = 70  # bytes of an event behind its head, without its text
        self.before = b""  # an event that is one piece of text and nothing else: what stands before the text,
        self.behind = b""  # and what behind it, once such an event was looked into
        self.ours_before = b""
        self.ours_behind = b""
        self.same = False  # whether both are ours already
        self.passed = 0  # bytes of text, about

    def until(self, block: bytes) -> int:
        """The length of the part in front that may pass unseen: whole events, each beginning with the known head."""
        if not self.head:
            return 0
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
        usages = part.count(USAGE)
        if (self.wants_usage and usages != count) or (usages and usages != part.count(self.no_usage)):
            return 0
        regular = part.startswith(self.head) and part.count(b"\n\n" + self.head) == count - 1
        whole = part.count(b"}\n\n") == count  # an event that was cut short ends otherwise
        return cut if regular and whole and part.count(b"\n") == 2 * count else 0

    def passed_on(self, part: bytes) -> bytes:
        """The events of such a part, as our caller gets them."""
        if not self.wants_usage and USAGE in part:
            part = part.replace(self.no_usage, b"")
        self.passed += len(part) - part.count(b"\n\n") * (len(self.head) + self.tail)
        return part if self.head == self.ours else part.replace(self.head, self.ours)

    def text_in(self, part: bytes) -> tuple[bytes, bytes] | None:
        """What stands around the text of a regular event that is text alone, without its head; None if it is another."""
        at = part.find(_CONTENT) + len(_CONTENT)
        end = part.find(b'"', at)
        if at < len(_CONTENT) + len(self.head) or end < 0 or part[end - 1] == BACKSLASH or part.count(b"\n\n") != 1:
            return None
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
            return None
        return (part[len(self.head) : at], part[end:]) if plain else None

    def know_text(self, before: bytes, behind: bytes) -> None:
        """Take these as what stands around such texts."""
        self.before, self.behind = self.head + before, behind
        self.ours_before = self.ours + before
        self.ours_behind = behind if self.wants_usage else behind.replace(self.no_usage, b"")
        self.same = self.ours_before == self.before and self.ours_behind == behind

"""The short way of regular events (`proxy/lane.py`) and the long one come to the same end: the same bytes to the client, the
same counts in the books, whatever an upstream says and however its packets fall."""

import asyncio
import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters._http.client import HttpResponse
from adapters._http.connection import Connection
from adapters._http.exchange import Exchange
from adapters._http.timeouts import Timeouts
from adapters.openai_api.adapter import ChunkSource
from adapters.openai_api.chat_stream import ChatStream
from adapters.openai_api.habits import Habits
from adapters.replies import Stream
from fakes.chats import chat
from proxy.account import Metered
from proxy.call import Served
from proxy.lane import Lane
from routes._http.turn import Turn
from routes._send import send_reply

pytestmark = pytest.mark.asyncio
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Socket:
    """Both ends' transport, keeper and connection: it keeps what is written, and lags when it is told to."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport = self
        self.written = b""
        self.date = b""
        self.full = False
        self.room = asyncio.Event()
        self.closing = False

    def write(self, data: bytes) -> None:
        self.written += data

    async def drained(self) -> None:
        while self.full:
            await self.room.wait()

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> None:
        return None

    def done(self, *_: object) -> None:
        """Of a keeper, and of a turn's connection."""

    born = release = forget = gone = pause = resume = pause_reading = resume_reading = done


class Books:
    """A permit that keeps what it is told."""

    def __init__(self) -> None:
        self.served: list[Served] = []

    def settle(self, served: Served) -> None:
        self.served.append(served)

    abandon = settle


class LongTurn(Turn):
    """Without a short way."""

    def lane(self) -> Lane | None:
        return None


class Rig:
    """One stream, from an upstream's reads to what a client got and what the books say."""

    def __init__(self, kind: type[Turn], habits: Habits) -> None:
        loop = asyncio.get_running_loop()
        self.up, self.client, self.books = Socket(), Socket(), Books()
        ends: Any = self.up
        self.connection = Connection(loop, ends)
        self.connection.connection_made(ends)
        self.exchange = Exchange(loop, self.connection, Timeouts(), math.inf)
        self.connection.begin(self.exchange, b"POST / HTTP/1.1\r\n\r\n", b"", None)
        self.turn = kind(ends := self.client, {"method": "POST", "http_version": "1.1"}, keep_alive=True, expects=False)  # type: ignore[arg-type]
        self.habits = habits
        self.taken = 0

    async def run(self, reads: list[bytes], lags: set[int]) -> None:
        """Feed all reads; the client lags during those whose numbers are in `lags`. Then the upstream is gone."""
        self.connection.data_received(HEAD)
        task = asyncio.create_task(self._answer())
        await asyncio.sleep(0)
        for number, read in enumerate(reads):
            self._lag(number in lags)
            for _ in range(4):
                await asyncio.sleep(0)
            if not self.connection.closed:
                self.connection.data_received(read)
        self._lag(False)
        for _ in range(6):
            await asyncio.sleep(0)
        self.connection.connection_lost(None)
        await asyncio.wait_for(task, 5)

    def _lag(self, full: bool) -> None:
        self.client.full = full
        self.turn.slow(full)
        self.client.room.clear() if full else self.client.room.set()

    async def _answer(self) -> None:
        call = chat(stream=True)
        response = HttpResponse(self.exchange, self.client.loop)
        chunks = ChatStream(
            model="ours", call_id="x", upstream="up", wants_usage=False, strip_thinking=False, habits=self.habits
        )
        source, first = ChunkSource(response, chunks, "up"), b""
        try:
            while not first and chunks.ending is None:
                first = source.take(await response.chunk())
            permit: Any = self.books
            await send_reply(call, Metered(Stream(source, first), permit), self.turn, None, 60)
        except Exception as error:  # noqa: BLE001 - before the first frame: the same for both
            self.client.written += repr(error).encode()
        lane = self.turn._lane
        self.taken = lane.frames if lane is not None else 0

    @property
    def outcome(self) -> tuple[bytes, list[Served], bool, int]:
        return self.client.written, self.books.served, self.up.closing, self.turn.written


def event(delta: object, finish: str | None = None, **more: object) -> bytes:
    chunk = {"id": "chatcmpl-9", "object": "chat.completion.chunk", "created": 1790000000, "model": "theirs"}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return b"data: " + json.dumps({**chunk, "choices": [choice], **more}, separators=(",", ":")).encode() + b"\n\n"


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


FIRST, LAST = event({"role": "assistant", "content": ""}), event({}, "stop") + b"data: [DONE]\n\n"
WORDS = st.text(alphabet='ab"\\ \né\u2028', min_size=0, max_size=12).map(lambda text: event({"content": text}))
ODD = st.sampled_from(
    [
        b": said\n\n",
        event({"content": "a", "role": "assistant"}),
        event({"reasoning_content": "hm"}),
        event({"content": "a"}, usage={"prompt_tokens": 1, "completion_tokens": 2}),
        event({"content": "a"}).replace(b"\n\n", b"\r\n\r\n"),
        event({"content": "a"})[:-30],
        event({"content": "a"}).replace(b'"a"', b'"a\\"'),
        event({"content": "a"}).replace(b"chatcmpl-9", b"chatcmpl-8"),
        b'data: {"error":{"message":"broken"}}\n\n',
        event({}, "stop"),
    ]
)
EVENTS = st.lists(st.one_of(WORDS, WORDS, WORDS, ODD), max_size=12)


@given(
    events=EVENTS,
    joined=st.sets(st.integers(0, 12)),
    split=st.sets(st.integers(0, 12)),
    cuts=st.lists(st.integers(0, 4000), max_size=3),
    lags=st.sets(st.integers(0, 16), max_size=4),
    ended=st.booleans(),
)
@settings(deadline=None, max_examples=400)
async def test_both_ways_come_to_the_same_end(
    events: list[bytes], joined: set[int], split: set[int], cuts: list[int], lags: set[int], ended: bool
) -> None:
    """`joined`: chunks that come in one read with the next; `split`: events that come in two chunks."""
    wire: list[bytes] = []
    for number, body in enumerate([FIRST, *events, *([LAST] if ended else [])]):
        middle = len(body) // 2
        parts = [body[:middle], body[middle:]] if number in split else [body]
        wire.append(b"".join(map(chunked, parts)) if number in joined else chunked(parts[0]))
        wire += [] if number in joined else [chunked(part) for part in parts[1:]]
    raw = b"".join(wire) + (b"0\r\n\r\n" if ended else b"")
    at, ends = 0, {0, len(raw), *(cut % len(raw) for cut in cuts)}
    for number, part in enumerate(wire):
        at += len(part)
        if number not in joined:
            ends.add(at)
    marks = sorted(ends)
    reads = [raw[a:b] for a, b in itertools.pairwise(marks)]
    habits = Habits()
    short, long, again = Rig(Turn, habits), Rig(LongTurn, Habits()), Rig(Turn, habits)
    for rig in (short, long, again):
        await rig.run(reads, lags)
    assert short.outcome == long.outcome == again.outcome
    assert long.taken == 0


async def test_nearly_all_of_a_plain_stream_goes_the_short_way() -> None:
    words = [chunked(event({"content": f" word{number}"})) for number in range(50)]
    for rig in (Rig(Turn, habits := Habits()), Rig(Turn, habits)):
        await rig.run([chunked(FIRST), *words, chunked(LAST) + b"0\r\n\r\n"], set())
        assert rig.taken >= 48
        (served,) = rig.books.served
        assert (served.frames, served.usage is not None) == (52, True)


async def test_what_went_the_short_way_is_in_the_estimate_of_a_stream_that_broke_off() -> None:
    words = [chunked(event({"content": "x" * 40})) for _ in range(50)]
    rig = Rig(Turn, Habits())
    await rig.run([chunked(FIRST), *words], set())
    (served,) = rig.books.served
    assert served.usage is not None
    assert 400 <= served.usage.completion_tokens <= 600, "50 texts of 40 bytes, 4 bytes a token"

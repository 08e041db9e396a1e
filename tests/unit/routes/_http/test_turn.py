"""How an answer is framed, and what an app sees of its request. The connection is a stand-in that keeps what was written."""

import asyncio
from typing import Any

import pytest

from routes._http.turn import BODY_HIGH_WATER, SMALL, Turn


class Line:
    """What a Turn needs of its connection."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport = self
        self.written = b""
        self.full = False
        self.date = b"date: now\r\n"
        self.paused = self.closed = False
        self.finished = 0
        self.soon = 0

    def write(self, data: bytes) -> None:
        self.written += data

    def write_soon(self, data: bytes) -> None:
        self.soon += 1
        self.write(data)

    def pause(self, turn: Turn) -> None:
        self.paused = True

    def resume(self, turn: Turn) -> None:
        self.paused = False

    def close(self) -> None:
        self.closed = True

    def done(self, turn: Turn) -> None:
        self.finished += 1

    async def drained(self) -> None:
        self.full = False


def turn(line: Line, method: str = "POST", version: str = "1.1", *, keep: bool = True, expects: bool = False) -> Turn:
    connection: Any = line
    return Turn(connection, {"method": method, "http_version": version}, keep_alive=keep, expects=expects)


@pytest.mark.asyncio
async def test_a_whole_answer_leaves_in_one_piece() -> None:
    line = Line()
    one = turn(line)
    await one.whole(200, [(b"x", b"y")], b"body")
    assert line.written == b"HTTP/1.1 200 OK\r\ndate: now\r\nx: y\r\ncontent-length: 4\r\n\r\nbody"
    assert (one.complete, line.finished, line.soon) == (True, 1, 1)


@pytest.mark.asyncio
async def test_a_large_answer_does_not_wait_for_others() -> None:
    line = Line()
    await turn(line).whole(200, [], bytes(SMALL))
    assert (len(line.written) > SMALL, line.soon) == (True, 0)


@pytest.mark.asyncio
async def test_lines_that_are_ready_leave_as_they_are() -> None:
    for stream in (False, True):
        line = Line()
        one = turn(line)
        if stream:
            await one.begin(200, [(b"x", b"y")], b"a: 1\r\nb: 2\r\n")
            await one.end(b"body")
        else:
            await one.whole(200, [(b"x", b"y")], b"body", b"a: 1\r\nb: 2\r\n")
        head = line.written.partition(b"\r\n\r\n")[0].split(b"\r\n")
        assert head[2:5] == [b"a: 1", b"b: 2", b"x: y"]


@pytest.mark.asyncio
async def test_head_and_the_last_answer_of_a_connection() -> None:
    line = Line()
    await turn(line, "HEAD", keep=False).whole(200, [], b"body")
    assert line.written.endswith(b"content-length: 4\r\nconnection: close\r\n\r\n")


@pytest.mark.asyncio
async def test_a_head_waits_for_the_first_bytes() -> None:
    line = Line()
    one = turn(line)
    await one.begin(200, [])
    assert line.written == b""
    await one.put(b"first")
    assert line.written.endswith(b"transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    assert one.offer(b"ab")
    await one.end(b"c")
    assert line.written.endswith(b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")


@pytest.mark.asyncio
async def test_nothing_is_offered_to_a_client_that_does_not_read() -> None:
    line = Line()
    one = turn(line)
    await one.begin(200, [])
    await one.put(b"x")
    line.full = True
    before = line.written
    assert not one.offer(b"more")
    assert line.written == before
    await one.put(b"y")
    assert not line.full, "put waited until there was room"


@pytest.mark.asyncio
async def test_the_short_way_is_open_once_some_of_a_chunked_body_is_written_and_while_the_client_keeps_up() -> None:
    line = Line()
    one = turn(line)
    assert one.lane() is None
    await one.begin(200, [])
    assert one.lane() is None, "a head leaves with the first of the body"
    await one.put(b"first")
    lane = one.lane()
    assert lane is not None
    assert (lane is one.lane(), lane.shut) == (True, False)
    for full in (True, False):
        one.slow(full)
        assert lane.shut is full
    lane.frames = 3
    assert one.written == 4
    one.leave()
    one.slow(False)
    assert lane.shut, "there is no client any more"


@pytest.mark.parametrize(
    ("method", "version", "length"), [("HEAD", "1.1", False), ("POST", "1.0", False), ("POST", "1.1", True)]
)
@pytest.mark.asyncio
async def test_there_is_no_short_way_into_what_is_not_chunked(method: str, version: str, length: bool) -> None:
    one = turn(Line(), method, version)
    await one.begin(200, [(b"content-length", b"9")] if length else [])
    await one.put(b"first")
    assert one.lane() is None


@pytest.mark.asyncio
async def test_the_short_way_of_a_client_that_lags_already_is_shut() -> None:
    line = Line()
    one = turn(line)
    await one.begin(200, [])
    await one.put(b"first")
    line.full = True
    lane = one.lane()
    assert lane is not None
    assert lane.shut


@pytest.mark.asyncio
async def test_to_http_1_0_the_end_of_the_connection_is_the_end_of_the_body() -> None:
    line = Line()
    one = turn(line, version="1.0", keep=False)
    await one.begin(200, [])
    await one.end(b"all")
    assert line.written.endswith(b"connection: close\r\n\r\nall")


@pytest.mark.asyncio
@pytest.mark.parametrize(("body", "wrong"), [(b"abc", "longer"), (b"a", "shorter")])
async def test_an_announced_length_is_kept(body: bytes, wrong: str) -> None:
    line = Line()
    one = turn(line)
    await one.begin(200, [(b"content-length", b"2")])
    with pytest.raises(RuntimeError, match=wrong):
        await one.end(body)
    assert line.finished == 0


@pytest.mark.asyncio
async def test_asgi_in_and_out() -> None:
    line = Line()
    one = turn(line)
    one.feed(b"ab")
    assert await one.receive() == {"type": "http.request", "body": b"ab", "more_body": True}
    one.feed(b"c")
    one.fed()
    assert await one.receive() == {"type": "http.request", "body": b"c", "more_body": False}
    await one.send({"type": "http.response.start", "status": 204})
    await one.send({"type": "http.response.body"})
    assert line.written.endswith(b"date: now\r\n\r\n"), "204 has neither a body nor its framing"
    assert (await one.receive())["type"] == "http.disconnect"
    with pytest.raises(RuntimeError):
        await one.send({"type": "http.response.body", "body": b"late"})


@pytest.mark.asyncio
async def test_a_client_that_waits_for_100_gets_it_once_the_body_is_wanted() -> None:
    line = Line()
    one = turn(line, expects=True)
    waiting = asyncio.ensure_future(one.receive())
    await asyncio.sleep(0)
    assert line.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    one.feed(b"x")
    one.fed()
    assert (await waiting)["body"] == b"x"


@pytest.mark.asyncio
async def test_a_body_that_nobody_reads_stops_the_socket_and_one_after_the_answer_closes_it() -> None:
    line = Line()
    one = turn(line)
    one.feed(bytes(BODY_HIGH_WATER + 1))
    assert line.paused
    await one.receive()
    assert not line.paused
    await one.whole(413, [], b"")
    one.feed(bytes(BODY_HIGH_WATER))
    assert not line.closed
    one.feed(b"x")
    assert line.closed


@pytest.mark.asyncio
async def test_leaving_cancels_only_a_watched_task() -> None:
    line = Line()
    one = turn(line)
    one.leave()
    assert (one.lost, one.gone) == (True, False)
    other = turn(line)

    async def work() -> None:
        other.watch()
        await asyncio.Event().wait()

    other.task = asyncio.create_task(work())
    await asyncio.sleep(0)
    other.leave()
    await asyncio.wait({other.task})
    assert (other.gone, other.task.cancelled()) == (True, True)

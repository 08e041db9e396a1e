"""What the client likes best, values that headers can carry, and a stream's silence, end and failure."""

import asyncio
import gzip
import json
from typing import Any, ClassVar

import brotli
import pytest

from proxy.account import Metered
from proxy.call import ANYBODY, Call, Dialect, Ending, Operation, Served
from proxy.errors import Fault, UpstreamError
from proxy.stream import CONTENT_TYPE, KEEPALIVE
from routes._outlet import AsgiOutlet
from routes._send import Broken, KeepAlive, as_headers, header_value, packed, preferred, send_reply


@pytest.mark.parametrize(
    ("accepts", "best"),
    [
        ("", b""),
        ("gzip", b"gzip"),
        ("gzip, br", b"br"),
        ("br;q=0.5, gzip", b"gzip"),
        ("BR;Q=0, gzip;q=0", b""),
        ("*", b"gzip"),
        ("identity", b""),
        ("gzip;q=x", b""),
        ("deflate, zstd", b""),
    ],
)
def test_preferred(accepts: str, best: bytes) -> None:
    assert preferred(accepts) == best


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [2000, 300 << 10], ids=["here", "in a thread"])
async def test_packed(size: int) -> None:
    body = b"x" * size
    assert (gzip.decompress((await packed(body, "gzip"))[0]), (await packed(body, "gzip"))[1]) == (body, b"gzip")
    assert brotli.decompress((await packed(body, "br"))[0]) == body
    assert await packed(body, "identity") == (body, b"")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("up/m; attempt=1", b"up/m; attempt=1"),
        ("a\r\nset-cookie: x", b"a??set-cookie: x"),
        ("é🛶\x00", "é??".encode("latin-1")),
    ],
)
def test_no_line_break_gets_into_a_header(text: str, value: bytes) -> None:
    assert header_value(text) == value
    assert as_headers([("k", text)]) == [(b"k", value)]


class Permit:
    headers: ClassVar[list[tuple[str, str]]] = []

    def cancel(self, ending: Ending, error: str = "") -> None: ...

    async def settle(self, served: Served) -> None: ...

    def abandon(self, served: Served) -> None: ...


class Reply:
    """Frames; an exception is raised; an event is waited for first."""

    status, usage = 200, None

    def __init__(self, *frames: Any, content_type: str = CONTENT_TYPE) -> None:
        self.frames = list(frames)
        self.content_type = content_type
        self.headers: list[tuple[str, str]] = []
        self.ending: Ending | None = None
        self.closed = 0

    async def next(self) -> bytes:
        frame = self.frames.pop(0)
        if isinstance(frame, asyncio.Event):
            await asyncio.wait_for(frame.wait(), 5)
            frame = self.frames.pop(0)
        if isinstance(frame, Exception):
            raise frame
        if not self.frames:
            self.ending = Ending.FINISHED
        return bytes(frame)

    def close(self) -> None:
        self.closed += 1


class Sent:
    """ASGI's `send`, kept; `commented` is set by the first keep-alive."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.commented = asyncio.Event()

    async def __call__(self, message: Any) -> None:
        self.messages.append(message)
        if message.get("body") == KEEPALIVE:
            self.commented.set()

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.messages[1:]]


def outlet_of(out: Sent) -> AsgiOutlet:
    async def receive() -> Any:
        await asyncio.Event().wait()

    return AsgiOutlet(receive, out)


async def sent(reply: Reply, out: Sent, keepalive_s: float = 60, accepts: str | None = None) -> Sent:
    call = Call(
        id="c", operation=Operation.CHAT, dialect=Dialect.OPENAI, request=None, raw=b"", fields={}, principal=ANYBODY
    )
    await send_reply(call, Metered(reply, Permit()), outlet_of(out), accepts, keepalive_s)
    return out


@pytest.mark.asyncio
async def test_silence_is_filled_with_comments() -> None:
    out = Sent()
    await sent(Reply(b"data: 1\n\n", out.commented, b"data: 2\n\n", b"data: [DONE]\n\n"), out, 0.01)
    assert out.bodies[0] == b"data: 1\n\n"
    assert out.bodies[1] == KEEPALIVE
    assert out.bodies[-1] == b"data: [DONE]\n\n"
    assert [message["more_body"] for message in out.messages[1:]] == [True] * (len(out.bodies) - 1) + [False]
    before = len(out.messages)
    await asyncio.sleep(0.03)
    assert len(out.messages) == before, "no comment after the end"


@pytest.mark.asyncio
async def test_what_is_written_is_no_silence_and_a_comment_that_is_not_taken_is_not_followed_by_another() -> None:
    out = Sent()
    outlet = outlet_of(out)
    silence = KeepAlive(outlet, 60)
    for look in range(12):
        if look % 3 == 0:  # never three looks in a row without
            await outlet.put(b"data: 1\n\n")
        silence._look()
    assert silence._task is None
    for _ in range(12):  # nobody lets the comment's task run
        silence._look()
    due = silence._task
    assert due is not None
    await due
    assert [message["body"] for message in out.messages[4:]] == [KEEPALIVE]
    silence.stop()


@pytest.mark.asyncio
async def test_a_comment_that_is_due_does_not_follow_the_final_body() -> None:
    """Its task exists and has not run yet when the stream ends."""
    out = Sent()
    silence = KeepAlive(outlet_of(out), 60)
    for _ in range(3):
        silence._look()
    due = silence._task
    assert due is not None
    silence.stop()
    await out({"type": "http.response.body", "body": b"", "more_body": False})
    await asyncio.wait({due})
    assert [message["body"] for message in out.messages] == [b""]


@pytest.mark.asyncio
async def test_a_stream_that_fails_gets_an_error_frame_and_no_done() -> None:
    reply = Reply(b"data: 1\n\n", UpstreamError(Fault.CUT, "cut short", accepted=True))
    out = await sent(reply, Sent())
    assert out.messages[0]["status"] == 200
    first, last = out.bodies
    assert first == b"data: 1\n\n"
    assert json.loads(last.removeprefix(b"data: "))["error"]["message"] == "cut short"
    assert b"[DONE]" not in last
    assert out.messages[-1]["more_body"] is False
    assert reply.closed


@pytest.mark.asyncio
async def test_a_failure_before_the_first_frame_is_left_to_the_status() -> None:
    reply, out = Reply(UpstreamError(Fault.CUT, "cut short")), Sent()
    with pytest.raises(UpstreamError):
        await sent(reply, out)
    assert out.messages == []
    assert reply.closed


@pytest.mark.asyncio
async def test_a_binary_body_that_fails_breaks_the_connection() -> None:
    out = Sent()
    with pytest.raises(Broken):
        await sent(Reply(b"RIFF", UpstreamError(Fault.CUT, "x"), content_type="audio/wav"), out)
    assert out.bodies == [b"RIFF"]
    assert out.messages[-1]["more_body"] is True


@pytest.mark.asyncio
async def test_a_whole_body_is_packed_and_has_its_length() -> None:
    body = b"x" * 3000
    out = await sent(Reply(body, content_type="application/json"), Sent(), accepts="gzip")
    headers = dict(out.messages[0]["headers"])
    assert (headers[b"content-encoding"], headers[b"x-request-id"]) == (b"gzip", b"c")
    assert headers[b"content-length"] == str(len(out.bodies[0])).encode()
    assert gzip.decompress(out.bodies[0]) == body

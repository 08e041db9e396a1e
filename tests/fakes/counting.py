"""An upstream of kind openai that keeps its own account: which call it saw, what it says that call used, whether it finished.

It answers chat/completions, streamed or not, a few milliseconds per chunk, so that whatever happens to its caller happens
in the middle of something. Each call uses another number of tokens.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass
class Seen:
    """One request: its `x-request-id`, what it is charged, and whether the whole answer was written."""

    call_id: str
    prompt: int
    completion: int
    finished: bool = False


@dataclass
class Counting:
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    pause_s: float = 0.004

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
                body = json.loads(await reader.readexactly(int(headers.get("content-length", "0"))) or b"{}")
                number = len(self.seen)
                one = Seen(headers.get("x-request-id", ""), 7 + number % 11, 3 + number % 5)
                self.seen.append(one)
                await (self._stream if body.get("stream") else self._whole)(writer, one)
                one.finished = True
        writer.close()

    def _usage(self, one: Seen) -> dict[str, int]:
        total = one.prompt + one.completion
        return {"prompt_tokens": one.prompt, "completion_tokens": one.completion, "total_tokens": total}

    async def _whole(self, writer: asyncio.StreamWriter, one: Seen) -> None:
        await asyncio.sleep(self.pause_s * one.completion)
        message = {"role": "assistant", "content": "word " * one.completion}
        body = {"id": "c", "object": "chat.completion", "created": 1, "model": "x", "usage": self._usage(one)}
        data = json.dumps(body | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data) + data
        )
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter, one: Seen) -> None:
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "x"}
        deltas = [{"role": "assistant", "content": ""}, *({"content": "word "} for _ in range(one.completion))]
        events = [head | {"choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
        events.append(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        events.append(head | {"choices": [], "usage": self._usage(one)})
        writer.write(STREAM)
        for text in [*(json.dumps(event) for event in events), "[DONE]"]:
            data = f"data: {text}\n\n".encode()
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()
            await asyncio.sleep(self.pause_s)
        writer.write(b"0\r\n\r\n")
        await writer.drain()


@contextlib.contextmanager
def counting() -> Iterator[Counting]:
    """In a thread of its own."""
    double, ready = Counting(), threading.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = await asyncio.start_server(double._serve, "127.0.0.1", 0)
        double.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await server.serve_forever()

    def main() -> None:
        asyncio.set_event_loop(loop)
        task = loop.create_task(serve())
        try:
            loop.run_forever()
        finally:
            left = [one for one in asyncio.all_tasks(loop) if one is not task] + [task]
            for one in left:
                one.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.close()

    thread = threading.Thread(target=main, name="counting", daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield double
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)

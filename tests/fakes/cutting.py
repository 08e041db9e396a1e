"""A proxy in front of a server that cuts an answer after so many bytes, once; the next connection for the same question
passes. The question says where: the first `cut-N-…` in its body; 9999 is nowhere.
"""

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from typing import Any

_CUT = re.compile(rb"cut-(\d+)-(\w+)")


class Cutting:
    """`tries` is how often each question came; `seen` the bytes of those answers that are not cut, as far as they
    have passed."""

    def __init__(self, port: int, *, rude: bool = False) -> None:
        self._target = port
        self._rude = rude
        self.port = 0
        self.tries: dict[bytes, int] = {}
        self._tasks: set[Any] = set()  # held: nobody else holds those whose connections are gone
        self.seen: dict[bytes, bytes] = {}

    @property
    def v1(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        self._tasks.add(asyncio.current_task())
        upstream: asyncio.StreamWriter | None = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            cut = _CUT.search(body)
            name = cut[0] if cut else b""
            self.tries[name] = self.tries.get(name, 0) + 1
            left = int(cut[1]) if cut and self.tries[name] == 1 and cut[1] != b"9999" else None
            answers, upstream = await asyncio.open_connection("127.0.0.1", self._target)
            upstream.write(re.sub(rb"(?i)connection: *keep-alive", b"connection: close", head) + body)
            passed = b""
            while data := await answers.read(65536):
                part = data if left is None else data[:left]
                passed += part
                if left is None:
                    self.seen[name] = passed  # before it passes: whoever has all of it may look at once
                writer.write(part)
                await writer.drain()
                if left is not None:
                    left -= len(part)
                    if left <= 0:
                        break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            for each in (upstream, writer):
                if each is not None and self._rude:
                    each.transport.abort()
                elif each is not None:
                    each.close()


@contextlib.contextmanager
def cutting(port: int, *, rude: bool = False) -> Iterator[Cutting]:
    """Running in a thread of its own."""
    proxy = Cutting(port, rude=rude)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="cutting", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(10)
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()

"""The upstream of the benchmarks: as fast as Python gets, so that what is measured is what stands in front of it.

A raw uvloop protocol, no framework. It answers POST …/chat/completions: a small completion; with `"stream":true` a burst
of 100 chunks, or (model `paced`) one chunk every 20 ms whose content is the time at which it was written. It answers
GET …/models and anything else that gateways ask at their start with a small JSON body.

    python tests/bench/upstream.py PORT
"""

import asyncio
import sys
import time
from typing import cast

import uvloop

BURST, PACED, PACE_S = 100, 50, 0.02
HEAD = '"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"bench"'
MESSAGE = '{"role":"assistant","content":"' + "word " * 40 + '","refusal":null}'
WHOLE = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"bench","choices":[{"index":0,"message":'
    + MESSAGE
    + ',"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":40,"total_tokens":49}}'
).encode()
CARD = b'{"id":"%b","object":"model","created":1,"owned_by":"x"}'
MODELS = b'{"object":"list","data":[' + CARD % b"bench" + b"," + CARD % b"paced" + b"]}"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def event(delta: str, finish: str = "null") -> bytes:
    choice = f'{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}'
    return f'data: {{{HEAD},"choices":[{choice}]}}\n\n'.encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


FIRST = chunk(event('{"role":"assistant","content":""}'))
WORD = chunk(event('{"content":"word "}'))
USAGE = f'data: {{{HEAD},"choices":[],"usage":{{"prompt_tokens":9,"completion_tokens":100,"total_tokens":109}}}}\n\n'.encode()
LAST = chunk(event("{}", '"stop"')) + chunk(USAGE) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
SMALL, LISTED, GOOD = answer(WHOLE), answer(MODELS), answer(b'{"status":"ok"}')


class Upstream(asyncio.Protocol):
    """One connection; requests one after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.loop = asyncio.get_running_loop()
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.data) < end + 4 + length:
                return
            body, self.data = self.data[end + 4 : end + 4 + length], self.data[end + 4 + length :]
            self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        write = self.transport.write
        if not head.startswith(b"post"):
            write(LISTED if b"/models" in head[:60] else GOOD)
        elif b'"stream":true' not in body and b'"stream": true' not in body:
            write(SMALL)
        elif b'"paced"' in body:
            write(STREAM + FIRST)
            self.loop.call_later(PACE_S, self.pace, PACED, self.loop.time() + PACE_S)
        else:
            write(STREAM + FIRST + WORD * 9)
            self.loop.call_soon(self.burst, BURST - 10)

    def burst(self, left: int) -> None:
        """Ten chunks a turn of the loop: many writes, as fast as they go."""
        if left <= 0:
            self.transport.write(LAST)
            return
        self.transport.write(WORD * 10)
        self.loop.call_soon(self.burst, left - 10)

    def pace(self, left: int, due: float) -> None:
        if self.transport.is_closing():
            return
        if left == 0:
            self.transport.write(LAST)
            return
        self.transport.write(chunk(event(f'{{"content":"{time.monotonic_ns()}"}}')))
        self.loop.call_at(due + PACE_S, self.pace, left - 1, due + PACE_S)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))

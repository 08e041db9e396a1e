"""What the unit tests of the checks share: answers made of bytes, judged without a socket."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from proxy.verify import CHECKS, Verdict
from proxy.verify.check import judge
from proxy.verify.http1 import Response
from proxy.verify.seen import Seen

SSE = "text/event-stream"


class Desk:
    """Put answers on it, then ask for the verdict of one check."""

    def __init__(self) -> None:
        self.seen = Seen("m", "k", "e")

    def put(self, name: str, response: Response) -> None:
        self.seen.answers[name] = response
        self.seen.__dict__.pop("streams", None)  # parsed once in earnest, anew here

    def answer(
        self, name: str, body: bytes, content_type: str = "application/json", status: int = 200, **headers: str
    ) -> None:
        response = Response()
        lines = {"content-type": content_type, "content-length": str(len(body)), "x-request-id": "r"}
        lines |= {key.replace("_", "-"): value for key, value in headers.items()}
        head = "".join(f"{key}: {value}\r\n" for key, value in lines.items())
        response.feed(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body, 0.0)
        self.put(name, response)

    def json(self, name: str, value: Any, status: int = 200) -> None:
        self.answer(name, msgspec.json.encode(value), status=status)

    def stream(self, name: str, *chunks: Any, done: bool = True, ended: bool = True) -> None:
        """A stream of chunks; a dictionary without `choices` is taken for a delta of choice 0."""
        events = [chunk if isinstance(chunk, str) else msgspec.json.encode(chunk).decode() for chunk in chunks]
        body = "".join(f"data: {event}\n\n" for event in [*events, *(["[DONE]"] if done else [])]).encode()
        response = Response()
        head = (
            f"HTTP/1.1 200 OK\r\ncontent-type: {SSE}\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        response.feed(head.encode() + b"%x\r\n%b\r\n" % (len(body), body), 0.0)
        if ended:
            response.feed(b"0\r\n\r\n", 0.0)
        response.stop("closed", 0.0)
        self.put(name, response)

    def verdict(self, id: str) -> Verdict:
        """The check judged by itself, whatever it stands on."""
        [check] = [check for check in CHECKS if check.id == id]
        return judge([_alone(check)], self.seen)[0]


def _alone(check: Any) -> Any:
    return type(check)(check.id, check.promise, check.judge, check.asks, (), check.severity)


def chunk(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": list(choices), **fields
    }  # fmt: skip


def choice(finish: str | None = None, index: int = 0, **delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def make() -> tuple[Callable[..., dict[str, Any]], Callable[..., dict[str, Any]]]:
    """The makers of chunks and of choices."""
    return chunk, choice

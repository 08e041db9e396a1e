"""What goes over the socket between a worker and the host of its models: frames as between gateway and engine process.

Owns the shapes. Refuses to know what they mean. Invariants: plain data only; ids are the worker's, unique in one
connection; every Acquire, Gen, Embedding, Load and Unload is answered to its end exactly once, unless it was cancelled or
the connection ended.
"""

from typing import Any

import msgspec

from adapters.llama.frames import Cancel as Cancel
from adapters.llama.frames import Frame
from adapters.llama.resident import Settings, Status
from adapters.llama.spec import Delta, Embed, Generate, ModelInfo, Usage
from proxy.errors import Fault, UpstreamError

# -- worker to host -----------------------------------------------------------------------------------------------


class Hello(Frame, frozen=True, tag="hello"):
    """The first frame, once."""

    settings: Settings


class Acquire(Frame, frozen=True, tag="acquire"):
    id: int
    path: str


class Release(Frame, frozen=True, tag="release"):
    """Of the Acquire with this id."""

    id: int


class Gen(Frame, frozen=True, tag="gen"):
    id: int
    hold: int
    request: Generate


class Embedding(Frame, frozen=True, tag="embed"):
    id: int
    hold: int
    request: Embed


class Load(Frame, frozen=True, tag="load"):
    """`wait` false: begun is enough."""

    id: int
    path: str
    parallel: int | None
    keep_s: float | None
    wait: bool


class Unload(Frame, frozen=True, tag="unload"):
    id: int
    path: str
    wait: bool


class Ping(Frame, frozen=True, tag="ping"):
    pass


# -- host to worker -----------------------------------------------------------------------------------------------


class Progress(Frame, frozen=True, tag="progress"):
    id: int
    share: float


class Acquired(Frame, frozen=True, tag="acquired"):
    id: int
    info: ModelInfo


class Deltas(Frame, frozen=True, tag="deltas"):
    id: int
    deltas: list[Delta]


class Done(Frame, frozen=True, tag="done"):
    id: int
    usage: Usage


class Vectors(Frame, frozen=True, tag="vectors"):
    id: int
    blob: bytes
    tokens: int


class Told(Frame, frozen=True, tag="told"):
    """The answer to Load and Unload; None: nothing is known of that model (any more). `found`: there was one to unload."""

    id: int
    status: Status | None
    found: bool = True


class Failed(Frame, frozen=True, tag="failed"):
    """An UpstreamError, as far as a caller is told of it."""

    id: int
    fault: Fault
    message: str
    accepted: bool | None = None
    param: str | None = None
    retry_after_s: float | None = None
    details: dict[str, Any] | None = None


class Changed(Frame, frozen=True, tag="changed"):
    """All residents, and what waits or failed."""

    residents: list[Status]
    others: list[Status]


class Pong(Frame, frozen=True, tag="pong"):
    pid: int


ToHost = Hello | Acquire | Release | Gen | Embedding | Cancel | Load | Unload | Ping
ToWorker = Progress | Acquired | Deltas | Done | Vectors | Told | Failed | Changed | Pong

host_decoder: msgspec.msgpack.Decoder[ToHost] = msgspec.msgpack.Decoder(ToHost)
worker_decoder: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)


def failure(call_id: int, error: UpstreamError) -> Failed:
    return Failed(call_id, error.fault, error.message, error.accepted, error.param, error.retry_after_s, error.details)


def raised(frame: Failed) -> UpstreamError:
    return UpstreamError(
        frame.fault,
        frame.message,
        accepted=frame.accepted,
        param=frame.param,
        retry_after_s=frame.retry_after_s,
        details=frame.details,
    )

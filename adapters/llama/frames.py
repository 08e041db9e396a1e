"""What goes over the socket between the gateway and an engine process: length-prefixed msgpack.

Owns the frame shapes, the framing (u32 little-endian length, then one array whose first item names the frame) and its
limit. Refuses to know what frames mean. Invariants: nothing but plain data is ever decoded (no pickle), a length over
the limit ends the connection before a byte of it is kept, and a frame may arrive in any number of pieces.
"""

import struct
from typing import Any, Generic, TypeVar

import msgspec

from adapters.llama.spec import Counters, Delta, Embed, Generate, ModelInfo, Setup, Usage

LIMIT = 64 * 1024 * 1024
_LENGTH = struct.Struct("<I")
T = TypeVar("T")


class FrameError(Exception):
    """The other side sent what is no frame: the connection cannot go on."""


class Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    pass


# -- gateway to engine --------------------------------------------------------------------------------------------


class Load(Frame, frozen=True, tag="load"):
    """The first frame, once."""

    path: str
    setup: Setup


class Gen(Frame, frozen=True, tag="gen"):
    id: int
    request: Generate


class Cancel(Frame, frozen=True, tag="cancel"):
    id: int


class EmbedCall(Frame, frozen=True, tag="embed"):
    id: int
    request: Embed


class Tokenize(Frame, frozen=True, tag="tokenize"):
    """Counts (and lists) the tokens of a text, or of messages as the template renders them."""

    id: int
    request: Generate


class Render(Frame, frozen=True, tag="render"):
    id: int
    request: Generate


class Stats(Frame, frozen=True, tag="stats"):
    id: int


class Ping(Frame, frozen=True, tag="ping"):
    sent: float


class Shutdown(Frame, frozen=True, tag="shutdown"):
    pass


# -- engine to gateway --------------------------------------------------------------------------------------------


class Progress(Frame, frozen=True, tag="progress"):
    """Loading: a share from 0 to 1."""

    share: float


class Ready(Frame, frozen=True, tag="ready"):
    info: ModelInfo


class Failed(Frame, frozen=True, tag="failed"):
    """The model could not be loaded; the process ends. Said before what may end it; then Ready takes it back."""

    code: str
    message: str


class Step(Frame, frozen=True, tag="step"):
    """All that one engine step produced: (call id, delta) pairs, and the calls that left the queue."""

    deltas: list[tuple[int, Delta]]
    admitted: list[int]
    done: list[tuple[int, Usage]]


class Error(Frame, frozen=True, tag="error"):
    """A call ended badly. `param` names the field at fault."""

    id: int
    code: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None
    details: dict[str, Any] | None = None


class Reply(Frame, frozen=True, tag="reply"):
    """The answer to embed, tokenize, render and stats. `blob` is little-endian float32 rows or int32 tokens."""

    id: int
    blob: bytes = b""
    text: str = ""
    count: int = 0
    counters: Counters | None = None


class Pong(Frame, frozen=True, tag="pong"):
    """`step_s`: how long the running engine step has taken so far; `preparing` the call being rendered, for how long."""

    sent: float
    step_s: float
    preparing: int
    preparing_s: float


ToEngine = Load | Gen | Cancel | EmbedCall | Tokenize | Render | Stats | Ping | Shutdown
ToGateway = Progress | Ready | Failed | Step | Error | Reply | Pong

_encoder = msgspec.msgpack.Encoder()
engine_decoder: msgspec.msgpack.Decoder[ToEngine] = msgspec.msgpack.Decoder(ToEngine)
gateway_decoder: msgspec.msgpack.Decoder[ToGateway] = msgspec.msgpack.Decoder(ToGateway)


def encode(frame: msgspec.Struct) -> bytes:
    """One frame, length included. FrameError if it is over the limit."""
    out = bytearray(4)
    _encoder.encode_into(frame, out, 4)
    size = len(out) - 4
    if size > LIMIT:
        raise FrameError(f"a frame of {size} bytes is over the limit of {LIMIT}")
    _LENGTH.pack_into(out, 0, size)
    return bytes(out)


class FrameSplitter(Generic[T]):
    """Cuts a byte stream into frames of one direction. `feed` gives those that are complete."""

    __slots__ = ("_buffer", "_decoder")

    def __init__(self, decoder: "msgspec.msgpack.Decoder[T]") -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[T]:
        """Raises FrameError on a length over the limit and on anything that is not a known frame."""
        buffer = self._buffer
        buffer += data
        frames: list[T] = []
        at = 0
        while len(buffer) - at >= 4:
            (size,) = _LENGTH.unpack_from(buffer, at)
            if size > LIMIT:
                raise FrameError(f"a frame announces {size} bytes, over the limit of {LIMIT}")
            if len(buffer) - at - 4 < size:
                break
            try:
                frames.append(self._decoder.decode(memoryview(buffer)[at + 4 : at + 4 + size]))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise FrameError(f"not a frame: {error}") from error
            at += 4 + size
        if at:
            del buffer[:at]
        return frames

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame."""
        return len(self._buffer)

"""Frames cross unharmed; an error is the same on the other side."""

from adapters.llama.footprint import Wishes
from adapters.llama.frames import FrameSplitter, encode
from adapters.llama.resident import Residency, Settings, Status
from adapters.llama.sharing import wire
from adapters.llama.spec import Delta, ModelInfo
from adapters.llama.supervisor import Policy
from adapters.llama.text import Text
from proxy.errors import Fault, UpstreamError


def test_frames() -> None:
    to_host = [
        wire.Hello(Settings("a", Wishes(threads=3), Residency(keep_s=-1), Policy())),
        wire.Load(1, "/m", None, 5.0, wait=True),
        wire.Cancel(2),
    ]
    splitter = FrameSplitter(wire.host_decoder)
    assert [frame for data in map(encode, to_host) for frame in splitter.feed(data)] == to_host
    status = Status(path="/m", state="ready", info=ModelInfo(path="/m", reasoning_markers=("<think>", "</think>")))
    to_worker = [
        wire.Deltas(1, [Delta(0, [Text("hé")], 1, None, "stop", None)]),
        wire.Told(2, None),
        wire.Changed([status], []),
        wire.Vectors(3, b"\x00\xff", 5),
    ]
    other = FrameSplitter(wire.worker_decoder)
    assert [frame for data in map(encode, to_worker) for frame in other.feed(data)] == to_worker


def test_errors() -> None:
    error = UpstreamError(
        Fault.CONTEXT, "too long", accepted=False, param="messages", retry_after_s=1.5, details={"prompt_tokens": 5}
    )
    (frame,) = FrameSplitter(wire.worker_decoder).feed(encode(wire.failure(7, error)))
    assert isinstance(frame, wire.Failed)
    again = wire.raised(frame)
    for name in ("fault", "message", "accepted", "param", "retry_after_s", "details", "status", "code"):
        assert getattr(again, name) == getattr(error, name)

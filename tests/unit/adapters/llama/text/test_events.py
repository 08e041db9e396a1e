"""Events survive the frame codec as tagged arrays."""

import msgspec

from adapters.llama.text.events import Event, Reasoning, Text, ToolArgs, ToolStart


def test_round_trip() -> None:
    events: list[Event] = [Text("a"), Reasoning("b"), ToolStart(0, "call_1", "f"), ToolArgs(0, "{}")]
    packed = msgspec.msgpack.encode(events)
    assert msgspec.msgpack.decode(packed, type=list[Event]) == events
    assert msgspec.msgpack.decode(packed)[0] == ["t", "a"]

"""What a running sequence says: four small events, in the order in which they were generated.

Owns the event shapes and their compact encoding (tagged arrays, so that a frame codec can carry them as they are).
Refuses to know how they came about or what a client is sent. Invariant: `index` of tool calls is dense from 0, and a
`ToolStart` comes before every `ToolArgs` of its index.
"""

import msgspec


class Text(msgspec.Struct, frozen=True, array_like=True, tag="t"):
    """Visible answer text, never empty."""

    text: str


class Reasoning(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """Text from between the reasoning markers, never empty."""

    text: str


class ToolStart(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """A tool call whose name is complete; `id` is ours (`call_` and 24 hex digits)."""

    index: int
    id: str
    name: str


class ToolArgs(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """A piece of the arguments of call `index`: raw JSON text as the model wrote it."""

    index: int
    text: str


Event = Text | Reasoning | ToolStart | ToolArgs

"""The text side of a generated sequence: from token bytes to content, reasoning and tool calls.

Owns UTF-8 assembly, stop strings, reasoning markers and tool-call markers of one running sequence. Refuses to know
tokens, samplers, templates and the wire: it is given bytes and markers, and hands back events. Invariant: the events,
joined per channel, do not depend on how the bytes were cut into pieces.
"""

from adapters.llama.text.events import Event, Reasoning, Text, ToolArgs, ToolStart
from adapters.llama.text.families import FAMILIES, Family
from adapters.llama.text.reasoning import ReasoningMarkers
from adapters.llama.text.splitter import Splitter, SplitterOptions, ToolOptions

__all__ = [
    "FAMILIES",
    "Event",
    "Family",
    "Reasoning",
    "ReasoningMarkers",
    "Splitter",
    "SplitterOptions",
    "Text",
    "ToolArgs",
    "ToolOptions",
    "ToolStart",
]

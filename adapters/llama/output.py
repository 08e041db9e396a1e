"""What one turn of the engine produced, until the worker sends it.

Owns nothing but the lists. Invariant: whoever ends a call puts exactly one `done`, error or reply here.
"""

from adapters.llama.frames import Error, Reply
from adapters.llama.spec import Delta, Usage


class Output:
    """Filled by the scheduler and the embedder; the worker takes it."""

    __slots__ = ("admitted", "deltas", "done", "errors", "replies")

    def __init__(self) -> None:
        self.deltas: list[tuple[int, Delta]] = []
        self.admitted: list[int] = []
        self.done: list[tuple[int, Usage]] = []
        self.errors: list[Error] = []
        self.replies: list[Reply] = []

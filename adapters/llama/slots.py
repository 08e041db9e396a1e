"""What the prefix cache is made of: a sequence and its tokens, the cells of a shared pool, and what a call holds of both.

Owns their arithmetic. Refuses to know llama.cpp and who gets what (`kv` does). Invariants: the first `n` tokens of a slot
are its sequence's; a cell is free, or counted once for each slot that holds it.
"""

import numpy as np
import numpy.typing as npt

from adapters.llama.vision.marks import whole

Ints = npt.NDArray[np.int32]


def common_prefix(a: Ints, b: Ints) -> int:
    """How many leading tokens are the same."""
    size = min(len(a), len(b))
    differs = a[:size] != b[:size]
    at = int(differs.argmax()) if size else 0
    same = at if size and differs[at] else size
    return whole(a, b, same) if same and a[same - 1] < 0 else same


class Slot:
    """A sequence of llama.cpp and the tokens in it."""

    __slots__ = ("_tokens", "busy", "cells", "n", "seq", "tenant", "used_at")

    def __init__(self, seq: int, capacity: int) -> None:
        self.seq = seq
        self.n = 0
        self.busy = False
        self.used_at = 0.0
        self.tenant = ""
        self._tokens = np.zeros(capacity, dtype=np.int32)
        self.cells = np.zeros(capacity, dtype=np.int32)  # unified mode: which cell holds which position

    @property
    def tokens(self) -> Ints:
        return self._tokens[: self.n]

    def push(self, token: int) -> None:
        self._tokens[self.n] = token
        self.n += 1

    def write(self, tokens: Ints) -> None:
        """Appends; positions are implied."""
        end = self.n + len(tokens)
        self._tokens[self.n : end] = tokens
        self.n = end

    def prefix(self, prompt: Ints) -> int:
        """How many leading tokens are the same."""
        return common_prefix(self.tokens, prompt)


class Cells:
    """Unified mode: counts shared cells once, as llama.cpp does, by giving each position a cell of our own."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.free = size
        self._refs = np.zeros(size, dtype=np.int32)
        self._stack = np.arange(size, dtype=np.int32)

    def take(self, slot: Slot, start: int, count: int) -> None:
        """Fresh cells for positions from `start`."""
        if count > self.free:
            raise RuntimeError("more cells taken than were reserved")
        ids = self._stack[self.free - count : self.free]
        self._refs[ids] = 1
        slot.cells[start : start + count] = ids
        self.free -= count

    def take_one(self, slot: Slot) -> None:
        """A cell for the next position."""
        if not self.free:
            raise RuntimeError("more cells taken than were reserved")
        self.free -= 1
        cell = self._stack[self.free]
        self._refs[cell] = 1
        slot.cells[slot.n] = cell

    def share(self, source: Slot, target: Slot, count: int) -> None:
        ids = source.cells[:count]
        target.cells[:count] = ids
        self._refs[ids] += 1

    def drop(self, slot: Slot, start: int) -> None:
        ids = slot.cells[start : slot.n]
        self._refs[ids] -= 1
        freed = ids[self._refs[ids] == 0]
        self._stack[self.free : self.free + len(freed)] = freed
        self.free += len(freed)

    def held_by(self, slots: list[Slot], source: Slot | None, count: int) -> int:
        """Distinct cells under `slots`, plus the first `count` of `source`."""
        marks = np.zeros(self.size, dtype=bool)
        for slot in slots:
            marks[slot.cells[: slot.n]] = True
        if source is not None:
            marks[source.cells[:count]] = True
        return int(np.count_nonzero(marks))


class Lease:
    """What a call holds: one slot per choice, `reused` prompt tokens, and cells set aside but not yet used."""

    __slots__ = ("outstanding", "reused", "slots")

    def __init__(self, slots: list[Slot], reused: int, outstanding: int) -> None:
        self.slots = slots
        self.reused = reused
        self.outstanding = outstanding

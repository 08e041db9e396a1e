"""A second home for prefixes that left llama.cpp's memory: states of sequences in host memory or in files.

Owns the entries, their byte budget and the folder in which they outlive an unload of the same file and setup. Refuses to
know slots' politics (`kv`). Invariants: never more bytes than the budget; an entry that another one contains is not
kept twice; a file is whole or not there, and one that cannot be read is dropped, never an error.
"""

import contextlib
import itertools
import os
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from adapters.llama.slots import Ints, Slot, common_prefix

Bytes = npt.NDArray[np.uint8]
SHORTEST = 64  # tokens; less is read again as fast
_numbers = itertools.count(1)


class States(Protocol):
    """What is asked of a context."""

    def save_seq(self, seq: int) -> Bytes: ...
    def load_seq(self, seq: int, data: Bytes) -> bool: ...


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """What a file says before the state."""

    tenant: str
    tokens: bytes
    size: int


class Entry:
    """A prefix and its state, in memory or in a file."""

    __slots__ = ("_path", "_state", "size", "tenant", "tokens")

    def __init__(self, tokens: Ints, tenant: str, size: int, state: Bytes | None, path: Path | None) -> None:
        self.tokens = tokens
        self.tenant = tenant
        self.size = size
        self._state = state
        self._path = path

    def state(self) -> Bytes | None:
        if self._path is None:
            return self._state
        try:
            return _read(self._path)[1]
        except (OSError, ValueError, msgspec.MsgspecError):
            return None

    def forget(self) -> None:
        self._state = None
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()


class HostTier:
    """`offer` what is about to be forgotten, ask for the `best`, `restore` it. Used by the engine thread alone."""

    def __init__(self, states: States, budget: int, *, folder: Path | None = None, isolate: bool = False) -> None:
        self._states = states
        self._budget = budget
        self._isolate = isolate
        self._folder = folder
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        self.bytes = 0
        self.restored = 0
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._find(folder)

    def _find(self, folder: Path) -> None:
        """What an earlier process left, latest last."""
        for path in sorted(folder.glob("*.state"), key=lambda p: p.stat().st_mtime):
            try:
                head, state = _read(path)
            except (OSError, ValueError, msgspec.MsgspecError):
                path.unlink(missing_ok=True)
                continue
            tokens = np.frombuffer(head.tokens, dtype=np.int32)
            self._keep(Entry(tokens, head.tenant, len(state), None, path))

    def offer(self, slot: Slot) -> None:
        """Keeps the slot's state unless it is short, known already, or too large."""
        if slot.n < SHORTEST:
            return
        tokens = slot.tokens.copy()
        for key, entry in list(self._entries.items()):
            same = common_prefix(entry.tokens, tokens) if self._may(entry, slot.tenant) else 0
            if same == len(tokens):
                self._entries.move_to_end(key)
                return
            if same == len(entry.tokens):
                self._drop(key)
        state = self._states.save_seq(slot.seq)
        if len(state) <= self._budget:
            self._keep(self._entry(tokens, slot.tenant, state))

    def _entry(self, tokens: Ints, tenant: str, state: Bytes) -> Entry:
        if self._folder is not None:
            path = self._folder / f"{os.getpid()}-{next(_numbers)}.state"
            with contextlib.suppress(OSError):
                _write(path, _Head(tenant, tokens.tobytes(), len(state)), state)
                return Entry(tokens, tenant, len(state), None, path)
        return Entry(tokens, tenant, len(state), state, None)

    def _keep(self, entry: Entry) -> None:
        self._entries[next(_numbers)] = entry
        self.bytes += entry.size
        while self.bytes > self._budget:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: int) -> None:
        entry = self._entries.pop(key)
        self.bytes -= entry.size
        entry.forget()

    def _may(self, entry: Entry, tenant: str) -> bool:
        return not self._isolate or entry.tenant == tenant

    def _find_best(self, prompt: Ints, tenant: str) -> tuple[int, int | None]:
        best, length = None, 0
        for key, entry in self._entries.items():
            same = common_prefix(entry.tokens, prompt) if self._may(entry, tenant) else 0
            if same > length:
                best, length = key, same
        return length, best

    def best(self, prompt: Ints, tenant: str) -> tuple[int, int]:
        """(tokens in common, tokens of the entry), both 0 if there is none."""
        length, key = self._find_best(prompt, tenant)
        return (0, 0) if key is None else (length, len(self._entries[key].tokens))

    def restore(self, slot: Slot, prompt: Ints, tenant: str) -> int:
        """Loads the best entry into an empty slot; 0 if that failed, and the entry is then gone."""
        length, key = self._find_best(prompt, tenant)
        if key is None:
            return 0
        entry = self._entries[key]
        state = entry.state()
        if state is None or not self._states.load_seq(slot.seq, state):
            self._drop(key)
            return 0
        self._entries.move_to_end(key)
        slot.write(entry.tokens)
        self.restored += 1
        return length


def _write(path: Path, head: _Head, state: Bytes) -> None:
    """Under another name first, so that a reader never sees half of it."""
    draft = path.with_suffix(".draft")
    encoded = msgspec.msgpack.encode(head)
    with draft.open("wb") as file:
        file.write(len(encoded).to_bytes(4, "little") + encoded)
        file.write(state.data)
    draft.replace(path)


def _read(path: Path) -> tuple[_Head, Bytes]:
    data = np.fromfile(path, dtype=np.uint8)
    size = int.from_bytes(data[:4].tobytes(), "little")
    head = msgspec.msgpack.decode(data[4 : 4 + size].tobytes(), type=_Head)
    state = data[4 + size :]
    if len(state) != head.size:
        raise ValueError("the file is cut")
    return head, state

"""A grammar over the tokens of one answer, in the child process.

Owns the native grammar sampler and when it begins. Refuses to know where GBNF comes from. Invariants: a token is
accepted only after it was allowed (llama.cpp aborts otherwise); waiting for a trigger is done here, since llama.cpp's
lazy grammars replay text unchecked and a model could so abort the process; a NULL grammar is an error, never used.
"""

import ctypes
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from adapters.llama.ffi import Vocab, lib
from adapters.llama.utf8_gate import Utf8Table, fits, rest

_TOKEN_DATA = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_LOOK_BACK = 128  # bytes: a trigger is never longer


class GrammarError(Exception):
    """llama.cpp does not take the grammar."""


def _table_of(vocab: Vocab) -> Utf8Table:
    """Made at the first grammar of a model."""
    if vocab.utf8 is None:
        vocab.utf8 = Utf8Table(vocab.pieces)
    return vocab.utf8


class Grammar:
    """A parsed grammar; `begin` gives a fresh constraint for one answer. Thread-safe: parsing and cloning only read."""

    def __init__(self, vocab: Vocab, text: str, root: str, triggers: tuple[str, ...]) -> None:
        if not text.strip():
            raise GrammarError("the grammar is empty")  # llama.cpp would take it for no grammar
        self.vocab = vocab
        self.table = _table_of(vocab)
        self.triggers = tuple(re.compile(pattern.encode()) for pattern in triggers)
        self.pristine = lib.llama_sampler_init_grammar(vocab.ptr, text.encode(), root.encode())
        if not self.pristine:
            raise GrammarError("the grammar is not valid")

    def begin(self) -> "Constraint":
        return Constraint(self)

    def close(self) -> None:
        if self.pristine:
            lib.llama_sampler_free(self.pristine)
            self.pristine = None


class Constraint:
    """The state of a grammar within one answer. `active` false: nothing is constrained (yet, or any more)."""

    __slots__ = ("_array", "_buffer", "_data", "_grammar", "_pending", "_sampler", "active", "missed")

    alive = 0  # constraints not yet closed, for the leak tests

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._sampler: Any = None
        self._data: npt.NDArray[Any] = np.zeros(1, dtype=_TOKEN_DATA)
        self._array = lib.llama_token_data_array()
        self._buffer: list[tuple[int, bytes]] | None = [] if grammar.triggers else None
        self._pending = b""  # the beginning of a character
        self.active = False
        self.missed = False  # the text at the trigger did not fit the grammar, which was dropped
        Constraint.alive += 1
        if self._buffer is None:
            self._start()

    def _start(self) -> None:
        self._sampler = lib.llama_sampler_clone(self._grammar.pristine)
        if not self._sampler:
            raise GrammarError("the grammar could not be copied")
        self.active = True

    def _apply(self, size: int) -> None:
        array = self._array
        array.data = ctypes.cast(self._data.ctypes.data, lib.llama_token_data_p)
        array.size, array.selected, array.sorted = size, -1, False
        lib.llama_sampler_apply(self._sampler, ctypes.byref(array))

    def allows(self, token: int) -> bool:
        """Whether this token may come next; about a microsecond."""
        if not self.active:
            return True
        if not fits(self._pending, self._grammar.vocab.pieces[token]):
            return False
        self._data[0] = (token, 0.0, 0.0)
        self._apply(1)
        return bool(self._data[0]["logit"] == 0.0)

    def mask(self, ids: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which of `ids` may come next; costs with their number."""
        if not self.active:
            return np.ones(len(ids), dtype=bool)
        if len(self._data) < len(ids):
            self._data = np.zeros(len(ids), dtype=_TOKEN_DATA)
        view = self._data[: len(ids)]
        view["id"], view["logit"], view["p"] = ids, 0.0, 0.0
        self._apply(len(ids))
        return np.asarray(view["logit"] == 0.0) & self._grammar.table.mask(ids, self._pending)

    def accept(self, token: int) -> None:
        """The token became part of the answer. It must have been allowed; an end-of-answer token is not accepted."""
        if self.active:
            self._accept(token)
        elif self._buffer is not None:
            self._watch(token, self._buffer)

    def _accept(self, token: int) -> None:
        if token not in self._grammar.vocab.eog_set:
            lib.llama_sampler_accept(self._sampler, token)
            self._pending = rest(self._pending, self._grammar.vocab.pieces[token])

    def _watch(self, token: int, buffer: list[tuple[int, bytes]]) -> None:
        vocab = self._grammar.vocab
        buffer.append((token, vocab.pieces[token] or vocab.special_piece(token)))
        text = b"".join(piece for _, piece in buffer)
        begin = max(0, len(text) - len(buffer[-1][1]) - _LOOK_BACK)
        for pattern in self._grammar.triggers:
            match = pattern.search(text, begin)
            if match:
                self._buffer = None
                self._start()
                self._replay(buffer, text, match.start(1 if pattern.groups else 0))
                return

    def _replay(self, buffer: list[tuple[int, bytes]], text: bytes, start: int) -> None:
        """Feeds what was written from the trigger on; by its own tokens where the trigger begins with one."""
        position, tokens = 0, []
        for token, piece in buffer:
            if position >= start:
                tokens.append(token)
            elif position + len(piece) > start:
                head = text[start : position + len(piece)].decode("utf-8", "replace")
                tokens += self._grammar.vocab.tokenize(head, add_special=False, parse_special=False).tolist()
            position += len(piece)
        for token in tokens:
            if not self.allows(token):
                self.missed, self.active = True, False
                return
            self._accept(token)

    def close(self) -> None:
        if self._sampler:
            lib.llama_sampler_free(self._sampler)
            self._sampler = None
        if self._grammar is not None:
            Constraint.alive -= 1
            self._grammar = None  # type: ignore[assignment]
        self.active = False

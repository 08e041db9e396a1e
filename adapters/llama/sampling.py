"""How the next token of one sequence is chosen from its row of logits.

Owns the order (bias, bans, penalties; top_k, top_p, min_p; temperature; draw), the random numbers of a choice and
check-then-resample under a grammar. Refuses to know the scheduler. Invariants: the same seed, choice and logits give the
same token; a banned token is never chosen; rejection under a grammar redraws from the same distribution, so it is exact.
"""

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from adapters.llama import prefilter
from adapters.llama.spec import Sampling

if TYPE_CHECKING:
    from adapters.llama.constraint import Constraint

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

FORCE = np.float32(1e4)  # a bias of +100: more than any logit, and still ordered among several
RETRIES = 8  # redraws under a grammar before masks are made
SHORTLIST = 256


class Penalties:
    """Counts of tokens: the answer's for frequency and presence (OpenAI), prompt and answer for repetition."""

    __slots__ = ("_at", "_counts", "_ids", "_repeat", "_size", "_spec", "_spread")

    def __init__(self, spec: Sampling, prompt: Ints) -> None:
        self._spec = spec
        self._at: dict[int, int] = {}
        self._ids = np.zeros(64, dtype=np.intp)
        self._counts = np.zeros(64, dtype=np.float32)
        self._size = 0
        self._spread = spec.frequency_penalty != 0.0 or spec.presence_penalty != 0.0
        self._repeat = spec.repetition_penalty != 1.0
        if self._repeat:
            for token in np.unique(prompt).tolist():
                self._slot(token)

    def _slot(self, token: int) -> int:
        at = self._at.get(token)
        if at is None:
            at = self._at[token] = self._size
            if at == len(self._ids):
                self._ids = np.concatenate((self._ids, np.zeros(at, dtype=np.intp)))
                self._counts = np.concatenate((self._counts, np.zeros(at, dtype=np.float32)))
            self._ids[at], self._counts[at] = token, 0.0
            self._size += 1
        return at

    def count(self, token: int) -> None:
        at = self._slot(token)  # which may replace the array
        self._counts[at] += 1.0

    def apply(self, row: Floats) -> None:
        """Lowers what was already said, in place."""
        if not self._size:
            return
        ids, counts = self._ids[: self._size], self._counts[: self._size]
        values: npt.NDArray[Any] = row[ids]
        if self._repeat:
            r = np.float32(self._spec.repetition_penalty)
            values = np.where(values > 0, values / r, values * r)
        if self._spread:
            values = values - counts * np.float32(self._spec.frequency_penalty)
            values = values - (counts > 0) * np.float32(self._spec.presence_penalty)
        row[ids] = values


class Chooser:
    """The sampling state of one choice. `choose` gives a token id, or -1 where a grammar leaves nothing to say."""

    __slots__ = (
        "_bans",
        "_bias_ids",
        "_bias_values",
        "_eog",
        "_high",
        "_low",
        "_penalties",
        "_random",
        "_said",
        "_spec",
        "_temperature",
        "constraint",
        "edits",
        "greedy",
        "seed",
    )

    def __init__(self, spec: Sampling, *, seed: int, prompt: Ints, eog: Ints, constraint: "Constraint | None") -> None:
        self._spec = spec
        self.seed = seed
        self.constraint = constraint
        self._random = random.Random(seed)
        low, high = spec.min_temp, spec.max_temp
        self._low = spec.temperature if low is None else low
        self._high = spec.temperature if high is None else high
        dynamic = (low is not None or high is not None) and self._high > self._low
        self._temperature = (
            None if dynamic else (self._low if low is not None and high is not None else spec.temperature)
        )
        self.greedy = self._temperature is not None and self._temperature < 1e-4
        self._eog = eog
        self._said = 0
        self._bans = spec.ignore_eos or spec.min_tokens > 0
        self._bias_ids = np.fromiter(spec.logit_bias, dtype=np.intp, count=len(spec.logit_bias))
        bias = np.fromiter(spec.logit_bias.values(), dtype=np.float32, count=len(spec.logit_bias))
        bias[bias <= -100.0] = -np.inf
        bias[bias >= 100.0] = FORCE
        self._bias_values = bias
        penal = spec.repetition_penalty != 1.0 or spec.frequency_penalty != 0.0 or spec.presence_penalty != 0.0
        self._penalties = Penalties(spec, prompt) if penal else None
        self.edits = penal or self._bans or bool(spec.logit_bias)

    @property
    def plain_greedy(self) -> bool:
        """An argmax over the untouched row decides."""
        return self.greedy and not self.edits and self.constraint is None

    def edit(self, row: Floats) -> None:
        """Bias, penalties and bans, in place: a few entries."""
        if self._penalties is not None:
            self._penalties.apply(row)
        if len(self._bias_ids):
            row[self._bias_ids] += self._bias_values
        if self._bans and (self._spec.ignore_eos or self._said < self._spec.min_tokens):
            row[self._eog] = -np.inf

    def accept(self, token: int, in_reasoning: bool = False) -> None:
        """The token is part of the answer now. A grammar does not see reasoning."""
        self._said += 1
        if self._penalties is not None:
            self._penalties.count(token)
        if self.constraint is not None and not in_reasoning:
            self.constraint.accept(token)

    def choose(self, row: Floats, in_reasoning: bool = False) -> int:
        """From an edited row."""
        constraint = None if in_reasoning else self.constraint
        if constraint is not None and not constraint.active:
            constraint = None
        if self.greedy:
            token = int(row.argmax())
            if constraint is None or constraint.allows(token):
                return token
            return self._best_allowed(row, constraint)
        ids, weights = self._weights(row)
        token = self._draw(ids, weights)
        if constraint is None or constraint.allows(token):
            return token
        return self._redraw(row, ids, weights, constraint)

    def _weights(self, row: Floats) -> tuple[npt.NDArray[np.intp] | None, Floats]:
        spec = self._spec
        ids = prefilter.survivors(row, spec.top_k, spec.top_p, spec.min_p)
        values = row if ids is None else row[ids]
        temperature = self._temperature
        if temperature is None:
            temperature = prefilter.dynamic_temperature(values, self._low, self._high)
        return ids, prefilter.weights_of(values, temperature)

    def _draw(self, ids: npt.NDArray[np.intp] | None, weights: Floats) -> int:
        at = prefilter.draw(weights, self._random.random())
        return at if ids is None else int(ids[at])

    def _redraw(self, row: Floats, ids: npt.NDArray[np.intp] | None, weights: Floats, constraint: "Constraint") -> int:
        """Draws again without the rejected; then masks the survivors; then the vocabulary."""
        for _ in range(RETRIES):
            at = prefilter.draw(weights, self._random.random())
            token = at if ids is None else int(ids[at])
            if constraint.allows(token):
                return token
            weights[at] = 0.0
            if not weights.any():
                break
        if ids is not None:
            weights *= constraint.mask(ids)
            if weights.any():
                return self._draw(ids, weights)
        row = np.where(constraint.mask(np.arange(len(row), dtype=np.int32)), row, np.float32(-np.inf))
        if not np.isfinite(row.max()):
            return -1
        return self._draw(*self._weights(row))

    def _best_allowed(self, row: Floats, constraint: "Constraint") -> int:
        shortlist = prefilter.top_ids(row, SHORTLIST)
        allowed = constraint.mask(shortlist)
        if allowed.any():
            token = int(shortlist[allowed.argmax()])
            if np.isfinite(row[token]):
                return token
        masked = np.where(constraint.mask(np.arange(len(row), dtype=np.int32)), row, np.float32(-np.inf))
        token = int(masked.argmax())
        return token if np.isfinite(masked[token]) else -1

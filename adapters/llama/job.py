"""A call inside the engine process, and each of its choices.

Owns their state from queued to done. Refuses to act: the scheduler does. Invariant: a choice's `pending` token is the
last one sampled and is not yet in llama.cpp's memory.
"""

import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from adapters.llama.constraint import Constraint, Grammar
from adapters.llama.sampling import Chooser
from adapters.llama.slots import Lease, Slot
from adapters.llama.spec import Sampling, Usage
from adapters.llama.text import Splitter, SplitterOptions
from adapters.llama.vision.native import Picture


@dataclass(slots=True)
class Prepared:
    """A call as the scheduler needs it: tokens, limits and options, all checked."""

    id: int
    prompt: npt.NDArray[np.int32]
    n: int
    limit: int  # tokens per choice
    sampling: Sampling
    splitter: SplitterOptions
    seed: int
    grammar: Grammar | None = None
    close_tokens: tuple[int, ...] = ()  # of the closing reasoning marker
    priority: int = 0
    tenant: str = ""
    queue_deadline: float | None = None  # time.monotonic()
    deadline: float | None = None
    pictures: tuple[Picture, ...] = ()  # under the negative ids of `prompt`

    @property
    def words(self) -> npt.NDArray[np.int32]:
        """The prompt without its pictures."""
        return self.prompt[self.prompt >= 0] if self.pictures else self.prompt

    def tokens(self, positions: int) -> int:
        """Tokens of memory under the first so many positions of the prompt."""
        return positions + sum(p.tokens - p.positions for p in self.pictures if p.start < positions)


@dataclass(slots=True, eq=False)
class Choice:
    index: int
    chooser: Chooser
    splitter: Splitter
    slot: Slot
    granted: int  # tokens for which memory is set aside
    said: int = 0
    pending: int = -1
    forced: deque[int] = field(default_factory=deque)
    done: bool = False
    plain: bool = False  # the likeliest token of the untouched row is the answer
    on_device: bool = False  # its tokens are sampled where the model runs


@dataclass(slots=True, eq=False)
class Job:
    """`cursor` is how much of the prompt is in memory; `choices` exist once it is admitted."""

    call: Prepared
    reserve: int
    queued_at: float = field(default_factory=time.monotonic)
    admitted_at: float = 0.0
    first_at: float = 0.0
    lease: Lease | None = None
    cursor: int = 0
    turn: int = 0  # prompt tokens read since it was first in line
    reused: int = 0
    choices: list[Choice] = field(default_factory=list)
    following: "Job | None" = None  # waits for that call's prompt, which begins the same
    following_until: int = 0
    timed: bool = field(init=False)  # it can be late

    def __post_init__(self) -> None:
        self.timed = self.call.deadline is not None or self.call.queue_deadline is not None

    @property
    def id(self) -> int:
        return self.call.id

    @property
    def tenant(self) -> str:
        return self.call.tenant

    @property
    def priority(self) -> int:
        return self.call.priority

    @property
    def cost(self) -> int:
        return self.reserve * self.call.n

    @property
    def generated(self) -> int:
        return sum(choice.said for choice in self.choices)

    @property
    def seq(self) -> int:
        """The sequence of its prompt, once it is admitted."""
        return self.choices[0].slot.seq

    @property
    def prefilled(self) -> bool:
        return self.cursor >= len(self.call.prompt)

    @property
    def ahead(self) -> int:
        """Prompt tokens up to the next picture, or the end."""
        for picture in self.call.pictures:
            if picture.start >= self.cursor:
                return picture.start - self.cursor
        return len(self.call.prompt) - self.cursor

    def late(self, now: float) -> bool:
        """Its time in the queue, or altogether, is up."""
        limit = self.call.queue_deadline if self.lease is None else None
        return (limit is not None and now > limit) or (self.call.deadline is not None and now > self.call.deadline)

    def usage(self, now: float) -> Usage:
        return Usage(
            prompt_tokens=self.call.tokens(len(self.call.prompt)),
            completion_tokens=self.generated,
            cached_tokens=self.call.tokens(self.reused),
            reasoning_tokens=sum(choice.splitter.reasoning_tokens for choice in self.choices),
            seed=self.call.seed,
            queued_s=self.admitted_at - self.queued_at,
            prefill_s=self.first_at - self.admitted_at,
            decode_s=now - self.first_at,
        )

    def begin(self, lease: Lease, eog: npt.NDArray[np.int32], now: float) -> None:
        """Admitted: the choices come to life."""
        call = self.call
        self.lease, self.cursor, self.reused, self.admitted_at = lease, lease.reused, lease.reused, now
        for index in range(call.n):
            constraint: Constraint | None = None if call.grammar is None else call.grammar.begin()
            chooser = Chooser(
                call.sampling,
                seed=(call.seed + index) & 0xFFFFFFFF,
                prompt=call.words,
                eog=eog,
                constraint=constraint,
            )
            choice = Choice(index, chooser, Splitter(call.splitter), lease.slots[index], self.reserve)
            choice.plain = chooser.plain_greedy and not call.sampling.logprobs
            self.choices.append(choice)

    def close(self) -> None:
        """Frees what the choices hold natively."""
        for choice in self.choices:
            if choice.chooser.constraint is not None:
                choice.chooser.constraint.close()

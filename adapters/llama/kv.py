"""Which sequence holds which tokens, what can be reused for a prompt, and whether a call fits.

Owns slots, the prefix lookup, reservations and eviction. Refuses to know requests, sampling and text. Invariants: a
slot's tokens are exactly what its sequence holds in llama.cpp's memory; cells of running calls plus all reservations
never exceed the pool, so a step finds room by evicting idle slots alone; a slot belongs to one call or to none.
"""

import time
from collections.abc import Collection
from typing import Protocol

from adapters.llama.slots import Cells, Ints, Lease, Slot

_PASS = 5  # tokens of a prompt that are read in the time of a pass over all weights (9 ms and 1.8, on two cores)


class Memory(Protocol):
    """What is asked of llama.cpp's memory; `ffi.Context` is one."""

    n_ctx: int
    n_ctx_seq: int
    n_seq: int
    unified: bool

    def seq_rm(self, seq: int, start: int = -1, end: int = -1) -> bool: ...
    def seq_cp(self, src: int, dst: int, end: int = -1) -> None: ...
    def pos_min(self, seq: int) -> int: ...


class Tier(Protocol):
    """A second tier for prefixes of evicted slots."""

    def offer(self, slot: "Slot") -> None: ...
    def best(self, prompt: Ints, tenant: str) -> tuple[int, int]:
        """Tokens in common with the best entry, and that entry's size."""
        ...

    def restore(self, slot: "Slot", prompt: Ints, tenant: str) -> int:
        """Loads that entry into an empty slot; how many of its tokens are the prompt's, 0 if it could not."""
        ...


class KvCache:
    """The slots of one context. `cuttable` false (recurrent, hybrid): only whole sequences are reused."""

    def __init__(
        self,
        memory: Memory,
        *,
        cuttable: bool = True,
        window: int = 0,
        copy_min: int = 64,
        isolate: bool = False,
        tier: Tier | None = None,
    ) -> None:
        self.memory = memory
        self.unified = memory.unified
        self.capacity = memory.n_ctx_seq
        self.slots = [Slot(seq, memory.n_ctx_seq) for seq in range(memory.n_seq)]
        self.cells = Cells(memory.n_ctx) if memory.unified else None
        self.outstanding = 0
        self.evictions = 0
        self._cuttable = cuttable
        self._window = window
        self._copy_min = copy_min
        self._isolate = isolate
        self.tier = tier

    # -- looking --------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> int:
        return sum(slot.busy for slot in self.slots)

    @property
    def cached_tokens(self) -> int:
        """Tokens kept in idle slots."""
        return sum(slot.n for slot in self.slots if not slot.busy)

    def fits_ever(self, prompt: int, n: int, decode: int) -> bool:
        """Whether a call could be admitted to an empty cache."""
        if n > len(self.slots):
            return False
        return self.cells is None or prompt + n * decode <= self.cells.size

    def _usable(self, slot: Slot, prompt: Ints, tenant: str) -> int:
        if slot.n == 0 or (self._isolate and slot.tenant != tenant):
            return 0
        same = slot.prefix(prompt)
        return same if self._cuttable or same == slot.n else 0

    def best_prefix(self, prompt: Ints, tenant: str) -> int:
        """Tokens that admitting `prompt` now would reuse, roughly."""
        head = prompt[:-1]  # the last token is evaluated again, for its logits
        return max((self._usable(slot, head, tenant) for slot in self.slots), default=0)

    # -- admitting ------------------------------------------------------------------------------------------------

    def admit(self, prompt: Ints, n: int, decode: int, tenant: str = "") -> Lease | None:
        """Slots and room for a prompt and `decode` tokens of each of `n` choices; None: not now."""
        idle = sorted((s for s in self.slots if not s.busy), key=lambda s: (s.n > 0, s.used_at))
        if len(idle) < n:
            return None
        source, reuse = self._source(prompt[:-1], tenant)
        need = len(prompt) - reuse + n * decode
        if self.cells is not None:
            held = self.cells.held_by([s for s in self.slots if s.busy], source, reuse)
            if held + self.outstanding + need > self.cells.size:
                return None
        main, copied = self._place(idle, source, reuse, decode)
        rest: list[Slot] = []
        free = [s for s in idle if s is not main and not (copied and s is source)]
        while free and len(rest) < n - 1:
            rest.append(self._spare(free, decode, {main.seq, *(s.seq for s in rest)}))
            free.remove(rest[-1])
        if len(rest) < n - 1 and source is not None:
            rest.append(source)  # its content is copied before it is overwritten
        if not copied and main is not source:
            reuse = self._usable(main, prompt[:-1], tenant)  # what templates begin with, at the least
        reused = self._fill(main, source if copied else None, prompt, reuse, tenant)
        need = len(prompt) - reused + n * decode
        if self.cells is not None and reused < reuse:  # less could be kept than was promised: look again
            held = self.cells.held_by([s for s in self.slots if s.busy or s is main], None, 0)
            if held + self.outstanding + need > self.cells.size:
                main.busy = False
                return None
        lease = Lease([main, *rest], reused, need if self.cells is not None else 0)
        self.outstanding += lease.outstanding
        for slot in lease.slots:
            if slot is not main:
                self._clear(slot)
            slot.busy, slot.tenant = True, tenant
        return lease

    def _source(self, head: Ints, tenant: str) -> tuple[Slot | None, int]:
        best: Slot | None = None
        length = 0
        for slot in self.slots:
            same = self._usable(slot, head, tenant)
            if same > length or (same and same == length and best is not None and best.busy and not slot.busy):
                best, length = slot, same
        return best, length

    def _place(self, idle: list[Slot], source: Slot | None, reuse: int, decode: int) -> tuple[Slot, bool]:
        """The slot for the prompt, and whether the prefix is copied into it (else: taken over, or nothing)."""
        if source is None:
            return self._spare(idle, decode), False
        others = [s for s in idle if s is not source]
        if not source.busy and (2 * reuse >= source.n or not others):
            return source, False  # little is lost by cutting its tail
        if reuse < (1 if self.unified else self._copy_min):
            return self._spare(idle, decode), False
        return self._spare(others, decode), True

    def _spare(self, idle: list[Slot], decode: int, taken: Collection[int] = ()) -> Slot:
        """Which of these, the one unused for longest first, is to be overwritten. `taken`: sequences as good as busy.

        With a cache for each sequence llama.cpp computes together what stands in consecutive sequences only. A place
        beside a sequence that runs saves a pass over all weights in each of `decode` steps; what it costs is the tokens
        there, which are the likelier to be asked for again the later they were used. Without that, where much is free.
        """
        if self.unified:
            return idle[0]
        busy = {slot.seq for slot in self.slots if slot.busy}.union(taken)
        room: dict[int, int] = {}  # how many stand in a row from one on
        for seq in sorted((slot.seq for slot in idle), reverse=True):
            room[seq] = 1 + room.get(seq + 1, 0)
        gain = [_PASS * decode * _near(s, busy) - s.n * rank / len(idle) for rank, s in enumerate(idle)]
        return max(zip(gain, idle, strict=True), key=lambda pair: (pair[0], room[pair[1].seq]))[1]

    def _fill(self, main: Slot, source: Slot | None, prompt: Ints, reuse: int, tenant: str) -> int:
        """Makes `main` hold the longest prefix at hand; tokens of the prompt that it then holds."""
        if self.tier is not None:
            restored = self._restore(self.tier, main, prompt[:-1], reuse, tenant)
            if restored:
                return self._cut(main, restored)
        if source is not None:
            self._clear(main)
            self._copy(source, main, min(reuse, source.n))
        return self._cut(main, min(reuse, main.n))

    def _restore(self, tier: Tier, main: Slot, head: Ints, reuse: int, tenant: str) -> int:
        """Takes the prefix from the second tier where that holds clearly more of it."""
        same, size = tier.best(head, tenant)
        if same < reuse + self._copy_min or size > self.capacity or (same < size and not self._cuttable):
            return 0
        self._clear(main)
        main.busy = True  # not to be evicted for its own sake
        self.make_room(size)
        if self.cells is not None and self.cells.free < size:
            return 0
        same = tier.restore(main, head, tenant)
        if same and self.cells is not None:
            self.cells.take(main, 0, main.n)
        return same

    def _copy(self, source: Slot, target: Slot, count: int) -> None:
        """`target` is empty. Between streams everything is copied and the tail cut off again."""
        whole = not self.unified or count == source.n
        self.memory.seq_cp(source.seq, target.seq, -1 if whole else count)
        kept = source.n if whole else count
        if self.cells is not None:
            self.cells.share(source, target, kept)
        target.write(source.tokens[:kept])

    def _cut(self, slot: Slot, keep: int) -> int:
        """Forgets everything after `keep` tokens, or everything where that is not possible."""
        if keep == 0:
            self._clear(slot)
            return 0
        if slot.n > keep and not self.memory.seq_rm(slot.seq, keep, -1):
            self._clear(slot)
            return 0
        if slot.n > keep:
            if self.cells is not None:
                self.cells.drop(slot, keep)
            slot.n = keep
        if self._window and not 0 <= self.memory.pos_min(slot.seq) <= max(0, keep - self._window):
            self._clear(slot)  # the window before the cut is gone, in part or (-1) altogether
            return 0
        return keep

    def _clear(self, slot: Slot, offer: bool = True) -> None:
        if slot.n == 0:
            return
        if offer and self.tier is not None and not slot.busy:
            self.tier.offer(slot)
        self.memory.seq_rm(slot.seq)
        if self.cells is not None:
            self.cells.drop(slot, 0)
        slot.n = 0

    # -- running --------------------------------------------------------------------------------------------------

    def push(self, lease: Lease, slot: Slot, token: int) -> None:
        """After a decode: this token is in memory now."""
        if self.cells is not None:
            self.cells.take_one(slot)
            if lease.outstanding:
                lease.outstanding -= 1
                self.outstanding -= 1
        slot.push(token)

    def append(self, lease: Lease, slot: Slot, tokens: Ints) -> None:
        """After a decode: these tokens of the prompt are in memory now."""
        if self.cells is not None:
            self.cells.take(slot, slot.n, len(tokens))
            used = min(len(tokens), lease.outstanding)
            lease.outstanding -= used
            self.outstanding -= used
        slot.write(tokens)

    def fork(self, lease: Lease) -> None:
        """After the prompt: the other choices begin where the first one stands."""
        for slot in lease.slots[1:]:
            self._copy(lease.slots[0], slot, lease.slots[0].n)

    def grow(self, lease: Lease, cells: int) -> bool:
        """Sets aside more for a running call; False when the pool is spoken for."""
        if self.cells is None:
            return True
        held = self.cells.held_by([s for s in self.slots if s.busy], None, 0)
        if held + self.outstanding + cells > self.cells.size:
            return False
        lease.outstanding += cells
        self.outstanding += cells
        return True

    def make_room(self, rows: int) -> None:
        """Evicts idle slots until a step of `rows` finds cells."""
        while self.cells is not None and self.cells.free < rows and self.evict():
            pass

    def evict(self) -> bool:
        """Forgets the idle slot that was used longest ago."""
        idle = [s for s in self.slots if not s.busy and s.n]
        if not idle:
            return False
        self._clear(min(idle, key=lambda s: s.used_at))
        self.evictions += 1
        return True

    def release_slot(self, slot: Slot, keep: bool = True) -> None:
        """A choice has ended; its tokens stay as cache unless they cannot be trusted."""
        slot.busy = False
        slot.used_at = time.monotonic()
        if not keep:
            self._clear(slot, offer=False)

    def settle(self, lease: Lease) -> None:
        """The call is over: its reservation goes back, and idle slots beyond half of a shared pool are evicted."""
        self.outstanding -= lease.outstanding
        lease.outstanding = 0
        if self.cells is not None:
            busy = self.cells.held_by([s for s in self.slots if s.busy], None, 0)
            while self.cells.size - self.cells.free - busy > self.cells.size // 2 and self.evict():
                pass


def _near(slot: Slot, busy: set[int]) -> int:
    """How many of its neighbours are busy."""
    return (slot.seq - 1 in busy) + (slot.seq + 1 in busy)

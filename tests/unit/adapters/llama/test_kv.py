"""Slots, prefixes and reservations against a memory that behaves as llama.cpp's does."""

import random
from dataclasses import dataclass, field

import numpy as np
import pytest

from adapters.llama.kv import KvCache
from adapters.llama.slots import Lease, Slot


@dataclass
class Memory:
    """Token lists by sequence; `cuts` false is a recurrent memory; `window` forgets what is older."""

    n_ctx: int = 256
    n_seq: int = 4
    unified: bool = True
    cuts: bool = True
    window: int = 0
    held: dict[int, list[int]] = field(default_factory=dict)
    gone: dict[int, int] = field(default_factory=dict)

    @property
    def n_ctx_seq(self) -> int:
        return self.n_ctx if self.unified else self.n_ctx // self.n_seq

    def seq_rm(self, seq: int, start: int = -1, end: int = -1) -> bool:
        assert end == -1
        if start <= 0:
            self.held.pop(seq, None)
            self.gone.pop(seq, None)
            return True
        if not self.cuts:
            return False
        self.held[seq] = self.held[seq][:start]
        return True

    def seq_cp(self, src: int, dst: int, end: int = -1) -> None:
        assert end == -1 or self.unified, "llama.cpp would abort"
        assert not (self.unified and self.held.get(dst)), "the target is not empty"
        tokens = self.held.get(src, [])
        self.held[dst] = list(tokens if end == -1 else tokens[:end])
        self.gone[dst] = self.gone.get(src, 0)

    def pos_min(self, seq: int) -> int:
        gone = self.gone.get(seq, 0)
        return gone if gone < len(self.held.get(seq, [])) else -1  # as llama.cpp says it of an empty window

    def decode(self, kv: KvCache, lease: Lease, slot: Slot, tokens: list[int]) -> None:
        self.held.setdefault(slot.seq, []).extend(tokens)
        if self.window:
            self.gone[slot.seq] = max(0, len(self.held[slot.seq]) - self.window)
        kv.append(lease, slot, np.array(tokens, dtype=np.int32))


def _prompt(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int32)


def _serve(memory: Memory, kv: KvCache, text: str, n: int = 1, answer: str = "!", tenant: str = "") -> int:
    """A whole call; how much of its prompt was reused."""
    prompt = _prompt(text)
    lease = kv.admit(prompt, n, len(answer), tenant)
    assert lease is not None
    memory.decode(kv, lease, lease.slots[0], prompt[lease.reused :].tolist())
    kv.fork(lease)
    for index, slot in enumerate(lease.slots):
        for letter in answer.encode():
            memory.held.setdefault(slot.seq, []).append(letter + index)
            kv.push(lease, slot, letter + index)
    for slot in lease.slots:
        kv.release_slot(slot)
    kv.settle(lease)
    _check(memory, kv)
    return lease.reused


def _check(memory: Memory, kv: KvCache) -> None:
    for slot in kv.slots:
        assert slot.tokens.tolist() == memory.held.get(slot.seq, [])
    if kv.cells is not None:
        cells = {int(cell) for slot in kv.slots for cell in slot.cells[: slot.n]}
        assert kv.cells.free == kv.cells.size - len(cells)


@pytest.mark.parametrize("unified", [True, False])
def test_the_last_token_is_always_read_again(unified: bool) -> None:
    memory = Memory(unified=unified)
    kv = KvCache(memory, copy_min=4)
    assert _serve(memory, kv, "hello there") == 0
    assert _serve(memory, kv, "hello there") == 10
    assert _serve(memory, kv, "hello there!") == 11
    assert _serve(memory, kv, "h") == 0


@pytest.mark.parametrize("unified", [True, False])
def test_a_busy_slot_can_be_copied_and_not_taken(unified: bool) -> None:
    memory = Memory(unified=unified)
    kv = KvCache(memory, copy_min=4)
    prompt = _prompt("shared beginning and end")
    lease = kv.admit(prompt, 1, 8)
    assert lease is not None
    memory.decode(kv, lease, lease.slots[0], prompt.tolist())
    assert _serve(memory, kv, "shared beginning, other end") == len("shared beginning")
    assert lease.slots[0].tokens.tolist() == prompt.tolist()


def test_a_conversation_is_not_cut_for_a_short_common_beginning() -> None:
    memory = Memory()
    kv = KvCache(memory)
    _serve(memory, kv, "system. " + "a long conversation " * 3)
    assert _serve(memory, kv, "system. something else") == len("system. ")
    assert _serve(memory, kv, "system. " + "a long conversation " * 3) >= 60


def test_split_mode_prefers_reading_to_copying_little() -> None:
    memory = Memory(unified=False)
    kv = KvCache(memory, copy_min=16)
    _serve(memory, kv, "system. a long conversation")
    assert _serve(memory, kv, "system. something else") == 0


@pytest.mark.parametrize("unified", [True, False])
def test_a_memory_that_cannot_be_cut_reuses_whole_sequences_only(unified: bool) -> None:
    memory = Memory(unified=unified, cuts=False)
    kv = KvCache(memory, cuttable=False, copy_min=4)
    assert _serve(memory, kv, "one two three") == 0
    assert _serve(memory, kv, "one two four") == 0
    assert _serve(memory, kv, "one two three! and on") == len("one two three!")


def test_a_memory_that_says_no_late_is_believed() -> None:
    memory = Memory(cuts=False)
    kv = KvCache(memory)
    _serve(memory, kv, "one two three")
    assert _serve(memory, kv, "one two threw") == 0


def test_a_window_that_has_moved_on_makes_the_prefix_worthless() -> None:
    memory = Memory(window=8)
    kv = KvCache(memory, window=8)
    _serve(memory, kv, "a" * 30)
    assert _serve(memory, kv, "a" * 20 + "b" * 10) == 0
    assert _serve(memory, kv, "a" * 20 + "b" * 10 + "!c") == 31
    assert _serve(memory, kv, "a" * 26 + "cut within the window") == 0
    assert _serve(memory, kv, "a" * 9) == 0, "cut far before it: of the window nothing is left"


def test_admission_counts_shared_cells_once() -> None:
    memory = Memory(n_ctx=100)
    kv = KvCache(memory)
    prompt = _prompt("x" * 60)
    first = kv.admit(prompt, 1, 10)
    assert first is not None
    memory.decode(kv, first, first.slots[0], prompt.tolist())
    assert kv.admit(_prompt("y" * 60), 1, 10) is None, "there is no room for another 70"
    second = kv.admit(_prompt("x" * 60), 1, 10)
    assert second is not None, "59 of its cells are there already"
    assert second.reused == 59
    assert kv.admit(_prompt("z"), 1, 40) is None


def test_choices_need_slots_and_cells_of_their_own() -> None:
    kv = KvCache(Memory(n_ctx=100))
    assert kv.fits_ever(20, 4, 20)
    assert not kv.fits_ever(21, 4, 20)
    assert not kv.fits_ever(1, 5, 1)
    lease = kv.admit(_prompt("x" * 20), 4, 20)
    assert lease is not None
    assert kv.outstanding == 100
    assert kv.admit(_prompt("y"), 1, 1) is None
    for slot in lease.slots:
        kv.release_slot(slot)
    kv.settle(lease)
    assert kv.outstanding == 0


def test_growing_and_giving_back() -> None:
    kv = KvCache(Memory(n_ctx=100))
    lease = kv.admit(_prompt("x" * 20), 1, 20)
    assert lease is not None
    assert kv.grow(lease, 60)
    assert not kv.grow(lease, 1)
    kv.release_slot(lease.slots[0])
    kv.settle(lease)
    assert kv.outstanding == 0


def test_tenants() -> None:
    memory = Memory()
    kv = KvCache(memory, isolate=True)
    assert _serve(memory, kv, "secret prompt", tenant="a") == 0
    assert _serve(memory, kv, "secret prompt", tenant="b") == 0
    assert _serve(memory, kv, "secret prompt", tenant="a") == 12


def test_idle_slots_hold_at_most_half_of_a_shared_pool() -> None:
    memory = Memory(n_ctx=200, n_seq=8)
    kv = KvCache(memory)
    for letter in "abcdefgh":
        _serve(memory, kv, letter * 40)
    assert kv.cells is not None
    assert kv.cells.size - kv.cells.free <= 100
    assert kv.evictions > 0
    assert _serve(memory, kv, "h" * 40) == 39, "the latest stays"


def _runs(kv: KvCache) -> int:
    """How many stretches of consecutive sequences are busy."""
    busy = [slot.busy for slot in kv.slots]
    return sum(now and not before for before, now in zip([False, *busy], busy, strict=False))


def test_what_all_prompts_begin_with_is_not_read_again_in_any_slot() -> None:
    memory = Memory(n_ctx=2 * 64, n_seq=2, unified=False)
    kv = KvCache(memory)
    reused = [_serve(memory, kv, f"head: {letter * 20}") for letter in "abcdef"]
    assert reused == [0, 0, 6, 6, 6, 6], "too short to be copied, but each slot has it"


def _mean_runs(*, oldest: bool) -> float:
    """Calls come and go at random, 8 at once of 32; `oldest`: each takes what was unused for longest."""
    rng = random.Random(4)
    memory = Memory(n_ctx=32 * 64, n_seq=32, unified=False)
    kv = KvCache(memory)
    if oldest:
        kv._spare = lambda idle, decode, taken=(): idle[0]  # type: ignore[method-assign, assignment]
    live: list[Lease] = []
    runs = []
    for number in range(600):
        prompt = _prompt(f"{number * 7919 % 1000} {number}"[::-1])
        lease = kv.admit(prompt, 1, 4)
        assert lease is not None
        memory.decode(kv, lease, lease.slots[0], prompt[lease.reused :].tolist())
        live.append(lease)
        while len(live) > 8:
            gone = live.pop(rng.randrange(len(live)))
            kv.release_slot(gone.slots[0])
            kv.settle(gone)
        runs.append(_runs(kv))
    return sum(runs) / len(runs)


def test_calls_that_run_stand_side_by_side() -> None:
    """Each stretch of sequences that run costs a pass over all weights."""
    assert _mean_runs(oldest=False) < 0.5 * _mean_runs(oldest=True)


def _begin(memory: Memory, kv: KvCache, prompt: list[int], decode: int) -> Lease:
    lease = kv.admit(np.array(prompt, dtype=np.int32), 1, decode)
    assert lease is not None
    memory.decode(kv, lease, lease.slots[0], prompt[lease.reused :])
    return lease


def _finish(kv: KvCache, lease: Lease) -> None:
    kv.release_slot(lease.slots[0])
    kv.settle(lease)


@pytest.mark.parametrize("seed", range(3))
def test_the_one_that_is_left_of_many_stands_at_their_edge(seed: int) -> None:
    """Eight of nine run, and a long prompt arrives, again and again: whatever was there before, and begins alike."""
    rng = random.Random(seed)
    memory = Memory(n_ctx=9 * 1024, n_seq=9, unified=False)
    kv = KvCache(memory)
    head = list(range(500, 512))
    for _ in range(6):
        running = [_begin(memory, kv, [*head, *rng.choices(range(36), k=50)], 500) for _ in range(8)]
        assert _runs(kv) == 1
        late = _begin(memory, kv, [*head, *rng.choices(range(36), k=900)], 2)
        for lease in [late, *running]:
            _finish(kv, lease)


@pytest.mark.parametrize(("decode", "kept"), [(20, True), (200, False)])
def test_a_conversation_gives_way_to_a_long_answer_and_not_to_a_short_one(decode: int, kept: bool) -> None:
    memory = Memory(n_ctx=4 * 1024, n_seq=4, unified=False)
    kv = KvCache(memory)
    held = [_begin(memory, kv, [number] * 600, 10) for number in range(4)]
    for lease in (held[3], held[2], held[0], held[1]):
        _finish(kv, lease)
    again = _begin(memory, kv, [*[2] * 600, 7], 10)
    assert (again.slots[0].seq, again.reused) == (2, 600)
    _begin(memory, kv, [9] * 10, decode)  # 3 is the oldest, beside 2; 1 the newest, beside it too
    assert not kv.slots[1].busy
    assert kv.slots[3].busy
    _begin(memory, kv, [8] * 10, decode)
    assert kv.slots[1].busy != kept


def test_the_choices_of_a_call_stand_side_by_side() -> None:
    kv = KvCache(Memory(n_ctx=16 * 64, n_seq=16, unified=False))
    lease = kv.admit(_prompt("four"), 4, 4)
    assert lease is not None
    assert _runs(kv) == 1


@pytest.mark.parametrize("unified", [True, False])
@pytest.mark.parametrize("cuts", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_fuzz(unified: bool, cuts: bool, seed: int) -> None:
    rng = random.Random(seed)
    memory = Memory(n_ctx=400, n_seq=5, unified=unified, cuts=cuts)
    kv = KvCache(memory, cuttable=cuts, copy_min=5)
    live: list[tuple[Lease, np.ndarray]] = []
    for _ in range(1500):
        if rng.random() < 0.5:
            text = rng.choice(["ab", "abab", "ba"]) * rng.randrange(1, 12) + rng.choice("xyz")
            prompt = _prompt(text)
            n = rng.choice([1, 1, 2])
            lease = kv.admit(prompt, n, 10)
            if lease is not None:
                assert lease.slots[0].tokens.tolist() == prompt[: lease.reused].tolist()
                kv.make_room(len(prompt) - lease.reused)
                memory.decode(kv, lease, lease.slots[0], prompt[lease.reused :].tolist())
                kv.fork(lease)
                live.append((lease, prompt))
        elif live:
            lease, prompt = live.pop(rng.randrange(len(live)))
            for slot in lease.slots:
                for _ in range(rng.randrange(10)):
                    kv.make_room(1)
                    memory.held.setdefault(slot.seq, []).append(7)
                    kv.push(lease, slot, 7)
                kv.release_slot(slot, keep=rng.random() < 0.9)
            kv.settle(lease)
        _check(memory, kv)
        owners = [slot.seq for lease, _ in live for slot in lease.slots]
        assert len(owners) == len(set(owners)) == kv.busy
    for lease, _ in live:
        for slot in lease.slots:
            kv.release_slot(slot)
        kv.settle(lease)
    assert kv.outstanding == 0
    while kv.evict():
        pass
    assert kv.cached_tokens == 0
    assert kv.cells is None or kv.cells.free == kv.cells.size

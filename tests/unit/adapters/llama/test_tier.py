"""Prefixes that come back."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.llama.slots import Slot
from adapters.llama.spec import Generate, Sampling, Setup
from adapters.llama.supervisor import Engine
from adapters.llama.tier import SHORTEST, HostTier


class States:
    """A hundred bytes of state per token."""

    def __init__(self) -> None:
        self.loaded: list[np.ndarray] = []
        self.works = True
        self.saves = 0

    def save_seq(self, seq: int) -> np.ndarray:
        self.saves += 1
        return np.full(100 * SHORTEST, seq, dtype=np.uint8)

    def load_seq(self, seq: int, data: np.ndarray) -> bool:
        self.loaded.append(data)
        return self.works


def _slot(seq: int, tokens: list[int], tenant: str = "") -> Slot:
    slot = Slot(seq, 500)
    slot.write(np.array(tokens, dtype=np.int32))
    slot.tenant = tenant
    return slot


LONG = list(range(100))


@pytest.mark.parametrize("folder", [False, True])
def test_what_is_offered_comes_back(tmp_path: Path, folder: bool) -> None:
    states = States()
    tier = HostTier(states, 10**6, folder=tmp_path if folder else None)
    tier.offer(_slot(7, LONG))
    prompt = np.array([*LONG[:80], 5, 5], dtype=np.int32)
    assert tier.best(prompt, "") == (80, 100)
    empty = _slot(3, [])
    assert tier.restore(empty, prompt, "") == 80
    assert empty.tokens.tolist() == LONG
    assert states.loaded[0].tolist() == [7] * 100 * SHORTEST
    assert tier.best(np.array([9, 9], dtype=np.int32), "") == (0, 0)
    assert tier.restore(_slot(3, []), np.array([9], dtype=np.int32), "") == 0


def test_nothing_is_kept_twice_and_short_ones_not_at_all() -> None:
    states = States()
    tier = HostTier(states, 10**6)
    tier.offer(_slot(1, LONG[: SHORTEST - 1]))
    assert states.saves == 0
    tier.offer(_slot(1, LONG[:70]))
    tier.offer(_slot(1, LONG))
    tier.offer(_slot(1, LONG[:80]))
    assert states.saves == 2
    assert tier.bytes == 100 * SHORTEST


def test_the_budget_holds_and_the_oldest_goes() -> None:
    tier = HostTier(States(), 3 * 100 * SHORTEST)
    for start in range(5):
        tier.offer(_slot(1, [start, *LONG]))
    assert tier.bytes <= 3 * 100 * SHORTEST
    assert tier.best(np.array([0, *LONG], dtype=np.int32), "")[0] == 0
    assert tier.best(np.array([4, *LONG], dtype=np.int32), "")[0] == 101
    HostTier(States(), 10).offer(_slot(1, LONG))


def test_tenants_are_kept_apart_when_wanted() -> None:
    prompt = np.array(LONG, dtype=np.int32)
    for isolate, expected in ((True, 0), (False, 100)):
        tier = HostTier(States(), 10**6, isolate=isolate)
        tier.offer(_slot(1, LONG, "a"))
        assert tier.best(prompt, "b")[0] == expected
        assert tier.best(prompt, "a")[0] == 100


def test_files_outlive_the_process_and_bad_ones_are_dropped(tmp_path: Path) -> None:
    first = HostTier(States(), 10**6, folder=tmp_path)
    first.offer(_slot(1, LONG))
    first.offer(_slot(2, [9, *LONG]))
    (tmp_path / "bad.state").write_bytes(b"\xff\xff\xff\xff nonsense")
    whole = sorted(tmp_path.glob("[0-9]*.state"))
    whole[0].write_bytes(whole[0].read_bytes()[:-5])
    again = HostTier(States(), 10**6, folder=tmp_path)
    assert len(list(tmp_path.glob("*.state"))) == 1
    found = [again.best(np.array(p, dtype=np.int32), "")[0] for p in (LONG, [9, *LONG])]
    assert sorted(found) == [0, 101] or sorted(found) == [0, 100]


def test_a_state_that_does_not_load_is_forgotten() -> None:
    states = States()
    states.works = False
    tier = HostTier(states, 10**6)
    tier.offer(_slot(1, LONG))
    assert tier.restore(_slot(2, []), np.array(LONG, dtype=np.int32), "") == 0
    assert tier.bytes == 0


@pytest.mark.parametrize("unified", [True, False])
def test_with_a_real_model_it_changes_nothing_but_the_work(
    bench: Callable[..., Any], assert_same: Callable[..., None], unified: bool
) -> None:
    prompt = "a long prompt to come back to " * 6
    plain = bench(unified=unified)
    number = plain.submit(prompt)
    plain.run()
    one = bench(unified=unified, n_seq=2, n_ctx=1024)
    one.kv.tier = HostTier(one.context, 10**8)
    first = one.submit(prompt)
    one.run()
    for filler in "xyz":
        one.submit(filler * 300)
        one.run()
    again = one.submit(prompt)
    one.run()
    assert one.kv.tier.restored == 1
    assert one.done[again].cached_tokens == one.done[first].prompt_tokens - 1
    assert_same(plain.tokens(number), one.tokens(again))
    one.check_empty()


def test_it_survives_unload_and_reload(tiny_path: Path, tmp_path: Path) -> None:
    setup = Setup(n_ctx=2048, n_seq=2, threads=1, host_cache=10**8, host_cache_dir=str(tmp_path / "states"))
    request = Generate(prompt="remember this " * 20, max_tokens=4, sampling=Sampling(temperature=0, ignore_eos=True))

    async def once() -> int:
        engine = Engine(str(tiny_path), setup)
        await engine.start()
        generation = engine.submit(request)
        while await generation.next() is not None:
            pass
        await engine.stop()
        assert generation.usage is not None
        return generation.usage.cached_tokens

    assert asyncio.run(once()) == 0
    assert asyncio.run(once()) > 200

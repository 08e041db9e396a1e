"""Long and short calls side by side."""

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.llama.spec import Setup
from adapters.llama.turns import Turns, pass_cells


class _Choice:
    def __init__(self, n: int) -> None:
        self.slot = SimpleNamespace(n=n)
        self.done = False


def _running(*lengths: int) -> list[Any]:
    return [_Choice(n) for n in lengths]


def _groups(running: list[Any], cells: float) -> list[list[int]]:
    """The lengths of those that each step takes, until everybody has had a turn."""
    turns, out = Turns(cells), []
    while True:
        group = turns.now(running)
        out.append([choice.slot.n for choice in group])
        turns.took(running, group)
        if not turns.due:
            return out


def test_who_is_together() -> None:
    short = [300, 310, 280, 300, 320, 290, 300, 305]
    assert _groups(_running(4000, *short), 4000) == [short, [4000]]
    assert _groups(_running(4000, *short), 0) == [[4000, *short]], "not where it costs nothing"
    assert _groups(_running(4000, 300), 4000) == [[4000, 300]], "not for one"
    assert _groups(_running(700, *short), 4000) == [[700, *short]], "not for a little"
    assert _groups(_running(4000, *short, 3900), 4000) == [short, [4000, 3900]]
    assert _groups(_running(*short, 3000, *[1500] * 9), 4000) == [short, [1500] * 9, [3000]]
    assert _groups([], 4000) == [[]]
    assert _groups(_running(5), 4000) == [[5]]


def test_everybody_has_one_turn_in_a_round_whoever_ends_or_begins() -> None:
    rng = random.Random(5)
    turns, running = Turns(2000), _running(*[rng.choice([50, 900, 4000]) for _ in range(12)])
    rounds = []
    while len(rounds) < 200:
        at_first, had = list(running), []
        while not had or turns.due:
            group = turns.now(running)
            assert group == [choice for choice in running if choice in group], "in order, and running"
            turns.took(running, group)
            had += group
            for choice in group:
                choice.slot.n += 1
            if rng.random() < 0.3:
                running.pop(rng.randrange(len(running))).done = True
                running += _running(rng.choice([50, 900, 4000]))
        assert all(sum(one is other for other in had) == 1 for one in at_first if not one.done)
        assert len({id(choice) for choice in had}) == len(had)
        rounds.append(len(had))
    assert max(rounds) > 8


def test_a_pass_in_cells() -> None:
    plain = Setup(flash_attention=False)
    assert pass_cells(plain, 100_000_000, 12_288) == pytest.approx(4069, abs=1)
    assert pass_cells(plain, 1000, 0) == 500, "a model without keys and values has nothing to gain"
    assert pass_cells(Setup(flash_attention=False, unified=True), 1000, 1) == 0, "rows share what they read"
    assert pass_cells(Setup(), 1000, 1) == pass_cells(Setup(flash_attention=True), 1000, 1) == 0


def test_a_long_call_has_steps_of_its_own_and_says_the_same(
    bench: Callable[..., Any], assert_same: Callable[..., None]
) -> None:
    settings = {"n_seq": 6, "n_ctx": 6 * 2048, "n_batch": 2048, "flash_attention": False}
    prompts = ["w" * 1900, *(f"stream {i}" for i in range(5))]
    one = bench(**settings)
    numbers = [one.submit(text, limit=40, ignore_eos=True) for text in prompts]
    seen: list[list[int]] = []
    decode = one.context.decode
    one.context.decode = lambda rows: (seen.append(sorted(set(one.context.batch.seq[:rows].tolist()))), decode(rows))[1]
    while not all(one.tokens(number) for number in numbers):
        one.step()
    del seen[:]
    for _ in range(20):
        one.step()
        one.check()
    [long] = {seq for rows in seen if len(rows) == 1 for seq in rows}
    assert [len(rows) for rows in seen] in ([5, 1] * 10, [1, 5] * 10)
    assert all((long in rows) == (len(rows) == 1) for rows in seen)
    late = one.submit("z" * 600, limit=2)
    one.run()
    assert [one.finish(number) for number in (*numbers, late)] == ["length"] * 7
    one.check_empty()
    for number, text in zip(numbers, prompts, strict=True):
        alone = bench(**settings)
        same = alone.submit(text, limit=40, ignore_eos=True)
        alone.run()
        assert_same(one.tokens(number), alone.tokens(same))

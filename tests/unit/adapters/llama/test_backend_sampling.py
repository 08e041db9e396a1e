"""Tokens that are drawn in the graph: on a CPU they are the same ones, which is how this is tested without a GPU."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from adapters.llama.backend_sampling import can
from adapters.llama.job import Prepared
from adapters.llama.spec import Sampling
from adapters.llama.text import SplitterOptions

PLAIN = {"logprobs": False, "top_logprobs": 0}
PROMPTS = [f"the thing number {i} " * (1 + i % 5) for i in range(6)]


def _bench(bench: Callable[..., Any], **more: Any) -> Any:
    one = bench(**more)
    assert one.scheduler.device.try_out(max(one.model.vocab.bos, 0)), "every sampler has a kernel on the CPU"
    assert one.context.pos_max(0) == -1, "the trial leaves nothing behind"
    return one


def _texts(one: Any, **sampling: Any) -> list[str]:
    numbers = [one.submit(prompt, limit=24, **(PLAIN | sampling)) for prompt in PROMPTS]
    one.run()
    one.check_empty()
    return [one.text(number) for number in numbers]


@pytest.mark.parametrize("unified", [False, True])
def test_the_likeliest_tokens_are_the_same(bench: Callable[..., Any], unified: bool) -> None:
    here = _texts(bench(unified=unified), temperature=0.0)
    there = _texts(_bench(bench, unified=unified), temperature=0.0)
    # a near tie may go either way in another graph; most must agree, to the end
    assert sum(a == b for a, b in zip(here, there, strict=True)) >= len(PROMPTS) - 1


def test_a_seed_repeats_and_another_differs(bench: Callable[..., Any]) -> None:
    settings = {"temperature": 1.3, "top_p": 0.95, "ignore_eos": False}
    one = _bench(bench)
    number = one.submit("draw", limit=30, seed=7, **PLAIN, **settings)
    again = _bench(bench)
    same = again.submit("draw", limit=30, seed=7, **PLAIN, **settings)
    other = again.submit("draw", limit=30, seed=8, **PLAIN, **settings)
    one.run()
    again.run()
    assert one.text(number) == again.text(same) != again.text(other)


def test_top_k_of_one_is_greedy_at_any_temperature(bench: Callable[..., Any]) -> None:
    greedy = _texts(_bench(bench), temperature=0.0)
    narrow = _texts(_bench(bench), temperature=2.0, top_k=1)
    assert greedy == narrow


def test_calls_with_and_without_go_together(bench: Callable[..., Any], assert_same: Callable[..., None]) -> None:
    one = _bench(bench)
    drawn = [one.submit(prompt, limit=20, temperature=1.0, seed=i, **PLAIN) for i, prompt in enumerate(PROMPTS[:3])]
    ours = [one.submit(prompt, limit=20, logit_bias={70: 1.0}) for prompt in PROMPTS[3:]]
    one.step()
    chains = one.scheduler.device._chains
    assert len(chains) == 3
    one.run()
    assert not chains, "a sampler outlives its call"
    assert all(one.finish(number) for number in [*drawn, *ours])
    alone = bench()
    expected = [alone.submit(prompt, limit=20, logit_bias={70: 1.0}) for prompt in PROMPTS[3:]]
    alone.run()
    for a, b in zip(ours, expected, strict=True):
        assert_same(one.tokens(a), alone.tokens(b))


def test_cancelled_calls_leave_no_sampler(bench: Callable[..., Any]) -> None:
    one = _bench(bench)
    rng = random.Random(3)
    for _ in range(60):
        number = one.submit("x" * rng.randrange(1, 200), limit=rng.randrange(1, 20), temperature=0.7, **PLAIN)
        for _ in range(rng.randrange(3)):
            one.step()
        if rng.random() < 0.5:
            one.scheduler.cancel(number)
    one.run()
    assert not one.scheduler.device._chains
    one.check_empty()


def _call(**changes: Any) -> Prepared:
    sampling = {name: changes.pop(name) for name in list(changes) if name in Sampling.__struct_fields__}
    given = {"n": 1, "limit": 4, "splitter": SplitterOptions(), "seed": 1} | changes
    return Prepared(id=1, prompt=None, sampling=Sampling(**sampling), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "plain", [{}, {"temperature": 0.0}, {"top_k": 5, "top_p": 0.5, "min_p": 0.1}, {"stop": ("x",)}]
)
def test_calls_that_can_have_it(plain: dict[str, Any]) -> None:
    assert can(_call(**plain))


@pytest.mark.parametrize(
    "special",
    [
        {"n": 2},
        {"grammar": object()},
        {"close_tokens": (1,)},
        {"logprobs": True},
        {"logit_bias": {1: 1.0}},
        {"ignore_eos": True},
        {"min_tokens": 1},
        {"repetition_penalty": 1.1},
        {"frequency_penalty": 0.1},
        {"presence_penalty": 0.1},
        {"min_temp": 0.1, "max_temp": 2.0},
    ],
)
def test_calls_that_cannot(special: dict[str, Any]) -> None:
    assert not can(_call(**special))

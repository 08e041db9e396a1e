"""Continuous batching with a real model: what one call gets must not depend on the others, and nothing may leak."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from adapters.llama import spec
from adapters.llama.constraint import Constraint
from adapters.llama.pace import Pace

PROMPTS = [f"the thing number {i} " * (1 + i % 7) for i in range(12)]


def _alone(bench: Callable[..., Any], prompts: list[str], **more: Any) -> list[Any]:
    out = []
    one = bench(**more)
    for prompt in prompts:
        number = one.submit(prompt, limit=24)
        one.run()
        out.append(one.tokens(number))
    return out


@pytest.mark.parametrize("unified", [False, True])
@pytest.mark.parametrize("chunk", [16, 64, 512])
def test_together_as_alone(
    bench: Callable[..., Any], assert_same: Callable[..., None], unified: bool, chunk: int
) -> None:
    alone = _alone(bench, PROMPTS, unified=unified, chunk=512)
    together = bench(unified=unified, chunk=chunk)
    numbers = [together.submit(prompt, limit=24) for prompt in PROMPTS]
    together.run()
    for expected, number in zip(alone, numbers, strict=True):
        assert_same(expected, together.tokens(number))
    together.check_empty()


@pytest.mark.parametrize("unified", [False, True])
def test_the_cache_changes_nothing_but_the_work(
    bench: Callable[..., Any], assert_same: Callable[..., None], unified: bool
) -> None:
    one = bench(unified=unified)
    prompt = "a prompt that is asked twice, word for word"
    first = one.submit(prompt)
    one.run()
    again = one.submit(prompt)
    one.run()
    assert one.done[first].cached_tokens == 0
    assert one.done[again].cached_tokens == one.done[again].prompt_tokens - 1
    assert_same(one.tokens(first), one.tokens(again))
    longer = one.submit(prompt + " and then some more")
    one.run()
    assert one.done[longer].cached_tokens >= one.done[first].prompt_tokens - 2
    fresh = bench(unified=unified)
    number = fresh.submit(prompt + " and then some more")
    fresh.run()
    assert_same(fresh.tokens(number), one.tokens(longer))
    one.check_empty()


@pytest.mark.parametrize("unified", [False, True])
def test_a_long_prefix_is_shared_with_a_busy_call(
    bench: Callable[..., Any], assert_same: Callable[..., None], unified: bool
) -> None:
    prefix = "system text that everybody has in common " * 8
    one = bench(unified=unified)
    running = one.submit(prefix + "first", limit=100, ignore_eos=True)
    for _ in range(12):
        one.step()
    second = one.submit(prefix + "second", limit=12)
    one.run()
    assert one.done[second].cached_tokens >= one.done[second].prompt_tokens - 8
    alone = bench(unified=unified)
    number = alone.submit(prefix + "second", limit=12)
    alone.run()
    assert_same(alone.tokens(number), one.tokens(second))
    assert one.done[running].completion_tokens == 100
    one.check_empty()


def test_calls_that_begin_alike_wait_for_the_first_prompt(bench: Callable[..., Any]) -> None:
    one = bench(chunk=64, n_batch=64)
    prefix = "the same long beginning of a prompt " * 10
    numbers = [one.submit(prefix + str(i), limit=4) for i in range(6)]
    one.run()
    assert one.done[numbers[0]].cached_tokens == 0
    for number in numbers[1:]:
        assert one.done[number].cached_tokens >= one.done[number].prompt_tokens - 4, "each read the whole prompt again"
    one.check_empty()


def test_tenants_share_no_prefix_when_isolated(bench: Callable[..., Any]) -> None:
    one = bench(isolate_cache=True)
    first = one.submit("a private prompt of somebody", tenant="a")
    one.run()
    other = one.submit("a private prompt of somebody", tenant="b")
    own = one.submit("a private prompt of somebody", tenant="a")
    one.run()
    assert one.done[first].cached_tokens == one.done[other].cached_tokens == 0
    assert one.done[own].cached_tokens > 0


@pytest.mark.parametrize("unified", [False, True])
def test_four_choices_at_temperature_zero_are_equal(bench: Callable[..., Any], unified: bool) -> None:
    one = bench(unified=unified)
    number = one.submit("tell me four times", n=4, limit=20)
    one.run()
    texts = [[entry.piece for entry in one.tokens(number, choice)] for choice in range(4)]
    assert texts[0] == texts[1] == texts[2] == texts[3]
    assert one.scheduler.prefilled == one.done[number].prompt_tokens, "the prompt is read once for all"
    one.check_empty()


@pytest.mark.parametrize("unified", [False, True])
def test_a_seed_repeats_and_choices_differ(bench: Callable[..., Any], unified: bool) -> None:
    def draw(seed: int) -> list[str]:
        one = bench(unified=unified)
        number = one.submit("draw", n=4, limit=30, temperature=1.5, seed=seed, ignore_eos=True)
        one.run()
        return [one.text(number, choice) for choice in range(4)]

    first = draw(7)
    assert first == draw(7)
    assert len(set(first)) == 4
    assert first != draw(8)


@pytest.mark.parametrize("unified", [False, True])
def test_cancel_in_every_phase(bench: Callable[..., Any], assert_same: Callable[..., None], unified: bool) -> None:
    alone = _alone(bench, ["keep me whole"], unified=unified)[0]
    one = bench(unified=unified, n_seq=4, n_ctx=2048, chunk=16, n_batch=64)
    kept = one.submit("keep me whole", limit=24)
    one.step()
    prefilling = one.submit("x" * 300, limit=8)
    one.step()
    one.step()
    decoding = one.submit("y", limit=200, ignore_eos=True, n=2)
    for _ in range(30):
        if one.tokens(decoding):
            break
        one.step()
    queued = one.submit("z", limit=8)
    assert one.scheduler.waiting >= 1 or one.scheduler.running
    for number in (queued, prefilling, decoding):
        one.scheduler.cancel(number)
        one.step()
        one.check()
        assert number not in one.scheduler._jobs
    one.run()
    for number in (queued, prefilling, decoding):
        assert number not in one.done
    assert_same(alone, one.tokens(kept))
    one.check_empty()


def _random_call(one: Any, rng: random.Random, most: int) -> int:
    prompt = np.array([rng.randrange(97, 122) for _ in range(rng.randrange(1, most))])
    if rng.random() < 0.5:  # half of them begin alike, so that the cache is used
        prompt[: len(prompt) // 2] = 99
    return int(
        one.submit(
            prompt,
            n=rng.choice([1, 1, 1, 2, 3]),
            limit=rng.randrange(1, 40),
            temperature=rng.choice([0.0, 1.0]),
            stop=rng.choice([(), ("the", "in")]),
            logprobs=rng.random() < 0.3,
            tenant=rng.choice("ab"),
            priority=rng.choice([0, 1]),
            grammar=rng.choice([None, one.shared_grammar]),
        )
    )


@pytest.mark.parametrize("unified", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_fuzz_keeps_every_invariant(bench: Callable[..., Any], unified: bool, seed: int) -> None:
    rng = random.Random(seed)
    before = Constraint.alive
    one = bench(unified=unified, n_seq=6, n_ctx=2560 if not unified else 900, chunk=32, n_batch=64, reserve=16)
    one.shared_grammar = one.grammar('root ::= [a-z "{}:,0-9]*')
    submitted: list[int] = []
    cancelled: set[int] = set()
    for turn in range(700):
        if rng.random() < 0.35:
            submitted.append(_random_call(one, rng, 200))
        if submitted and rng.random() < 0.1:
            victim = rng.choice(submitted)
            if victim not in one.done:
                cancelled.add(victim)
                one.scheduler.cancel(victim)
        one.step()
        if turn % 7 == 0:
            one.check()
    one.run()
    one.check_empty()
    assert Constraint.alive == before
    for number in submitted:
        ended = (number in one.done) + (number in one.errors)
        assert ended == 1 or (number in cancelled and ended == 0), f"call {number} ended {ended} times"
    assert not one.errors


def test_a_thousand_cancels_leak_nothing(bench: Callable[..., Any]) -> None:
    rng = random.Random(3)
    before = Constraint.alive
    one = bench(n_seq=8, n_ctx=4096, chunk=32, n_batch=128)
    one.shared_grammar = one.grammar("root ::= [a-z]*")
    live: list[int] = []
    cancels = 0
    while cancels < 1000:
        while len(live) < 12:
            live.append(_random_call(one, rng, 60))
        for _ in range(rng.randrange(3)):
            one.step()
        number = live.pop(rng.randrange(len(live)))
        one.scheduler.cancel(number)
        cancels += 1
    for number in live:
        one.scheduler.cancel(number)
    one.step()
    one.check_empty()
    assert Constraint.alive == before
    assert not one.scheduler._owner


def test_a_full_memory_makes_calls_wait_and_none_fail(bench: Callable[..., Any]) -> None:
    one = bench(unified=True, n_seq=8, n_ctx=512, reserve=64, n_batch=256)
    numbers = [one.submit("p" * 100 + str(i), limit=60, ignore_eos=True) for i in range(10)]
    one.step()
    assert one.scheduler.waiting > 0
    one.run()
    assert not one.errors
    assert all(one.done[number].completion_tokens == 60 for number in numbers)
    one.check_empty()


def test_calls_that_outlive_their_reservation_end_with_length_and_not_with_an_error(bench: Callable[..., Any]) -> None:
    one = bench(unified=True, n_seq=4, n_ctx=512, reserve=32, n_batch=256)
    numbers = [one.submit("q" * 20 + str(i), limit=480, ignore_eos=True) for i in range(4)]
    one.run()
    assert not one.errors
    assert {one.finish(number) for number in numbers} == {"length"}
    assert max(one.done[number].completion_tokens for number in numbers) == 480
    one.check_empty()


def test_what_can_never_fit_is_refused_at_once(bench: Callable[..., Any]) -> None:
    one = bench(unified=True, n_seq=4, n_ctx=512, reserve=200)
    number = one.submit("r" * 400, limit=200, n=1)
    assert not one.scheduler.busy
    one.step()
    assert one.errors[number] == spec.CONTEXT


def test_no_room_in_llama_cpp_is_survived(bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Return code 1 for the first decodes: idle slots go first, then prompts shrink, and all calls still end well."""
    one = bench(unified=True, n_seq=4, n_ctx=1024)
    one.submit("fill a slot with something", limit=4)
    one.run()
    decode, refused = one.context.decode, []

    def sometimes_full(rows: int) -> int:
        if len(refused) < 3:
            refused.append(rows)
            return 1
        return int(decode(rows))

    monkeypatch.setattr(one.context, "decode", sometimes_full)
    number = one.submit("s" * 90, limit=8, ignore_eos=True)
    one.run()
    assert one.done[number].completion_tokens == 8
    assert refused[2] < refused[0]
    one.check_empty()


def test_a_refused_batch_fails_its_calls_and_no_others(bench: Callable[..., Any]) -> None:
    one = bench(n_seq=4, n_ctx=2048)
    real = one.context.decode
    bad = one.submit("t" * 10, limit=4)
    one.context.decode = lambda rows: -1
    one.step()
    one.context.decode = real
    assert one.errors[bad] == spec.SERVER
    good = one.submit("t" * 10, limit=4, ignore_eos=True)
    one.run()
    assert one.done[good].completion_tokens == 4
    one.check_empty()


def test_stop_strings_ids_and_length(bench: Callable[..., Any]) -> None:
    one = bench()
    free = one.submit("go on", limit=40, ignore_eos=True)
    one.run()
    text = one.text(free)
    stop = text[10:13]
    stopped = one.submit("go on", limit=40, ignore_eos=True, stop=(stop,))
    one.run()
    assert one.finish(free) == "length"
    assert one.done[free].completion_tokens == 40
    assert one.finish(stopped) == "stop"
    assert one.text(stopped) == text[: text.index(stop)]
    pieces = one.model.vocab.pieces
    place, token = next(
        (i, pieces.index(entry.piece)) for i, entry in enumerate(one.tokens(free)) if pieces.count(entry.piece) == 1
    )
    by_id = one.submit("go on", limit=40, ignore_eos=True, stop_token_ids=(token,))
    one.run()
    assert one.finish(by_id) == "stop"
    assert one.done[by_id].completion_tokens <= place + 1


def test_bias_forces_and_bans(bench: Callable[..., Any]) -> None:
    one = bench()
    forced = one.submit("bias", limit=10, logit_bias={98: 100.0})
    one.run()
    assert one.text(forced) == one.model.vocab.pieces[98].decode() * 10
    free = one.submit("bias", limit=10, ignore_eos=True)
    one.run()
    likeliest = one.model.vocab.pieces.index(one.tokens(free)[0].piece)
    banned = one.submit("bias", limit=10, logit_bias={likeliest: -100.0}, ignore_eos=True)
    one.run()
    assert one.tokens(banned)[0].piece != one.model.vocab.pieces[likeliest]
    eog = one.model.vocab.eog_set
    ended = one.submit("bias", limit=10, logit_bias={min(eog): 100.0})
    never = one.submit("bias", limit=10, logit_bias={min(eog): 100.0}, ignore_eos=True)
    later = one.submit("bias", limit=10, logit_bias={min(eog): 100.0}, min_tokens=4)
    one.run()
    assert (one.finish(ended), one.done[ended].completion_tokens) == ("stop", 1)
    assert (one.finish(never), one.done[never].completion_tokens) == ("length", 10)
    assert (one.finish(later), one.done[later].completion_tokens) == ("stop", 5)


def test_logprobs_are_what_numpy_says(bench: Callable[..., Any]) -> None:
    one = bench()
    rows: list[np.ndarray] = []
    logits = one.context.logits

    def spy(outputs: int) -> np.ndarray:
        out = logits(outputs)
        rows.append(out[0].copy())
        return np.asarray(out)

    one.context.logits = spy
    number = one.submit("log", limit=12, top_logprobs=5, ignore_eos=True)
    one.run()
    entries = one.tokens(number)
    assert len(entries) == 12
    for entry, row in zip(entries, rows, strict=True):
        exact = row.astype(np.float64) - row.max()
        exact -= np.log(np.exp(exact).sum())
        token = int(row.argmax())
        assert entry.piece == one.model.vocab.pieces[token]
        assert entry.logprob == pytest.approx(exact[token], abs=1e-5)
        assert entry.top[0][1] == pytest.approx(entry.logprob)
        assert sum(np.exp(value) for _, value in entry.top) <= 1.0 + 1e-6
        assert [value for _, value in entry.top] == pytest.approx(sorted(exact)[::-1][:5], abs=1e-5)


def test_deadlines(bench: Callable[..., Any]) -> None:
    now = 100.0
    one = bench(n_seq=1, n_ctx=1024)
    one.scheduler.clock = lambda: now
    running = one.submit("u", limit=500, ignore_eos=True, deadline=110.0)
    one.step()
    queued = one.submit("v", limit=5, queue_deadline=105.0)
    one.step()
    assert not one.errors
    now = 106.0
    one.step()
    assert one.errors == {queued: spec.TIMEOUT}
    now = 111.0
    one.step()
    assert one.errors[running] == spec.TIMEOUT
    one.check_empty()


def test_high_priority_goes_first(bench: Callable[..., Any]) -> None:
    one = bench(n_seq=1, n_ctx=1024)
    first = one.submit("first", limit=3, ignore_eos=True)
    one.step()
    low = one.submit("low", limit=3, ignore_eos=True, priority=1)
    high = one.submit("high", limit=3, ignore_eos=True)
    order: list[int] = []
    while one.scheduler.busy:
        one.step()
        order += [number for number in one.done if number not in order]
    assert order == [first, high, low]


@pytest.mark.parametrize("unified", [False, True])
def test_a_long_prompt_does_not_stall_running_streams(bench: Callable[..., Any], unified: bool) -> None:
    """Every running stream gets a token in every step, or, where prompts have steps of their own, in every other one."""
    one = bench(n_seq=9, n_ctx=9 * 2048, chunk=64, n_batch=512, unified=unified)
    streams = [one.submit(f"stream {i}", limit=150, ignore_eos=True) for i in range(8)]
    while any(len(one.tokens(number)) < 5 for number in streams):
        one.step()
    one.submit("w" * 1800, limit=4)
    for _ in range(20):
        before = [len(one.tokens(number)) for number in streams]
        one.step()
        if not unified:
            one.step()
        after = [len(one.tokens(number)) for number in streams]
        assert all(b + 1 == a for b, a in zip(before, after, strict=True))
    assert one.scheduler.running == 9, "the long prompt is not being read at the same time"


def test_rows_stand_by_sequence(bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp computes together only what stands in consecutive sequences: whoever ends, the rest stay in order."""
    one = bench()
    seen: list[list[int]] = []
    decode = one.context.decode

    def spy(rows: int) -> int:
        seen.append(one.context.batch.seq[:rows].tolist())
        return int(decode(rows))

    monkeypatch.setattr(one.context, "decode", spy)
    rng = random.Random(3)
    for i in range(40):
        one.submit(f"{i} " * rng.randint(1, 30), limit=rng.randint(1, 30), ignore_eos=True, n=1 + i % 2)
        for _ in range(rng.randint(0, 6)):
            one.step()
    one.run()
    assert all(rows == sorted(rows) for rows in seen)
    assert max(len(set(rows)) for rows in seen) == 8


def test_short_prompts_do_not_wait_for_a_long_one(bench: Callable[..., Any]) -> None:
    one = bench(n_ctx=8 * 2048, chunk=256)
    long = one.submit("a long prompt " * 120, limit=4)
    short = [one.submit(f"short {i}", limit=4) for i in range(3)]
    running = one.submit("running", limit=60, ignore_eos=True)
    done: list[int] = []
    while one.scheduler.busy:
        one.step()
        done += [number for number in [long, *short, running] if number in one.done and number not in done]
    assert done.index(long) > max(done.index(number) for number in short)
    assert len(done) == 5


def test_a_burst_is_read_in_few_steps(bench: Callable[..., Any]) -> None:
    """Four prompts beside as many running calls: together, not in crumbs that keep the streams smooth."""
    one = bench(n_ctx=8 * 2048)
    for i in range(4):
        one.submit(f"{i}" * 40, limit=150, ignore_eos=True)
    one.step()
    pace = Pace(256, 2.5)  # as on a machine where a step takes 10 ms and each token of a prompt 1 ms more
    pace.observe(0, 100, 0.1)
    pace.observe(4, 0, 0.01)
    one.scheduler.pace = pace
    pace.observe = lambda *_: None  # type: ignore[method-assign]
    numbers = [one.submit(f"{i} " * 100, limit=1) for i in range(4)]
    before = one.scheduler.steps
    while not all(number in one.done for number in numbers):
        one.step()
    crumbs = 4 * 200 / 8  # steps, at the least that a step may carry
    assert one.scheduler.steps - before < crumbs / 2

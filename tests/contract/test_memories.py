"""The prefix cache over real memories that are not plain: a sliding window, a recurrent state, and both kinds in one.

The reference is an engine that keeps tenants apart, with a tenant for every call: there nothing is ever reused.
"""

import asyncio
import random
from pathlib import Path

import pytest

from adapters.llama.spec import Generate, Sampling, Setup, TokenLogprob, Usage
from adapters.llama.supervisor import Engine
from fakes.gguf_memories import HYBRID, RECURRENT, WINDOWED, build
from fakes.gguf_model import Shape

# Tokens of each prompt of the conversation below that are reused, by what the memory is and whether one pool is shared.
CUT_ANYWHERE = [0, 923, 943, 400, 399, 430, 0, 50]
CUT_IN_THE_WINDOW = [0, 923, 943, 0, 0, 430, 0, 50]
NEVER_CUT = [0, 923, 0, 0, 0, 0, 0, 50]
REUSED = {"windowed": (CUT_IN_THE_WINDOW, CUT_ANYWHERE), "recurrent": (NEVER_CUT,) * 2, "hybrid": (NEVER_CUT,) * 2}
SHAPES = {"windowed": WINDOWED, "recurrent": RECURRENT, "hybrid": HYBRID}
GAP = 0.2  # nats: below it, which of two tokens is likelier may depend on the shape of the batch
LETTERS = 256  # the vocabulary's first tokens, one a byte
Answer = tuple[list[TokenLogprob], Usage]


@pytest.fixture(scope="module", params=SHAPES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    shape: Shape = SHAPES[request.param]
    return request.param, build(tmp_path_factory.mktemp("models") / f"{request.param}.gguf", shape)


def text(seed: int, size: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(97, 123) for _ in range(size)]


async def answers(
    path: Path, calls: list[tuple[list[int], int]], reuse: bool, at_once: int = 1, unified: bool = False
) -> list[Answer]:
    """Of prompts and the tokens that each may answer; the memory of a window is far smaller than the longest prompt."""
    setup = Setup(n_ctx=8 * 2048, n_seq=8, threads=1, chunk=64, n_ubatch=64, isolate_cache=not reuse, unified=unified)
    engine = Engine(str(path), setup)
    await engine.start()
    gate = asyncio.Semaphore(at_once)
    # letters only, so that an answer can be said again token by token
    sampling = Sampling(
        temperature=0, logprobs=True, top_logprobs=2, logit_bias=dict.fromkeys(range(LETTERS, 320), -100.0)
    )

    async def one(number: int) -> Answer:
        prompt, most = calls[number]
        tenant = "" if reuse else f"caller {number}"
        async with gate:
            asked = Generate(tokens=prompt, max_tokens=most, sampling=sampling, tenant=tenant)
            generation = engine.submit(asked)
            tokens: list[TokenLogprob] = []
            while (deltas := await generation.next()) is not None:
                tokens += [entry for delta in deltas for entry in delta.logprobs or []]
            assert generation.usage is not None
            return tokens, generation.usage

    try:
        return list(await asyncio.gather(*(one(number) for number in range(len(calls)))))
    finally:
        await engine.stop()


def compare(alone: list[Answer], cached: list[Answer]) -> None:
    """Equal tokens; where two answers part, the two likeliest were all but equally likely, and that is rare."""
    parted = 0
    for (left, _), (right, _) in zip(alone, cached, strict=True):
        for a, b in zip(left, right, strict=False):
            if a.piece != b.piece:
                assert abs(a.top[0][1] - a.top[1][1]) < GAP
                parted += 1
                break
            assert abs(a.logprob - b.logprob) < GAP
        else:
            assert len(left) == len(right)
    assert parted <= len(alone) // 8


@pytest.mark.parametrize("unified", [False, True], ids=["split", "unified"])
def test_the_cache_changes_no_answer(model: tuple[str, Path], unified: bool) -> None:
    """One after the other: what is reused is what this memory can give, and the answers are those without it."""
    name, path = model
    long = text(1, 900)
    said = asyncio.run(answers(path, [(long, 24)], reuse=False, unified=unified))[0][0]
    turn = long + [entry.piece[0] for entry in said] + text(2, 20)
    calls = [
        (long, 24),
        (turn, 24),  # the conversation goes on
        (turn, 24),  # asked again: the end of the sequence is cut
        (long[:400] + text(3, 30), 24),  # parts far behind the window
        (long[:400], 24),
        (long[:400] + text(3, 30) + text(4, 9), 24),
        (text(5, 50), 1),
        (text(5, 50) + text(6, 10), 24),
    ]
    alone = asyncio.run(answers(path, calls, reuse=False, unified=unified))
    cached = asyncio.run(answers(path, calls, reuse=True, unified=unified))
    compare(alone, cached)
    assert [usage.cached_tokens for _, usage in alone] == [0] * len(calls)
    assert [usage.cached_tokens for _, usage in cached] == REUSED[name][unified]


@pytest.mark.parametrize("unified", [False, True], ids=["split", "unified"])
def test_together_with_the_cache_is_alone_without(model: tuple[str, Path], unified: bool) -> None:
    """Eight at once, sharing, copying and evicting."""
    rng = random.Random(7)
    heads = [text(1, 300), text(2, 500), text(3, 5), text(1, 150)]
    calls = [(rng.choice(heads) + text(9, rng.randrange(1, 12)), rng.choice((1, 8, 24))) for _ in range(24)]
    alone = asyncio.run(answers(model[1], calls, reuse=False, unified=unified))
    cached = asyncio.run(answers(model[1], calls, reuse=True, at_once=8, unified=unified))
    compare(alone, cached)
    assert sum(usage.cached_tokens for _, usage in cached) > 1000

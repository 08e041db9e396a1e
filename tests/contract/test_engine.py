"""The engine's promises with a trained model: what one call says depends on nobody else, in any mode.

All but a few answers must be equal token by token, and where one is not, the two likeliest tokens must have been all but
equally likely (under 0.2 nats apart: float sums depend on the batch). Random weights are asked for structured output,
since nothing tries a grammar harder.
"""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jiter
import jsonschema
import pytest
import pytest_asyncio

from adapters.llama.spec import Delta, Generate, Sampling, Setup, TokenLogprob, Usage
from adapters.llama.supervisor import Engine
from adapters.llama.text import Text, ToolArgs, ToolStart
from fakes.gguf_model import HERMES, Shape, build

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "adapters" / "llama" / "demo" / "demo.gguf"
FILES = sorted((ROOT / "tests" / "fakes" / "schemas").glob("*.json"))

ASKED = [
    *(f"What is {a} + {b}?" for a in range(3, 30, 5) for b in (4, 17, 22)),
    *(f"What is the capital of {land}?" for land in ("Japan", "France", "Italy", "Peru", "Norway", "Kenya")),
    *(f"What colour is {thing}?" for thing in ("the sky", "grass", "a lemon", "snow", "blood", "coal")),
    *("Hello", "hi there", "Thanks!", "How do I stream a response?", "Who are you?", "What is Traghetto?"),
    *(f"Return JSON: {n} is {a} years old and lives in {c}." for n, a, c in (("Maya", 33, "Oslo"), ("Leo", 7, "Rome"))),
    *("Repeat after me: one two three", "Count to five", "What day comes after Monday?", "blue and yellow make?"),
    *("why do i get 401", "write a poem", "2+2=?", "zzzz qqqq", "", "é 😀 ?"),
]
SCHEMAS = {path.stem: json.loads(path.read_text()) for path in FILES}


def _ask(question: str, **more: Any) -> Generate:
    sampling = Sampling(temperature=0, logprobs=True, top_logprobs=2)
    return Generate(
        **({"messages": [{"role": "user", "content": question}], "max_tokens": 48, "sampling": sampling} | more)
    )


async def _run(engine: Engine, request: Generate) -> tuple[list[Delta], Usage]:
    generation = engine.submit(request)
    out: list[Delta] = []
    while (deltas := await generation.next()) is not None:
        out += deltas
    assert generation.usage is not None
    return out, generation.usage


def _text(deltas: list[Delta]) -> str:
    return "".join(event.text for delta in deltas for event in delta.events if isinstance(event, Text))


def _tokens(deltas: list[Delta]) -> list[TokenLogprob]:
    return [entry for delta in deltas for entry in delta.logprobs or []]


def _first_gap(a: list[TokenLogprob], b: list[TokenLogprob]) -> float | None:
    """How far apart the two likeliest tokens were where the answers part; None if they do not."""
    for left, right in zip(a, b, strict=False):
        if left.piece != right.piece:
            return left.top[0][1] - left.top[1][1]
    return None if len(a) == len(b) else float("inf")


async def _answers(setup: Setup, at_once: int) -> list[list[TokenLogprob]]:
    engine = Engine(str(DEMO), setup)
    await engine.start()
    gate = asyncio.Semaphore(at_once)

    async def one(question: str) -> list[TokenLogprob]:
        async with gate:
            return _tokens((await _run(engine, _ask(question)))[0])

    try:
        return list(await asyncio.gather(*(one(question) for question in ASKED)))
    finally:
        await engine.stop()


@pytest.fixture(scope="module")
def alone() -> list[list[TokenLogprob]]:
    """One at a time, nothing cached from one to the next but the template's head."""
    return asyncio.run(_answers(Setup(n_ctx=1024, n_seq=1, threads=1), 1))


@pytest.mark.parametrize("unified", [False, True])
@pytest.mark.parametrize("chunk", [16, 64, 512])
@pytest.mark.parametrize("at_once", [16, 32])
def test_together_is_alone(alone: list[list[TokenLogprob]], unified: bool, chunk: int, at_once: int) -> None:
    setup = Setup(n_ctx=512 * at_once, n_seq=at_once, threads=1, unified=unified, chunk=chunk)
    together = asyncio.run(_answers(setup, at_once))
    assert len(ASKED) >= 48
    gaps = [gap for a, b in zip(alone, together, strict=True) if (gap := _first_gap(a, b)) is not None]
    assert max(gaps, default=0.0) < 0.2
    assert len(gaps) <= len(ASKED) // 10


@pytest_asyncio.fixture
async def demo() -> AsyncIterator[Engine]:
    engine = Engine(str(DEMO), Setup(n_ctx=8 * 2048, n_seq=8, threads=1))
    await engine.start()
    yield engine
    await engine.stop()


@pytest.mark.asyncio
async def test_a_warm_prefix_is_ten_times_faster(demo: Engine) -> None:
    async def first_token(text: str) -> float:
        began = time.perf_counter()
        generation = demo.submit(Generate(prompt=text, max_tokens=1, sampling=Sampling(temperature=0)))
        await generation.next()
        took = time.perf_counter() - began
        generation.cancel()
        return took

    ratios = []
    for turn in range(5):
        prompt = f"{turn} " + "and then the ferry went across the canal " * 150
        count, _ = await demo.tokenize(Generate(prompt=prompt))
        assert 1200 < count < 2040
        cold = await first_token(prompt)
        ratios.append(await first_token(prompt + "?") / cold)
    assert statistics.median(ratios) <= 0.1


@pytest.mark.asyncio
async def test_a_tool_is_called_and_its_arguments_are_json(demo: Engine) -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    for choice in ("auto", "required", {"type": "function", "function": {"name": "get_weather"}}):
        deltas, _ = await _run(demo, _ask("What is the weather in Tokyo?", tools=[tool], tool_choice=choice))
        events = [event for delta in deltas for event in delta.events]
        assert [event.name for event in events if isinstance(event, ToolStart)] == ["get_weather"]
        arguments = json.loads("".join(event.text for event in events if isinstance(event, ToolArgs)))
        assert list(arguments) == ["city"]
        assert deltas[-1].finish == "tool_calls"


@pytest_asyncio.fixture
async def wild(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """Random weights that know how to be asked for tools."""
    path = build(tmp_path_factory.mktemp("models") / "wild.gguf", Shape(template=HERMES, spread=1.0))
    engine = Engine(str(path), Setup(n_ctx=16 * 2048, n_seq=16, threads=1))
    await engine.start()
    yield engine
    await engine.stop()


async def _obeys(engine: Engine, schema: dict[str, Any], wanted: int) -> None:
    """`wanted` generations that end, of at most eight times as many: each is valid JSON for the schema. A schema that names
    itself twice can branch for ever: what is cut off at its limit is the beginning of JSON."""
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    draft = jsonschema.Draft7Validator if isinstance(schema.get("items"), list) else jsonschema.Draft202012Validator
    validator = draft(schema, format_checker=draft.FORMAT_CHECKER)

    async def one(seed: int) -> bool:
        sampling = Sampling(temperature=1.5, seed=seed)
        deltas, _ = await _run(engine, _ask("x", response_format=asked, max_tokens=1500, sampling=sampling))
        text = _text(deltas)
        if deltas[-1].finish == "stop":
            validator.validate(json.loads(text))
            return True
        assert deltas[-1].finish == "length"
        with pytest.raises(ValueError, match="EOF while parsing"):
            jiter.from_json(text.encode())
        return False

    ended = tried = 0
    while ended < wanted and tried < 8 * wanted:
        seeds = range(tried, tried + wanted - ended)
        ended += sum(await asyncio.gather(*(one(seed) for seed in seeds)))
        tried = seeds.stop
    assert ended == wanted, f"of {tried}"


@pytest.mark.asyncio
async def test_random_weights_obey_every_schema(wild: Engine) -> None:
    assert len(SCHEMAS) >= 60
    for schema in SCHEMAS.values():
        await _obeys(wild, schema, 3)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.asyncio
@pytest.mark.parametrize("name", SCHEMAS)
async def test_random_weights_obey_a_schema_fifty_times(wild: Engine, name: str) -> None:
    await _obeys(wild, SCHEMAS[name], 50)

"""How much a call can use, and what it used where nobody counted."""

from typing import Any

import pytest

from proxy import estimate
from proxy.call import ANYBODY, Call, Dialect, Ending, Operation, Plan, Served, Target, Usage, UsageSource
from proxy.catalogue import Model
from proxy.features import Features
from proxy.wire.chat import ChatRequest, Message
from proxy.wire.edits import UpscaleOrder
from proxy.wire.embeddings import EmbeddingsRequest
from proxy.wire.images import Order
from proxy.wire.speech import SpeechRequest


def call(request: Any, operation: Operation = Operation.CHAT, context: int | None = None) -> Call:
    made = Call(
        id="c",
        operation=operation,
        dialect=Dialect.OPENAI,
        request=request,
        raw=b"r" * 80,
        fields={},
        principal=ANYBODY,
    )
    model = Model(id="m", type="text", name="m", targets=(Target("u", "m"),), context_tokens=context)
    made.plan = Plan(model, model.targets, "m", "id", Features({}))
    return made


def chat(limit: int | None = None, n: int | None = None, context: int | None = None) -> Call:
    return call(ChatRequest("m", [Message("user", "x" * 40)], max_tokens=limit, n=n), context=context)


@pytest.mark.parametrize(
    ("limit", "n", "context", "most"),
    [
        (None, None, None, 4096), (7, None, None, 7), (7, 3, None, 21), (None, 2, None, 8192),
        (None, None, 110, 100), (500, None, 110, 100), (50, None, 110, 50), (None, None, 5, 0),
    ],
)  # fmt: skip
def test_the_longest_answer(limit: int | None, n: int | None, context: int | None, most: int) -> None:
    assert estimate.most_output(chat(limit, n, context), prompt=10) == most


def test_the_most_of_what_is_not_text() -> None:
    picture = call(Order(model="m", prompt="p", n=3, shape="b64_json", seed=1), Operation.IMAGES)
    assert estimate.most(picture, 0).images == 3
    speech = call(SpeechRequest("hello"), Operation.SPEECH)
    assert estimate.most(speech, 0).characters == 5
    vectors = call(EmbeddingsRequest("m", "hello"), Operation.EMBEDDINGS)
    assert estimate.most(vectors, 4) == Usage(4, source=UsageSource.ESTIMATE)


@pytest.mark.parametrize(
    ("limit", "n", "context", "capacity", "most"),
    [
        (7, None, None, 1000, 17), (7, 3, None, 1000, 31), (500, None, 110, 1000, 110), (50, None, 110, 1000, 60),
        (500, 2, None, 100, 1010),  # asked for in so many words: it can never pass, and hears so
        (None, None, None, 100_000, 4106), (None, 2, None, 100_000, 8202), (None, None, 110, 100_000, 110),
        (None, None, 50_000, 100_000, 4106), (None, 2, 110, 100_000, 210),
        (None, None, None, 1000, 1000), (None, None, None, 5, 10),  # nobody bounded it: as much as could ever pass
        (None, None, 5, 1000, 10), (7, None, 5, 1000, 10), (7, None, 5, 5, 10),  # the prompt fills the context
    ],
)  # fmt: skip
def test_what_a_bucket_of_tokens_is_asked_for(
    limit: int | None, n: int | None, context: int | None, capacity: int, most: int
) -> None:
    assert estimate.reserved_tokens(chat(limit, n, context), capacity, 10) == most


def test_vectors_and_pictures_have_no_answer_of_tokens() -> None:
    vectors = call(EmbeddingsRequest("m", "hello"), Operation.EMBEDDINGS)
    assert estimate.reserved_tokens(vectors, 1000, 4) == 4
    picture = call(Order(model="m", prompt="p", n=3, shape="b64_json", seed=1), Operation.IMAGES)
    assert estimate.reserved_tokens(picture, 1000) is None


@pytest.mark.parametrize("size", [0, 1, 399, 2048, 2049, 100_000])
def test_a_prompt_that_nobody_counted_is_guessed(size: int) -> None:
    vectors = call(EmbeddingsRequest("m", "hello"), Operation.EMBEDDINGS)
    for asking, answer in ((chat(7), 7), (vectors, 0)):
        asking.raw = b"r" * size
        assert estimate.reserved_tokens(asking, 1_000_000) == estimate.rough_prompt(asking) + answer


@pytest.mark.parametrize(
    ("scale", "unit"), [(1.0, "upscale-2x-unit"), (2.0, "upscale-2x-unit"), (4.0, "upscale-4x-unit")]
)
def test_units(scale: float, unit: str) -> None:
    order = UpscaleOrder(model="m", image=None, scale=scale)  # type: ignore[arg-type]
    assert estimate.unit_of(call(order, Operation.UPSCALE)) == unit
    assert estimate.unit_of(chat()) == "image-unit"


@pytest.mark.asyncio
async def test_a_prompt_is_counted_and_roughly_told() -> None:
    counted, _ = await estimate.prompt_tokens(chat())
    assert 10 <= counted <= 20
    assert estimate.rough_prompt(chat()) == 20, "a small body as a whole"
    large = call(ChatRequest("m", [Message("user", "x" * 4000)]))
    large.raw = b"r" * 100_000
    assert estimate.rough_prompt(large) == 1007, "of a large one the texts: it may hold pictures"
    assert estimate.rough_prompt(call(EmbeddingsRequest("m", "hello"), Operation.EMBEDDINGS)) == 20
    assert (await estimate.prompt_tokens(call(SpeechRequest("hello"), Operation.SPEECH)))[0] == 0


OWN = Usage(3, 4)


@pytest.mark.parametrize(
    ("served", "used"),
    [
        (Served(OWN, Ending.FINISHED), OWN),
        (Served(OWN, Ending.CANCELLED), OWN),
        (Served(OWN, Ending.FAILED), OWN),
        # an upstream that did not say: the prompt is ours to tell
        (Served(Usage(completion_tokens=9, source=UsageSource.ESTIMATE), Ending.FINISHED), Usage(20, 9)),
        (Served(Usage(5, 9, source=UsageSource.ESTIMATE), Ending.FINISHED), Usage(5, 9)),
        (Served(None, Ending.CANCELLED), Usage(20, 0)),
        (Served(None, Ending.CANCELLED, 2, 900), Usage(20, 5)),
        (Served(Usage(completion_tokens=0, source=UsageSource.ESTIMATE), Ending.FAILED, 1, 200), Usage()),
        (Served(None, Ending.FAILED), Usage()),
        (Served(None, Ending.FAILED, 2, 400), Usage(20, 2)),
    ],
)
def test_what_was_used(served: Served, used: Usage) -> None:
    found = estimate.used(chat(), served)
    assert (found.prompt_tokens, found.completion_tokens) == (used.prompt_tokens, used.completion_tokens)
    assert (found.source is UsageSource.ESTIMATE) == (found is not OWN)

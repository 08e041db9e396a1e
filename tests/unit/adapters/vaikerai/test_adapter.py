"""One predictions upstream: references, predictions to their end, and cancelling."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.options import VaikerAIOptions
from adapters.vaikerai.adapter import Reference, VaikerAI, build
from fakes.calls import chat_call, drained
from fakes.doubles import faults
from fakes.doubles.clockwork import Pace
from fakes.doubles.vaikerai import VaikerDouble
from fakes.hostile_images import picture
from fakes.orders import generations_call
from fakes.predictions import predicting
from proxy.call import Operation, Target, UsageSource
from proxy.errors import BadRequest, Fault, NotFound, UpstreamError

LLAMA = "meta/meta-llama-3-70b-instruct"
HASH = hashlib.sha256(b"acme/poll-only").hexdigest()
TARGET = Target("up", LLAMA)


@asynccontextmanager
async def house(**more: Any) -> AsyncIterator[tuple[VaikerDouble, VaikerAI]]:
    async with VaikerDouble(**{"pace": Pace.quick(), "off_origin": True} | more) as double:
        preset = {"preset": double.preset}
        made = build("up", VaikerAIOptions(base_url=double.base_url, api_key=double.key, **preset))  # type: ignore[arg-type]
        try:
            yield double, made
        finally:
            await made.aclose()
        assert double.leaks == []  # its URLs lead elsewhere: they are not followed


@pytest.mark.parametrize(
    ("text", "path", "version"),
    [
        ("o/n", "/models/o/n/predictions", ""),
        (f"o/n:{HASH}", "/predictions", HASH),
        (HASH, "/predictions", HASH),
        ("deployment:o/n", "/deployments/o/n/predictions", ""),
        ("o/n?x#y", "/models/o/n%3Fx%23y/predictions", ""),
    ],
)
def test_references(text: str, path: str, version: str) -> None:
    assert (Reference(text).path, Reference(text).version) == (path, version)


@pytest.mark.asyncio
@pytest.mark.parametrize("model", [LLAMA, f"acme/poll-only:{HASH}", HASH])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_prediction_by_each_reference(model: str, stream: bool) -> None:
    async with house() as (double, upstream):
        target = Target("up", model)
        reply = await upstream.open(chat_call(target, stream=stream), target)
        assert b"hello" in await drained(reply)
        assert reply.usage is not None
        assert (reply.usage.completion_tokens, reply.usage.source) == (3, UsageSource.UPSTREAM)
        assert (double.created, double.cancelled, upstream.engine.in_flight) == (1, 0, 0)


@pytest.mark.asyncio
async def test_the_service_is_told_when_to_give_up() -> None:
    async with house(preset="replicate") as (double, upstream):
        await upstream.open(chat_call(TARGET), TARGET)
        assert double.seen("POST")[0].headers["cancel-after"] == "610s"


@pytest.mark.asyncio
async def test_the_end_may_be_bad() -> None:
    async with house() as (double, upstream):
        fates = ({"fail": "E1001"}, Fault.SERVER), ({"fail": "NSFW"}, Fault.POLICY), ({"abort": True}, Fault.SERVER)
        for fate, fault in fates:
            double.will(**fate)
            with pytest.raises(UpstreamError) as caught:
                await upstream.open(chat_call(TARGET), TARGET)
            assert (caught.value.fault, caught.value.accepted) == (fault, True)


@pytest.mark.asyncio
async def test_a_client_that_leaves_cancels() -> None:
    async with house(manual=True) as (double, upstream):
        task = asyncio.create_task(upstream.open(chat_call(TARGET), TARGET))
        await double.arrived(1, "GET", "/predictions/")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await double.arrived(1, "POST", "/cancel")
        assert double.created == 1


@pytest.mark.asyncio
async def test_a_client_that_leaves_while_it_is_created_cancels_too() -> None:
    async with house(manual=True) as (double, upstream):
        double.script(faults.late(0.2), method="POST", path="/predictions$")
        task = asyncio.create_task(upstream.open(chat_call(TARGET), TARGET))
        await double.arrived(1, "POST", "/predictions$")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await double.arrived(1, "POST", "/cancel")
        assert double.created == 1


@pytest.mark.asyncio
async def test_a_create_of_unknown_outcome_is_not_sent_twice() -> None:
    async with house() as (double, upstream):
        await upstream.open(chat_call(TARGET), TARGET)
        double.script(faults.reset(accepted=True), method="POST", path="/predictions$")
        with pytest.raises(UpstreamError) as caught:
            await upstream.open(chat_call(TARGET), TARGET)
        assert caught.value.accepted is None
        assert double.created == 2


@pytest.mark.asyncio
async def test_probe_and_models() -> None:
    async with house() as (_, upstream):
        assert await upstream.probe(TARGET) == "reachable, organization acme"
        with pytest.raises(UpstreamError) as caught:
            await upstream.probe(Target("up", "no/body"))
        assert caught.value.fault is Fault.MISSING
        assert [row["id"] for row in await upstream.models("LLAMA-3")] == [LLAMA]


def picture_of(url: str) -> list[dict[str, Any]]:
    parts = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    return [{"role": "user", "content": parts}]


@pytest.mark.asyncio
async def test_a_chat_about_a_picture() -> None:
    inline = "data:image/png;base64," + base64.b64encode(picture("png", 64, 64)).decode()
    async with house() as (double, upstream):
        target = Target("up", "openai/gpt-4o-mini")
        for url in (inline, "https://pictures.example/a.png"):
            await upstream.open(chat_call(target, messages=picture_of(url)), target)
            made = list(double.jobs.values())[-1]
            assert made.given["image_input"] == [url]
            assert made.given["messages"] == [{"role": "user", "content": "what is it?"}]
        with pytest.raises(BadRequest) as caught:
            await upstream.open(chat_call(target, messages=picture_of("ftp://x/a.png")), target)
        assert caught.value.param == "messages[0].content[1]"


@pytest.mark.asyncio
async def test_prefer_wait() -> None:
    """The answer to the create has the text; one read confirms it, and has the counts."""
    async with predicting({"prefer_wait_s": 5}, preset="replicate") as (double, upstream):
        reply = await upstream.open(chat_call(TARGET), TARGET)
        assert b"You said: hello" in await drained(reply)
        assert reply.usage.source is UsageSource.UPSTREAM
        assert double.seen("POST")[0].headers["prefer"] == "wait=5"
        assert len(double.seen("GET", "/predictions/")) == 1
        await drained(await upstream.open(chat_call(TARGET, stream=True), TARGET))
        assert "prefer" not in double.seen("POST")[1].headers, "a stream does not wait"


@pytest.mark.asyncio
async def test_prefer_wait_may_not_be_enough() -> None:
    slow = Pace(queue=0.5, first=0.5, token=0.3)
    async with predicting({"prefer_wait_s": 1}, preset="replicate", pace=slow) as (double, upstream):
        assert b"You said: hello" in await drained(await upstream.open(chat_call(TARGET), TARGET))
        assert double.created == 1


@pytest.mark.asyncio
async def test_what_it_cannot_serve() -> None:
    async with house() as (_, upstream):
        call = chat_call(TARGET)
        call.operation = Operation.TRANSCRIPTION
        with pytest.raises(UpstreamError) as caught:
            await upstream.open(call, TARGET)
        assert (caught.value.fault, caught.value.accepted) == (Fault.UNSUPPORTED, False)
        with pytest.raises(NotFound):
            await upstream.report({}, b"{}")


@pytest.mark.parametrize(
    ("given", "base_url", "files", "streams"),
    [
        ({}, "https://api.vaikerai.com/v1", ("files.vaikerai.com",), ()),
        (
            {"preset": "replicate"},
            "https://api.replicate.com/v1",
            ("replicate.delivery",),
            ("stream.replicate.com", "c.replicate.net"),
        ),
        (
            {"preset": "replicate", "base_url": "http://x/v1", "file_hosts": ("f",), "stream_hosts": ()},
            "http://x/v1",
            ("f",),
            (),
        ),
    ],
)
def test_presets(given: Any, base_url: str, files: tuple[str, ...], streams: tuple[str, ...]) -> None:
    options = VaikerAIOptions(**given)
    assert (options.base_url, options.file_hosts, options.stream_hosts) == (base_url, files, streams)


def test_a_secret_that_is_none_is_told_at_the_start() -> None:
    with pytest.raises(ValueError, match="whsec_"):
        build("up", VaikerAIOptions(api_key="k", webhook_secret="not one"))


@pytest.mark.asyncio
async def test_a_preview_asks_nobody_and_knows_the_schema_once_it_was_asked() -> None:
    async with predicting() as (double, upstream):
        talk, flux = chat_call(TARGET, top_k=5, min_p=0.5), Target("up", "black-forest-labs/flux-schnell")
        assert set(upstream.preview(talk, TARGET).kept) == {"top_k", "min_p"}
        assert double.requests == []
        await upstream.open(chat_call(TARGET), TARGET)
        shown = upstream.preview(talk, TARGET)
        assert set(shown.kept) == {"prompt", "max_new_tokens", "top_k"}
        assert shown.dropped == ["min_p"]
        assert talk.dropped == []
        await upstream.open(generations_call(flux), flux)
        drawn = upstream.preview(generations_call(flux, size="1792x1024", nonsense=1), flux)
        assert bytes(drawn.kept["aspect_ratio"]) == b'"16:9"'
        assert drawn.dropped == ["nonsense"]
        assert double.created == 2

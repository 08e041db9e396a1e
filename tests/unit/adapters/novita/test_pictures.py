"""Pictures by Novita: drawn, enlarged, edited, cleaned up."""

import base64
import json
from typing import Any

import pytest

from fakes.calls import drained, draw_call, edit_call, generate_call, upscale_call
from fakes.doubles import faults, media
from fakes.doubles.clockwork import Pace
from fakes.hostile_images import picture
from fakes.novitas import novita
from proxy.call import Target
from proxy.errors import BadRequest, Fault, UnsupportedParameter, UpstreamError

pytestmark = pytest.mark.asyncio
DRAWS = Target("up", "dreamshaper_8_93211.safetensors")
FLUX = Target("up", "flux-1-schnell")
SMALL = picture("png", 320, 256)


def sizes(body: bytes) -> list[Any]:
    return [media.size_of(base64.b64decode(row["b64_json"])) for row in json.loads(body)["data"]]


@pytest.mark.parametrize("target", [DRAWS, FLUX], ids=["by task", "at once"])
@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
async def test_pictures(target: Target, format: str) -> None:
    async with novita() as (double, upstream):
        reply = await upstream.open(draw_call(target, n=2, size="256x128", output_format=format), target)
        assert sizes(await drained(reply)) == [(format, 256, 128)] * 2
        assert (double.created, reply.usage.images) == (1, 2)
        assert len(double.seen(port="files")) == 2


@pytest.mark.parametrize(
    ("verdict", "safe", "blurred"), [(97.0, True, True), (97.0, False, False), (12.0, True, False), ({}, True, False)]
)
async def test_what_is_called_adult_is_blurred_in_safe_mode(verdict: Any, safe: bool, blurred: bool) -> None:
    async with novita() as (double, upstream):
        shown = picture("webp", 128, 128)
        double.will(nsfw=verdict, images=[shown])
        call = generate_call(DRAWS, safe_mode=safe, width=128, height=128, return_binary=True)
        reply = await upstream.open(call, DRAWS)
        assert ("x-venice-is-blurred", str(blurred).lower()) in reply.headers
        assert ((await drained(reply)) != shown) is blurred
        assert double.seen("POST")[0].json["extra"].get("enable_nsfw_detection", False) is safe


async def test_a_success_without_a_picture_has_failed() -> None:
    async with novita() as (double, upstream):
        double.will(empty=True)
        with pytest.raises(UpstreamError) as caught:
            await upstream.open(draw_call(DRAWS), DRAWS)
        assert (caught.value.fault, caught.value.accepted) == (Fault.MALFORMED, True)


async def test_the_operators_inputs() -> None:
    async with novita({"inputs": {DRAWS.model: {"sampler_name": "UniPC"}}}) as (double, upstream):
        await upstream.open(draw_call(DRAWS, size="256x256"), DRAWS)
        assert double.seen("POST")[0].json["request"]["sampler_name"] == "UniPC"


@pytest.mark.parametrize("model", ["RealESRGAN_x4plus_anime_6B", "image-upscaler"])
async def test_an_upscale(model: str) -> None:
    async with novita() as (double, upstream):
        there = Target("up", model)
        call = upscale_call(there, SMALL, scale=3, enhancePrompt="x")
        reply = await upstream.open(call, there)
        assert media.size_of(await drained(reply)) == ("png", 960, 768)
        assert call.dropped == ["enhancePrompt"]
        with pytest.raises(UnsupportedParameter):
            await upstream.open(upscale_call(there, SMALL, enhance=True), there)
        with pytest.raises(BadRequest) as caught:
            await upstream.open(upscale_call(there, picture("png", 2048, 1024), scale=3), there)
        assert caught.value.param == "scale"
        assert double.created == 1


async def test_an_edit_by_a_checkpoint() -> None:
    async with novita() as (double, upstream):
        reply = await upstream.open(edit_call(DRAWS, SMALL, n=2, output_format="webp"), DRAWS)
        assert sizes(await drained(reply)) == [("webp", 320, 256)] * 2
        sent = double.seen("POST")[0].json["request"]
        assert (sent["width"], sent["height"], sent["image_num"]) == (320, 256, 2)
        with pytest.raises(UnsupportedParameter) as caught:
            await upstream.open(edit_call(DRAWS, SMALL, SMALL), DRAWS)
        assert caught.value.param == "mask"


@pytest.mark.parametrize(
    ("model", "mask", "dropped"),
    [("cleanup", True, ["prompt"]), ("replace-background", False, []), ("remove-text", False, ["prompt"])],
)
async def test_retouching(model: str, mask: bool, dropped: list[str]) -> None:
    async with novita() as (double, upstream):
        there = Target("up", model)
        call = edit_call(there, SMALL, SMALL if mask else None)
        assert sizes(await drained(await upstream.open(call, there))) == [("png", 320, 256)]
        assert call.dropped == dropped
        assert ("mask_file" in double.seen("POST")[0].json) is mask
        with pytest.raises(BadRequest) as caught:
            await upstream.open(edit_call(there, SMALL, None if mask else SMALL), there)
        assert caught.value.param == "mask"


async def test_an_answer_without_a_picture() -> None:
    async with novita() as (double, upstream):
        there = Target("up", "remove-text")
        double.script(faults.answer(200, {"image_file": "!!"}), path="remove-text")
        with pytest.raises(UpstreamError):
            await upstream.open(edit_call(there, SMALL), there)


async def test_a_stream_tells_how_the_job_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.patience.awaited.__kwdefaults__", {"commit_after_s": 0.01})
    async with novita(pace=Pace(queue=0.3, image=0.3)) as (_, upstream):
        reply = await upstream.open(draw_call(DRAWS, size="256x256", stream=True), DRAWS)
        assert (await reply.next()).startswith(b": ")
        body = await drained(reply)
        assert body.count(b"image_generation.completed") == 1
        assert reply.usage.images == 1

"""Pictures by prediction, from the order to the bytes."""

import asyncio
import base64
import json
from typing import Any

import pytest

from adapters.vaikerai.pictures import _scale, files_in
from fakes.calls import drained
from fakes.doubles import faults, media
from fakes.hostile_images import picture
from fakes.orders import edits_call, generate_call, generations_call, upscale_call
from fakes.predictions import predicting
from proxy.call import Target
from proxy.errors import BodyTooLarge, Fault, NotSupported, UnsupportedParameter, UpstreamError

FLUX = Target("up", "black-forest-labs/flux-schnell")
ESRGAN = Target("up", "nightmareai/real-esrgan")

pytestmark = pytest.mark.asyncio


def version(double: Any, key: str) -> Target:
    return Target("up", f"{key}:{double.models[key].version}")


async def pictures(reply: Any) -> list[tuple[str, int, int]]:
    body = json.loads(await drained(reply))
    rows = body["images"] if "images" in body else [row["b64_json"] for row in body["data"]]
    return [media.size_of(base64.b64decode(row)) for row in rows]


async def test_pictures_of_the_size_and_format_that_was_ordered() -> None:
    async with predicting() as (double, upstream):
        sdxl = version(double, "stability-ai/sdxl")
        reply = await upstream.open(generate_call(sdxl, width=128, height=64, format="jpeg", seed=5), sdxl)
        assert await pictures(reply) == [("jpeg", 128, 64)], "the model draws PNG only"
        assert (reply.usage.images, reply.content_type) == (1, "application/json")
        (made,) = double.jobs.values()
        assert made.given == {"prompt": "a boat", "width": 128, "height": 64, "seed": 5}
        assert len(double.seen(port="files")) == 1


async def test_a_deployment_and_an_official_model() -> None:
    async with predicting() as (_, upstream):
        deployed = Target("up", "deployment:acme/my-app-image-generator")
        assert await pictures(await upstream.open(generations_call(deployed, size="64x64"), deployed)) == [
            ("png", 64, 64)
        ]
        reply = await upstream.open(generations_call(FLUX, size="1792x1024", output_format="webp"), FLUX)
        assert await pictures(reply) == [("webp", 1024, 576)]


async def test_more_than_one_prediction_gives() -> None:
    async with predicting() as (double, upstream):
        reply = await upstream.open(generations_call(FLUX, n=6), FLUX)
        assert len(await pictures(reply)) == 6
        assert reply.usage.images == 6
        assert (double.created, double.cancelled) == (2, 0)
        assert upstream.engine.in_flight == 0


async def test_the_first_that_fails_cancels_the_others() -> None:
    async with predicting() as (double, upstream):
        double.script(faults.answer(402, {"title": "Insufficient credit", "detail": "x"}), path="/predictions$")
        double.manual = True
        with pytest.raises(UpstreamError) as caught:
            await upstream.open(generations_call(FLUX, n=8), FLUX)
        assert caught.value.fault is Fault.BALANCE
        await double.arrived(1, "POST", "/cancel$")
        assert double.created == 1


async def test_inputs_that_the_configuration_fixes() -> None:
    fixed = {"inputs": {FLUX.model: {"num_inference_steps": 2, "seed": 1}}}
    async with predicting(fixed) as (double, upstream):
        await upstream.open(generate_call(FLUX, seed=9), FLUX)
        (made,) = double.jobs.values()
        assert (made.given["num_inference_steps"], made.given["seed"]) == (2, 9)


async def test_prefer_wait_gives_data_urls_and_no_polling() -> None:
    async with predicting({"prefer_wait_s": 10}, preset="replicate") as (double, upstream):
        reply = await upstream.open(generate_call(FLUX), FLUX)
        assert [kind for kind, _, _ in await pictures(reply)] == ["webp"]
        assert double.seen("POST", "/predictions$")[0].headers["prefer"] == "wait=10"
        assert len(double.seen("GET", "/predictions/")) == 1, "what it says before its books are closed is confirmed"


@pytest.mark.parametrize(
    ("fate", "fault", "said"),
    [
        ({"fail": "NSFW content detected"}, Fault.POLICY, "NSFW"),
        ({"output": {"nothing": 1}}, Fault.MALFORMED, "holds no picture"),
        ({"output": "https://evil.example/a.png"}, Fault.SERVER, "not on the list"),
        ({"output": "http://169.254.169.254/latest"}, Fault.SERVER, "not on the list"),
        ({"files": [b"<html>"]}, Fault.SERVER, "not of a kind of image"),
        ({"files": [picture("png", 64, 64)[:200]]}, Fault.MALFORMED, "cannot be read"),
    ],
)
async def test_an_output_that_is_no_picture(fate: dict[str, Any], fault: Fault, said: str) -> None:
    async with predicting() as (double, upstream):
        double.will(**fate)
        with pytest.raises(UpstreamError, match=said) as caught:
            await upstream.open(generate_call(FLUX, format="jpeg"), FLUX)
        assert (caught.value.fault, caught.value.accepted) == (fault, True)
        assert upstream.engine.in_flight == 0


async def test_a_result_that_has_expired() -> None:
    async with predicting(retention=0.0) as (_, upstream):
        with pytest.raises(UpstreamError, match="expired"):
            await upstream.open(generate_call(FLUX), FLUX)


async def test_a_client_that_leaves_cancels() -> None:
    async with predicting(manual=True) as (double, upstream):
        task = asyncio.create_task(upstream.open(generations_call(FLUX, n=8), FLUX))
        await double.arrived(2, "GET", "/predictions/")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await double.arrived(2, "POST", "/cancel$")
        assert double.created == 2


async def test_metadata_are_ours() -> None:
    from proxy.media.images import read_about

    async with predicting() as (_, upstream):
        reply = await upstream.open(generate_call(FLUX, embed_exif_metadata=True, return_binary=True, seed=4), FLUX)
        assert reply.content_type == "image/webp"
        assert read_about(await drained(reply))["prompt"] == "a boat"


async def test_larger() -> None:
    async with predicting() as (double, upstream):
        target = version(double, "nightmareai/real-esrgan")
        reply = await upstream.open(upscale_call(target, picture("png", 260, 260), scale=2), target)
        assert (reply.content_type, media.size_of(await drained(reply))) == ("image/png", ("png", 128, 128))
        (made,) = double.jobs.values()
        assert made.given["scale"] == 2
        assert made.given["image"].startswith("data:image/png;base64,")


async def test_large_inputs_are_uploaded_where_that_can_be() -> None:
    large = picture("png", 500, 500)
    assert len(large) > 200_000
    async with predicting(preset="replicate") as (double, upstream):
        target = version(double, "nightmareai/real-esrgan")
        await upstream.open(upscale_call(target, large), target)
        (made,) = double.jobs.values()
        assert made.given["image"].startswith(f"{double.base_url}/files/")
        (sent,) = double.seen("POST", "/files$")
        assert large in sent.body
    async with predicting() as (double, upstream):
        with pytest.raises(BodyTooLarge) as caught:
            await upstream.open(upscale_call(target, large), target)
        assert caught.value.param == "image"
        assert double.created == 0


async def test_edits() -> None:
    async with predicting() as (double, upstream):
        sdxl = version(double, "stability-ai/sdxl")
        reply = await upstream.open(edits_call(sdxl, picture("png", 260, 260), n=2), sdxl)
        assert len(await pictures(reply)) == 2
        assert double.created == 2
        assert {job.given["prompt"] for job in double.jobs.values()} == {"make it red"}
        with pytest.raises(UnsupportedParameter) as caught:
            await upstream.open(edits_call(sdxl, picture("png", 64, 64), mask=picture("png", 64, 64)), sdxl)
        assert caught.value.param == "mask"
        with pytest.raises(UnsupportedParameter):
            await upstream.open(edits_call(sdxl, picture("png", 64, 64), picture("png", 64, 64)), sdxl)


async def test_models_that_cannot() -> None:
    async with predicting() as (double, upstream):
        for call in (edits_call(FLUX, picture("png", 64, 64)), upscale_call(FLUX, picture("png", 300, 300))):
            with pytest.raises(NotSupported):
                await upstream.open(call, FLUX)
        assert double.created == 0


async def test_files_are_found_whatever_they_are_wrapped_in() -> None:
    wrapped = {"images": [{"url": "https://a/1"}, "data:image/png;base64,x"], "seed": 4, "text": "no url"}
    assert files_in(wrapped) == ["https://a/1", "data:image/png;base64,x"]
    assert files_in("https://a/1") == ["https://a/1"]
    assert files_in(None) == files_in("text") == files_in([1, None]) == []


@pytest.mark.parametrize(
    ("scale", "rule", "out"),
    [(2.0, {}, 2), (1.5, {}, 1.5), (2.0, {"enum": ["2x", "4x"]}, "2x"), (4.0, {"enum": [2, 4]}, 4)],
)
async def test_scales(scale: float, rule: dict[str, Any], out: Any) -> None:
    assert _scale(scale, rule) == out

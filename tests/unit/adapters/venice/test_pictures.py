"""Pictures over Venice's own routes."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from adapters.options import VeniceOptions
from adapters.venice.adapter import Venice, build
from fakes.calls import drained, draw_call, edit_call, generate_call, upscale_call
from fakes.doubles import faults, media
from fakes.doubles.clockwork import Pace
from fakes.doubles.venice import VeniceDouble
from proxy.call import Dialect, Target
from proxy.errors import BadRequest, Fault, UnsupportedParameter, UpstreamError

pytestmark = pytest.mark.asyncio
DRAWS, EDITS, UPSCALES = Target("up", "venice-sd35"), Target("up", "flux-kontext"), Target("up", "upscale-model")
PICTURE = media.png(320, 256)
FLAGS = [("x-venice-is-blurred", "false"), ("x-venice-is-content-violation", "false")]


@pytest_asyncio.fixture(loop_scope="function")
async def double() -> AsyncIterator[VeniceDouble]:
    async with VeniceDouble(pace=Pace.quick()) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="function")
async def venice(double: VeniceDouble) -> AsyncIterator[Venice]:
    made = build("up", VeniceOptions(base_url=double.base_url, api_key=double.key))
    yield made
    await made.aclose()


def sizes(body: dict[str, Any]) -> list[Any]:
    rows = body.get("images") or [row["b64_json"] for row in body["data"]]
    return [media.size_of(base64.b64decode(row)) for row in rows]


async def test_venices_own_route_is_passed_through(double: VeniceDouble, venice: Venice) -> None:
    wish: dict[str, Any] = {
        "negative_prompt": "rain", "width": 512, "height": 256, "steps": 12, "cfg_scale": 4.5, "seed": -3,
        "style_preset": "Anime", "format": "jpeg", "safe_mode": False, "hide_watermark": True, "lora_strength": 20,
    }  # fmt: skip
    call = generate_call(DRAWS, **wish, inpaint={"x": 1}, user="me")
    reply = await venice.open(call, DRAWS)
    body = json.loads(await drained(reply))
    assert sizes(body) == [("jpeg", 512, 256)]
    assert body["id"].startswith("generate-image-")
    assert set(body["timing"]) >= {"total"}
    assert double.seen("POST")[0].json == {"model": "venice-sd35", "prompt": "a boat"} | wish
    assert call.dropped == ["inpaint", "user"]
    assert reply.headers == FLAGS
    assert reply.usage.images == 1


async def test_a_picture_itself(double: VeniceDouble, venice: Venice) -> None:
    reply = await venice.open(generate_call(DRAWS, return_binary=True, width=256, height=256), DRAWS)
    assert reply.content_type == "image/webp"
    assert media.size_of(await drained(reply)) == ("webp", 256, 256)


@pytest.mark.parametrize("binary", [False, True])
async def test_a_violation_is_an_answer(double: VeniceDouble, venice: Venice, binary: bool) -> None:
    double.will(violation=True)
    reply = await venice.open(generate_call(DRAWS, return_binary=binary), DRAWS)
    assert ("x-venice-is-content-violation", "true") in reply.headers
    assert reply.usage.images == 0
    body = await drained(reply)
    assert body == b"" if binary else json.loads(body)["images"] == []


async def test_openais_route_goes_out_as_venices_copy_of_it(double: VeniceDouble, venice: Venice) -> None:
    call = draw_call(DRAWS, size="1536x1024", output_format="webp", moderation="low", quality="hd", seed=3)
    body = json.loads(await drained(await venice.open(call, DRAWS)))
    assert sizes(body) == [("webp", 1536, 1024)]
    assert call.dropped == ["seed"]
    sent = double.seen("POST", "/images/generations")[0].json
    assert sent["moderation"] == "low"
    assert sent["response_format"] == "b64_json"


async def test_several_pictures_are_several_requests(double: VeniceDouble, venice: Venice) -> None:
    double.will(blurred=True)
    reply = await venice.open(draw_call(DRAWS, n=3, response_format="url"), DRAWS)
    urls = [row["url"] for row in json.loads(await drained(reply))["data"]]
    assert [url[:22] for url in urls] == ["data:image/png;base64,"] * 3
    assert ("x-venice-is-blurred", "true") in reply.headers
    assert double.created == reply.usage.images == 3


async def test_another_size_is_drawn_by_the_other_route(double: VeniceDouble, venice: Venice) -> None:
    body = json.loads(await drained(await venice.open(draw_call(DRAWS, size="640x480", moderation="low"), DRAWS)))
    assert sizes(body) == [("png", 640, 480)]
    assert double.seen("POST", "/image/generate")[0].json["safe_mode"] is False
    with pytest.raises(BadRequest) as caught:
        await venice.open(draw_call(DRAWS, size="1600x640"), DRAWS)
    assert caught.value.param == "size"
    assert double.created == 1


async def test_a_stream_of_pictures(double: VeniceDouble, venice: Venice) -> None:
    reply = await venice.open(draw_call(DRAWS, stream=True, n=2, size="512x512"), DRAWS)
    events = [json.loads(block[6:]) for block in (await drained(reply)).split(b"\n\n") if block]
    assert [event["type"] for event in events] == ["image_generation.completed"] * 2
    assert "stream" not in double.seen("POST")[0].json


async def test_an_upscale(double: VeniceDouble, venice: Venice) -> None:
    call = upscale_call(UPSCALES, PICTURE, scale=2, enhance=True, enhanceCreativity=0.25, replication=0.5)
    assert media.size_of(await drained(await venice.open(call, UPSCALES))) == ("png", 640, 512)
    assert b'name="enhanceCreativity"\r\n\r\n0.25' in double.seen("POST")[0].body
    assert call.dropped == []


async def test_edits(double: VeniceDouble, venice: Venice) -> None:
    call = edit_call(EDITS, PICTURE, n=2, size="512x512", output_format="jpeg")
    assert sizes(json.loads(await drained(await venice.open(call, EDITS)))) == [("jpeg", 512, 512)] * 2
    assert double.created == 2
    call.request.images *= 2
    with pytest.raises(UnsupportedParameter):
        await venice.open(call, EDITS)


async def test_what_is_no_picture_is_not_handed_on(double: VeniceDouble, venice: Venice) -> None:
    for said in ({"error": "Upscale failed"}, b"hello"):
        double.script(faults.answer(200, said), path="/image/upscale")
        with pytest.raises(UpstreamError):
            await venice.open(upscale_call(UPSCALES, PICTURE), UPSCALES)
    double.script(faults.answer(200, {"id": "x"}), path="/image/generate")
    with pytest.raises(UpstreamError) as caught:
        await venice.open(generate_call(DRAWS, dialect=Dialect.OPENAI), DRAWS)
    assert (caught.value.fault, caught.value.accepted) == (Fault.MALFORMED, True)


async def test_a_model_that_takes_short_prompts_says_so(venice: Venice) -> None:
    there = Target("up", "flux-dev-tiny")
    with pytest.raises(UpstreamError) as caught:
        await venice.open(generate_call(there, prompt="x" * 65), there)
    assert (caught.value.fault, caught.value.param) == (Fault.REFUSED, "prompt")

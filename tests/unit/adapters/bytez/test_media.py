"""Pictures, speech and vectors by both interfaces."""

import base64
import json
from typing import Any

import pytest

from fakes.bytezes import V1, bytez
from fakes.calls import drained, draw_call, embed_call, generate_call, speech_call
from fakes.doubles import faults, media
from proxy.call import Target
from proxy.errors import Fault, UnsupportedParameter, UpstreamError

pytestmark = pytest.mark.asyncio
DRAWS = Target("up", "dreamlike-art/dreamlike-photoreal-2.0")
SPEAKS = Target("up", "suno/bark-small")
EMBEDS = Target("up", "nomic-ai/nomic-embed-text-v1.5")
both = pytest.mark.parametrize("options", [{}, V1], ids=["v2", "v1"])


@both
async def test_pictures_are_fitted_to_the_size(options: dict[str, Any]) -> None:
    async with bytez(options | {"concurrency": 2}) as (double, upstream):
        call = draw_call(DRAWS, n=3, size="256x128", output_format="jpeg", quality="hd")
        reply = await upstream.open(call, DRAWS)
        rows = json.loads(await drained(reply))["data"]
        assert [media.size_of(base64.b64decode(row["b64_json"])) for row in rows] == [("jpeg", 256, 128)] * 3
        assert (double.created, reply.usage.images, call.dropped) == (3, 3, ["quality"])


async def test_hints_are_dropped_and_named() -> None:
    async with bytez() as (double, upstream):
        call = generate_call(DRAWS, steps=9, seed=4, negative_prompt="x", style_preset="Anime", return_binary=True)
        assert media.size_of(await drained(await upstream.open(call, DRAWS))) == ("webp", 1024, 1024)
        assert sorted(call.dropped) == ["negative_prompt", "seed", "steps"]
        assert "Japanese" in double.seen("POST")[0].json["text"]


@pytest.mark.parametrize("cdn", [False, True])
async def test_the_key_goes_to_its_own_origin_only(cdn: bool) -> None:
    async with bytez(cdn=cdn) as (double, upstream):
        await upstream.open(draw_call(DRAWS), DRAWS)
        (seen,) = double.seen("GET", "/image/", "files" if cdn else "api")
        assert ("authorization" in seen.headers) is not cdn


@both
@pytest.mark.parametrize("format", ["wav", "mp3"])
async def test_speech(options: dict[str, Any], format: str) -> None:
    async with bytez(options) as (_, upstream):
        reply = await upstream.open(speech_call(SPEAKS, voice="af_sky", response_format=format), SPEAKS)
        assert reply.content_type == {"mp3": "audio/mpeg", "wav": "audio/wav"}[format]
        assert len(await drained(reply)) > 100


async def test_a_voice_that_it_does_not_have_and_one_that_its_card_names() -> None:
    async with bytez() as (_, upstream):
        for body, param in (({"voice": "nova"}, "voice"), ({"speed": 2}, "speed")):
            with pytest.raises(UnsupportedParameter) as caught:
                await upstream.open(speech_call(SPEAKS, **body), SPEAKS)
            assert caught.value.param == param
        await upstream.open(speech_call(SPEAKS, voice="nova", model={"voices": ("nova",)}), SPEAKS)


@both
async def test_vectors_in_order(options: dict[str, Any]) -> None:
    async with bytez(options | {"concurrency": 3}) as (double, upstream):
        reply = await upstream.open(embed_call(EMBEDS, ["a", "b", "a", "c"]), EMBEDS)
        rows = [row["embedding"] for row in json.loads(await drained(reply))["data"]]
        assert rows[0] == rows[2] != rows[1]
        assert double.created == 4
        assert reply.usage.prompt_tokens > 0


async def test_vectors_that_cannot_be() -> None:
    async with bytez() as (double, upstream):
        for given in ([[1, 2]], ["x"] * 33):
            with pytest.raises(UnsupportedParameter):
                await upstream.open(embed_call(EMBEDS, given), EMBEDS)
        double.will(nested=True)
        with pytest.raises(UpstreamError) as caught:
            await upstream.open(embed_call(EMBEDS, "x"), EMBEDS)
        assert caught.value.fault is Fault.MALFORMED
        double.script(faults.answer(200, {"error": None, "output": [[1.0, 2.0]]}))
        reply = await upstream.open(embed_call(EMBEDS, "x"), EMBEDS)
        assert json.loads(await drained(reply))["data"][0]["embedding"] == [1.0, 2.0]


async def test_an_output_that_is_no_file() -> None:
    async with bytez() as (double, upstream):
        for output in ("hello", 7, ["https://x"]):
            double.script(faults.answer(200, {"error": None, "output": output}))
            with pytest.raises(UpstreamError) as caught:
                await upstream.open(draw_call(DRAWS), DRAWS)
            assert caught.value.accepted is True

"""Pictures and speech of an AIME server."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.aime.adapter import Aime, build
from adapters.options import AimeOptions
from fakes.calls import drained, draw_call, generate_call, speech_call
from fakes.doubles import faults, media
from fakes.doubles.aime import AimeDouble
from fakes.doubles.clockwork import Pace
from proxy.call import Target
from proxy.errors import BadRequest, Fault, NotSupported, UnsupportedParameter, UpstreamError

pytestmark = pytest.mark.asyncio
DRAWS, SPEAKS, CHATS = Target("up", "flux-dev"), Target("up", "tts_tortoise"), Target("up", "lab_chat")


@asynccontextmanager
async def lab(options: dict[str, Any] | None = None, **more: Any) -> AsyncIterator[tuple[AimeDouble, Aime]]:
    async with AimeDouble(**{"pace": Pace.quick(), "workers": 4} | more) as double:
        made = build("up", AimeOptions(**{"base_url": double.base_url, "api_key": double.key} | (options or {})))
        try:
            yield double, made
        finally:
            await made.aclose()


@pytest.mark.parametrize("old", [False, True], ids=["data URLs", "bare base64"])
async def test_pictures_in_as_few_jobs_as_can_be(old: bool) -> None:
    async with lab(old=old) as (double, aime):
        call = draw_call(DRAWS, n=6, size="256x128", output_format="webp", user="me")
        reply = await aime.open(call, DRAWS)
        rows = json.loads(await drained(reply))["data"]
        assert [media.size_of(base64.b64decode(row["b64_json"])) for row in rows] == [("webp", 256, 128)] * 6
        assert [seen.json["num_samples"] for seen in double.seen("POST", "^/flux-dev$")] == [4, 2]
        assert (reply.usage.images, call.dropped) == (6, ["user"])


async def test_only_what_the_endpoint_declares_goes_out() -> None:
    async with lab() as (double, aime):
        wish = {"steps": 7, "cfg_scale": 2.5, "seed": 11, "width": 256, "height": 512, "negative_prompt": "rain"}
        call = generate_call(DRAWS, **wish, style_preset="Anime", safe_mode=True)
        await aime.open(call, DRAWS)
        sent = double.seen("POST", "^/flux-dev$")[0].json
        assert {key: sent[key] for key in ("steps", "guidance", "seed", "width", "height")} == {
            "steps": 7, "guidance": 2.5, "seed": 11, "width": 256, "height": 512,
        }  # fmt: skip
        assert "Japanese" in sent["prompt"]
        assert sent["wait_for_result"] is False
        assert call.dropped == ["safe_mode", "negative_prompt"]


@pytest.mark.parametrize(
    ("wish", "param"), [({"width": 64}, "width"), ({"cfg_scale": 20}, "cfg_scale"), ({"seed": -4}, "seed")]
)
async def test_bounds_are_told_before_anything_is_sent(wish: dict[str, Any], param: str) -> None:
    async with lab() as (double, aime):
        with pytest.raises(BadRequest) as caught:
            await aime.open(generate_call(DRAWS, **wish), DRAWS)
        assert caught.value.param == param
        assert double.created == 0


async def test_a_size_in_openais_words() -> None:
    async with lab() as (_, aime):
        with pytest.raises(BadRequest) as caught:
            await aime.open(draw_call(DRAWS, size="1792x1024"), DRAWS)
        assert caught.value.param == "size"


async def test_an_endpoint_that_is_not_described() -> None:
    async with lab() as (double, aime):
        double.script(faults.answer(404, {}), path="/api/endpoints/")
        await aime.open(draw_call(DRAWS, size="256x256"), DRAWS)
        assert double.created == 1


async def test_a_worker_that_fails_and_a_result_without_a_file() -> None:
    async with lab() as (double, aime):
        double.will(fail="CUDA out of memory")
        with pytest.raises(UpstreamError, match="CUDA") as caught:
            await aime.open(draw_call(DRAWS, size="256x256"), DRAWS)
        assert (caught.value.fault, caught.value.accepted) == (Fault.SERVER, True)
        for result in ({"success": True}, {"images": []}, {"images": ["!!"]}, {"images": [7]}):
            done = {"success": True, "job_state": "done", "job_result": result}
            double.script(faults.answer(200, done), path="/progress$")
            with pytest.raises(UpstreamError, match="no file"):
                await aime.open(draw_call(DRAWS, size="256x256"), DRAWS)


async def test_a_result_that_was_given_to_a_read_that_got_lost() -> None:
    async with lab() as (double, aime):
        double.script(faults.answer(200, {"success": True, "job_state": "done"}), path="/progress$")
        with pytest.raises(UpstreamError) as caught:
            await aime.open(draw_call(DRAWS, size="256x256"), DRAWS)
        assert caught.value.fault is Fault.CUT


@pytest.mark.parametrize(("format", "type_"), [("wav", "wav"), ("mp3", "mpeg"), ("flac", "flac")])
async def test_speech_in_the_operators_language(format: str, type_: str) -> None:
    async with lab({"inputs": {"tts_tortoise": {"language": "deu"}}}) as (double, aime):
        call = speech_call(SPEAKS, voice="emma", response_format=format)
        reply = await aime.open(call, SPEAKS)
        assert reply.content_type == f"audio/{type_}"
        assert len(await drained(reply)) > 50
        sent = double.seen("POST", "^/tts_tortoise$")[0].json
        assert (sent["voice"], sent["language"]) == ("emma", "deu")


async def test_what_cannot_be_spoken_or_drawn() -> None:
    async with lab() as (double, aime):
        with pytest.raises(UnsupportedParameter) as caught:
            await aime.open(speech_call(SPEAKS, speed=2), SPEAKS)
        assert caught.value.param == "speed"
        for call in (speech_call(CHATS), draw_call(CHATS)):
            with pytest.raises(NotSupported):
                await aime.open(call, CHATS)
        assert double.created == 0


async def test_a_stream_tells_how_the_job_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.patience.awaited.__kwdefaults__", {"commit_after_s": 0.01})
    async with lab(pace=Pace(queue=0.3, image=0.3)) as (_, aime):
        reply = await aime.open(draw_call(DRAWS, size="256x256", stream=True), DRAWS)
        assert (await reply.next()).startswith(b": ")
        assert (await drained(reply)).count(b"image_generation.completed") == 1

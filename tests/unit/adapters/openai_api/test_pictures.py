"""OpenAI's wishes pass as they are; Venice's are put into the dialect and come back as they were ordered."""

import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from adapters.openai_api.adapter import OpenAI, build
from adapters.options import OpenAIOptions
from fakes.doubles import faults, media
from fakes.doubles.clockwork import Pace
from fakes.doubles.openai_media import OpenAIMedia
from fakes.hostile_images import picture
from proxy.call import ANYBODY, Call, Dialect, Operation, Plan, Target
from proxy.catalogue import Model
from proxy.config import Constraints
from proxy.errors import BadRequest, Fault, UpstreamError
from proxy.features import NONE
from proxy.media.images import read_about
from proxy.media.payload import Payload
from proxy.ports import Reply
from proxy.wire import edits, images
from proxy.wire.body import encode, fields_of, head_of

NEW = {"image_sizes": ("1024x1024", "1536x1024", "1024x1536"), "image_response_format": False}


@pytest_asyncio.fixture
async def double() -> AsyncIterator[OpenAIMedia]:
    async with OpenAIMedia(pace=Pace.quick()) as running:
        yield running


@pytest_asyncio.fixture
async def build_for(double: OpenAIMedia) -> AsyncIterator[Any]:
    made: list[OpenAI] = []

    def adapter(**more: Any) -> OpenAI:
        made.append(build("up", OpenAIOptions(base_url=double.base_url, api_key=double.key, **more)))
        return made[-1]

    yield adapter
    for one in made:
        await one.aclose()


def planned(operation: Operation, order: Any, fields: Any, model: str, dialect: Dialect) -> tuple[Call, Target]:
    target = Target("up", model)
    call = Call(
        id="req_1",
        operation=operation,
        dialect=dialect,
        request=order,
        raw=b"",
        fields=fields,
        principal=ANYBODY,
        stream=order.stream,
    )
    limits = Constraints(width_height_divisor=8)
    card = Model(id="ours", type="image", name="ours", targets=(target,), constraints=limits)
    call.plan = Plan(card, (target,), "ours", "id", NONE)
    return call, target


def venice(model: str, **body: Any) -> tuple[Call, Target]:
    raw = encode({"model": "ours", "prompt": "a ferry", **body})
    order = images.from_generate(head_of(raw, images.GenerateRequest))
    return planned(Operation.IMAGES, order, fields_of(raw), model, Dialect.VENICE)


def openai(model: str, dialect: Dialect = Dialect.OPENAI, **body: Any) -> tuple[Call, Target]:
    raw = encode({"model": "ours", "prompt": "a ferry", **body})
    order = images.from_generations(head_of(raw, images.GenerationsRequest))
    order.stream = images.streamed(fields_of(raw))
    return planned(Operation.IMAGES, order, fields_of(raw), model, dialect)


def edit(model: str, dialect: Dialect = Dialect.OPENAI, **order: Any) -> tuple[Call, Target]:
    shape = "b64_json" if dialect is Dialect.OPENAI else "binary"
    made = edits.EditOrder(**{"model": "ours", "prompt": "blue", "images": [file()], "shape": shape, **order})
    given = {"prompt": made.prompt, "image": "file", "size": None, "n": made.n if made.n > 1 else None}
    fields = fields_of(encode(given))
    return planned(Operation.IMAGE_EDIT, made, fields, model, dialect)


def file(data: bytes | None = None, name: str = "boat.png", field: str = "image") -> Payload:
    return Payload(data or picture("PNG"), filename=name, field=field)


async def all_of(reply: Reply) -> bytes:
    out = b""
    while reply.ending is None:
        out += await reply.next()
    reply.close()
    return out


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


# ── OpenAI's own ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_an_openai_wish_passes_as_it_is(double: OpenAIMedia, build_for: Any) -> None:
    call, target = openai("brush-new", n=2, size="1536x1024", quality="low", user="me", moderation="low")
    reply = await build_for().open(call, target)
    told = json.loads(await all_of(reply))
    sent = double.seen("POST", "generations")[0].json
    assert sent == {
        "model": "brush-new",
        "prompt": "a ferry",
        "n": 2,
        "size": "1536x1024",
        "quality": "low",
        "user": "me",
        "moderation": "low",
    }
    assert [media.size_of(base64.b64decode(row["b64_json"])) for row in told["data"]] == [("png", 1536, 1024)] * 2
    assert told["usage"]["output_tokens"] == 272
    assert reply.usage is not None
    assert (reply.usage.images, reply.usage.completion_tokens) == (2, 272)


@pytest.mark.asyncio
async def test_urls_stay_urls_and_become_base64_by_name_only(double: OpenAIMedia, build_for: Any) -> None:
    adapter = build_for(file_hosts=(double.origin("files"),))
    told = json.loads(await all_of(await adapter.open(*openai("brush-old", size="256x256"))))
    assert told["data"][0]["url"].startswith(double.origin("files"))
    assert told["data"][0]["revised_prompt"] == "a ferry!"
    assert double.seen(port="files") == []
    # The upstream takes no `response_format` from us, but its answer is put into the one that was asked for.
    other = build_for(file_hosts=(double.origin("files"),), drops=frozenset({"response_format"}))
    call, target = openai("brush-old", size="256x256", response_format="b64_json")
    told = json.loads(await all_of(await other.open(call, target)))
    assert media.size_of(base64.b64decode(told["data"][0]["b64_json"])) == ("png", 256, 256)
    assert "url" not in told["data"][0]
    assert double.leaks == []


@pytest.mark.asyncio
async def test_base64_becomes_a_data_url_by_name(build_for: Any) -> None:
    adapter = build_for(drops=frozenset({"response_format"}))
    told = json.loads(await all_of(await adapter.open(*openai("brush-new", response_format="url"))))
    assert told["data"][0]["url"].startswith("data:image/png;base64,")


@pytest.mark.asyncio
async def test_a_stream_passes_and_one_that_was_ignored_is_made(double: OpenAIMedia, build_for: Any) -> None:
    adapter = build_for()
    reply = await adapter.open(*openai("brush-new", stream=True, partial_images=1))
    body = await all_of(reply)
    assert reply.usage is not None
    assert (reply.usage.images, reply.usage.completion_tokens) == (1, 272)
    assert [json.loads(line[6:])["type"] for line in body.decode().splitlines() if line.startswith("data: ")] == [
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    row = {"b64_json": base64.b64encode(media.png(8, 8)).decode()}
    double.script(faults.answer(200, {"created": 1, "data": [row, row]}))
    body = await all_of(await adapter.open(*openai("brush-new", stream=True)))
    told = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: ")]
    assert [event["type"] for event in told] == ["image_generation.completed"] * 2
    assert media.size_of(base64.b64decode(told[0]["b64_json"])) == ("png", 8, 8)


@pytest.mark.asyncio
async def test_refusals_and_what_is_no_picture(double: OpenAIMedia, build_for: Any) -> None:
    adapter = build_for()
    for body, fault in (
        ({"size": "512x512"}, Fault.REFUSED),
        ({"prompt": "forbidden fruit"}, Fault.POLICY),
        ({"odd": 1}, Fault.REFUSED),
    ):
        with pytest.raises(UpstreamError) as caught:
            await adapter.open(*openai("brush-new", **body))
        assert (caught.value.fault, caught.value.accepted) == (fault, False)
    for data in ([], "x", [{}], [{"url": 1}]):
        double.script(faults.answer(200, {"created": 1, "data": data}))
        with pytest.raises(UpstreamError) as caught:
            await adapter.open(*openai("brush-new"))
        assert caught.value.fault is Fault.MALFORMED


# ── Venice's, translated ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
@pytest.mark.parametrize("model", ["brush-new", "brush-old"])
async def test_a_venice_wish_is_translated(double: OpenAIMedia, build_for: Any, model: str) -> None:
    """The style and what to avoid go into the prompt; the size is drawn near and made exact; the rest is named."""
    more = NEW if model == "brush-new" else {"image_sizes": ("256x256", "512x512", "1024x1024")}
    asked = {"width": 640, "height": 480, "style_preset": "Film Noir", "negative_prompt": "rain", "steps": 9, "seed": 3}
    call, target = venice(model, **asked, format="webp", embed_exif_metadata=True, hide_watermark=True)
    reply = await build_for(**more).open(call, target)
    told = json.loads(await all_of(reply))
    sent = double.seen("POST", "generations")[0].json
    assert set(sent) == {"model", "prompt", "n", "size"} | ({"response_format"} if model == "brush-old" else set())
    assert "film noir" in sent["prompt"]
    assert "\nAvoid: rain, " in sent["prompt"]
    assert sent["size"] == ("1536x1024" if model == "brush-new" else "1024x1024")
    assert sorted(call.dropped) == ["seed", "steps"]
    data = base64.b64decode(told["images"][0])
    assert (opened(data).size, opened(data).format) == ((640, 480), "WEBP")
    assert (read_about(data)["prompt"], read_about(data)["model"]) == ("a ferry", model)
    assert dict(reply.headers) == {"x-venice-is-blurred": "false", "x-venice-is-content-violation": "false"}


@pytest.mark.asyncio
async def test_a_preview_is_what_would_be_sent(double: OpenAIMedia, build_for: Any) -> None:
    call, target = venice("brush-new", width=640, height=480, style_preset="Anime", seed=3, format="png")
    told = build_for(**NEW).preview(call, target)
    assert call.dropped == []
    assert told.dropped == ["seed"]
    assert told.translated == {"width": "size", "height": "size", "style_preset": "prompt"}
    assert double.requests == []
    await all_of(await build_for(**NEW).open(call, target))
    sent = double.seen("POST", "generations")[0].json
    assert {key: json.loads(bytes(value)) for key, value in told.kept.items()} == {
        k: v for k, v in sent.items() if k != "model"
    }
    call, target = openai("brush-new", quality="low", user="me")
    told = build_for(drops=frozenset({"user"})).preview(call, target)
    assert (set(told.kept), told.dropped) == ({"quality"}, ["user"])


@pytest.mark.asyncio
async def test_what_an_upstream_takes_goes_out_under_its_name(double: OpenAIMedia, build_for: Any) -> None:
    double.script(faults.answer(200, {"data": [{"b64_json": base64.b64encode(media.png(640, 480)).decode()}]}))
    takes = frozenset({"seed", "steps", "negative_prompt", "style_preset"})
    body = {"width": 640, "height": 480, "seed": 3, "steps": 9, "negative_prompt": "rain", "style_preset": "anime"}
    call, target = venice("brush-new", **body, return_binary=True, format="png", safe_mode=False)
    reply = await build_for(image_takes=takes).open(call, target)
    assert media.size_of(await all_of(reply)) == ("png", 640, 480)
    assert reply.content_type == "image/png"
    sent = double.seen("POST", "generations")[0].json
    assert (sent["seed"], sent["steps"], sent["negative_prompt"], sent["prompt"]) == (3, 9, "rain", "a ferry")
    assert (sent["moderation"], sent["size"], sent["style_preset"]) == ("low", "640x480", "anime")
    assert call.dropped == []


@pytest.mark.asyncio
async def test_urls_are_fetched_for_venice_from_listed_hosts_only(double: OpenAIMedia, build_for: Any) -> None:
    options = {"image_sizes": ("256x256",), "image_response_format": False}
    good = build_for(**options, file_hosts=(double.origin("files"),))
    reply = await good.open(*venice("brush-old", width=256, height=256, format="png"))
    assert media.size_of(base64.b64decode(json.loads(await all_of(reply))["images"][0])) == ("png", 256, 256)
    assert len(double.seen(port="files")) == 1
    assert double.leaks == []
    with pytest.raises(UpstreamError, match="could not be fetched") as caught:
        await build_for(**options).open(*venice("brush-old"))
    assert caught.value.accepted is True
    assert "secret" not in caught.value.message


@pytest.mark.asyncio
async def test_the_model_s_own_limits_are_held_before_anybody_is_asked(double: OpenAIMedia, build_for: Any) -> None:
    with pytest.raises(BadRequest, match="width"):
        await build_for().open(*venice("brush-new", width=321))
    assert double.requests == []


@pytest.mark.asyncio
async def test_venice_s_own_generations_are_closed_again(build_for: Any) -> None:
    call, target = openai("brush-new", Dialect.VENICE, size="512x512", output_format="jpeg", quality="low")
    told = json.loads(await all_of(await build_for(**NEW).open(call, target)))
    assert set(told) == {"created", "data"}
    assert set(told["data"][0]) == {"b64_json"}
    assert media.size_of(base64.b64decode(told["data"][0]["b64_json"])) == ("jpeg", 512, 512)


# ── edits ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_an_openai_edit_goes_out_as_a_form(double: OpenAIMedia, build_for: Any) -> None:
    two = [file(name="ä.png"), file(picture("WEBP"), "", "image")]
    mask = file(picture("PNG", mode="RGBA"), "mask.png", "mask")
    call, target = edit("brush-new", images=two, mask=mask, n=2)
    told = json.loads(await all_of(await build_for().open(call, target)))
    assert len(told["data"]) == 2
    fields = double.fields[0]
    assert {f.name: f.value.decode() for f in fields if f.filename is None} == {
        "model": "brush-new",
        "prompt": "blue",
        "n": "2",
    }
    files = [(f.name, f.filename, f.content_type) for f in fields if f.filename is not None]
    assert files == [
        ("image[]", "ä.png", "image/png"),
        ("image[]", "image.webp", "image/webp"),
        ("mask", "mask.png", "image/png"),
    ]
    assert [f.value for f in fields if f.name == "image[]"] == [one.read() for one in two]


@pytest.mark.asyncio
async def test_a_venice_edit_answers_the_picture_itself(double: OpenAIMedia, build_for: Any) -> None:
    call, target = edit("brush-new", Dialect.VENICE)
    reply = await build_for(**NEW).open(call, target)
    assert reply.content_type == "image/png"
    assert media.size_of(await all_of(reply)) == ("png", 1024, 1024)
    assert {f.name for f in double.fields[0]} == {"model", "prompt", "image"}
    double.script(faults.answer(200, {"data": [{"b64_json": base64.b64encode(media.jpeg(64, 64)).decode()}]}))
    assert media.size_of(await all_of(await build_for().open(*edit("brush-old", Dialect.VENICE)))) == ("png", 64, 64)


@pytest.mark.asyncio
async def test_openai_s_edits_under_venice_s_prefix(double: OpenAIMedia, build_for: Any) -> None:
    """Its parameters go along, its answer is as closed as Venice's."""
    call, target = edit("brush-new", Dialect.VENICE, shape="b64_json", n=2)
    told = json.loads(await all_of(await build_for().open(call, target)))
    assert (set(told), len(told["data"])) == ({"created", "data"}, 2)


@pytest.mark.asyncio
async def test_an_edit_s_stream(build_for: Any) -> None:
    call, target = edit("brush-new", stream=True)
    reply = await build_for().open(call, target)
    assert b"image_edit.completed" in await all_of(reply)

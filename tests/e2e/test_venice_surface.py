"""The routes beside chat, offline and under both prefixes: what answers, in which shape, and what is refused by name."""

import base64
import io
import json
import math
import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any

import av
import httpx
import openai
import pytest
from PIL import Image

from adapters.options import KINDS, USUAL_KEYS
from fakes.decoded_audio import hear
from fakes.gateway import Gateway, gateway
from proxy import config, defaults
from proxy.media.audio_formats import FORMATS
from proxy.media.images import read_about


@pytest.fixture(scope="module")
def home() -> Iterator[Gateway]:
    """The gateway as it starts without a configuration file."""
    gate = Gateway("")
    gate.config = config.decode(defaults.tree(USUAL_KEYS, {}), KINDS, {}, file="the embedded default")
    gate.start()
    try:
        yield gate
    finally:
        gate.stop()


@pytest.fixture(params=["/v1", "/api/v1"])
def base(home: Gateway, request: pytest.FixtureRequest) -> str:
    return home.origin + str(request.param)


def post(url: str, body: Any = None, **more: Any) -> httpx.Response:
    return httpx.post(url, json=body, timeout=60, **more)


def refusal(answer: httpx.Response) -> str:
    """The text of a 400 in the dialect of its route."""
    assert answer.status_code == 400, answer.text
    said = answer.json()["error"]
    venice = "/api/v1/" in str(answer.url)
    assert isinstance(said, str) == venice
    return str(said if venice else said["message"])


# ── embeddings ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_embeddings_of_every_shape(base: str) -> None:
    """Texts one, many and as tokens; of length one; floats and base64 agree; the order stays."""
    url = base + "/embeddings"
    one = post(url, {"model": "demo", "input": "a ferry"}).json()
    assert (one["object"], one["model"], len(one["data"])) == ("list", "demo-embedding", 1)
    vector = one["data"][0]["embedding"]
    assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-4)
    assert one["usage"]["prompt_tokens"] == one["usage"]["total_tokens"] > 0

    texts = [f"boat number {n}" for n in range(100)] + ["a ferry"]
    many = post(url, {"model": "demo-embedding", "input": texts}).json()
    assert [item["index"] for item in many["data"]] == list(range(101))
    assert many["data"][100]["embedding"] == pytest.approx(vector, abs=2e-3)
    assert many["data"][0]["embedding"] != pytest.approx(vector, abs=2e-3)

    packed = post(url, {"model": "demo", "input": "a ferry", "encoding_format": "base64"}).json()
    data = base64.b64decode(packed["data"][0]["embedding"])
    assert struct.unpack(f"<{len(data) // 4}f", data) == pytest.approx(vector, abs=1e-6)

    tokens = post(url, {"model": "demo", "input": [[5, 6, 7], [8]]}).json()
    assert (len(tokens["data"]), tokens["usage"]["prompt_tokens"]) == (2, 4)
    assert len(post(url, {"model": "demo", "input": [5, 6, 7]}).json()["data"]) == 1

    short = post(url, {"model": "demo", "input": "a ferry", "dimensions": 8}).json()["data"][0]["embedding"]
    assert len(short) == 8
    assert math.isclose(math.hypot(*short), 1, abs_tol=1e-4)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": 100_000}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": [1 << 30]}, "token ids"),
    ],
)
def test_embeddings_refuse_by_name(base: str, body: dict[str, Any], named: str) -> None:
    assert named in refusal(post(base + "/embeddings", {"model": "demo", **body}))


def test_openai_embeddings(home: Gateway) -> None:
    """The SDK asks for base64 by itself and decodes it."""
    with openai.OpenAI(base_url=home.v1, api_key="k", max_retries=0) as client:
        default = client.embeddings.create(model="text-embedding-3-small", input=["a ferry", "an oar"])
        plain = client.embeddings.create(model="demo", input=["a ferry", "an oar"], encoding_format="float")
    assert [item.index for item in default.data] == [0, 1]
    for ours, theirs in zip(default.data, plain.data, strict=True):
        assert ours.embedding == pytest.approx(theirs.embedding, abs=1e-6)


# ── speech ───────────────────────────────────────────────────────────────────────────────────────────────────────────

SENTENCE = "The ferry crosses the canal, and nobody waits for long."


@pytest.mark.parametrize("format", FORMATS)
def test_speech_in_six_formats(base: str, format: str) -> None:
    url = base + "/audio/speech"
    sound = post(url, {"input": SENTENCE, "response_format": format, "voice": "bm_george"})
    assert sound.status_code == 200, sound.text
    assert sound.headers["content-type"] == FORMATS[format].content_type
    assert "content-encoding" not in sound.headers
    heard = hear(sound.content, format)
    assert 2 < heard.seconds < 6
    assert heard.rms > 0.01


def test_speech_in_a_hurry_and_under_openai_s_names(base: str) -> None:
    url = base + "/audio/speech"
    slow = hear(post(url, {"model": "tts-1", "input": SENTENCE, "voice": "alloy"}).content)
    fast = hear(post(url, {"model": "tts-kokoro", "input": SENTENCE, "voice": "af_alloy", "speed": 2}).content)
    assert fast.seconds == pytest.approx(slow.seconds / 2, rel=0.05)


def test_speech_streams(base: str) -> None:
    """In pieces, the first of them long before the last."""
    text = " ".join(f"Sentence {n} tells of the weather over the lagoon." for n in range(20))
    body = {"input": text, "response_format": "wav", "streaming": True}
    with httpx.stream("POST", base + "/audio/speech", json=body, timeout=60) as answer:
        assert answer.headers["content-type"] == "audio/wav"
        started, arrivals, size = time.monotonic(), [], 0
        for piece in answer.iter_raw():
            arrivals.append(time.monotonic() - started)
            size += len(piece)
    assert len(arrivals) > 5
    assert arrivals[0] < arrivals[-1] / 2
    assert size > 20 * 24_000 * 2


def test_speech_in_events(home: Gateway) -> None:
    body = {"model": "tts-1", "voice": "nova", "input": SENTENCE, "response_format": "mp3", "stream_format": "sse"}
    answer = post(home.v1 + "/audio/speech", body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["input_tokens"] > 5
    assert 2 < hear(b"".join(base64.b64decode(event["audio"]) for event in events[:-1])).seconds < 6


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "input"),
        ({"input": ""}, "input"),
        ({"input": "x" * 4097}, "input"),
        ({"input": "   "}, "input"),
        ({"input": "x", "voice": "nobody_at_all"}, "voice"),
        ({"input": "x", "response_format": "ogg"}, "response_format"),
        ({"input": "x", "speed": 0.2}, "speed"),
        ({"input": "x", "speed": 4.1}, "speed"),
        ({"input": "x", "streaming": "yes"}, "streaming"),
    ],
)
def test_speech_refuses_by_name(base: str, body: dict[str, Any], named: str) -> None:
    assert named in refusal(post(base + "/audio/speech", body))


def test_openai_speech(home: Gateway) -> None:
    with (
        openai.OpenAI(base_url=home.v1, api_key="k", max_retries=0) as client,
        client.audio.speech.with_streaming_response.create(
            model="gpt-4o-mini-tts", voice="shimmer", input=SENTENCE, instructions="softly"
        ) as answer,
    ):
        assert answer.headers["x-traghetto-dropped"] == "instructions"
        assert hear(answer.read()).codec == "mp3float"


# ── another gateway as the upstream ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def front(home: Gateway) -> Iterator[Gateway]:
    """A gateway whose upstream, of kind openai, is the one at home."""
    rows = {"vectors": ("embedding", "demo"), "voice": ("tts", "tts-1")}
    toml = f'[upstreams.up]\nkind = "openai"\nbase_url = "{home.v1}"\napi_key = "k"\n'
    for name, (type_, model) in rows.items():
        toml += f'[models.{name}]\ntype = "{type_}"\ntraits = ["default"]\n'
        toml += f'targets = [{{upstream = "up", model = "{model}"}}]\n'
    with gateway(toml) as running:
        yield running


def test_embeddings_pass_through(home: Gateway, front: Gateway) -> None:
    there = post(home.v1 + "/embeddings", {"model": "demo", "input": ["a", "b"]}).json()
    here = post(front.v1 + "/embeddings", {"model": "vectors", "input": ["a", "b"]}).json()
    assert here == {**there, "model": "vectors"}


def test_speech_passes_through(front: Gateway) -> None:
    """Sound and events; what the upstream refuses is refused here, by the same name."""
    url = front.v1 + "/audio/speech"
    sound = post(url, {"input": SENTENCE, "voice": "nova", "response_format": "flac", "streaming": True})
    assert sound.headers["content-type"] == "audio/flac"
    assert 2 < hear(sound.content).seconds < 6
    events = post(url, {"input": SENTENCE, "voice": "nova", "stream_format": "sse"})
    assert events.text.count('"speech.audio.done"') == 1
    assert "voice" in refusal(post(url, {"input": "x", "voice": "nobody"}))


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
def test_generate_in_json_and_binary(base: str, format: str) -> None:
    """The same seed, the same bytes, in both shapes; the size is exact."""
    body = {"model": "dev-placeholder", "prompt": "a ferry", "width": 320, "height": 256, "seed": 7, "format": format}
    told = post(base + "/image/generate", body)
    assert told.status_code == 200, told.text
    assert told.headers["x-venice-is-blurred"] == "false"
    said = told.json()
    assert set(said) == {"id", "images", "request", "timing"}
    assert said["request"] == body
    assert said["timing"]["total"] >= said["timing"]["inferenceDuration"] > 0
    data = base64.b64decode(said["images"][0])
    picture = opened(data)
    assert (picture.size, picture.format) == ((320, 256), format.upper())
    bare = post(base + "/image/generate", {**body, "return_binary": True})
    assert bare.headers["content-type"] == f"image/{format}"
    assert bare.content == data
    other = post(base + "/image/generate", {**body, "return_binary": True, "seed": 8})
    assert other.content != data


def test_generate_writes_what_was_asked_for(base: str) -> None:
    body = {"model": "default", "prompt": "una gondola è qui", "embed_exif_metadata": True, "return_binary": True}
    about = read_about(post(base + "/image/generate", {**body, "seed": 3, "style_preset": "anime"}).content)
    assert (about["prompt"], about["seed"], about["style"]) == ("una gondola è qui", 3, "Anime")
    assert read_about(post(base + "/image/generate", {**body, "embed_exif_metadata": False}).content) == {}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 1501}, "prompt"),
        ({"width": 1281}, "width"),
        ({"height": 0}, "height"),
        ({"width": 321}, "width"),
        ({"steps": 51}, "steps"),
        ({"cfg_scale": 0}, "cfg_scale"),
        ({"seed": 1_000_000_000}, "seed"),
        ({"lora_strength": 101}, "lora_strength"),
        ({"format": "gif"}, "format"),
        ({"style_preset": "Nobody's"}, "style_preset"),
        ({"negative_prompt": "x" * 1501}, "negative_prompt"),
        ({"variants": 2}, "variants"),
    ],
)
def test_generate_refuses_by_name(base: str, body: dict[str, Any], named: str) -> None:
    answer = post(base + "/image/generate", {"model": "dev-placeholder", "prompt": "a ferry", **body})
    assert named in refusal(answer)


def test_generations(base: str) -> None:
    """OpenAI's shape, under any model's name."""
    url = base + "/images/generations"
    plain = post(url, {"prompt": "a ferry", "size": "256x256", "model": "gpt-image-1"})
    assert set(plain.json()) == {"created", "data"}
    assert opened(base64.b64decode(plain.json()["data"][0]["b64_json"])).size == (256, 256)
    told = post(url, {"prompt": "x", "size": "256x256", "response_format": "url", "output_format": "webp"}).json()
    head, _, data = told["data"][0]["url"].partition(",")
    assert head == "data:image/webp;base64"
    assert opened(base64.b64decode(data)).format == "WEBP"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"size": "7x"}, "size"),
        ({"n": 11}, "n"),
        ({"n": 0}, "n"),
        ({"background": "pink"}, "background"),
        ({}, "prompt"),
    ],
)
def test_generations_refuse_by_name(base: str, body: dict[str, Any], named: str) -> None:
    given = {"prompt": "x", **body} if body else {}
    assert named in refusal(post(base + "/images/generations", given))


def test_openai_generations(home: Gateway) -> None:
    with openai.OpenAI(base_url=home.v1, api_key="k", max_retries=0) as client:
        made = client.images.generate(model="dall-e-3", prompt="a ferry", n=2, size="256x256", background="transparent")
    assert made.data is not None
    pictures = [opened(base64.b64decode(item.b64_json or "")) for item in made.data]
    assert [picture.mode for picture in pictures] == ["RGBA", "RGBA"]
    assert pictures[0].tobytes() != pictures[1].tobytes()
    one = post(home.venice + "/images/generations", {"prompt": "x", "n": 2})
    assert "'n'" in refusal(one)


def test_styles(base: str) -> None:
    told = httpx.get(base + "/image/styles").json()
    assert told["object"] == "list"
    assert len(set(told["data"])) == len(told["data"]) > 50


# ── pictures that are sent ───────────────────────────────────────────────────────────────────────────────────────────


def png(width: int = 300, height: int = 260, mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert(mode).save(out, "PNG")
    return out.getvalue()


def lying_header(width: int, height: int) -> bytes:
    """A small file whose header claims to be a large picture."""
    data = png()
    head = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


def told_as(form: bool, data: bytes, **fields: Any) -> dict[str, Any]:
    """The same wish as a form or as JSON."""
    if form:
        texts = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in fields.items()}
        return {"data": texts, "files": {"image": ("boat.png", data, "image/png")}}
    return {"json": {"image": base64.b64encode(data).decode(), **fields}}


@pytest.mark.parametrize("form", [True, False], ids=["form", "json"])
def test_upscale(base: str, form: bool) -> None:
    answer = httpx.post(base + "/image/upscale", timeout=60, **told_as(form, png(), scale=1.5))
    assert answer.headers["content-type"] == "image/png"
    assert opened(answer.content).size == (450, 390)
    assert opened(httpx.post(base + "/image/upscale", **told_as(form, png())).content).size == (600, 520)
    same = httpx.post(base + "/image/upscale", **told_as(form, png(), scale=1, enhance=True, replication=0.9))
    assert opened(same.content).size == (300, 260)


@pytest.mark.parametrize("form", [True, False], ids=["form", "json"])
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"scale": 0.5}, "scale"),
        ({"scale": 5}, "scale"),
        ({"scale": 1}, "scale"),
        ({"scale": "x"}, "scale"),
        ({"enhance": "maybe"}, "enhance"),
        ({"replication": 1.5}, "replication"),
        ({"enhanceCreativity": -0.1}, "enhanceCreativity"),
        ({"enhancePrompt": "x" * 1501}, "enhancePrompt"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_upscale_refuses_by_name(base: str, form: bool, fields: dict[str, Any], named: str) -> None:
    assert named in refusal(httpx.post(base + "/image/upscale", timeout=60, **told_as(form, png(), **fields)))


@pytest.mark.parametrize("route", ["upscale", "edit"])
def test_pictures_that_are_none(base: str, route: str) -> None:
    """Too small, cut short, something else, under a false name, of a hundred megapixels, or missing."""
    url = f"{base}/image/{route}"
    fields = {"prompt": "x"} if route == "edit" else {}
    for data in (png(20, 20), png()[:-50], b"GIF-like nonsense", b""):
        assert "image" in refusal(httpx.post(url, timeout=60, **told_as(True, data, **fields)))
    giant = httpx.post(url, timeout=60, **told_as(True, lying_header(10_000, 10_000), **fields))
    assert giant.status_code == 413
    lying = httpx.post(url, data=fields, files={"image": ("a", png(), "image/webp")})
    assert "image" in refusal(lying)
    assert "image" in refusal(httpx.post(url, json=fields))
    assert "image" in refusal(httpx.post(url, json={**fields, "image": "no base64!"}))
    assert httpx.post(url, content=b"x", headers={"content-type": "text/plain"}).status_code == 415


@pytest.mark.parametrize("form", [True, False], ids=["form", "json"])
def test_edit(base: str, form: bool) -> None:
    answer = httpx.post(base + "/image/edit", timeout=60, **told_as(form, png(), prompt="make it blue"))
    assert answer.headers["content-type"] == "image/png", answer.text
    assert opened(answer.content).size == (300, 260)
    assert "prompt" in refusal(httpx.post(base + "/image/edit", **told_as(form, png())))
    assert "prompt" in refusal(httpx.post(base + "/image/edit", **told_as(form, png(), prompt="x" * 1501)))


def heard_of(data: bytes) -> tuple[str, int, int]:
    """What another decoder than the one that wrote it says: FFmpeg's name of the codec, width and height."""
    with av.open(io.BytesIO(data)) as file:
        frame = next(file.decode(video=0))
        return file.streams.video[0].codec_context.name, frame.width, frame.height


@pytest.mark.parametrize(("format", "codec"), [("jpeg", "mjpeg"), ("png", "png"), ("webp", "webp")])
def test_other_decoders_accept_every_format(base: str, format: str, codec: str) -> None:
    body = {"model": "default", "prompt": "a ferry", "width": 328, "height": 264, "format": format}
    drawn = post(base + "/image/generate", {**body, "return_binary": True, "embed_exif_metadata": True})
    assert heard_of(drawn.content) == (codec, 328, 264)
    more = {"prompt": "a ferry", "size": "256x256", "output_format": format}
    told = post(base + "/images/generations", more).json()
    assert heard_of(base64.b64decode(told["data"][0]["b64_json"])) == (codec, 256, 256)


def test_openai_pictures_in_events(home: Gateway) -> None:
    """Who asks for a stream gets one, though a placeholder has nothing partial to show."""
    with openai.OpenAI(base_url=home.v1, api_key="k", max_retries=0, _strict_response_validation=True) as client:
        drawn = list(client.images.generate(prompt="a ferry", n=2, size="256x256", stream=True))
        edited = list(client.images.edit(image=("a.png", png()), prompt="blue", stream=True))
    assert [event.type for event in (*drawn, *edited)] == ["image_generation.completed"] * 2 + ["image_edit.completed"]
    assert [opened(base64.b64decode(event.b64_json)).size for event in (*drawn, *edited)] == [
        *((256, 256), (256, 256), (300, 260))
    ]
    assert "stream" in refusal(post(home.venice + "/images/generations", {"prompt": "x", "stream": True}))


def test_openai_edits(home: Gateway) -> None:
    """One picture and several, with a mask; every shape of answer."""
    with openai.OpenAI(base_url=home.v1, api_key="k", max_retries=0) as client:
        one = client.images.edit(model="gpt-image-1", image=("a.png", png()), prompt="blue", mask=("m.png", png()), n=2)
        many = client.images.edit(
            model="dev-placeholder", image=[("a.png", png()), ("b.png", png())], prompt="blue", size="512x512"
        )
    assert one.data is not None
    assert many.data is not None
    assert [opened(base64.b64decode(item.b64_json or "")).size for item in one.data] == [(300, 260)] * 2
    assert opened(base64.b64decode(many.data[0].b64_json or "")).size == (512, 512)
    url = "data:image/png;base64," + base64.b64encode(png()).decode()
    body = {"prompt": "x", "images": [{"image_url": url}], "response_format": "url", "output_format": "webp"}
    said = post(home.v1 + "/images/edits", body).json()
    assert said["data"][0]["url"].startswith("data:image/webp;base64,")
    with (
        openai.OpenAI(base_url=home.v1, api_key="k", max_retries=0) as client,
        pytest.raises(openai.BadRequestError, match="mask"),
    ):
        client.images.edit(image=("a.png", png()), prompt="blue", mask=("m.png", png(10, 10)))

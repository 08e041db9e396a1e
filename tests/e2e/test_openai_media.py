"""The official Python SDK's pictures, ears, voice and vectors, through the gateway to a strict upstream and at home."""

import base64
import io
import json
import math
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from fakes import hostile_images as hostile
from fakes.decoded_audio import hear
from fakes.doubles import media
from fakes.doubles.clockwork import Pace
from fakes.doubles.openai_media import OpenAIMedia
from fakes.gateway import Gateway, gateway
from fakes.hostile_images import picture

SOUND = media.wav(1.5)


def rows(double: OpenAIMedia) -> str:
    """An upstream of the newer generation and one of the older, and models of each type on them."""
    toml = ""
    for name, more in (
        ("new", 'image_sizes = ["1024x1024", "1536x1024", "1024x1536"]\nimage_response_format = false\n'),
        ("old", 'image_sizes = ["256x256", "512x512", "1024x1024"]\nmax_batch = 3\n'),
    ):
        toml += f'[upstreams.{name}]\nkind = "openai"\nbase_url = "{double.base_url}"\napi_key = "{double.key}"\n'
        toml += more + f'file_hosts = ["{double.origin("files")}"]\n'
    models = (
        ("ears", "asr", "new/ears-new"),
        ("old-ears", "asr", "old/ears-old"),
        ("brush", "image", "new/brush-new"),
        ("old-brush", "image", "old/brush-old"),
        ("edits", "inpaint", "new/brush-new"),
        ("vectors", "embedding", "old/vectors"),
        ("bigger", "upscale", "new/none"),
    )
    for name, type_, target in models:
        upstream, _, model = target.partition("/")
        toml += f'[models.{name}]\ntype = "{type_}"\ntargets = [{{upstream = "{upstream}", model = "{model}"}}]\n'
    return toml


@pytest.fixture(scope="module")
def double() -> Iterator[OpenAIMedia]:
    with OpenAIMedia(pace=Pace.quick()) as running:
        yield running


@pytest.fixture(scope="module")
def gate(double: OpenAIMedia) -> Iterator[Gateway]:
    with gateway(rows(double)) as running:
        yield running


@pytest.fixture(params=[False, True], ids=["loose", "strict"])
def client(gate: Gateway, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    options = {"_strict_response_validation": request.param, "max_retries": 0, "timeout": 20}
    with openai.OpenAI(base_url=gate.v1, api_key="caller-key", **options) as made:
        yield made


def size_of(packed: str | None) -> tuple[str, int, int] | None:
    return media.size_of(base64.b64decode(packed or ""))


# ── ears ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_recording_keeps_its_name_and_type(client: openai.OpenAI, double: OpenAIMedia) -> None:
    told = client.audio.transcriptions.create(
        model="ears", file=("parlà 1.wav", io.BytesIO(SOUND), "audio/vnd.wave"), language="it", prompt="Venezia"
    )
    assert told.text == "silence for 1.5 seconds"
    assert told.usage is not None
    assert told.usage.type == "tokens"
    fields = double.fields[-1]
    (file,) = [field for field in fields if field.filename is not None]
    assert (file.name, file.filename, file.content_type, file.value) == ("file", "parlà 1.wav", "audio/vnd.wave", SOUND)
    assert {f.name: f.value.decode() for f in fields if f.filename is None} == {
        "model": "ears-new",
        "language": "it",
        "prompt": "Venezia",
    }
    assert not double.requests[-1].holds("caller-key")


@pytest.mark.parametrize(("form", "start"), [("text", "silence"), ("srt", "1\n00:00:00,000"), ("vtt", "WEBVTT")])
def test_transcripts_as_text(client: openai.OpenAI, form: Any, start: str) -> None:
    told = client.audio.transcriptions.create(model="old-ears", file=("a.wav", SOUND), response_format=form)
    assert isinstance(told, str)
    assert told.startswith(start)


def test_words_and_segments(client: openai.OpenAI) -> None:
    told = client.audio.transcriptions.create(
        model="old-ears",
        file=("a.wav", SOUND),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        temperature=0.2,
    )
    assert float(told.duration) == pytest.approx(1.5)
    assert [word.word for word in told.words or []] == told.text.split()
    assert [segment.text for segment in told.segments or []] == [told.text]


@pytest.mark.parametrize("model", ["ears", "old-ears"])
def test_a_streamed_transcript(client: openai.OpenAI, double: OpenAIMedia, model: str) -> None:
    """Also from a model that ignores `stream`."""
    double.say = ["one two three 🛶"]
    events = list(client.audio.transcriptions.create(model=model, file=("a.wav", SOUND), stream=True))
    assert "".join(e.delta for e in events if e.type == "transcript.text.delta") == "one two three 🛶"
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == "one two three 🛶"


def test_ears_under_venice_s_prefix(gate: Gateway) -> None:
    """The same answer; an unknown field is refused by name."""
    url, files = gate.venice + "/audio/transcriptions", {"file": ("a.wav", SOUND, "audio/wav")}
    told = httpx.post(url, data={"model": "ears", "language": "it"}, files=files)
    assert told.json()["text"] == "silence for 1.5 seconds"
    odd = httpx.post(url, data={"model": "ears", "colour": "red"}, files=files)
    assert (odd.status_code, "colour" in odd.json()["error"]) == (400, True)


def test_what_the_upstream_refuses_is_refused_here(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="srt"):
        client.audio.transcriptions.create(model="ears", file=("a.wav", SOUND), response_format="srt")
    with pytest.raises(openai.BadRequestError, match="file format"):
        client.audio.transcriptions.create(model="ears", file=("a.doc", SOUND))
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.audio.transcriptions.create(model="ears", file=("a.wav", SOUND), temperature=3)
    with pytest.raises(openai.NotFoundError):
        client.audio.transcriptions.create(model="nobody", file=("a.wav", SOUND))


def test_nobody_here_can_hear(double: OpenAIMedia) -> None:
    """No model of the type is a 501, in both dialects; so is a model whose upstream has no ears."""
    toml = '[upstreams.here]\nkind = "offline"\n'
    with gateway(toml) as deaf:
        for model in ("whisper-1", "here/tts-kokoro"):
            for base in (deaf.v1, deaf.venice):
                sent = httpx.post(
                    base + "/audio/transcriptions", data={"model": model}, files={"file": ("a.wav", SOUND)}
                )
                assert sent.status_code == 501, sent.text
                said = sent.json()["error"]
                text = said["message"] if base == deaf.v1 else said
                assert "transcri" in text
                assert sent.headers["x-should-retry"] == "false"


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_generate(client: openai.OpenAI) -> None:
    told = client.images.generate(model="brush", prompt="a ferry", n=2, size="1536x1024", quality="low")
    assert [size_of(item.b64_json) for item in told.data or []] == [("png", 1536, 1024)] * 2
    assert told.usage is not None
    assert told.usage.total_tokens == 281


def test_urls_stay_urls(client: openai.OpenAI, double: OpenAIMedia) -> None:
    (item,) = client.images.generate(model="old-brush", prompt="a ferry", size="256x256").data or []
    assert (item.url or "").startswith(double.origin("files"))
    assert item.revised_prompt == "a ferry!"
    (packed,) = (
        client.images.generate(model="old-brush", prompt="a ferry", size="256x256", response_format="b64_json").data
        or []
    )
    assert size_of(packed.b64_json) == ("png", 256, 256)


def test_generate_in_events(client: openai.OpenAI) -> None:
    events = list(client.images.generate(model="brush", prompt="x", stream=True, partial_images=1))
    assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed"]
    assert size_of(events[-1].b64_json) == ("png", 1024, 1024)


def test_edit(client: openai.OpenAI, double: OpenAIMedia) -> None:
    mask = picture("PNG", mode="RGBA")
    told = client.images.edit(
        model="edits",
        image=[("a.png", picture("PNG")), ("b.webp", picture("WEBP"))],
        mask=("m.png", mask),
        prompt="blue",
    )
    assert size_of((told.data or [])[0].b64_json) == ("png", 1024, 1024)
    assert [f.filename for f in double.fields[-1] if f.filename is not None] == ["a.png", "b.webp", "m.png"]
    with pytest.raises(openai.BadRequestError, match="mask"):
        client.images.edit(
            model="edits", image=("a.png", picture("PNG")), mask=("m.png", picture("PNG", 10, 10)), prompt="blue"
        )
    with pytest.raises(openai.BadRequestError, match="image"):
        client.images.edit(model="edits", image=("a.png", b"no picture"), prompt="blue")


@pytest.mark.parametrize("route", ["/v1/images/edits", "/api/v1/image/edit"])
def test_hostile_pictures_go_no_further(gate: Gateway, double: OpenAIMedia, route: str) -> None:
    """Refused for what they are before the upstream sees a byte of them."""
    before = len(double.requests)
    cases = (
        (hostile.png(10_000, 10_000, rows=0), "image/png", 413),
        (picture("PNG")[:-60], "image/png", 400),
        (picture("PNG"), "image/webp", 400),
        (hostile.jpeg_header(9_000, 9_000), "image/jpeg", 413),
        (b"no picture at all", "image/png", 400),
        (b"", "image/png", 400),
    )
    for data, type_, status in cases:
        sent = httpx.post(
            gate.origin + route, data={"prompt": "x", "model": "edits"}, files={"image": ("a", data, type_)}
        )
        assert sent.status_code == status, sent.text
        said = sent.json()["error"]
        assert "image" in (said if "/api/" in route else said["message"])
    assert len(double.requests) == before


def test_a_policy_is_told_as_one(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(model="brush", prompt="forbidden fruit")
    assert caught.value.code == "content_policy_violation"


@pytest.mark.parametrize("model", ["brush", "old-brush"])
@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
def test_venice_s_route_over_openai(gate: Gateway, double: OpenAIMedia, model: str, format: str) -> None:
    """Exact size and format out of what the upstream draws, the style in the prompt, and what was left out named."""
    body = {"model": model, "prompt": "a ferry", "width": 640, "height": 480, "format": format, "seed": 4, "steps": 7}
    sent = httpx.post(gate.venice + "/image/generate", json={**body, "style_preset": "Anime"}, timeout=20)
    assert sent.status_code == 200, sent.text
    assert size_of(sent.json()["images"][0]) == (format, 640, 480)
    assert sent.headers["x-venice-is-blurred"] == "false"
    assert set(sent.headers["x-traghetto-dropped"].split(", ")) == {"seed", "steps"}
    assert "animation" in double.seen("POST", "generations")[-1].json["prompt"]
    bare = httpx.post(gate.venice + "/image/generate", json={**body, "return_binary": True}, timeout=20)
    assert bare.headers["content-type"] == f"image/{format}"
    assert media.size_of(bare.content) == (format, 640, 480)


def test_venice_s_edit_and_upscale_over_openai(gate: Gateway) -> None:
    """An edit is translated; nothing of OpenAI's enlarges a picture, and that is said."""
    files = {"image": ("a.png", picture("PNG"), "image/png")}
    edited = httpx.post(gate.venice + "/image/edit", data={"prompt": "blue", "model": "edits"}, files=files, timeout=20)
    assert edited.headers["content-type"] == "image/png", edited.text
    assert media.size_of(edited.content) == ("png", 1024, 1024)
    bigger = httpx.post(gate.venice + "/image/upscale", data={"model": "bigger"}, files=files, timeout=20)
    assert bigger.status_code == 501
    assert "upscale" in bigger.json()["error"]


def test_upscaling_by_another_gateway() -> None:
    """An upstream of kind openai that is a Traghetto itself: the form as it came, the picture as it was made."""
    with gateway('[upstreams.here]\nkind = "offline"\n') as far:
        toml = f'[upstreams.far]\nkind = "openai"\nbase_url = "{far.v1}"\napi_key = "k"\nupscales = true\n'
        with gateway(toml) as near:
            data = picture("PNG")
            sent = httpx.post(
                near.venice + "/image/upscale",
                data={"model": "far/here/lanczos", "scale": "1.5", "enhance": "true", "replication": "0.9"},
                files={"image": ("a.png", data, "image/png")},
                timeout=20,
            )
            assert sent.status_code == 200, sent.text
            assert (sent.headers["content-type"], media.size_of(sent.content)) == ("image/png", ("png", 450, 390))
            body = {"model": "far/here/lanczos", "image": base64.b64encode(data).decode(), "scale": 1}
            refused = httpx.post(near.venice + "/image/upscale", json=body, timeout=20)
            assert (refused.status_code, "scale" in refused.json()["error"]) == (400, True)


# ── vectors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_large_batch_is_split_to_what_the_target_takes(gate: Gateway, double: OpenAIMedia) -> None:
    """In order, the usage summed; base64, which the SDK asks for by itself, and floats are the same numbers.

    Its strict client is not asked: it holds base64 against the type that it is decoded to.
    """
    texts = [f"text number {n}" for n in range(8)]
    before = len(double.seen("POST", "embeddings"))
    client = openai.OpenAI(base_url=gate.v1, api_key="k", max_retries=0)
    packed = client.embeddings.create(model="vectors", input=texts)
    assert [len(seen.json["input"]) for seen in double.seen("POST", "embeddings")[before:]] == [3, 3, 2]
    plain = client.embeddings.create(model="vectors", input=texts, encoding_format="float")
    assert packed.usage.prompt_tokens == plain.usage.prompt_tokens == 24
    assert [item.index for item in packed.data] == list(range(8))
    for ours, theirs in zip(packed.data, plain.data, strict=True):
        assert ours.embedding == pytest.approx(theirs.embedding, abs=1e-6)
    alone = client.embeddings.create(model="vectors", input=texts[4], encoding_format="float")
    client.close()
    assert alone.data[0].embedding == plain.data[4].embedding
    assert not math.isclose(sum(plain.data[0].embedding), sum(plain.data[1].embedding))


# ── voice ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_speech_is_heard_again() -> None:
    """What the offline voice says reaches ears behind another gateway as sound of the same length."""
    with (
        OpenAIMedia(pace=Pace.quick()) as double,
        gateway(rows(double) + '[upstreams.here]\nkind = "offline"\n') as home,
        openai.OpenAI(base_url=home.v1, api_key="k", max_retries=0) as client,
    ):
        text = "The ferry crosses the canal, and nobody waits for long."
        with client.audio.speech.with_streaming_response.create(
            model="here/tts-kokoro", voice="nova", input=text, response_format="wav"
        ) as sound:
            data = sound.read()
        heard = hear(data)
        told = client.audio.transcriptions.create(model="ears", file=("spoken.wav", data))
    assert told.text == f"a voice for {heard.seconds:.1f} seconds"


def test_voices_have_other_names_elsewhere(double: OpenAIMedia) -> None:
    """By the table of the upstream; a name that is not in it passes as it is, and is refused there if it is not known."""
    toml = f'[upstreams.up]\nkind = "openai"\nbase_url = "{double.base_url}"\napi_key = "{double.key}"\n'
    with gateway(toml + 'voices = {af_sky = "nova", default = "alloy"}\n') as gate:
        for voice, theirs in (("af_sky", "nova"), (None, "alloy"), ("shimmer", "shimmer")):
            body = {"model": "up/voice", "input": "good day", "response_format": "wav", "voice": voice}
            sound = httpx.post(gate.v1 + "/audio/speech", json=body)
            assert sound.status_code == 200, sound.text
            assert hear(sound.content).seconds > 0.1
            assert double.seen("POST", "speech")[-1].json["voice"] == theirs
        refused = httpx.post(gate.v1 + "/audio/speech", json={**body, "voice": "bm_george"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "voice")


def test_a_dry_run_asks_nobody(gate: Gateway, double: OpenAIMedia) -> None:
    before = len(double.requests)
    sent = httpx.post(
        gate.v1 + "/audio/transcriptions?dry_run=true", data={"model": "ears"}, files={"file": ("a.wav", SOUND)}
    )
    assert sent.status_code == 200, sent.text
    assert json.loads(sent.content)["targets"][0]["model"] == "ears-new"
    body = {"model": "brush", "prompt": "a ferry", "width": 640, "height": 480, "seed": 3, "style_preset": "Anime"}
    told = httpx.post(gate.venice + "/image/generate?dry_run=true", json=body).json()["targets"][0]
    assert (told["dropped"], told["parameters"]["size"]) == (["seed"], "1536x1024")
    assert told["translated"]["style_preset"] == "prompt"
    assert "animation" in told["parameters"]["prompt"]
    assert len(double.requests) == before

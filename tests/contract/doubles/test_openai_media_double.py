"""The OpenAI double by itself: the official SDK, strict, takes its answers for OpenAI's, and what is wrong is refused by name."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from fakes.decoded_audio import hear
from fakes.doubles import media
from fakes.doubles.clockwork import Pace
from fakes.doubles.openai_media import OpenAIMedia
from fakes.hostile_images import picture

SOUND = media.wav(1.5)


@pytest.fixture(scope="module")
def double() -> Iterator[OpenAIMedia]:
    with OpenAIMedia(pace=Pace.quick()) as running:
        yield running


@pytest.fixture(scope="module")
def sdk(double: OpenAIMedia) -> Iterator[openai.OpenAI]:
    options: dict[str, Any] = {"max_retries": 0, "_strict_response_validation": True}
    with openai.OpenAI(base_url=double.base_url, api_key=double.key, **options) as client:
        yield client


def test_it_hears_what_a_decoder_hears(sdk: openai.OpenAI) -> None:
    """Length and loudness come out of the sound, whatever it is packed in."""
    for name, data in (
        ("a.wav", SOUND),
        ("a.mp3", media.mp3(1.5)),
        ("a.flac", media.flac(1.5)),
        ("a.ogg", media.opus(1.5)),
    ):
        told = sdk.audio.transcriptions.create(model="ears-new", file=(name, data))
        assert told.text == f"silence for {hear(data).seconds:.1f} seconds"
    told = sdk.audio.transcriptions.create(
        model="ears-old", file=("a.wav", SOUND), response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert (told.segments, [word.word for word in told.words or []]) == (None, told.text.split())
    events = list(sdk.audio.transcriptions.create(model="ears-new", file=("a.wav", SOUND), stream=True))
    assert events[-1].type == "transcript.text.done"


def test_it_draws_and_serves_what_it_drew(sdk: openai.OpenAI, double: OpenAIMedia) -> None:
    (new,) = sdk.images.generate(model="brush-new", prompt="x", size="1536x1024", output_format="webp").data or []
    assert media.size_of(base64.b64decode(new.b64_json or "")) == ("webp", 1536, 1024)
    (old,) = sdk.images.generate(model="brush-old", prompt="x", size="256x256").data or []
    assert media.size_of(httpx.get(old.url or "").content) == ("png", 256, 256)
    assert httpx.get((old.url or "").partition("?")[0]).status_code == 403
    kinds = [event.type for event in sdk.images.generate(model="brush-new", prompt="x", stream=True, partial_images=1)]
    assert kinds == ["image_generation.partial_image", "image_generation.completed"]
    (edited,) = sdk.images.edit(model="brush-new", prompt="x", image=("a.png", picture("PNG"))).data or []
    assert media.size_of(base64.b64decode(edited.b64_json or "")) == ("png", 1024, 1024)


@pytest.mark.parametrize(
    ("ask", "param"),
    [
        (lambda sdk: sdk.images.generate(model="brush-new", prompt="x", response_format="b64_json"), "response_format"),
        (lambda sdk: sdk.images.generate(model="brush-new", prompt="x", size="512x512"), "size"),
        (lambda sdk: sdk.images.generate(model="brush-old", prompt="x", stream=True), "stream"),
        (lambda sdk: sdk.images.generate(model="brush-new", prompt=""), "prompt"),
        (lambda sdk: sdk.images.edit(model="brush-new", prompt="x", image=("a.png", b"none")), None),
        (lambda sdk: sdk.audio.transcriptions.create(model="ears-new", file=("a.wav", b"none")), "file"),
        (lambda sdk: sdk.audio.transcriptions.create(model="ears-new", file=("a", SOUND)), "file"),
        (
            lambda sdk: sdk.audio.transcriptions.create(
                model="ears-old", file=("a.wav", SOUND), timestamp_granularities=["word"]
            ),
            "timestamp_granularities",
        ),
        (lambda sdk: sdk.embeddings.create(model="v", input=["x"] * 4), "input"),
        (lambda sdk: sdk.audio.speech.create(model="v", voice="nobody", input="x"), "voice"),
    ],
)
def test_what_is_wrong_is_refused_by_name(sdk: openai.OpenAI, ask: Any, param: str | None) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(sdk)
    assert param is None or caught.value.param == param


def test_a_key_a_route_and_a_model_must_be_right(double: OpenAIMedia) -> None:
    with (
        openai.OpenAI(base_url=double.base_url, api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.images.generate(model="brush-new", prompt="x")
    with openai.OpenAI(base_url=double.base_url, api_key=double.key, max_retries=0) as client:
        with pytest.raises(openai.NotFoundError):
            client.images.generate(model="nobody", prompt="x")
        with pytest.raises(openai.NotFoundError):
            client.moderations.create(input="x")

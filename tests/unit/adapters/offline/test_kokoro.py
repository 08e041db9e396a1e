"""The wiring to kokoro-onnx, against a stand-in module: the real package and its weights are not part of the tests."""

import sys
import types
from typing import ClassVar

import numpy
import pytest

from adapters.offline.kokoro import Kokoro
from adapters.offline.speech import Speech, reading
from adapters.offline.voices import VOICES
from proxy.errors import BadRequest, Fault, UpstreamError


@pytest.fixture
def package(monkeypatch):
    class Model:
        made: ClassVar[list[tuple[str, str]]] = []
        asked: ClassVar[list[tuple[str, str, float, str]]] = []

        def __init__(self, model: str, voices: str) -> None:
            self.made.append((model, voices))

        def get_voices(self) -> list[str]:
            return ["af_sky", "bm_george"]

        def create(self, text: str, voice: str, speed: float, lang: str):
            if text == "broken":
                raise RuntimeError("no phonemes")
            self.asked.append((text, voice, speed, lang))
            return numpy.array([0.0, 0.5, -2.0, 2.0], dtype=numpy.float32), 24_000

    module = types.ModuleType("kokoro_onnx")
    module.Kokoro = Model
    monkeypatch.setitem(sys.modules, "kokoro_onnx", module)
    return Model


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "kokoro-v1.0.onnx").touch()
    (tmp_path / "voices-v1.0.bin").touch()
    return tmp_path


@pytest.mark.asyncio
async def test_it_finds_both_files_asks_in_kokoros_words_and_clips(package, folder):
    kokoro = Kokoro(folder)
    pcm = await kokoro.sentence("Hello", VOICES["bm_george"], 1.5)
    assert package.made == [(str(folder / "kokoro-v1.0.onnx"), str(folder / "voices-v1.0.bin"))]
    assert package.asked == [("Hello", "bm_george", 1.5, "en-gb")]
    assert numpy.frombuffer(pcm, "<i2").tolist() == [0, 16_383, -32_767, 32_767]
    await kokoro.sentence("Again", VOICES["af_sky"], 1.0)
    assert len(package.made) == 1


@pytest.mark.asyncio
async def test_a_voice_that_the_file_lacks_is_a_400(package, folder):
    with pytest.raises(BadRequest, match=r"'af_jadzia' is not in the Kokoro voices file\. Near: af_sky"):
        await Kokoro(folder).sentence("x", VOICES["af_jadzia"], 1.0)


@pytest.mark.asyncio
async def test_failures_are_the_upstreams(package, folder, tmp_path_factory, monkeypatch):
    with pytest.raises(UpstreamError, match="no phonemes") as caught:
        await Kokoro(folder).sentence("broken", VOICES["af_sky"], 1.0)
    assert caught.value.fault is Fault.SERVER
    with pytest.raises(UpstreamError, match=r"no file \*\.onnx"):
        await Kokoro(tmp_path_factory.mktemp("empty")).warm()
    monkeypatch.setitem(sys.modules, "kokoro_onnx", None)
    with pytest.raises(UpstreamError, match="not installed"):
        await Kokoro(folder).warm()


@pytest.mark.asyncio
async def test_speech_uses_it_where_model_path_is_given(package, folder):
    speech = Speech(str(folder))
    data = b"".join([d async for d in speech.speak(reading("Hello there.", format="pcm", speed=4.0))])
    await speech.aclose()
    assert isinstance(speech.box, Kokoro)
    assert package.asked == [("Hello there.", "af_sky", 2.0, "en-us")]
    assert data

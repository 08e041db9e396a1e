"""Every format decodes to the right duration, rate and loudness; streams come in pieces; leaving early is clean."""

import asyncio
import io
import math
import wave
from array import array

import pytest

from fakes.decoded_audio import hear
from proxy.errors import BadRequest
from proxy.media.audio import Encoder, encode, transcoded
from proxy.media.audio_formats import FORMATS

CODECS = {"mp3": "mp3", "opus": "opus", "aac": "aac", "flac": "flac", "wav": "pcm_s16le", "pcm": "pcm"}


def tone(seconds: float, rate: int = 22_050) -> bytes:
    """A sine that ends, as speech does, in a pause of 0.15 s."""
    samples = [int(9_000 * math.sin(i * 2 * math.pi * 440 / rate)) for i in range(int((seconds - 0.15) * rate))]
    return array("h", samples + [0] * int(0.15 * rate)).tobytes()


TONE = tone(3.0)


async def pieces(pcm: bytes, size: int = 8_821):
    for i in range(0, len(pcm), size):
        yield pcm[i : i + size]


async def collected(pcm: bytes, format: str, **options) -> list[bytes]:
    return [item async for item in encode(pieces(pcm), format, 22_050, **options)]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("tempo", [1.0, 0.25, 0.7, 2.0])
@pytest.mark.asyncio
async def test_a_decoder_hears_what_went_in(format, streaming, tempo):
    data = b"".join(await collected(TONE, format, tempo=tempo, streaming=streaming))
    heard = hear(data, format)
    assert heard.seconds == pytest.approx(3.0 / tempo, rel=0.05)
    assert heard.rate == (48_000 if format == "opus" else 24_000)
    assert heard.rms == pytest.approx(9_000 / 32_768 / math.sqrt(2), rel=0.1)
    assert (heard.channels, heard.codec.removesuffix("float")) == (1, CODECS[format])


@pytest.mark.parametrize("format", ["mp3", "flac", "wav", "pcm", "opus"])
@pytest.mark.asyncio
async def test_a_whole_file_is_exact_to_the_frame(format):
    heard = hear(b"".join(await collected(TONE, format, streaming=False)), format)
    assert heard.seconds == pytest.approx(3.0, abs=0.001)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.asyncio
async def test_what_is_loud_at_the_end_is_kept(format):
    loud = TONE[: 2 * 22_050]  # no pause
    heard = hear(b"".join(await collected(loud, format)), format)
    assert heard.seconds >= 0.995


@pytest.mark.parametrize("format", FORMATS)
def test_a_stream_gives_bytes_long_before_its_end(format):
    encoder = Encoder(format, 22_050)
    sizes = [len(encoder.feed(TONE[i : i + 8_820])) for i in range(0, len(TONE), 8_820)]  # 0.2 s each
    rest = len(encoder.finish())
    assert sizes[0] > 0 or sizes[1] > 0
    assert sum(size > 0 for size in sizes[2:]) >= len(sizes) - 4
    assert rest < sum(sizes) / 4


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.asyncio
async def test_a_whole_file_is_one_item_and_a_stream_many(format):
    assert len(await collected(TONE, format, streaming=False)) == 1
    assert len(await collected(TONE, format)) > 8


@pytest.mark.asyncio
async def test_wav_headers_tell_the_length_where_it_is_known():
    whole = b"".join(await collected(TONE, "wav", streaming=False))
    with wave.open(io.BytesIO(whole)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        assert file.getnframes() * 2 == len(whole) - 44
    stream = b"".join(await collected(TONE, "wav"))
    assert stream[4:8] == stream[40:44] == b"\xff\xff\xff\xff"
    assert stream[44:] == whole[44:]
    with wave.open(io.BytesIO(stream)) as file:
        assert len(file.readframes(1 << 20)) == len(whole) - 44


@pytest.mark.parametrize("size", [7, 4_411, 1_000_000])
@pytest.mark.asyncio
async def test_the_size_of_the_pieces_does_not_matter(size):
    pcm = TONE[:20_001]
    expected = b"".join(await collected(pcm, "pcm"))
    got = b"".join([item async for item in encode(pieces(pcm, size), "pcm", 22_050)])
    assert abs(len(got) - len(expected)) <= 64
    assert len(got) / 48_000 == pytest.approx(10_000 / 22_050, rel=0.01)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.asyncio
async def test_silence_of_no_length_is_no_crash(format, streaming):
    data = b"".join(await collected(b"", format, streaming=streaming))
    assert len(data) == (44 if format == "wav" else 0)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.asyncio
async def test_leaving_early_closes_the_codec_and_the_next_file_is_fine(format):
    stream = encode(pieces(TONE), format, 22_050)
    await anext(stream)
    await stream.aclose()
    data = b"".join(await collected(TONE, format))
    assert hear(data, format).seconds == pytest.approx(3.0, rel=0.05)


@pytest.mark.asyncio
async def test_cancelling_in_the_middle_of_a_piece_waits_for_the_codec():
    fed = asyncio.Event()

    async def endless():
        while True:
            fed.set()
            yield TONE

    async def consume():
        async for _ in encode(endless(), "mp3", 22_050):
            pass

    task = asyncio.ensure_future(consume())
    await fed.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.asyncio
async def test_a_failing_source_fails_the_stream():
    async def broken():
        yield TONE
        raise RuntimeError("voice lost")

    with pytest.raises(RuntimeError, match="voice lost"):
        [item async for item in encode(broken(), "flac", 22_050)]


@pytest.mark.parametrize("into", FORMATS)
@pytest.mark.parametrize("out_of", ["mp3", "opus", "aac", "flac", "wav"])
@pytest.mark.asyncio
async def test_one_format_is_made_of_another(out_of, into):
    (sound,) = await collected(TONE, out_of, streaming=False)
    heard = hear(await transcoded(sound, into), into)
    assert heard.codec.startswith(CODECS[into])
    assert heard.seconds == pytest.approx(3.0, abs=0.25)
    assert heard.rms > 0.1


@pytest.mark.parametrize("damage", [b"", b"<html>", b"RIFF\0\0\0\0WAVE", b"ID3\4" + b"\0" * 400, b"OggS" + b"x" * 90])
@pytest.mark.asyncio
async def test_what_is_no_sound_is_refused(damage):
    with pytest.raises(BadRequest, match="of sound"):
        await transcoded(damage, "mp3")


@pytest.mark.asyncio
async def test_a_sound_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("proxy.media.audio._MOST_S", 2)
    (sound,) = await collected(TONE, "flac", streaming=False)
    with pytest.raises(BadRequest, match="at most"):
        await transcoded(sound, "wav")

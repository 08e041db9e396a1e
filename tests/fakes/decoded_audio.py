"""What a real decoder hears in a file: how long, at which rate, how loud."""

import io
from dataclasses import dataclass

import av
import numpy
from av.audio.resampler import AudioResampler


@dataclass(frozen=True)
class Heard:
    """`rms` is the loudness, full scale being 1; `codec` is FFmpeg's name."""

    seconds: float
    rate: int
    channels: int
    rms: float
    codec: str


def hear(data: bytes, format: str | None = None) -> Heard:
    """Decode the whole file. `format` is needed for raw pcm only, taken as 24 kHz s16le mono as OpenAI's clients do."""
    if format == "pcm":
        samples = numpy.frombuffer(data, "<i2").astype(float)
        return Heard(len(samples) / 24_000, 24_000, 1, _rms(samples), "pcm")
    flat, parts, rate, channels = AudioResampler(format="s16", layout="mono"), [], 0, 0
    with av.open(io.BytesIO(data)) as file:
        codec = file.streams.audio[0].codec_context.name
        for frame in file.decode(audio=0):
            rate, channels = frame.sample_rate, frame.layout.nb_channels
            parts += [ready.to_ndarray().reshape(-1) for ready in flat.resample(frame)]
    samples = numpy.concatenate(parts).astype(float)
    return Heard(len(samples) / rate, rate, channels, _rms(samples), codec)


def _rms(samples: numpy.ndarray) -> float:
    return float(numpy.sqrt(numpy.mean(samples**2)) / 32_768) if len(samples) else 0.0

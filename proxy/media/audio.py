"""Sound: 16-bit mono PCM in, six formats out, chunk by chunk. The only room with PyAV.

It owns containers, codecs, sample rates and content types, and knows no voice and no upstream. Invariants: a chunk
that went in comes out as soon as the codec allows, a file that is complete carries exact lengths, and encoding runs in
threads of its own, so that pictures never delay speech.
"""

import asyncio
import io
import os
import struct
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from fractions import Fraction
from typing import Final, cast

import av
import av.filter
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

from proxy.errors import BadRequest
from proxy.media.audio_formats import FORMATS, RATE
from proxy.media.workshop import Workshop

_UNKNOWN_SIZE: Final = 0xFFFFFFFF
_CHUNK_COST: Final = 1 << 20
_TEMPO_STEP: Final = (0.5, 2.0)  # one atempo filter keeps its quality within these
_QUIET: Final = 330  # of 32,767: one hundredth
_MOST_S: Final = 1800  # of sound that `pcm_of` unpacks

bench = Workshop("audio", threads=max(1, min(2, os.cpu_count() or 1)), budget=64 << 20)


class Encoder:
    """PCM s16le mono at `rate` in, one of FORMATS out. `streaming` hands bytes out as they come and mends no header.

    Synchronous and not thread-safe: one caller at a time. KeyError for an unknown format.
    """

    def __init__(self, format: str, rate: int, *, tempo: float = 1.0, streaming: bool = True) -> None:
        self.format = FORMATS[format]
        self.rate, self.streaming = rate, streaming
        self._wav = format == "wav"
        self._samples = self._written = 0
        self._odd = b""
        self._tempo = _Tempo(rate, tempo) if abs(tempo - 1.0) > 1e-6 else None
        self._sink: _Pipe | io.BytesIO = _Pipe() if streaming else io.BytesIO()
        self._resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
        self._stream: AudioStream | None = None
        told = format == "mp3" and not streaming  # its first frame says how much to leave out
        self._tail = _Tail(0 if told else self.format.delay)
        if self.format.container:
            options = {**self.format.options, "flush_packets": "1"}
            if streaming and format == "mp3":
                options["write_xing"] = "0"  # it would promise a length that is not known yet
            self._file = av.open(self._sink, "w", format=self.format.container, options=options, buffer_size=4096)
            stream = cast(AudioStream, self._file.add_stream(self.format.codec, rate=RATE, layout="mono"))
            if self.format.bit_rate:
                stream.bit_rate = self.format.bit_rate
            self._stream = stream
        elif self._wav:
            self._sink.write(_wav_header(None))

    def feed(self, pcm: bytes) -> bytes:
        """What can be sent now; all of it later where not `streaming`."""
        pcm = self._odd + pcm
        even = len(pcm) & ~1
        pcm, self._odd = pcm[:even], pcm[even:]
        if pcm:
            frame = _frame(pcm, self.rate, self._samples)
            self._samples += frame.samples
            for paced in self._tempo.feed(frame) if self._tempo else (frame,):
                self._write(paced)
        return self._take()

    def finish(self) -> bytes:
        """The rest; the whole file where not `streaming`."""
        if self._tempo:
            for paced in self._tempo.finish():
                self._write(paced)
        self._write(None)
        if self._stream is not None:
            self._file.close()
        if isinstance(self._sink, _Pipe):
            return self._sink.take()
        whole = self._sink.getvalue()
        return _wav_header(len(whole) - 44) + whole[44:] if self._wav else whole

    def close(self) -> None:
        """Give up; for a caller that leaves before `finish`. Idempotent."""
        if self._stream is not None:
            self._file.close()

    def _write(self, frame: AudioFrame | None) -> None:
        """One frame, or the end of all (None)."""
        if not self._samples:
            return
        pcm = b"".join(_bytes(ready) for ready in self._resampler.resample(frame))
        pcm = self._tail.feed(pcm) if frame is not None else self._tail.feed(pcm) + self._tail.finish()
        if self._stream is None:
            self._sink.write(pcm)
            return
        if pcm:
            self._file.mux(self._stream.encode(_frame(pcm, RATE, self._written)))
            self._written += len(pcm) // 2
        if frame is None:
            self._file.mux(self._stream.encode(None))

    def _take(self) -> bytes:
        return self._sink.take() if isinstance(self._sink, _Pipe) else b""


class _Pipe:
    """A file that can only be written to: FFmpeg then never seeks back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


class _Tail:
    """Holds the last `samples` back, to leave off the quiet ones among them in the end."""

    def __init__(self, samples: int) -> None:
        self._keep = samples * 2
        self._held = b""

    def feed(self, pcm: bytes) -> bytes:
        if not self._keep:
            return pcm
        pcm = self._held + pcm
        free = max(0, len(pcm) - self._keep)
        self._held = pcm[free:]
        return pcm[:free]

    def finish(self) -> bytes:
        values = array("h", self._held)
        while values and abs(values[-1]) <= _QUIET:
            values.pop()
        return values.tobytes()


class _Tempo:
    """Faster or slower at the same pitch: FFmpeg's atempo, in steps of at most two."""

    def __init__(self, rate: int, tempo: float) -> None:
        graph = av.filter.Graph()
        last = self._source = graph.add_abuffer(
            sample_rate=rate, format="s16", layout="mono", time_base=Fraction(1, rate)
        )
        for step in _steps(tempo):
            node = graph.add("atempo", f"{step:.6f}")
            last.link_to(node)
            last = node
        self._sink = graph.add("abuffersink")
        last.link_to(self._sink)
        graph.configure()
        self._graph = graph

    def feed(self, frame: AudioFrame | None) -> Iterator[AudioFrame]:
        self._source.push(frame)
        while True:
            try:
                paced = self._sink.pull()
            except (BlockingIOError, av.EOFError):  # wants more, or has no more
                return
            if isinstance(paced, AudioFrame):
                yield paced

    def finish(self) -> Iterator[AudioFrame]:
        return self.feed(None)


def _steps(tempo: float) -> list[float]:
    low, high = _TEMPO_STEP
    steps = []
    while not low <= tempo <= high:
        step = high if tempo > high else low
        steps.append(step)
        tempo /= step
    return [*steps, tempo]


def _frame(pcm: bytes, rate: int, at: int) -> AudioFrame:
    frame = AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
    frame.sample_rate = rate
    frame.time_base = Fraction(1, rate)
    frame.pts = at
    frame.planes[0].update(pcm)
    return frame


def _bytes(frame: AudioFrame) -> bytes:
    return bytes(frame.planes[0])[: frame.samples * 2]


def _wav_header(size: int | None) -> bytes:
    """44 bytes; a size of None is what streams write: as long as it can be, so that readers go on to the end."""
    riff, data = (_UNKNOWN_SIZE, _UNKNOWN_SIZE) if size is None else (size + 36, size)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, RATE * 2, 2, 16)
    return b"RIFF" + struct.pack("<I", riff) + b"WAVE" + form + b"data" + struct.pack("<I", data)


async def encode(
    pcm: AsyncIterator[bytes], format: str, rate: int, *, tempo: float = 1.0, streaming: bool = True
) -> AsyncIterator[bytes]:
    """Encode as it comes; one item, the whole file, where not `streaming`. Empty items are left out.

    It does not close `pcm`; whoever made it does.
    """
    encoder = Encoder(format, rate, tempo=tempo, streaming=streaming)
    done = False
    try:
        async for chunk in pcm:
            if ready := await _off_loop(encoder.feed, chunk):
                yield ready
        ready = await _off_loop(encoder.finish)
        done = True
        if ready:
            yield ready
    finally:
        if not done:
            await asyncio.shield(bench.run(0, encoder.close))


async def transcoded(data: bytes, format: str) -> bytes:
    """A whole file of sound in another of FORMATS. BadRequest for what is no sound, and for more than half an hour."""

    async def pieces() -> AsyncIterator[bytes]:
        yield await bench.run(len(data) * 8, pcm_of, data)

    return b"".join([piece async for piece in encode(pieces(), format, RATE, streaming=False)])


def pcm_of(data: bytes) -> bytes:
    """The first sound of a file as 16-bit mono at RATE. Errors as `transcoded`."""
    name = _family(data[:16])
    if not name:
        raise BadRequest("expected a file of sound, got something else")
    resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
    out, size = [], 0
    try:
        with av.open(io.BytesIO(data), "r", format=name) as file:
            for frame in file.decode(audio=0):
                pieces = [_bytes(ready) for ready in resampler.resample(frame)]
                out += pieces
                size += sum(map(len, pieces))
                if size > _MOST_S * RATE * 2:
                    raise BadRequest(f"expected at most {_MOST_S // 60} minutes of sound")
            out += [_bytes(ready) for ready in resampler.resample(None)]
    except (av.FFmpegError, IndexError, ValueError):
        raise BadRequest("expected a whole file of sound, got a damaged one") from None
    return b"".join(out)


def _family(head: bytes) -> str:
    """The container that first bytes belong to, in FFmpeg's words; "" for none of sound."""
    if head[4:8] == b"ftyp":
        return "mov"
    if head[:1] == b"\xff" and head[1:2] > b"\xdf":
        return "aac" if head[1] & 0x06 == 0 else "mp3"
    starts = {b"RIFF": "wav", b"OggS": "ogg", b"fLaC": "flac", b"\x1aE\xdf\xa3": "matroska", b"ID3": "mp3"}
    return next((name for start, name in starts.items() if head.startswith(start)), "")


async def _off_loop(job: Callable[..., bytes], *args: bytes) -> bytes:
    """In a thread, and to its end even when the caller is cancelled: a codec must not be closed while it works."""
    task = asyncio.ensure_future(bench.run(_CHUNK_COST, job, *args))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise

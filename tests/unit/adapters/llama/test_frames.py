"""Frames survive any cut, and nothing else gets through."""

import random
import struct

import pytest

from adapters.llama import frames, spec
from adapters.llama.text import Reasoning, Text, ToolArgs, ToolStart

TO_ENGINE = [
    frames.Load("/x.gguf", spec.Setup()),
    frames.Gen(1, spec.Generate(prompt="é\x00", sampling=spec.Sampling(logit_bias={3: -1.5}, stop=("a",)))),
    frames.Gen(2, spec.Generate(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}]}], n=3)),
    frames.Cancel(2),
    frames.EmbedCall(4, spec.Embed(tokens=[[1, 2]], dimensions=3)),
    frames.Tokenize(5, spec.Generate(tokens=[1])),
    frames.Render(6, spec.Generate(messages=[])),
    frames.Stats(7),
    frames.Ping(1.5),
    frames.Shutdown(),
]
TO_GATEWAY = [
    frames.Progress(0.5),
    frames.Ready(spec.ModelInfo(path="/x.gguf")),
    frames.Failed(spec.MALFORMED, "no"),
    frames.Step(
        [
            (1, spec.Delta(0, [Text("a"), Reasoning("b"), ToolStart(0, "call_1", "f"), ToolArgs(0, "{")])),
            (2, spec.Delta(1, [], 1, [spec.TokenLogprob(b"\xff", -0.5, [(b"x", -1.0)])], "stop", "END")),
        ],
        [3],
        [(2, spec.Usage(1, 2, 3))],
    ),
    frames.Error(9, spec.CONTEXT, "long", "prompt", 1.0, {"n": 1}),
    frames.Reply(4, b"\x00\x01", "t", 2, spec.Counters(slots=3)),
    frames.Pong(1.5, 0.1, 0, 0.0),
]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_any_cut_gives_the_same_frames(step: int) -> None:
    for sent, decoder in ((TO_ENGINE, frames.engine_decoder), (TO_GATEWAY, frames.gateway_decoder)):
        data = b"".join(frames.encode(frame) for frame in sent)  # type: ignore[attr-defined]
        splitter = frames.FrameSplitter(decoder)  # type: ignore[var-annotated]
        got = [frame for at in range(0, len(data), step) for frame in splitter.feed(data[at : at + step])]
        assert got == sent
        assert splitter.pending == 0


def test_an_oversized_length_is_refused_before_anything_is_kept() -> None:
    splitter = frames.FrameSplitter(frames.engine_decoder)
    with pytest.raises(frames.FrameError, match="over the limit"):
        splitter.feed(struct.pack("<I", frames.LIMIT + 1))


def test_an_oversized_frame_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "LIMIT", 1000)
    with pytest.raises(frames.FrameError, match="over the limit"):
        frames.encode(frames.Gen(1, spec.Generate(prompt="x" * 1001)))


def test_garbage_is_a_frame_error_and_nothing_else() -> None:
    rng = random.Random(1)
    good = [frames.encode(frame) for frame in TO_GATEWAY]
    refused = 0
    for _ in range(3000):
        data = bytearray(rng.choice(good))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(4, len(data))] = rng.randrange(256)
        try:
            frames.FrameSplitter(frames.gateway_decoder).feed(bytes(data))
        except frames.FrameError:
            refused += 1
    assert refused > 1000


def test_a_frame_of_the_other_direction_is_refused() -> None:
    with pytest.raises(frames.FrameError):
        frames.FrameSplitter(frames.engine_decoder).feed(frames.encode(frames.Progress(0.5)))

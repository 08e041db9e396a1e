"""A model put together."""

from pathlib import Path

import msgspec
import pytest

from adapters.llama import frames, spec
from adapters.llama.engine import Loaded, LoadFailed, rss
from adapters.llama.prepare import Refusal
from adapters.llama.spec import Embed, Generate, Setup
from fakes.gguf_model import Shape, build

SETUP = Setup(n_ctx=2048, n_seq=2, threads=1)


def test_it_counts_and_frees(tiny_path: Path) -> None:
    loaded = Loaded(str(tiny_path), SETUP, lambda share: None)
    call, reply = loaded.prepare(frames.Gen(1, Generate(prompt="x", max_tokens=3)), 0.0)
    assert reply is None
    loaded.submit(call)
    assert loaded.counters().waiting == 1
    while loaded.busy:
        loaded.step()
    counters = loaded.counters()
    assert (counters.busy_slots, counters.waiting, counters.running) == (0, 0, 0)
    assert counters.prefilled_tokens == 1
    assert counters.rss > 1 << 20
    assert rss() > 1 << 20
    loaded.close()


def test_a_call_may_use_no_more_than_the_model_was_trained_for(tiny_path: Path) -> None:
    setup = msgspec.structs.replace(SETUP, n_ctx=16384, unified=True, context_most=8192)
    loaded = Loaded(str(tiny_path), setup, lambda share: None)
    assert loaded.info.n_ctx == 16384
    assert loaded.info.context_tokens == 8192
    loaded.close()


def test_an_embeddings_model_does_not_generate(tiny_path: Path) -> None:
    loaded = Loaded(str(tiny_path), msgspec.structs.replace(SETUP, generates=False), lambda share: None)
    with pytest.raises(Refusal) as caught:
        loaded.prepare(frames.Gen(1, Generate(prompt="x")), 0.0)
    assert caught.value.code == spec.UNSUPPORTED
    job, _ = loaded.prepare(frames.EmbedCall(2, Embed(texts=["x"])), 0.0)
    loaded.submit(job)
    while loaded.busy:
        loaded.step()
    assert [reply.id for reply in loaded.out.replies] == [2]
    with pytest.raises(Refusal, match="dimensions"):
        loaded.prepare(frames.EmbedCall(3, Embed(texts=["x"], dimensions=65)), 0.0)
    assert loaded.counters().steps == 1
    loaded.close()


def test_a_context_that_does_not_come_frees_the_model(tmp_path: Path) -> None:
    path = build(tmp_path / "m.gguf", Shape())
    with pytest.raises(LoadFailed):
        Loaded(str(path), msgspec.structs.replace(SETUP, kv_type="q4_0", flash_attention=True), lambda share: None)

"""Vectors do not depend on their company."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from adapters.llama import ffi
from adapters.llama.embedding import Embedder, EmbedJob, pooling_of
from adapters.llama.output import Output
from adapters.llama.spec import Setup
from fakes.gguf_model import Shape, build


@pytest.fixture(scope="module")
def exact_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ffi.Model]:
    """f32 weights: llama.cpp multiplies f16 ones in another order for one row than for many (3e-5 in the result)."""
    ffi.start_backend()
    model = ffi.Model(str(build(tmp_path_factory.mktemp("m") / "f32.gguf", Shape(kind="f32"))), 0, True, lambda _: None)
    yield model
    model.close()


@pytest.fixture(params=["mean", "cls", "last"])
def embedder(request: pytest.FixtureRequest, exact_model: ffi.Model) -> Iterator[Embedder]:
    one = Embedder(exact_model, Setup(threads=1, pooling=request.param, embed_tokens=512), Output())
    yield one
    one.close()


def _inputs(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    return [rng.integers(0, 256, rng.integers(1, 200)).astype(np.int32) for _ in range(count)]


def _run(embedder: Embedder, *jobs: EmbedJob) -> dict[int, np.ndarray]:
    for job in jobs:
        embedder.submit(job)
    while embedder.busy:
        assert embedder.step()
    assert not embedder.step()
    assert not embedder._out.errors
    replies, embedder._out.replies = embedder._out.replies, []
    return {
        reply.id: np.frombuffer(reply.blob, dtype="<f4").reshape(len(job.inputs), -1)
        for reply in replies
        for job in jobs
        if job.id == reply.id
    }


def test_batch_is_single(embedder: Embedder) -> None:
    inputs = _inputs(30)
    together = _run(embedder, EmbedJob(1, inputs, None, True))[1]
    assert together.shape == (30, 64)
    assert embedder.batches > 1
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(30), abs=1e-5)
    for index, tokens in enumerate(inputs):
        alone = _run(embedder, EmbedJob(2, [tokens], None, True))[2][0]
        assert np.abs(alone - together[index]).max() < 1e-5


def test_calls_share_batches_and_keep_their_rows(embedder: Embedder) -> None:
    inputs = _inputs(6)
    expected = _run(embedder, EmbedJob(1, inputs, None, True))[1]
    before = embedder.batches
    got = _run(embedder, EmbedJob(2, inputs[:2], None, True), EmbedJob(3, inputs[2:], None, True))
    assert embedder.batches - before <= 4
    assert np.abs(np.concatenate((got[2], got[3])) - expected).max() < 1e-5


def test_dimensions_cut_and_normalise_again(embedder: Embedder) -> None:
    inputs = _inputs(3)
    whole = _run(embedder, EmbedJob(1, inputs, None, False))[1]
    cut = _run(embedder, EmbedJob(2, inputs, 10, True))[2]
    expected = whole[:, :10] / np.linalg.norm(whole[:, :10], axis=1, keepdims=True)
    assert np.abs(cut - expected).max() < 1e-5


def test_a_cancelled_call_gets_nothing(embedder: Embedder) -> None:
    embedder.submit(EmbedJob(1, _inputs(200), None, True))
    embedder.step()
    embedder.cancel(1)
    assert not embedder.busy
    assert not embedder._out.replies


def test_pooling_is_what_was_asked_else_what_the_file_says(tmp_path: Path, tiny_model: ffi.Model) -> None:
    path = build(tmp_path / "last.gguf", Shape(pooling=3))
    model = ffi.Model(str(path), 0, True, lambda share: None)
    assert pooling_of(model, "auto") == "last"
    assert pooling_of(model, "cls") == "cls"
    assert pooling_of(tiny_model, "auto") == "mean"
    model.close()

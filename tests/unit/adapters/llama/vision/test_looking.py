"""Pictures in the batch loop: a decode of their own, beside others, cached by what they show, given up when cancelled."""

import ctypes
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.llama import ffi, spec
from adapters.llama.prepare import Refusal
from adapters.llama.spec import TokenLogprob
from adapters.llama.vision import native
from fakes.gguf_model import Shape, build
from fakes.gguf_projector import Tower, build_projector, png

SIZE = Tower().tokens
MODES = pytest.mark.parametrize("unified", [False, True])


def pieces(tokens: list[TokenLogprob]) -> list[bytes]:
    return [token.piece for token in tokens]


def far(a: list[TokenLogprob], b: list[TokenLogprob]) -> float:
    """How far the first token's alternatives are apart, in nats."""
    left, right = dict(a[0].top), dict(b[0].top)
    shared = left.keys() & right.keys()
    return max([abs(left[piece] - right[piece]) for piece in shared], default=9.0)


@MODES
def test_the_same_picture_says_the_same_and_another_does_not(engine: Callable[..., Any], unified: bool) -> None:
    one = engine(unified=unified, copy_min=1)
    cold, usage = one.ask("what is it?", png(1))
    assert usage.cached_tokens == 0
    warm, again = one.ask("what is it?", png(1))
    assert again.prompt_tokens == usage.prompt_tokens
    assert again.cached_tokens == usage.prompt_tokens - 1, "the picture is known by what it shows"
    assert one.loaded.scheduler.eye.pictures == 1
    assert pieces(warm) == pieces(cold)
    assert far(warm, cold) < 0.02
    other, fresh = one.ask("what is it?", png(2))
    assert one.loaded.scheduler.eye.pictures == 2
    assert fresh.cached_tokens == one.prepared("what is it?", png(2)).pictures[0].start, "the words before, no more"
    assert far(other, cold) > 0.02
    words, few = one.ask("what is it?")
    assert few.prompt_tokens < usage.prompt_tokens - SIZE
    assert far(words, cold) > 0.02


@MODES
def test_the_cache_changes_nothing(engine: Callable[..., Any], unified: bool, assert_same: Callable[..., None]) -> None:
    """Each conversation in a fresh engine, and all of them one after the other in one."""
    asked = [("a", png(1)), ("a", png(1), png(2)), ("a", png(2), png(1)), ("a", png(1), png(3)), ("a",), ("a", png(1))]
    shared = engine(unified=unified)
    for given in asked:
        alone, _ = engine(unified=unified).ask(*given)
        together, _ = shared.ask(*given)
        assert_same(alone, together)


def _alone(one: Any, text: bytes, image: bytes) -> np.ndarray:
    """Log likelihoods behind a prompt, by mtmd's own loop in a context of its own."""
    projector, mtmd = one.loaded.projector, native._mtmd()
    chunks = mtmd.mtmd_input_chunks_init()
    bitmap = projector._bitmap(image, 0)
    given = mtmd.mtmd_input_text(text, len(text), True, True)
    array = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
    assert mtmd.mtmd_tokenize(projector.ptr, chunks, ctypes.byref(given), array, 1) == 0
    context = ffi.Context(one.loaded.model, spec.Setup(n_ctx=512, n_seq=1, threads=1))
    end = ffi.lib.llama_pos(0)
    code = mtmd.mtmd_helper_eval_chunks(projector.ptr, context.ptr, chunks, 0, 0, 512, True, ctypes.byref(end))
    assert code == 0
    row = np.array(context.logits(1)[0], dtype=np.float64)
    row -= np.log(np.exp(row - row.max()).sum()) + row.max()
    context.close()
    mtmd.mtmd_bitmap_free(bitmap)
    mtmd.mtmd_input_chunks_free(chunks)
    return row


@pytest.fixture(params=["mlp", "gemma3", "qwen2vl_merger"])
def kind(request: pytest.FixtureRequest, engine: Callable[..., Any], tmp_path: Path) -> tuple[str, Callable[..., Any]]:
    """Plain; read without causal attention; with M-RoPE. And engines of it."""
    shape, tower = Shape(kind="f32"), Tower(kind=request.param)
    if request.param == "gemma3":
        tower = Tower(kind=request.param, size=112)
    elif request.param != "mlp":
        shape = Shape(kind="f32", arch="qwen2vl", sections=(2, 3, 3, 0))
    model, eyes = build(tmp_path / "model.gguf", shape), build_projector(tmp_path / "eyes.gguf", tower)
    return request.param, partial(engine, model, projector=str(eyes), n_ubatch=32)


def test_what_comes_out_is_what_mtmd_alone_would_say(kind: tuple[str, Callable[..., Any]]) -> None:
    one = kind[1](unified=True)
    image = png(1, 168, 112)
    said, _ = one.ask("what is it?", image, behind="say")
    marker = one.loaded.projector.marker
    row = _alone(
        one, f"<|im_start|>user\nwhat is it?\n{marker}\nsay<|im_end|>\n<|im_start|>assistant\n".encode(), image
    )
    best = int(row.argmax())
    assert said[0].piece == one.loaded.model.vocab.pieces[best]
    assert said[0].logprob == pytest.approx(row[best], abs=0.02)


def test_every_kind_is_cached_and_batched(
    kind: tuple[str, Callable[..., Any]], assert_same: Callable[..., None]
) -> None:
    name, make = kind
    image, other = png(1, 168, 112), png(2, 168, 112)
    asked: list[tuple[Any, ...]] = [("one",), ("two", image), ("three", other, image)]
    alone = [make().ask(*given) for given in asked]
    shared = make(copy_min=1)
    loaded = shared.loaded
    numbers = [shared.submit(*given) for given in asked]
    shared.run()
    for number, (expected, usage) in zip(numbers, alone, strict=True):
        assert_same(expected, shared.tokens(number))
        assert shared.done[number].prompt_tokens == usage.prompt_tokens
    read = loaded.scheduler.eye.pictures
    again, usage = shared.ask(*asked[2])
    assert_same(alone[2][0], again)
    assert (loaded.scheduler.eye.pictures, usage.cached_tokens) == (read, usage.prompt_tokens - 1)
    pictures = shared.prepared(*asked[2]).pictures
    assert (loaded.projector.m_rope, loaded.projector.non_causal) == (name == "qwen2vl_merger", name == "gemma3")
    assert [p.tokens > p.positions for p in pictures] == [loaded.projector.m_rope] * 2


def test_with_m_rope_a_picture_takes_the_memory_of_its_tokens(engine: Callable[..., Any], tmp_path: Path) -> None:
    """6 positions, 24 cells: the context is full when the cells are."""
    model = build(tmp_path / "model.gguf", Shape(arch="qwen2vl", sections=(2, 3, 3, 0)))
    eyes = build_projector(tmp_path / "eyes.gguf", Tower(kind="qwen2vl_merger"))
    one = engine(model, projector=str(eyes), n_ctx=1024, n_seq=2, unified=True)
    images = [png(seed, 168, 112) for seed in range(6)]
    call = one.prepared("a", *images, max_tokens=500)
    assert not one.loaded.context.unified
    cells = len(call.prompt) + 6 * 18
    assert (call.tokens(len(call.prompt)), call.limit) == (cells, 512 - cells)
    one.loaded.submit(call)
    one.run()
    assert one.done[call.id].completion_tokens == 512 - cells
    with pytest.raises(Refusal, match="maximum context length is 512"):
        one.prepared("a", *images, *images)


@MODES
def test_beside_others(engine: Callable[..., Any], unified: bool, assert_same: Callable[..., None]) -> None:
    """Streams of words and calls with pictures at once: each says what it says alone."""
    asked: list[tuple[Any, ...]] = [("one",), ("two",), ("three", png(1)), ("four", png(2), png(3))]
    alone = [engine(unified=unified).ask(*given, max_tokens=40)[0] for given in asked]
    shared = engine(unified=unified)
    numbers = [shared.submit(*given, max_tokens=40) for given in asked[:2]]
    for _ in range(6):
        shared.step()
    numbers += [shared.submit(*given, max_tokens=40) for given in asked[2:]]
    shared.run()
    for number, expected in zip(numbers, alone, strict=True):
        assert_same(expected, shared.tokens(number))
    eye = shared.loaded.scheduler.eye
    assert (eye.pictures, eye.tokens) == (3, 3 * SIZE)


def test_several_choices_and_small_pieces(engine: Callable[..., Any], assert_same: Callable[..., None]) -> None:
    text = "z" * 70
    whole, usage = engine().ask(text, png(1), behind=text)
    for chunk in (1, 7, 64):
        cut = engine(chunk=chunk)
        assert_same(whole, cut.ask(text, png(1), behind=text)[0])
    forked = engine()
    number = forked.submit(text, png(1), behind=text, n=3)
    forked.run()
    assert forked.done[number].prompt_tokens == usage.prompt_tokens
    for choice in range(3):
        assert_same(whole, forked.tokens(number, choice))


@MODES
def test_cancelled_at_any_moment_nothing_is_held(engine: Callable[..., Any], unified: bool) -> None:
    one = engine(unified=unified)
    for steps in (0, 1, 2, 3, 5, 8):
        number = one.submit("some words before " * 3, png(steps), png(90), behind="and after", max_tokens=500)
        for _ in range(steps):
            one.step()
        one.loaded.cancel(number)
        one.step()
        kv = one.loaded.scheduler.kv
        assert (kv.busy, kv.outstanding, one.loaded.busy) == (0, 0, False)
        for slot in kv.slots:
            assert one.loaded.context.pos_max(slot.seq) == slot.n - 1
    assert one.ask("and now?", png(1))[1].completion_tokens == 12


def test_a_crowd_with_cancels_leaks_nothing(engine: Callable[..., Any]) -> None:
    one = engine(unified=True, n_ctx=1024)
    rng = np.random.default_rng(3)
    for _ in range(40):
        images = [png(int(seed)) for seed in rng.integers(0, 4, rng.integers(0, 3))]
        number = one.submit("w" * int(rng.integers(1, 40)), *images, max_tokens=int(rng.integers(1, 30)))
        for _ in range(int(rng.integers(0, 6))):
            one.step()
        if rng.random() < 0.4:
            one.loaded.cancel(number)
    one.run()
    kv = one.loaded.scheduler.kv
    assert (kv.busy, kv.outstanding) == (0, 0)
    assert kv.cells.free == kv.cells.size - kv.cells.held_by(list(kv.slots), None, 0)
    assert not one.errors


def test_a_failure_ends_that_call_alone(engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    one = engine()
    words = one.submit("words", max_tokens=60)
    one.step()
    show = one.loaded.projector.show
    monkeypatch.setattr(one.loaded.projector, "show", lambda context, picture, seq: -1)
    broken = one.submit("look", png(1))
    one.run()
    assert one.errors == {broken: spec.SERVER}
    assert one.done[words].completion_tokens == 60
    codes = iter([1])
    monkeypatch.setattr(one.loaded.projector, "show", lambda *given: next(codes, None) or show(*given))
    assert one.ask("look", png(1))[1].completion_tokens == 12, "no room: others' leftovers go, then it is read"


def test_more_than_the_context_holds(engine: Callable[..., Any]) -> None:
    one = engine(n_ctx=1024)  # 256 of each sequence
    with pytest.raises(Refusal, match="maximum context length is 256") as caught:
        one.prepared("a", *[png(seed) for seed in range(16)])
    assert caught.value.code == spec.CONTEXT
    with pytest.raises(Refusal, match="cannot be decoded") as caught:
        one.prepared("a", b"no picture")
    assert (caught.value.code, caught.value.param) == (spec.REFUSED, "messages")


def test_penalties_look_at_words_alone(engine: Callable[..., Any]) -> None:
    sampling = spec.Sampling(temperature=0.0, repetition_penalty=1.3, frequency_penalty=0.5, logprobs=True)
    assert engine().ask("a", png(1), sampling=sampling)[1].completion_tokens == 12


def test_tokens_drawn_where_the_model_runs(engine: Callable[..., Any]) -> None:
    """A sampler that waits in the graph is not disturbed by rows that are no tokens."""
    said = []
    for there in (False, True):
        one = engine(backend_sampling=there)
        assert one.loaded.scheduler.device.works is there
        sampling = spec.Sampling(temperature=0.0)
        numbers = [one.submit("words", sampling=sampling), one.submit("look", png(1), sampling=sampling)]
        one.run()
        said.append([[delta.events for delta in one.deltas[number]] for number in numbers])
    assert said[0] == said[1]


def test_the_second_tier_keeps_pictures(kind: tuple[str, Callable[..., Any]], assert_same: Callable[..., None]) -> None:
    one = kind[1](n_seq=1, n_ctx=512, host_cache=1 << 24)
    image, text = png(1, 168, 112), "z" * 70
    before, usage = one.ask(text, image, behind=text)
    assert one.loaded.scheduler.kv.evict()
    one.ask(text, png(2, 168, 112), behind=text)
    assert one.loaded.scheduler.kv.evict()
    read = one.loaded.scheduler.eye.pictures
    after, again = one.ask(text, image, behind=text)
    assert again.cached_tokens == usage.prompt_tokens - 1
    assert one.loaded.scheduler.eye.pictures == read
    assert_same(before, after)

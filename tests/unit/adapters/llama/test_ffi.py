"""llama.cpp through numpy: what its edges do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.llama import ffi
from adapters.llama.spec import Setup


def _fill(context: ffi.Context, tokens: list[int], seq: int = 0, start: int = 0) -> int:
    batch, n = context.batch, len(tokens)
    batch.token[:n] = tokens
    batch.pos[:n] = np.arange(start, start + n)
    batch.seq[:n] = seq
    batch.logits[:n] = 0
    batch.logits[n - 1] = 1
    return n


def test_vocabulary(tiny_model: ffi.Model) -> None:
    vocab = tiny_model.vocab
    assert vocab.size == 320
    assert vocab.pieces[97] == b"a"
    assert {vocab.special_texts[t] for t in vocab.eog_set} == {"<|endoftext|>", "<|im_end|>"}
    end = next(t for t, text in vocab.special_texts.items() if text == "<|im_end|>")
    assert vocab.pieces[end] == b"", "control tokens are no text"
    assert b"<think>" in vocab.pieces, "user-defined ones are"


@pytest.mark.parametrize("text", ["", "the thing", "é 😀\x00\n", "\ud800 lone", "x" * 10_000])
def test_tokens_join_to_the_text(tiny_model: ffi.Model, text: str) -> None:
    ids = tiny_model.vocab.tokenize(text, add_special=False, parse_special=False)
    joined = b"".join(tiny_model.vocab.pieces[t] for t in ids)
    assert joined == text.encode("utf-8", "replace")


def test_specials_are_parsed_only_when_wanted(tiny_model: ffi.Model) -> None:
    vocab = tiny_model.vocab
    assert len(vocab.tokenize("<|im_end|>", add_special=False, parse_special=True)) == 1
    assert len(vocab.tokenize("<|im_end|>", add_special=False, parse_special=False)) > 1


def test_shown_markers(tiny_path: Path) -> None:
    model = ffi.Model(str(tiny_path), 0, True, lambda share: None)
    model.vocab.show({"<|im_start|>"})
    assert b"<|im_start|>" in model.vocab.pieces
    assert b"<|im_end|>" not in model.vocab.pieces
    model.close()
    model.close()


def test_metadata(tiny_model: ffi.Model) -> None:
    assert tiny_model.meta("general.name") == "random"
    assert tiny_model.meta("nothing") is None
    assert list(tiny_model.templates()) == ["tokenizer.chat_template"]
    assert tiny_model.numbers()["n_layer"] == 2


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\x00\x00\x00" + bytes(100), b"x" * 1000])
def test_bad_files_are_an_exception(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(ffi.LoadFailed, match=r"\w"):
        ffi.Model(str(path), 0, True, lambda share: None)


def test_loading_reports_progress(tiny_path: Path) -> None:
    seen: list[float] = []
    ffi.Model(str(tiny_path), 0, True, seen.append).close()
    assert seen[-1] == 1.0
    assert seen == sorted(seen)


def test_a_context_that_cannot_be_made(tiny_model: ffi.Model) -> None:
    """q4_0 needs rows of a multiple of 32; a head of 16 is not."""
    with pytest.raises(ffi.LoadFailed):
        ffi.Context(tiny_model, Setup(n_ctx=512, n_seq=1, kv_type="q4_0", flash_attention=True))


def test_decode_and_its_return_codes(bench: Callable[..., Any]) -> None:
    context = bench(n_ctx=512, n_seq=2, unified=False).context
    assert context.n_ctx_seq == 256
    rows = _fill(context, [97, 98, 99])
    assert context.decode(rows) == 0
    assert context.logits(1).shape == (1, 320)
    assert context.pos_max(0) == 2
    assert context.decode(_fill(context, [97], start=9)) == -1, "a gap"
    assert context.decode(_fill(context, [97], seq=7)) == -1, "no such sequence"
    assert context.decode(_fill(context, [5000], start=3)) == -1, "no such token"
    assert context.pos_max(0) == 2
    assert context.decode(_fill(context, [97] * 300, start=3)) == 1, "no room"
    assert context.pos_max(0) == 2


def test_copies_between_streams_are_whole_or_refused(bench: Callable[..., Any]) -> None:
    context = bench(unified=False).context
    context.decode(_fill(context, [97, 98, 99]))
    with pytest.raises(ValueError, match="abort"):
        context.seq_cp(0, 1, 2)
    context.seq_cp(0, 1)
    assert context.pos_max(1) == 2
    assert context.seq_rm(1, 1, -1)
    assert context.pos_max(1) == 0
    shared = bench(unified=True).context
    shared.decode(_fill(shared, [97, 98, 99]))
    shared.seq_cp(0, 1, 2)
    assert shared.pos_max(1) == 1


def test_a_state_can_be_taken_out_and_put_back(bench: Callable[..., Any]) -> None:
    context = bench().context
    context.decode(_fill(context, [97, 98, 99, 100]))
    expected = context.logits(1)[0].copy()
    state = context.save_seq(0)
    context.seq_rm(0)
    assert context.pos_max(0) == -1
    assert context.load_seq(3, state)
    assert context.seq_rm(3, 3, -1)
    context.decode(_fill(context, [100], seq=3, start=3))
    assert np.abs(context.logits(1)[0] - expected).max() < 0.05
    assert not context.load_seq(2, state[:10])

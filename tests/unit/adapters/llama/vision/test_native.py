"""mtmd, asked directly: what is a projector, and what a prompt with pictures becomes."""

from pathlib import Path

import numpy as np
import pytest

from adapters.llama import ffi
from adapters.llama.ffi import LoadFailed
from adapters.llama.vision.native import PictureError, Projector, Seen
from fakes.gguf_projector import Tower, build_projector, png


def seen(projector: Projector, text: str, *images: bytes) -> Seen:
    return projector.tokenize(text, list(images), add_special=False, parse_special=True)


def test_words_and_pictures_in_their_order(projector: Projector, seeing_model: ffi.Model) -> None:
    m = projector.marker
    given = seen(projector, f"ab{m}cd{m}e", png(1), png(2))
    words = seeing_model.vocab.tokenize("abcde", add_special=False, parse_special=True)
    size = Tower().tokens
    assert given.prompt[given.prompt >= 0].tolist() == words.tolist()
    assert [(p.start, p.positions, p.tokens) for p in given.pictures] == [(2, size, size), (4 + size, size, size)]
    for picture in given.pictures:
        assert (given.prompt[picture.start : picture.start + picture.positions] < 0).all()
        assert given.prompt[picture.start - 1] >= 0
        picture.close()
        picture.close()


def test_a_picture_is_known_by_its_bytes(projector: Projector) -> None:
    m = projector.marker
    one, again, other = (seen(projector, f"a{m}b", image).prompt for image in (png(1), png(1), png(2)))
    assert (one == again).all()
    assert ((one != other) == (one < 0)).all()
    twice = seen(projector, f"a{m}{m}b", png(1), png(1)).prompt
    assert len(set(twice[twice < 0].tolist())) == 2 * Tower().tokens, "each place has its own numbers"


def test_nobody_can_write_the_marker(projector: Projector, seeing_model: ffi.Model, projector_path: Path) -> None:
    other = Projector(str(projector_path), seeing_model, 1, gpu=False)
    assert other.marker != projector.marker
    other.close()
    text = f"<__media__>{other.marker}"
    given = seen(projector, f"{text}{projector.marker}b", png(1))
    assert len(given.pictures) == 1
    assert b"".join(seeing_model.vocab.pieces[t] for t in given.prompt[: given.pictures[0].start]) == text.encode()


@pytest.mark.parametrize(
    ("text", "images", "said"),
    [
        ("a{m}b", [b"\x89PNG\r\n\x1a\nnothing"], "image 0 cannot be decoded"),
        ("a{m}{m}b", [png(1), png(1)[:300]], "image 1 cannot be decoded"),
        ("a{m}b", [b"RIFF\0\0\0\0WAVE" + bytes(100)], "image 0 cannot be decoded"),
        ("a{m}b", [bytes(64)], "image 0 cannot be decoded"),
        ("a{m}b", [b"\0\0\0\x18ftypmp42" + bytes(100)], "image 0 cannot be decoded"),
        ("a{m}", [png(1)], "nothing behind"),
        ("a{m}b", [png(1), png(2)], "cannot be put into the prompt"),
        ("a{m}b{m}c", [png(1)], "cannot be put into the prompt"),
    ],
)
def test_what_cannot_be_shown(projector: Projector, text: str, images: list[bytes], said: str) -> None:
    with pytest.raises(PictureError, match=said):
        seen(projector, text.format(m=projector.marker), *images)


def test_a_picture_too_large_for_one_attention(projector: Projector) -> None:
    projector.most = Tower().tokens - 1
    with pytest.raises(PictureError, match="at most 15 at once"):
        seen(projector, f"a{projector.marker}b", png(1))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda good: good[:-3000], "truncated"),
        (lambda good: b"HELO" + good[4:], "not a GGUF file"),
        (lambda good: b"", "truncated"),
        (lambda good: good.replace(b"clip.projector_type", b"clip.projector_typo"), "projector type"),
        (lambda good: good.replace(b"blk.0.attn_out.weight", b"blk.0.attn_owt.weight"), "attn_out"),
    ],
)
def test_files_that_are_no_projector(
    seeing_model: ffi.Model, projector_path: Path, tmp_path: Path, spoil, said
) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "broken.gguf"
    path.write_bytes(spoil(projector_path.read_bytes()))
    with pytest.raises(LoadFailed, match=said) as caught:
        Projector(str(path), seeing_model, 1, gpu=False)
    assert "the projector cannot be loaded" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_projector_of_another_model(seeing_model: ffi.Model, seeing_path: Path, tmp_path: Path) -> None:
    wider = build_projector(tmp_path / "wider.gguf", Tower(out=96))
    with pytest.raises(LoadFailed, match="mismatch between text model"):
        Projector(str(wider), seeing_model, 1, gpu=False)
    with pytest.raises(LoadFailed, match="architecture 'llama'"):
        Projector(str(seeing_path), seeing_model, 1, gpu=False)
    with pytest.raises(LoadFailed, match="no file"):
        Projector(str(tmp_path / "none.gguf"), seeing_model, 1, gpu=False)


def test_marks_change_with_the_file(projector: Projector, seeing_model: ffi.Model, tmp_path: Path) -> None:
    """What a second tier kept of another projector's pictures is not taken for this one's."""
    other = Projector(str(build_projector(tmp_path / "m.gguf", Tower(seed=8))), seeing_model, 1, gpu=False)
    here, there = (seen(p, f"a{p.marker}b", png(1)).prompt for p in (projector, other))
    assert (here != there).sum() == np.count_nonzero(here < 0)
    other.close()

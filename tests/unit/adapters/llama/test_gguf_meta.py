"""Headers, good and hostile."""

import random
import struct
from pathlib import Path

import pytest

from adapters.llama import gguf_meta
from adapters.llama.gguf_meta import LATER_PART, GgufError, part_names, read
from fakes.gguf_model import Shape, build


def test_a_good_file(tiny_path: Path) -> None:
    meta = read(str(tiny_path))
    assert (meta.arch, meta.version, meta.vocab, meta.parts) == ("llama", 3, 320, 1)
    assert meta.number("context_length") == 8192
    assert meta.number("attention.head_count_kv") == 2
    assert meta.number("nonsense", 7) == 7
    assert sorted(meta.layer_bytes) == [0, 1]
    assert abs(meta.weight_bytes - meta.file_size) < 20_000
    assert meta.values["tokenizer.chat_template"].startswith("{% for")


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0"])
def test_sizes_follow_the_types(tmp_path: Path, kind: str) -> None:
    path = build(tmp_path / "m.gguf", Shape(kind=kind, vocab=352))
    meta = read(str(path))
    assert meta.weight_bytes < path.stat().st_size < meta.weight_bytes + 20_000


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated"),
        (b"GG", "truncated"),
        (b"HELO" + bytes(100), "not a GGUF"),
        (b"GGUF" + struct.pack("<I", 9), "version 9"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 10**12), "unreasonable"),
        (b"GGUF" + struct.pack("<IQQ", 3, 10**12, 0), "unreasonable"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60), "unreasonable"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 99), "unknown type"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 9, 1), "array of arrays"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 4, 2**50), "impossible length"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "no architecture"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(GgufError, match=reason):
        read(str(path))


def test_missing_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match=r"there is no file nope\.gguf"):
        read(str(tmp_path / "nope.gguf"))
    with pytest.raises(GgufError, match="cannot be read"):
        read(str(tmp_path))
    with pytest.raises(GgufError, match="cannot be read"):
        read("nul\x00byte")


def test_every_cut_is_found_out(tmp_path: Path, tiny_path: Path) -> None:
    data = tiny_path.read_bytes()
    path = tmp_path / "cut.gguf"
    for size in [*range(0, 400, 7), *range(400, len(data) - 1, 9973), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(GgufError, match="truncated"):
            read(str(path))


def test_flipped_bytes_never_do_anything_else(tmp_path: Path, tiny_path: Path) -> None:
    rng = random.Random(1)
    data = tiny_path.read_bytes()
    path = tmp_path / "flip.gguf"
    refused = 0
    for _ in range(400):
        bad = bytearray(data)
        for _ in range(rng.randrange(1, 6)):
            bad[rng.randrange(9000)] = rng.randrange(256)
        path.write_bytes(bad)
        try:
            read(str(path))
        except GgufError:
            refused += 1
    assert refused > 100


def test_a_header_larger_than_the_limit(tmp_path: Path, tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_meta, "MOST_HEADER", 1000)
    with pytest.raises(GgufError, match="unreasonably large"):
        read(str(tiny_path))


def test_split_models_are_added_up(tmp_path: Path, tiny_path: Path) -> None:
    whole = read(str(tiny_path))
    head = tiny_path.read_bytes()
    key = b"split.count"
    entry = struct.pack("<Q", len(key)) + key + struct.pack("<IH", 2, 2)
    tensors, keys = struct.unpack_from("<QQ", head, 8)
    # the extra key moves the data; pad it by a whole alignment so that offsets stay right
    pad = b"pad"
    filler = struct.pack("<Q", len(pad)) + pad + struct.pack("<IQ", 8, 0)
    room = (-(len(entry) + len(filler))) % 32
    filler = struct.pack("<Q", len(pad)) + pad + struct.pack("<IQ", 8, room) + b"x" * room
    data = head[:8] + struct.pack("<QQ", tensors, keys + 2) + entry + filler + head[24:]
    for number in (1, 2):
        (tmp_path / f"m-{number:05}-of-00002.gguf").write_bytes(data)
    meta = read(str(tmp_path / "m-00001-of-00002.gguf"))
    assert meta.parts == 2
    assert meta.weight_bytes == 2 * whole.weight_bytes
    (tmp_path / "m-00002-of-00002.gguf").unlink()
    with pytest.raises(GgufError, match="there is no file m-00002"):
        read(str(tmp_path / "m-00001-of-00002.gguf"))
    (tmp_path / "odd.gguf").write_bytes(data)
    with pytest.raises(GgufError, match="does not say into which parts"):
        read(str(tmp_path / "odd.gguf"))


def test_the_names_of_parts() -> None:
    assert part_names("m.gguf") == ["m.gguf"]
    assert part_names("m-00001-of-00001.gguf") == ["m-00001-of-00001.gguf"]
    assert part_names("m-00002-of-00003.gguf") == [f"m-0000{i}-of-00003.gguf" for i in (2, 1, 3)]
    assert part_names("m-00001-of-99999.gguf") == ["m-00001-of-99999.gguf"], "an unreasonable number"
    assert LATER_PART.search("m-00002-of-00003.gguf")
    assert not LATER_PART.search("m-00001-of-00003.gguf")

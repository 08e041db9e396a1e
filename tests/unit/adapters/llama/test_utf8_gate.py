"""Byte for byte what Python's strict decoder takes."""

import itertools
import random

import numpy as np

from adapters.llama.utf8_gate import Utf8Table, fits, rest


def _prefix_of_valid(data: bytes) -> bool:
    """By trying every way to finish it."""
    for length in range(4):
        for tail in itertools.product((0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF), repeat=length):
            try:
                (data + bytes(tail)).decode()
            except UnicodeDecodeError:
                continue
            return True
    return False


def test_every_pair_of_bytes() -> None:
    for a in range(0x70, 0x100):
        assert fits(b"", bytes([a])) == _prefix_of_valid(bytes([a]))
        if fits(b"", bytes([a])):
            for b in range(0x70, 0x100):
                assert fits(rest(b"", bytes([a])), bytes([b])) == _prefix_of_valid(bytes([a, b])), (a, b)


def test_any_cut_of_valid_text_passes() -> None:
    rng = random.Random(1)
    data = "a é 墲 \U00010347 😀 z".encode() * 3
    for _ in range(200):
        at, pending = 0, b""
        while at < len(data):
            size = rng.randrange(1, 6)
            piece = data[at : at + size]
            assert fits(pending, piece)
            pending = rest(pending, piece)
            at += size
        assert pending == b""


def test_the_table_says_the_same_for_many() -> None:
    rng = random.Random(2)
    pieces = [b"", b"a", "é".encode(), *(bytes([b]) for b in range(256))]
    pieces += [bytes(rng.randrange(256) for _ in range(rng.randrange(1, 5))) for _ in range(2000)]
    table = Utf8Table(pieces)
    ids = np.arange(len(pieces))
    for pending in (b"", b"\xc3", b"\xe0", b"\xe2\x82", b"\xf0\x9f", b"\xed"):
        got = table.mask(ids, pending)
        for at, piece in enumerate(pieces):
            if piece or not pending:
                assert got[at] == fits(pending, piece), (pending, piece)

"""Cut a large PNG into small ones, row bands of the same picture, so that it need never be decoded as a whole.

It owns the chunk layout and the one trick: a band starts with the last row of the band before, unfiltered, because
PNG's filters look one row up. It decodes no pixel itself. Invariant: memory is a band, whatever the picture is.
"""

import struct
import zlib
from collections.abc import Iterator

_MAGIC = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"


class Bands:
    """For PNGs of 8 bits a channel that are not interlaced. `step` must be told each band's last row as raw bytes."""

    def __init__(self, data: bytes, width: int, height: int, channels: int) -> None:
        self._width, self._height, self._channels = width, height, channels
        self._line = 1 + width * channels
        self._colour = data[25:26]
        self._kept: list[bytes] = []  # palette and transparency: every band needs them
        self._pixels = _inflate(_walk(data, self._kept))
        self._buffer = bytearray()
        self._guide = b""
        self.done = 0

    def step(self, rows: int) -> bytes:
        """The next band as a PNG: `rows` rows or what is left, under a guide row unless it is the first.

        ValueError where the data end too early, zlib.error where they are damaged.
        """
        rows = min(rows, self._height - self.done)
        while len(self._buffer) < rows * self._line:
            piece = next(self._pixels, b"")
            if not piece:
                raise ValueError(f"the pixels end after {self.done} of {self._height} rows")
            self._buffer += piece
        body = bytes(self._buffer[: rows * self._line])
        del self._buffer[: rows * self._line]
        head = b"\0" + self._guide if self.done else b""
        size = struct.pack(">II", self._width, rows + bool(self.done))
        self.done += rows
        pixels = _chunk(b"IDAT", zlib.compress(head + body, 0))
        return _MAGIC + _chunk(b"IHDR", size + b"\x08" + self._colour + bytes(3)) + b"".join(self._kept) + pixels + _END

    def guide(self, last_row: bytes) -> None:
        """Tell the last row of the band that `step` gave, as raw channel bytes."""
        self._guide = last_row


def _walk(data: bytes, kept: list[bytes]) -> Iterator[memoryview]:
    """The bodies of the IDAT chunks; what stands before them and every band needs goes into `kept`."""
    view, at = memoryview(data), len(_MAGIC)
    while at + 12 <= len(data):
        size, kind = struct.unpack(">I4s", view[at : at + 8])
        body = view[at + 8 : at + 8 + size]
        if kind == b"IDAT":
            yield body
        elif kind == b"IEND":
            return
        elif kind in (b"PLTE", b"tRNS") and size <= 768:
            kept.append(_chunk(kind, bytes(body)))
        at += 12 + size


def _inflate(chunks: Iterator[memoryview]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj()
    for chunk in chunks:
        piece = unpacker.decompress(chunk, 1 << 18)
        while piece:
            yield piece
            piece = unpacker.decompress(unpacker.unconsumed_tail, 1 << 18)
        if unpacker.eof:
            return


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

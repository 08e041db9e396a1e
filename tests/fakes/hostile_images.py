"""Images that lie, made by hand: headers without pixels, files cut short, bombs. And honest ones to compare with."""

import io
import struct
import zlib

from PIL import Image

MAGIC = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int,
    height: int,
    *,
    colour: int = 2,
    depth: int = 8,
    rows: int | None = None,
    padding: int = 0,
    first: bytes | None = None,
) -> bytes:
    """A PNG of one colour, `rows` of its rows present (all by default), `padding` bytes of ancillary data in front."""
    present = height if rows is None else rows
    line = b"\0" + bytes(-(-width * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] * depth // 8)) if present else b""
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(line) for _ in range(present)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0) if first is None else first
    palette = chunk(b"PLTE", b"\x10\x20\x30") if colour == 3 else b""
    spare = chunk(b"prVt", bytes(padding)) if padding else b""
    return MAGIC + chunk(b"IHDR", header) + spare + palette + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def half_png(width: int = 300, height: int = 260) -> bytes:
    """Half the compressed pixels of a textured PNG, in chunks that are whole and checked."""
    data = picture("png", width, height)
    at = data.index(b"IDAT")
    size = int.from_bytes(data[at - 4 : at])
    return data[: at - 4] + chunk(b"IDAT", data[at + 4 : at + 4 + size // 2]) + chunk(b"IEND", b"")


def picture(format: str, width: int = 300, height: int = 260, mode: str = "RGB", **options: object) -> bytes:
    """An honest picture with some texture, written by Pillow."""
    out = io.BytesIO()
    noise = Image.effect_noise((width, height), 60).convert(mode)
    noise.save(out, format, **options)
    return out.getvalue()


def webp_extended(width: int, height: int) -> bytes:
    """A VP8X header that promises a canvas which is not there."""
    body = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    inner = b"WEBPVP8X" + struct.pack("<I", 10) + body
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


def jpeg_header(width: int, height: int) -> bytes:
    """SOI, a frame header of that size, EOI: no scan."""
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\x01\x22\0\x02\x11\1\x03\x11\1"
    return b"\xff\xd8\xff\xe0\0\x04JF\xff\xc0" + frame + b"\xff\xd9"


def gif_growing() -> bytes:
    """A GIF whose screen is 300x300 and whose only frame is 60000x60000."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 300, 300, 0xF0, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0) + b"\x02\x02\x44\x01\0"
    return screen + frame + b"\x3b"

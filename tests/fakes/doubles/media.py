"""Small but real media files from the standard library alone, and the size of an image from its header.

It owns the bytes that doubles hand out as pictures and speech; each is decodable, of the size or length asked for.
It knows no HTTP.
"""

import struct
import zlib
from collections.abc import Callable

MIME = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
AUDIO_MIME = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


def png(width: int, height: int, grey: int = 128) -> bytes:
    """One grey PNG of width × height pixels."""

    def chunk(tag: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    rows = zlib.compress((b"\0" + bytes([grey]) * width) * height, 9)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    """One mid-grey baseline JPEG: each 8×8 block is two bits (no difference, end of block)."""

    def segment(marker: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    blocks = ((width + 7) // 8) * ((height + 7) // 8)
    one_code = bytes([1] + [0] * 15 + [0])  # a table with one code, "0", for the symbol 0
    bits = "00" * blocks
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
            segment(0xDB, b"\0" + b"\1" * 64),
            segment(0xC0, struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)),
            segment(0xC4, b"\x00" + one_code),
            segment(0xC4, b"\x10" + one_code),
            segment(0xDA, b"\1\1\0\0\x3f\0"),
            scan,
            b"\xff\xd9",
        ]
    )


def webp(width: int, height: int, grey: int = 128) -> bytes:
    """One grey lossless WebP: five one-symbol prefix codes, so that a pixel costs no bit."""
    bits: list[int] = []

    def put(value: int, count: int) -> None:
        bits.extend((value >> i) & 1 for i in range(count))

    put(width - 1, 14)
    put(height - 1, 14)
    put(0, 1 + 3)  # no alpha, version 0
    put(0, 1 + 1 + 1)  # no transform, no colour cache, no meta prefix codes
    for symbol in (grey, grey, grey, 255, 0):  # green, red, blue, alpha, distance
        put(1, 1)  # simple code
        put(0, 1)  # one symbol
        put(1, 1)  # of eight bits
        put(symbol, 8)
    packed = bytes(sum(b << i for i, b in enumerate(bits[n : n + 8])) for n in range(0, len(bits), 8))
    data = b"\x2f" + packed
    body = b"VP8L" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


IMAGES: dict[str, Callable[[int, int], bytes]] = {
    "png": png,
    "jpeg": jpeg,
    "webp": webp,
}


def size_of(image: bytes) -> tuple[str, int, int] | None:
    """(format, width, height) of a PNG, JPEG or WebP by its header, or None."""
    if image[:8] == b"\x89PNG\r\n\x1a\n" and len(image) >= 24:
        return "png", *struct.unpack(">II", image[16:24])
    if image[:2] == b"\xff\xd8":
        return _jpeg_size(image)
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return _webp_size(image)
    return None


def _jpeg_size(image: bytes) -> tuple[str, int, int] | None:
    at = 2
    while at + 9 <= len(image) and image[at] == 0xFF:
        marker, length = image[at + 1], int.from_bytes(image[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", image[at + 5 : at + 9])
            return "jpeg", width, height
        at += 2 + length
    return None


def _webp_size(image: bytes) -> tuple[str, int, int] | None:
    if image[12:16] == b"VP8L" and len(image) >= 25:
        word = int.from_bytes(image[21:25], "little")
        return "webp", (word & 0x3FFF) + 1, ((word >> 14) & 0x3FFF) + 1
    if image[12:16] == b"VP8X" and len(image) >= 30:
        width, height = (
            int.from_bytes(image[24:27], "little") + 1,
            int.from_bytes(image[27:30], "little") + 1,
        )
        return "webp", width, height
    if image[12:16] == b"VP8 " and len(image) >= 30:
        width, height = struct.unpack("<HH", image[26:30])
        return "webp", width & 0x3FFF, height & 0x3FFF
    return None


def pcm(seconds: float, rate: int = 24000) -> bytes:
    """Silence, 16 bits, mono."""
    return b"\0\0" * int(seconds * rate)


def wav(seconds: float, rate: int = 24000) -> bytes:
    data = pcm(seconds, rate)
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 20 + len(head) + len(data) - 8)
        + b"WAVE"
        + head
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )


def mp3(seconds: float) -> bytes:
    """MPEG-1 layer III, 128 kbit/s, 44.1 kHz mono: frames whose side information says silence."""
    frame = b"\xff\xfb\x90\xc4" + b"\0" * 413
    return frame * max(2, int(seconds * 44100 / 1152))


def aac(seconds: float) -> bytes:
    """ADTS, AAC-LC, 44.1 kHz mono, no spectral data."""
    frame = b"\xff\xf1" + bytes([0x50, 0x40, 11 >> 3, ((11 & 7) << 5) | 0x1F, 0xFC]) + b"\0\0\0\x07"
    return frame * max(2, int(seconds * 44100 / 1024))


def flac(seconds: float, rate: int = 24000) -> bytes:
    """FLAC, 16 bits, mono, constant frames of 4096 samples."""
    count = max(1, int(seconds * rate) // 4096)
    info = struct.pack(">HH", 4096, 4096) + b"\0" * 6
    info += ((rate << 44) | (15 << 36) | count * 4096).to_bytes(8, "big") + b"\0" * 16
    out = b"fLaC" + b"\x80" + len(info).to_bytes(3, "big") + info
    for number in range(min(count, 127)):
        # fixed block size, 4096 samples, rate and depth from the stream information
        head = b"\xff\xf8\xc0\x00" + bytes([number])
        head += bytes([_crc(head, 8, 0x07)])
        frame = head + b"\0" + b"\0\0"
        out += frame + _crc(frame, 16, 0x8005).to_bytes(2, "big")
    return out


def _crc(data: bytes, width: int, polynomial: int) -> int:
    value, top, mask = 0, 1 << (width - 1), (1 << width) - 1
    for byte in data:
        value ^= byte << (width - 8)
        for _ in range(8):
            value = ((value << 1) ^ polynomial if value & top else value << 1) & mask
    return value


def opus(seconds: float) -> bytes:
    """Ogg Opus, 48 kHz mono, 20 ms frames of silence."""
    head = b"OpusHead" + struct.pack("<BBHIHB", 1, 1, 312, 24000, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 6) + b"double" + struct.pack("<I", 0)
    count = max(1, int(seconds * 50))
    pages = [_ogg(2, 0, 0, [head]), _ogg(0, 0, 1, [tags])]
    pages += [_ogg(4 if n == count - 1 else 0, (n + 1) * 960, n + 2, [b"\xf8\xff\xfe"]) for n in range(count)]
    return b"".join(pages)


def _ogg(flags: int, granule: int, number: int, packets: list[bytes]) -> bytes:
    lacing = b"".join(b"\xff" * (len(p) // 255) + bytes([len(p) % 255]) for p in packets)
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, 7, number, 0, len(lacing))
    page = head + lacing + b"".join(packets)
    return page[:22] + struct.pack("<I", _crc(page, 32, 0x04C11DB7)) + page[26:]


AUDIO: dict[str, Callable[[float], bytes]] = {
    "mp3": mp3,
    "aac": aac,
    "flac": flac,
    "wav": wav,
    "pcm": pcm,
    "opus": opus,
}

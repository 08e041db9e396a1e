"""What an image claims to be, read from its header: format, size, alpha. Nothing is decoded and Pillow is not needed.

It owns the pixel limits and the refusal of images that lie or are cut short; it does not vouch for the pixels (only
decoding can). Invariant: the work is bounded whatever the input, so it may run on the event loop.
"""

import struct
import zlib
from collections.abc import Callable

import msgspec

from proxy.errors import BadRequest, BodyTooLarge, RequestError
from proxy.media.payload import Payload

MIN_PIXELS = 65_536
MAX_UPSCALED_PIXELS = 16_777_216
MAX_PIXELS = 33_177_600

CONTENT_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}
_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/apng": "image/png",
}
_NO_CLAIM = frozenset({"application/octet-stream", "binary/octet-stream", "image/*"})

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_MAX_JPEG_SEGMENTS = 2_000
_TAIL = 4_096


class ImageHeader(msgspec.Struct, frozen=True):
    """`channels` and `depth` (bits) are those of the file, a palette counting as one channel.

    `layered` is an interlaced PNG or a progressive JPEG; `samples` is how many values a pixel has on average in a JPEG.
    """

    format: str
    width: int
    height: int
    channels: int = 3
    depth: int = 8
    animated: bool = False
    layered: bool = False
    samples: float = 3.0

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def content_type(self) -> str:
        return CONTENT_TYPES[self.format]


def sniff(head: bytes) -> str | None:
    """The format that the first 12 bytes belong to, or None."""
    if head.startswith(_PNG_MAGIC):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    return None


def inspect(payload: Payload) -> ImageHeader:
    """Read the header. BadRequest where it is no image we know, contradicts its content type, or is cut short."""
    if not len(payload):
        raise _refuse(payload, "expected an image, got an empty file")
    found = sniff(payload.peek(0, 16))
    if found is None:
        raise _refuse(payload, "expected a PNG, JPEG, WebP or GIF image, got something else", code="invalid_image")
    declared = _ALIASES.get(payload.declared or "", payload.declared)
    if declared and declared not in _NO_CLAIM and declared != CONTENT_TYPES[found]:
        claim = f"declared as {declared[:60]!r}, but its bytes are {CONTENT_TYPES[found]}"
        raise _refuse(payload, f"expected the declared content type: {claim}", code="content_type_mismatch")
    header = _READERS[found](payload)
    if header.width <= 0 or header.height <= 0:
        raise _damaged(payload, found, "width and height must not be zero")
    return header


def check(payload: Payload, *, min_pixels: int = MIN_PIXELS, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """`inspect`, then the limits: BadRequest for too few pixels, BodyTooLarge for too many."""
    header = inspect(payload)
    size = f"got {header.width}x{header.height} = {header.pixels:,}"
    if header.pixels < min_pixels:
        raise _refuse(payload, f"expected at least {min_pixels:,} pixels, {size}", code="image_too_small")
    if header.pixels > max_pixels:
        text = f"{payload.field}: expected at most {max_pixels:,} pixels, {size}."
        raise BodyTooLarge(text, param=payload.field, code="image_too_large")
    return header


def _png(payload: Payload) -> ImageHeader:
    head = payload.peek(8, 25)
    if len(head) < 25 or head[:8] != b"\x00\x00\x00\rIHDR":
        raise _damaged(payload, "png", "the IHDR chunk is missing or cut short")
    if zlib.crc32(head[4:21]) != int.from_bytes(head[21:25]):
        raise _damaged(payload, "png", "the IHDR checksum is wrong")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", head[8:21])
    if depth not in _PNG_DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise _damaged(payload, "png", "its IHDR holds values that PNG does not have")
    if b"IEND\xaeB`\x82" not in payload.peek(max(0, len(payload) - _TAIL), _TAIL):
        raise _damaged(payload, "png", "the file is cut short (no IEND chunk)")
    return ImageHeader("png", width, height, _PNG_CHANNELS[colour], depth, layered=interlace == 1)


def _jpeg(payload: Payload) -> ImageHeader:
    at = 2
    for _ in range(_MAX_JPEG_SEGMENTS):
        head = payload.peek(at, 64)
        marker = head.lstrip(b"\xff")[:1]
        if not head.startswith(b"\xff"):
            raise _damaged(payload, "jpeg", "the file is cut short" if not head else "a marker is missing")
        if not marker:  # fill bytes only; go on behind them
            at += len(head) - 1 if len(head) > 1 else 1
            continue
        at += head.index(marker) + 1
        if marker[0] in _JPEG_ALONE:
            continue
        if marker[0] in (0xD9, 0xDA, 0x00):
            break
        segment = payload.peek(at, 8)
        if len(segment) < 2:
            break
        length = int.from_bytes(segment[:2])
        if marker[0] in _JPEG_FRAMES:
            if len(segment) < 8 or length < 8:
                break
            depth, height, width, channels = struct.unpack(">BHHB", segment[2:8])
            sampling = payload.peek(at + 8, 3 * min(channels, 4))[1::3]
            factors = [(byte >> 4) * (byte & 15) for byte in sampling]
            samples = sum(factors) / max(factors) if any(factors) else 4.0
            return ImageHeader(
                "jpeg", width, height, channels, depth, layered=marker[0] & 3 == 2, samples=max(samples, 1.0)
            )
        at += max(length, 2)
    raise _damaged(payload, "jpeg", "no frame header (SOF) before the end or the scan")


def _webp(payload: Payload) -> ImageHeader:
    head = payload.peek(0, 30)
    if len(head) < 25 or int.from_bytes(head[4:8], "little") + 8 > len(payload) + 1:
        raise _damaged(payload, "webp", "the file is shorter than its RIFF header says")
    kind, body = head[12:16], head[20:]
    if kind == b"VP8X" and len(body) >= 10:
        width, height = (int.from_bytes(body[i : i + 3], "little") + 1 for i in (4, 7))
        return ImageHeader("webp", width, height, 4 if body[0] & 0x10 else 3, animated=bool(body[0] & 0x02))
    if kind == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return ImageHeader("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 4 if bits >> 28 & 1 else 3)
    if kind == b"VP8 " and len(body) >= 10 and body[3:6] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(body[i : i + 2], "little") & 0x3FFF for i in (6, 8))
        return ImageHeader("webp", width, height)
    raise _damaged(payload, "webp", "the first chunk is neither VP8, VP8L nor VP8X")


def _gif(payload: Payload) -> ImageHeader:
    head = payload.peek(6, 4)
    if len(head) < 4:
        raise _damaged(payload, "gif", "the file is cut short")
    width, height = struct.unpack("<HH", head)
    return ImageHeader("gif", width, height, 1)


_READERS: dict[str, Callable[[Payload], ImageHeader]] = {"png": _png, "jpeg": _jpeg, "webp": _webp, "gif": _gif}


def _damaged(payload: Payload, name: str, why: str) -> RequestError:
    return _refuse(payload, f"expected a whole {name.upper()} image: {why}", code="invalid_image")


def _refuse(payload: Payload, text: str, code: str = "invalid_request") -> RequestError:
    return BadRequest(f"{payload.field}: {text}.", param=payload.field, code=code)

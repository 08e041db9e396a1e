"""Decode, convert and encode pictures. With `canvas`, the only room with Pillow.

It owns what Pillow may read (four formats, within limits, no more memory than the header promised) and what we write
(JPEG, PNG, WebP); it knows no request and no upstream. Invariants: a picture is opened only after `inspect.check`, what
Pillow opens must be what the header said, and everything here runs in `workshop` threads, never on the event loop.
"""

import io
import json
import math
import os
import warnings
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from PIL import ExifTags, Image, ImageFilter, ImageOps, PngImagePlugin

from proxy.errors import BadRequest, BodyTooLarge, TraghettoError
from proxy.media.inspect import CONTENT_TYPES, MAX_PIXELS, MAX_UPSCALED_PIXELS, ImageHeader, check
from proxy.media.payload import Payload
from proxy.media.png_bands import Bands
from proxy.media.workshop import Workshop

OUTPUTS: Final = ("jpeg", "png", "webp")
SOFTWARE: Final = "Traghetto"
_READABLE: Final = ("PNG", "JPEG", "WEBP", "GIF")
_SAME: Final = {"MPO": "jpeg"}  # a JPEG with further pictures behind the first
_WORK_BYTES: Final = 96 << 20  # what all jobs together may take; one that takes more works alone
_DECODE_BYTES: Final = 128 << 20  # what one picture may take to decode: MAX_UPSCALED_PIXELS in RGB, twice
_BAND_ABOVE: Final = 1 << 20  # pixels of a PNG that is decoded in bands
_BAND_BYTES: Final = 4 << 20
_WEBP_SIDE: Final = 16_383
_REACH: Final = 16  # rows that sharpening looks up and down, amply

# We hold the limit ourselves, from the header; Pillow's own stays as a second fence (an error above twice this).
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
PngImagePlugin.MAX_TEXT_CHUNK = 1 << 20
PngImagePlugin.MAX_TEXT_MEMORY = 1 << 20
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

bench = Workshop("image", threads=max(1, min(2, os.cpu_count() or 1)), budget=_WORK_BYTES)


class Picture(msgspec.Struct, frozen=True):
    """One encoded picture."""

    data: bytes
    format: str
    width: int
    height: int

    @property
    def content_type(self) -> str:
        return CONTENT_TYPES[self.format]


class Finish(msgspec.Struct, frozen=True):
    """How to write a picture. `quality` 1-100 counts for JPEG and WebP; `about` goes into EXIF (None: no metadata)."""

    format: str = "png"
    quality: int = 90
    about: dict[str, Any] | None = None


def decode_cost(header: ImageHeader) -> int:
    """Bytes that `decode` takes at most: a pixel takes 4 in Pillow, and most ways to it hold more than one copy."""
    kept = header.pixels / 4 if _is_giant(header) else header.pixels
    if _in_bands(header):
        return int(kept * 4) + 4 * _BAND_BYTES
    if header.format == "jpeg":  # libjpeg shrinks as it decodes; progressive needs all coefficients; then it is turned
        coefficients = header.pixels * header.samples * 2 if header.layered else 0
        return int(kept * 8 + coefficients)
    if header.format == "webp":  # two canvases of libwebp's, the bytes between, Pillow's own
        return header.pixels * 16
    one_copy = header.channels >= 3 and header.format == "png"
    return int(header.pixels * (4 if one_copy else 8) + (kept * 4 if kept < header.pixels else 0))


def decode(payload: Payload, header: ImageHeader) -> Image.Image:
    """The picture as RGB or RGBA, upright. One of more than MAX_UPSCALED_PIXELS comes at half its width and height.

    BadRequest where the pixels are damaged or are not what the header said.
    """
    image, problem = _load(payload, header)
    if image is not None:
        return image
    text = f"{payload.field}: expected a whole {header.format.upper()} image: {problem}."
    raise BadRequest(text, param=payload.field, code="invalid_image")


def _load(payload: Payload, header: ImageHeader) -> tuple[Image.Image | None, str]:
    try:
        data = payload.read()
        if _in_bands(header):
            return _banded(data, header), ""
        image: Image.Image = Image.open(io.BytesIO(data), formats=_READABLE)
        name = _SAME.get(image.format or "", (image.format or "").lower())
        if name != header.format or image.size != (header.width, header.height):
            return None, f"its header says {header.width}x{header.height}, its content {image.width}x{image.height}"
        if _is_giant(header):
            image.draft(None, _half(header))
        image.load()
        return _upright(_plain(_halved(image))), ""
    except TraghettoError:
        raise
    except MemoryError:
        return None, "it does not fit into memory"
    except Exception as error:  # noqa: BLE001  Pillow's plugins raise nearly anything on hostile input
        return None, (str(error) or type(error).__name__)[:120]


def _is_giant(header: ImageHeader) -> bool:
    return header.pixels > MAX_UPSCALED_PIXELS


def _in_bands(header: ImageHeader) -> bool:
    return header.format == "png" and header.pixels > _BAND_ABOVE and header.depth == 8 and not header.layered


def _banded(data: bytes, header: ImageHeader) -> Image.Image:
    """A large PNG band by band: only the result is ever held whole."""
    halve = _is_giant(header)
    bands = Bands(data, header.width, header.height, header.channels)
    rows = max(2, _BAND_BYTES // (header.width * 4) & ~1)
    whole: Image.Image | None = None
    while bands.done < header.height:
        above = bands.done
        band: Image.Image = Image.open(io.BytesIO(bands.step(rows)), formats=("PNG",))
        band.load()
        bands.guide(band.crop((0, band.height - 1, band.width, band.height)).tobytes())
        band = _plain(band if above == 0 else band.crop((0, 1, band.width, band.height)))
        band = band.reduce(2) if halve else band
        if whole is None:
            whole = Image.new(band.mode, _half(header) if halve else (header.width, header.height))
        whole.paste(band, (0, above // 2 if halve else above))
    assert whole is not None, "a header of no rows never comes here"
    return whole


def _half(header: ImageHeader) -> tuple[int, int]:
    return (header.width + 1) // 2, (header.height + 1) // 2


def _halved(image: Image.Image) -> Image.Image:
    if image.width * image.height <= MAX_UPSCALED_PIXELS:
        return image
    half = ((image.width + 1) // 2, (image.height + 1) // 2)
    return image.resize(half, Image.Resampling.NEAREST if image.mode in ("P", "1") else Image.Resampling.BOX)


def _plain(image: Image.Image) -> Image.Image:
    if image.mode in ("RGB", "RGBA"):
        return image
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits a channel: keep the upper eight
        image = image.point(lambda value: value / 256).convert("L")
    clear = image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if clear else "RGB")


def _upright(image: Image.Image) -> Image.Image:
    """Turn it as its EXIF orientation says, since we do not pass that tag on. One that stands upright is not copied."""
    ImageOps.exif_transpose(image, in_place=True)
    return image


def encode(image: Image.Image, finish: Finish) -> Picture:
    """JPEG has no alpha: it is laid on white. ValueError for a format outside OUTPUTS."""
    if finish.format not in OUTPUTS:
        raise ValueError(f"cannot write {finish.format!r}")
    out = io.BytesIO()
    more: dict[str, Any] = {"exif": _exif(finish.about)} if finish.about is not None else {}
    quality = max(1, min(100, finish.quality))
    if finish.format == "jpeg":
        flatten(image).save(out, "JPEG", quality=quality, optimize=False, **more)
    elif finish.format == "webp":
        _fits_webp(image)
        image.save(out, "WEBP", quality=quality, method=2, **more)
    else:
        if finish.about is not None:
            text = PngImagePlugin.PngInfo()
            text.add_itxt("parameters", json.dumps(finish.about, default=str))
            more["pnginfo"] = text
        image.save(out, "PNG", compress_level=4, **more)
    return Picture(out.getvalue(), finish.format, image.width, image.height)


def flatten(image: Image.Image, colour: str = "white") -> Image.Image:
    """Without alpha, laid on `colour`."""
    if image.mode != "RGBA":
        return image if image.mode == "RGB" else image.convert("RGB")
    ground = Image.new("RGB", image.size, colour)
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def _fits_webp(image: Image.Image) -> None:
    if max(image.size) > _WEBP_SIDE:
        text = f"format: expected sides of at most {_WEBP_SIDE} pixels for webp, got {image.width}x{image.height}."
        raise BadRequest(text, param="format")


def _exif(about: dict[str, Any]) -> bytes:
    """The prompt as ImageDescription, the model as Model, everything as JSON in UserComment (plain ASCII there)."""
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = SOFTWARE
    if about.get("prompt"):
        exif[ExifTags.Base.ImageDescription] = str(about["prompt"]).encode(errors="replace")
    if about.get("model"):
        exif[ExifTags.Base.Model] = str(about["model"]).encode(errors="replace")
    comment = b"ASCII\0\0\0" + json.dumps(about, ensure_ascii=True, default=str).encode("ascii")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    return exif.tobytes()


def read_about(data: bytes) -> dict[str, Any]:
    """What `encode` wrote about a picture of ours; {} where there is nothing."""
    with Image.open(io.BytesIO(data), formats=_READABLE) as image:
        comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
    if not isinstance(comment, bytes) or not comment.startswith(b"ASCII\0\0\0"):
        return {}
    found: dict[str, Any] = json.loads(comment[8:])
    return found


def blur(image: Image.Image) -> Image.Image:
    """So strongly that nothing is recognised, in time independent of the strength: small, smoothed, large again."""
    small = image.resize((max(1, image.width // 32), max(1, image.height // 32)), Image.Resampling.BOX)
    return small.filter(ImageFilter.GaussianBlur(1.5)).resize(image.size, Image.Resampling.BICUBIC)


def resize(image: Image.Image, width: int, height: int, *, sharpen: float = 0.0) -> Image.Image:
    """Lanczos to exactly this size. `sharpen` 0-1 is an unsharp mask afterwards. The image may be changed in place.

    It works in bands, because both steps would otherwise hold another whole picture in between.
    """
    if (width, height) != image.size:
        larger = Image.new(image.mode, (width, height))
        step = image.height / height
        reach = math.ceil(3 * max(1.0, step)) + 1  # Lanczos looks three rows up and down
        for top, bottom in _bands(width, height):
            first, last = max(0, int(top * step) - reach), min(image.height, math.ceil(bottom * step) + reach)
            rows = image.crop((0, first, image.width, last))
            box = (0.0, top * step - first, image.width, min(bottom * step, image.height) - first)
            larger.paste(rows.resize((width, bottom - top), Image.Resampling.LANCZOS, box=box), (0, top))
        image = larger
    if sharpen > 0:
        mask = ImageFilter.UnsharpMask(radius=2, percent=round(40 + 160 * sharpen), threshold=2)
        above = Image.new(image.mode, (image.width, 0))  # the last rows of the band before, not yet sharpened
        for top, bottom in _bands(width, height):
            band = Image.new(image.mode, (image.width, above.height + min(bottom + _REACH, height) - top))
            band.paste(above)
            band.paste(image.crop((0, top, width, min(bottom + _REACH, height))), (0, above.height))
            inner = (0, above.height, width, above.height + bottom - top)
            above = image.crop((0, max(top, bottom - _REACH), width, bottom))
            image.paste(band.filter(mask).crop(inner), (0, top))
    return image


def _bands(width: int, height: int) -> Iterator[tuple[int, int]]:
    rows = max(4 * _REACH, _BAND_BYTES // (width * 4))
    return ((top, min(top + rows, height)) for top in range(0, height, rows))


def masked(image: Image.Image, mask: Image.Image) -> Image.Image:
    """What a mask of OpenAI's kind marks (transparent or, without alpha, white where to edit): mode L, 255 there."""
    if mask.mode == "RGBA" and mask.getchannel("A").getextrema() != (255, 255):
        area = mask.getchannel("A").point(lambda alpha: 255 if alpha < 128 else 0)
    else:
        area = mask.convert("L").point(lambda value: 255 if value >= 128 else 0)
    return area if area.size == image.size else area.resize(image.size, Image.Resampling.NEAREST)


def covered(image: Image.Image, width: int, height: int) -> Image.Image:
    """To exactly this size without a distortion: what is too wide or too high loses as much on both sides."""
    wide = image.width * height > image.height * width
    if wide:
        keep = max(1, round(image.height * width / height))
        box = ((image.width - keep) // 2, 0, (image.width - keep) // 2 + keep, image.height)
    else:
        keep = max(1, round(image.width * height / width))
        box = (0, (image.height - keep) // 2, image.width, (image.height - keep) // 2 + keep)
    whole = (0, 0, image.width, image.height)
    return resize(image if box == whole else image.crop(box), width, height)


async def convert(
    payload: Payload, finish: Finish, *, size: tuple[int, int] | None = None, blurred: bool = False
) -> Picture:
    """Any readable picture in another format or size (`covered`), blurred or with metadata. Errors as `check`, `decode`."""
    header = check(payload, min_pixels=1, max_pixels=MAX_UPSCALED_PIXELS)
    width, height = size or (header.width, header.height)
    cost = affordable(payload.field, header)
    return await bench.run(cost + 4 * width * height, _convert, payload, header, finish, size, blurred)


def _convert(
    payload: Payload, header: ImageHeader, finish: Finish, size: tuple[int, int] | None, blurred: bool
) -> Picture:
    image = decode(payload, header)
    if size is not None:
        image = covered(image, *size)
    return encode(blur(image) if blurred else image, finish)


def affordable(field: str, header: ImageHeader) -> int:
    """`decode_cost`, or BodyTooLarge where one picture would take too much (large WebP, interlaced or progressive)."""
    cost = decode_cost(header)
    if cost > _DECODE_BYTES:
        most = f"an image that takes at most {_DECODE_BYTES >> 20} MiB to decode, got {cost >> 20} MiB"
        text = f"{field}: expected {most}; send a smaller one or a plain PNG or JPEG (8 bits, not progressive)."
        raise BodyTooLarge(text, param=field, code="image_too_large")
    return cost

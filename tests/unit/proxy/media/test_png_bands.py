"""Bands of a PNG are the rows of the PNG, whatever the filters and chunk sizes; damage is noticed where it lies."""

import io
import zlib

import pytest
from PIL import Image

from fakes import hostile_images as hostile
from proxy.media.png_bands import Bands


def rows_of(data: bytes, width: int, height: int, channels: int, step: int) -> bytes:
    bands, out = Bands(data, width, height, channels), b""
    while bands.done < height:
        above = bands.done
        with Image.open(io.BytesIO(bands.step(step))) as band:
            raw = band.tobytes()
            size = band.size
        assert size == (width, bands.done - above + bool(above))
        bands.guide(raw[-width * channels :])
        out += raw[width * channels if above else 0 :]
    return out


@pytest.mark.parametrize("step", [1, 2, 7, 50, 1_000])
@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA"])
def test_bands_together_are_the_picture(mode, step):
    image = Image.merge(mode, [Image.effect_noise((31, 53), 60) for _ in mode])
    ramp = Image.linear_gradient("L").resize((31, 53))  # smooth parts make the encoder use every filter
    image.paste(Image.merge(mode, [ramp] * len(mode)), (0, 20))
    out = io.BytesIO()
    image.save(out, "PNG")
    assert rows_of(out.getvalue(), 31, 53, len(mode), step) == image.tobytes()


def test_idat_may_be_cut_anywhere():
    data = hostile.picture("png", 40, 40)
    at = data.index(b"IDAT")
    body = data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at])]
    split = b"".join(hostile.chunk(b"IDAT", body[i : i + 1]) for i in range(len(body)))
    small = data[: at - 4] + split + hostile.chunk(b"IEND", b"")
    assert rows_of(small, 40, 40, 3, 9) == rows_of(data, 40, 40, 3, 40)


def test_a_stream_that_ends_early_says_where():
    bands = Bands(hostile.png(20, 20, rows=12), 20, 20, 3)
    bands.step(10)
    with pytest.raises(ValueError, match="end after 10 of 20 rows"):
        bands.step(10)


def test_damaged_compression_is_an_error():
    data = bytearray(hostile.picture("png", 200, 200))
    at = data.index(b"IDAT")
    data[at + 300 : at + 340] = bytes(40)
    bands = Bands(bytes(data), 200, 200, 3)
    with pytest.raises((zlib.error, ValueError)):
        bands.step(200)

"""The six formats of `POST /audio/speech`, as data: content types for routes, codecs for `audio`.

It knows no codec library, so that asking for a content type costs no import. Invariant: `audio` can write every row.
"""

from typing import Final

import msgspec

RATE: Final = 24_000  # what OpenAI's pcm has, and the only rate that all our codecs take


class Format(msgspec.Struct, frozen=True):
    """`container` and `codec` are FFmpeg's names; an empty container is written by hand.

    `delay` is how many samples the codec puts in front without a way to say so: speech ends in a pause, and as much of
    it is left off as came in front.
    """

    content_type: str
    container: str = ""
    codec: str = ""
    bit_rate: int = 0
    options: dict[str, str] = {}
    delay: int = 0


FORMATS: Final[dict[str, Format]] = {
    "mp3": Format("audio/mpeg", "mp3", "libmp3lame", 64_000, {"id3v2_version": "0"}, delay=1105),
    "opus": Format("audio/opus", "ogg", "libopus", 32_000, {"page_duration": "100000"}),
    "aac": Format("audio/aac", "adts", "aac", 64_000, delay=1024),
    "flac": Format("audio/flac", "flac", "flac"),
    "wav": Format("audio/wav"),
    "pcm": Format("audio/pcm"),
}

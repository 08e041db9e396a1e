"""The table of formats is what the API documents, and every row is complete."""

from proxy.media.audio_formats import FORMATS


def test_content_types_are_those_of_the_api():
    assert {name: format.content_type for name, format in FORMATS.items()} == {
        "mp3": "audio/mpeg",
        "opus": "audio/opus",
        "aac": "audio/aac",
        "flac": "audio/flac",
        "wav": "audio/wav",
        "pcm": "audio/pcm",
    }


def test_a_container_has_a_codec_and_the_other_way_round():
    assert all(bool(format.container) == bool(format.codec) for format in FORMATS.values())

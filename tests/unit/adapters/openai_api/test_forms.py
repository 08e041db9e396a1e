"""What goes out is read back, by our own reader and by the standard library's, whatever the names are."""

import email.parser
import email.policy

import pytest

from adapters.openai_api.forms import Part, form_body
from routes._multipart import form_of


def test_texts_and_files_are_read_back() -> None:
    sound = b"\x00\r\n--boundary\r\n\xff"
    parts = [
        Part("model", "ears"),
        Part("list[]", "a"),
        Part("list[]", "grün"),
        Part("file", memoryview(sound), "ä 日.mp3", "audio/mpeg"),
    ]
    type_, body = form_body(parts)
    form = form_of(body, type_)
    assert form.pairs == [("model", "ears"), ("list[]", "a"), ("list[]", "grün")]
    (file,) = form.files["file"]
    assert (file.read(), file.filename, file.declared) == (sound, "ä 日.mp3", "audio/mpeg")
    raw = b"content-type: " + type_.encode() + b"\r\n\r\n" + body
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(raw)
    assert [part.get_param("name", header="content-disposition") for part in message.iter_parts()] == [
        *("model", "list[]", "list[]", "file")
    ]


@pytest.mark.parametrize("name", ['a"; filename="b', "a\r\nX-Evil: 1", "a\r\n\r\n--x"])
def test_no_name_begins_another_header_or_part(name: str) -> None:
    type_, body = form_body([Part("file", b"x", name, "audio/mpeg"), Part(name, "text")])
    form = form_of(body, type_)
    assert [file.read() for file in form.files["file"]] == [b"x"]
    assert b"X-Evil: 1\r\n" not in body
    assert len(form.pairs) == 1
    assert '"' not in form.files["file"][0].filename


def test_a_content_type_that_is_none_is_left_out() -> None:
    _, body = form_body([Part("file", b"x", "a", "audio/mpeg\r\nX-Evil: 1"), Part("file", b"y", "b")])
    assert body.count(b"Content-Type: application/octet-stream\r\n") == 2


def test_boundaries_are_not_to_be_guessed() -> None:
    assert form_body([])[0] != form_body([])[0]

"""Forms as clients send them, and forms that are none."""

import httpx
import pytest

from proxy.errors import BadRequest, MediaUnsupported
from routes._multipart import MAX_PARTS, form_of, is_form

TYPE = "multipart/form-data; boundary=b"


def sent(**more: object) -> tuple[bytes, str]:
    request = httpx.Request("POST", "http://x/", **more)  # type: ignore[arg-type]
    return request.read(), request.headers["content-type"]


def test_what_a_client_sends() -> None:
    body, type_ = sent(
        data={"prompt": "grün", "scale": "2"},
        files=[("image", ("ä.png", b"\r\n--data\r\n", "image/png")), ("image[]", ("b", b"", "image/webp"))],
    )
    assert is_form(type_)
    form = form_of(body, type_)
    assert form.texts == {"prompt": "grün", "scale": "2"}
    assert [(f.read(), f.declared, f.field) for f in form.files["image"]] == [(b"\r\n--data\r\n", "image/png", "image")]
    assert len(form.files["image[]"][0]) == 0
    assert [form.files[name][0].filename for name in ("image", "image[]")] == ["ä.png", "b"]


def test_texts_keep_their_order_and_repetitions() -> None:
    body, type_ = sent(data={"list[]": ["a", "b"], "one": "1"}, files={"file": ("x", b"1")})
    form = form_of(body, type_)
    assert form.pairs == [("list[]", "a"), ("list[]", "b"), ("one", "1")]
    assert form.texts == {"list[]": "b", "one": "1"}


@pytest.mark.parametrize(
    ("told", "filename"),
    [
        ('filename="a b.mp3"', "a b.mp3"),
        ("filename=plain.mp3", "plain.mp3"),
        ("filename*=UTF-8''%C3%A4.mp3", "ä.mp3"),
        ('filename="a\\"b;c.mp3"', 'a"b;c.mp3'),
        ('filename="%22.mp3"', "%22.mp3"),
        ('filename=""', ""),
        (f'filename="{"x" * 300}"', "x" * 255),
    ],
)
def test_names_of_files(told: str, filename: str) -> None:
    head = f'--b\r\nContent-Disposition: form-data; name="file"; {told}\r\nContent-Type: audio/mpeg\r\n\r\n'
    (file,) = form_of(head.encode() + b"1\r\n--b--", TYPE).files["file"]
    assert (file.filename, file.declared) == (filename, "audio/mpeg")


def test_a_preamble_and_an_epilogue_are_passed_over() -> None:
    part = b'--b \r\nContent-Disposition: form-data; name="a"\r\n\r\n1'
    assert form_of(b"before\r\n" + part + b"\r\n--b--\r\nbehind", TYPE).texts == {"a": "1"}
    assert form_of(b"--b--", TYPE).texts == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing",
        b"--b",
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1',
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n--b--',
        b"--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b--",
        b'--b\r\nContent-Disposition: attachment; name="a"\r\n\r\n1\r\n--b--',
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--b--',
        b'--bb\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--bb--',
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * (MAX_PARTS + 1) + b"--b--",
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 70_000 + b"\r\n--b--",
    ],
)
def test_what_is_no_form(body: bytes) -> None:
    with pytest.raises(BadRequest):
        form_of(body, TYPE)


@pytest.mark.parametrize(
    "type_", ["multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary="ä"']
)
def test_without_a_boundary(type_: str) -> None:
    with pytest.raises(MediaUnsupported):
        form_of(b"--b--", type_)

"""Base64, data URLs and raw bytes give the same bytes, piece by piece or whole."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadRequest
from proxy.media.payload import Payload, data_url


@given(st.binary(min_size=1, max_size=200), st.integers(0, 210), st.integers(0, 50), st.booleans())
def test_pieces_and_the_whole_agree(data, start, size, padded):
    text = base64.b64encode(data).decode()
    embedded = Payload.from_text(text if padded else text.rstrip("="))
    assert len(embedded) == len(data)
    assert embedded.read() == data
    assert embedded.peek(start, size) == data[start : start + size] == Payload(data).peek(start, size)


def test_a_data_url_declares_its_type_and_comes_back():
    payload = Payload.from_text(data_url("image/png", b"abc"))
    assert (payload.declared, payload.read()) == ("image/png", b"abc")


@pytest.mark.parametrize(
    "text", ["//79", "__79", "//\n79", " //79 ", "data:;base64,//79", "data:image/x;a=b;base64,//79"]
)
def test_takes_both_alphabets_blanks_and_parameters(text):
    assert Payload.from_text(text).read() == b"\xff\xfe\xfd"


@pytest.mark.parametrize("text", ["", "====", "data:image/png;base64,", "data:image/png,abc", "data:,x", "héllo wörld"])
def test_refuses_what_is_no_base64_at_once(text):
    with pytest.raises(BadRequest) as caught:
        Payload.from_text(text, field="mask")
    assert caught.value.param == "mask"


@pytest.mark.parametrize("text", ["ab!d", "abcde", "https://example.com/a.png", "ab=cdefg"])
def test_refuses_damaged_base64_when_read(text):
    with pytest.raises(BadRequest, match="base64"):
        Payload.from_text(text).read()


@given(st.binary(min_size=1, max_size=60), st.booleans(), st.integers(0, 60), st.integers(1, 9))
def test_a_json_string_is_read_without_being_decoded(data, slashed, start, size):
    token = msgspec.json.encode(base64.b64encode(data).decode())
    payload = Payload.from_json(token.replace(b"/", b"\\/") if slashed else token, field="mask")
    assert (payload.read(), len(payload), payload.field) == (data, len(data), "mask")
    assert payload.peek(start, size) == data[start : start + size]


@pytest.mark.parametrize("token", [b"7", b"null", b"{}", b'""', b'"https://x/"x'])
def test_refuses_json_that_is_no_picture(token):
    with pytest.raises(BadRequest):
        Payload.from_json(token).read()


def test_large_texts_are_not_looked_through():
    """What is strange near an end is mended; what is strange in the middle only is refused, never misread."""
    data = bytes(range(256)) * 1_200
    lines = base64.encodebytes(data)
    assert Payload.from_text(lines).read() == data
    text = base64.b64encode(data)
    assert Payload.from_text(text + b"\n").read() == data
    assert Payload.from_text(base64.urlsafe_b64encode(data)).read() == data
    middle = len(text) // 2 & ~3
    assert Payload.from_text(base64.b64encode(data * 5)).read() == data * 5  # several steps
    with pytest.raises(BadRequest):  # padding belongs to the end
        Payload.from_text(base64.b64encode(bytes((3 << 18) - 1)) + base64.b64encode(data)).read()
    for odd in (b"\n", b"-", b"\\/"):
        with pytest.raises(BadRequest):
            Payload.from_text(text[:middle] + odd + text[middle:]).read()


def test_a_view_is_no_copy():
    body = bytearray(b"abc" + base64.b64encode(b"picture"))
    payload = Payload.from_text(memoryview(body)[3:])
    body[3:] = base64.b64encode(b"another")
    assert payload.read() == b"another"
    raw = Payload(memoryview(body)[:3])
    assert raw.view() == b"abc"
    assert payload.view() == b"another"
    assert (bytes(payload.as_sent), bytes(raw.as_sent)) == (base64.b64encode(b"another"), b"abc")

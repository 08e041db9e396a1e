"""Token bytes become text independently of where they are cut."""

from hypothesis import given
from hypothesis import strategies as st

from adapters.llama.text.utf8 import Utf8Decoder

_BYTES = st.lists(
    st.sampled_from([b"a", "é".encode(), "漢".encode(), "🜚".encode(), b"\xff", b"\xe2", b"\xf0\x9f", b"\x80"])
)


@given(_BYTES.map(b"".join), st.integers(1, 4))
def test_any_cut_equals_the_whole(data: bytes, size: int) -> None:
    decoder = Utf8Decoder()
    out = "".join(decoder.feed(data[at : at + size]) for at in range(0, len(data), size)) + decoder.finish()
    assert out == data.decode("utf-8", "replace")


def test_a_cut_character_waits_and_is_replaced_at_the_end() -> None:
    decoder = Utf8Decoder()
    assert decoder.feed("€".encode()[:2]) == ""
    assert decoder.feed("€".encode()[2:]) == "€"
    assert decoder.feed(b"x\xf0\x9f") == "x"
    assert decoder.finish() == "\ufffd"
    assert decoder.finish() == ""

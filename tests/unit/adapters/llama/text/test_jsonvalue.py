"""The end of a JSON value is found wherever the text is cut."""

import json

from hypothesis import given
from hypothesis import strategies as st

from adapters.llama.text.jsonvalue import JsonValue

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a"\\{}[],: é'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a"}]', max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(_JSON, st.integers(1, 5), st.sampled_from([",", "}", "]", " ]"]), st.booleans())
def test_end_is_exact(value: object, size: int, after: str, plain: bool) -> None:
    literal = json.dumps(value, ensure_ascii=plain)
    text, scan, used = literal + after, JsonValue(literal[0]), 0
    for at in range(0, len(text), size):
        piece = text[at : at + size]
        end = scan.feed(piece, 0)
        used += end
        if scan.done:
            break
        assert end == len(piece)
    assert scan.done
    assert text[:used] == literal


def test_kinds() -> None:
    assert [JsonValue(c).kind for c in '{["-t'] == ["container", "container", "string", "scalar", "scalar"]

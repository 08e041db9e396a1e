"""Inputs of every shape, their limits, and the order and encoding of the answer."""

import base64
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadRequest
from proxy.wire.body import encode, fields_of, head_of
from proxy.wire.embeddings import EmbeddingsRequest, Inputs, answer, inputs, venice_only


def request(given: Any, **more: Any) -> EmbeddingsRequest:
    return head_of(encode({"model": "m", "input": given, **more}), EmbeddingsRequest)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("one", Inputs(texts=["one"])),
        (["one", "two"], Inputs(texts=["one", "two"])),
        ([1, 2, 3], Inputs(tokens=[[1, 2, 3]])),
        ([[1, 2], [3]], Inputs(tokens=[[1, 2], [3]])),
    ],
)
def test_each_shape_is_understood(given: Any, wanted: Inputs) -> None:
    assert inputs(request(given)) == wanted


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ("", "input"),
        ([], "input"),
        (["a", ""], "input[1]"),
        (["a", 1], "input"),
        ([[1], []], "input[1]"),
        ([[1, -1]], "input[0][1]"),
        ([1] * 8193, "input"),
        (["a"] * 2049, "input"),
    ],
)
def test_what_cannot_be_is_named(given: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        inputs(request(given))
    assert caught.value.param == param


def test_the_limits_themselves_pass() -> None:
    assert len(inputs(request(["a"] * 2048))) == 2048
    assert len(inputs(request([7] * 8192)).tokens[0]) == 8192


@pytest.mark.parametrize(
    ("more", "param"),
    [({"dimensions": 0}, "dimensions"), ({"encoding_format": "hex"}, "encoding_format"), ({"input": True}, "input")],
)
def test_bad_fields_are_named(more: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        head_of(encode({"model": "m", "input": "x", **more}), EmbeddingsRequest)
    assert caught.value.param == param


def test_venice_takes_fewer_tokens_and_no_unknown_key() -> None:
    raw = encode({"model": "m", "input": [1] * 2049})
    with pytest.raises(BadRequest, match="2048"):
        venice_only(head_of(raw, EmbeddingsRequest), fields_of(raw))
    raw = encode({"model": "m", "input": [1, 0]})
    with pytest.raises(BadRequest, match=r"input\[1\]"):
        venice_only(head_of(raw, EmbeddingsRequest), fields_of(raw))
    raw = encode({"model": "m", "input": "x", "colour": "red"})
    with pytest.raises(BadRequest, match="'colour'"):
        venice_only(head_of(raw, EmbeddingsRequest), fields_of(raw))


def test_slices_keep_the_order() -> None:
    parts = Inputs(texts=list("abcde")).slices(2)
    assert [part.texts for part in parts] == [["a", "b"], ["c", "d"], ["e"]]


@given(
    st.one_of(
        st.lists(st.text("añ日 ", min_size=1, max_size=30), min_size=1, max_size=40).map(
            lambda texts: Inputs(texts=texts)
        ),
        st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=20), min_size=1, max_size=40).map(
            lambda tokens: Inputs(tokens=tokens)
        ),
    ),
    st.integers(1, 8),
    st.integers(0, 25),
)
def test_slices_are_within_both_bounds(given_: Inputs, size: int, most: int) -> None:
    """Nothing is lost or moved; what is heavier alone than a request may be goes alone."""
    parts = given_.slices(size, most)
    assert [x for part in parts for x in part.texts] == given_.texts
    assert [x for part in parts for x in part.tokens] == given_.tokens
    for part in parts:
        assert 1 <= len(part) <= size
        weight = sum(len(text.encode()) // 3 + 1 for text in part.texts) + sum(map(len, part.tokens))
        assert not most or weight <= most or len(part) == 1


def test_an_answer_in_both_encodings() -> None:
    rows = [[0.5, -1.0], [0.25, 2.0]]
    plain = answer(rows, model="m", encoding=None, prompt_tokens=7)
    packed = answer(rows, model="m", encoding="base64", prompt_tokens=7)
    assert [(item["index"], item["embedding"]) for item in plain["data"]] == [(0, [0.5, -1.0]), (1, [0.25, 2.0])]
    assert [struct.unpack("<2f", base64.b64decode(i["embedding"])) for i in packed["data"]] == [(0.5, -1), (0.25, 2)]
    assert plain["usage"] == {"prompt_tokens": 7, "total_tokens": 7}

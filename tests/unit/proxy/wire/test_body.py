"""Bodies: raw fields, typed heads, and mistakes told by the field's name in both dialects."""

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadRequest
from proxy.wire.body import LARGE, converted, encode, explained, fields_of, head_of, tree, unknown_keys


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    size: int


class Head(msgspec.Struct):
    model: str
    inner: Inner | None = None
    rows: list[Inner] = []


def test_fields_stay_as_they_were_written() -> None:
    fields = fields_of(b'{"a": [1,  2], "b":"\\u0041", "c":null, "n": "null"}')
    assert {key: bytes(value) for key, value in fields.items()} == {"a": b"[1,  2]", "b": b'"\\u0041"', "n": b'"null"'}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"a":' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_object(raw: bytes, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        fields_of(raw)


@given(st.binary(max_size=40))
def test_any_bytes(raw: bytes) -> None:
    for read in (fields_of, lambda data: head_of(data, Head)):
        with contextlib.suppress(BadRequest):
            assert read(raw) is not None


@pytest.mark.parametrize(
    ("raw", "param", "said"),
    [
        (b"{}", "model", "Required"),
        (b'{"model":5}', "model", "got 'int'"),
        (b'{"model":"m","inner":{}}', "inner.size", "Required"),
        (b'{"model":"m","rows":[{"size":1},{"size":"x"}]}', "rows[1].size", "Expected 'int'"),
        (b'{"model":"m","inner":{"size":1,"sise":2}}', "inner.sise", "Unrecognized"),
        (b"[]", None, "Expected 'object'"),
        (b"nonsense", None, "not valid JSON"),
        (b'{"model":"\xff"}', None, "not valid JSON"),
        (b'{"model":"m","x":' + b"[" * 100_000, None, "nested too deeply"),
    ],
)
def test_a_head_names_the_field(raw: bytes, param: str | None, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        head_of(raw, Head)
    assert caught.value.param == param
    assert said in caught.value.message
    assert "`" not in caught.value.message


def test_a_head() -> None:
    head = head_of(b'{"model":"m","inner":{"size":2},"unknown":1}', Head)
    assert (head.model, head.inner, head.rows) == ("m", Inner(2), [])


def test_converted_knows_where_it_is() -> None:
    assert converted({"size": 1}, Inner) == Inner(1)
    for value, param in (({"size": "x"}, "model:.size"), ({"size": 1, "b": 2}, "model:.b")):
        with pytest.raises(BadRequest) as caught:
            converted(value, Inner, "model:")
        assert caught.value.param == param


@pytest.mark.parametrize(
    ("param", "details"),
    [
        (None, {"_errors": ["no"]}),
        ("a", {"_errors": [], "a": {"_errors": ["no"]}}),
        ("a[1].b", {"_errors": [], "a": {"_errors": [], "1": {"_errors": [], "b": {"_errors": ["no"]}}}}),
    ],
)
def test_venices_tree(param: str | None, details: dict[str, Any]) -> None:
    assert tree(param, "no") == details


def test_unknown_keys_are_all_named() -> None:
    error = unknown_keys(["b", "a"])
    assert (error.param, error.code) == ("b", "unknown_parameter")
    assert "'b', 'a'" in error.message


def test_a_sentence_without_a_place() -> None:
    assert explained("Something else").message == "Invalid request: Something else."


def test_nulls_of_large_bodies_are_left_out_too() -> None:
    text = "x" * LARGE
    raw = encode({"image": text, "mask": None, "n": 1, "word": "null", "four": True})
    assert set(fields_of(raw)) == {"image", "n", "word", "four"}

"""The options that an accented upstream shares with the dialect, and bodies that are no objects."""

import msgspec
import pytest

from adapters.accents import dialect, named, object_in, told
from adapters.options import NovitaOptions, Timeout


def test_the_line_of_another_kind_becomes_that_of_the_dialect() -> None:
    made = dialect(NovitaOptions(api_key="k", timeout=Timeout(total_s=7.0), max_connections=3, headers={"a": "b"}))
    assert (made.base_url, made.api_key, made.timeout.total_s) == ("https://api.novita.ai", "k", 7.0)
    assert (made.max_connections, made.headers, made.developer_role) == (3, {"a": "b"}, False)


@pytest.mark.parametrize("body", [b"", b"[1]", b"<html>", b'"x"', b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_an_empty_one(body: bytes) -> None:
    assert object_in(body) == {}


def test_an_object_is_itself() -> None:
    assert object_in(b'{"reason": "X"}') == {"reason": "X"}


def test_a_preview_by_names_and_one_by_what_goes_out() -> None:
    fields = {key: msgspec.Raw(b"1") for key in ("model", "size", "n", "magic")}
    shown = named(fields, frozenset({"size"}), frozenset({"n"}))
    assert (list(shown.kept), shown.dropped) == (["size"], ["magic"])
    assert told({"steps": 9}, ["x"]).kept == {"steps": msgspec.Raw(b"9")}

"""Edges of the checks on whole answers."""

from typing import Any

import pytest


def whole(content: object = "one two three four", finish: str = "stop", **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "refusal": None}
    rows = [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}]
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": rows, **fields}


@pytest.mark.parametrize(
    "fields",
    [
        {"created": 1.0},
        {"id": None},
        {"choices": []},
        {"choices": None},
        {"error": None},
        {"object": "x"},
        {"model": 1},
    ],
)
def test_shapes_that_are_none(desk: Any, fields: dict[str, Any]) -> None:
    desk.json("plain", whole())
    assert desk.verdict("plain.shape").outcome == "pass"
    desk.json("plain", whole(**fields))
    assert desk.verdict("plain.shape").outcome == "fail"


@pytest.mark.parametrize(
    ("text", "finish", "outcome"),
    [
        ("one two ", "stop", "pass"),
        ("something else", "length", "pass"),
        ("one two three", "stop", "fail"),
        ("one two ", "eos", "fail"),
    ],
)
def test_a_stop_word_never_shows(desk: Any, text: str, finish: str, outcome: str) -> None:
    desk.json("plain", whole())
    desk.json("plain_stop", whole(text, finish))
    assert desk.verdict("param.stop").outcome == outcome


@pytest.mark.parametrize(
    ("finish", "used", "outcome"),
    [("length", 1, "pass"), ("length", None, "pass"), ("length", 2, "fail"), ("stop", 1, "fail")],
)
def test_one_token_is_one_token(desk: Any, finish: str, used: int | None, outcome: str) -> None:
    usage = {} if used is None else {"usage": {"completion_tokens": used}}
    desk.json("plain_length", whole("a", finish, **usage))
    assert desk.verdict("param.max-tokens").outcome == outcome


def test_vectors_in_both_encodings_are_compared(desk: Any) -> None:
    def rows(*vectors: object) -> dict[str, Any]:
        return {"object": "list", "data": [{"index": at, "embedding": vector} for at, vector in enumerate(vectors)]}

    desk.json("embed_float", rows([1.5], [2]))
    desk.json("embed_base64", rows("AADAPw==", "AAAAQA=="))
    assert desk.verdict("embed.base64").outcome == "pass"
    for bad in (rows("AADAPw==", "AADAPw=="), rows("AADA", "AAAAQA=="), rows("§", "AAAAQA=="), rows([1.5], [2])):
        desk.json("embed_base64", bad)
        assert desk.verdict("embed.base64").outcome == "fail"


def test_an_empty_list_of_models_is_a_list(desk: Any) -> None:
    desk.json("models", {"object": "list", "data": []})
    assert desk.verdict("models.list").outcome == "pass"
    desk.json("models", {"data": []})
    assert desk.verdict("models.list").outcome == "fail"

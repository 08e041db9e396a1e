"""The questions."""

from typing import Any

import msgspec
import pytest

from proxy.verify.questions import NULLABLE, QUESTIONS, REFUSED, stop_word
from proxy.verify.seen import PLAINS, STREAMS, Seen, Skip
from proxy.verify.verification import CHECKS


def body(name: str, seen: Seen | None = None) -> dict[str, Any]:
    raw = QUESTIONS[name](seen or Seen("org/m", "k", "e")).body
    assert raw is not None
    decoded: dict[str, Any] = msgspec.json.decode(raw)
    return decoded


def test_each_check_asks_for_what_there_is_and_each_question_is_needed() -> None:
    asked = {name for check in CHECKS for name in check.asks}
    assert asked == set(QUESTIONS)
    assert asked >= {*STREAMS, *PLAINS, *REFUSED}


def test_streams_are_asked_for_with_usage_without_and_with_a_no() -> None:
    assert body("stream")["stream_options"] == {"include_usage": True}
    assert "stream_options" not in body("stream_bare")
    assert body("stream_usage_off")["stream_options"] == {"include_usage": False}
    assert all(body(name)["stream"] is True for name in STREAMS)


def test_nulls_are_sent_as_nulls() -> None:
    sent = body("plain_nulls")
    assert {key for key, value in sent.items() if value is None} == set(NULLABLE)


def test_a_model_name_is_escaped_in_a_path() -> None:
    assert QUESTIONS["model"](Seen("org/m:tag")).path == "/models/org%2Fm%3Atag"


@pytest.mark.parametrize(
    ("name", "seen"), [("bad_key", Seen("m")), ("embed_float", Seen("m", "k")), ("plain_stop", Seen("m"))]
)
def test_what_cannot_be_asked_says_why(name: str, seen: Seen) -> None:
    with pytest.raises(Skip, match=r"no key|no embedding model|not asked"):
        QUESTIONS[name](seen)


def test_the_stop_word_is_from_the_middle(desk: Any) -> None:
    desk.json("plain", {"choices": [{"message": {"content": "one two three four five"}}]})
    assert stop_word(desk.seen) == "three"
    assert body("plain_stop", desk.seen)["stop"] == ["three"]


@pytest.mark.parametrize(
    "answer", [{}, {"choices": [{"message": {"content": "one two"}}]}, {"choices": [{"message": 7}]}]
)
def test_no_word_no_question(desk: Any, answer: dict[str, Any]) -> None:
    desk.json("plain", answer)
    with pytest.raises(Skip, match="too short"):
        stop_word(desk.seen)

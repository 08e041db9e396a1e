"""Redaction: nothing secret survives, whatever it is written in; a line of the log is one line."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import log
from proxy.log import keep_secret, redact


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(log, "_SECRETS", set())
    yield
    log.setup()


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer S3CRETS3CRET",
        "authorization=S3CRETS3CRET",
        "bearer S3CRETS3CRET is wrong",
        "Basic S3CRETS3CRET==",
        '{"api_key": "S3CRETS3CRET"}',
        "api-key=S3CRETS3CRET&x=1",
        '"password":"S3CRETS3CRET"',
        "Incorrect API key provided: sk-proj-S3CRETS3CRET.",
        "whsec_S3CRETS3CRET r8_S3CRETS3CRET hf_S3CRETS3CRET tgt-S3CRETS3CRET",
        "mail S3CRETS3CRET@example.org about it",
        "GET https://host/path?token=S3CRETS3CRET&sig=S3CRETS3CRET failed",
        "https://user:S3CRETS3CRET@host/path",
    ],
)
def test_secrets_are_cut_out(text: str) -> None:
    shown = redact(text)
    assert "S3CRET" not in shown
    assert shown


@pytest.mark.parametrize("text", ["", "The model 'gpt-4o' does not exist.", "https://host/path", "token counts: 5"])
def test_the_rest_stays_readable(text: str) -> None:
    assert redact(text).replace("[redacted]", "5") == text


def test_literal_secrets_wherever_they_stand() -> None:
    keep_secret("plainword", "short", "")
    assert redact("xplainwordx and short") == "x[redacted]x and short"


def test_one_line_and_no_longer_than_asked() -> None:
    assert redact("a\r\nb\x1b[31mc\x00") == "a  b [31mc "
    assert redact("word " * 50, limit=20) == ("word " * 50)[:19] + "…"


@given(st.text(max_size=300), st.integers(1, 50))
def test_any_text(text: str, limit: int) -> None:
    shown = redact(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "console"])
def test_a_line_of_the_log(as_json: bool, capsys: Any) -> None:
    keep_secret("upstream-secret")
    log.setup("info", json=as_json)
    log.get("app").info("said\nmore", why="Bearer S3CRETS3CRET and upstream-secret", count=3)
    log.get("app").debug("not this")
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "S3CRET" not in shown
    assert "upstream-secret" not in shown
    if as_json:
        line = json.loads(shown)
        assert (line["room"], line["event"], line["level"], line["count"]) == ("traghetto.app", "said more", "info", 3)


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "console"])
def test_a_crash_is_logged_without_the_locals_or_the_keys(as_json: bool, capsys: Any) -> None:
    """The message of an exception comes from outside as well."""
    keep_secret("upstream-secret")
    log.setup("info", json=as_json)
    local = "S3CRET" * 3
    try:
        raise RuntimeError(f"it had {len(local)} characters, upstream-secret, Bearer {local}")
    except RuntimeError as error:
        log.get("app").error("crash", exc_info=error)
    shown = capsys.readouterr().err
    assert "RuntimeError: it had 18 characters, [redacted], Bearer [redacted]" in shown
    assert "test_log.py" in shown
    assert "S3CRET" not in shown
    assert "upstream-secret" not in shown

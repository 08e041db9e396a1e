"""One renderer, three envelopes, every class of the tree."""

import json
from collections.abc import Iterator

import pytest

from proxy.call import Dialect
from proxy.errors import BudgetSpent, Fault, KeyInvalid, RateExceeded, TraghettoError, UpstreamError
from routes._errors import dialect_of, rendered


def tree(root: type[TraghettoError] = TraghettoError) -> Iterator[type[TraghettoError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


ERRORS = [kind("words", param="p") for kind in tree() if kind is not UpstreamError and kind.__name__ != "ConfigError"]
ERRORS += [UpstreamError(fault, "words", param="p") for fault in Fault]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: getattr(e, "fault", None) or type(e).__name__)
def test_envelopes(error: TraghettoError) -> None:
    told = {dialect: rendered(error, dialect, "req_1") for dialect in Dialect}
    assert {status for status, _, _ in told.values()} == {error.status}
    ours = json.loads(told[Dialect.OPENAI][2])
    assert set(ours) == {"error"}
    assert set(ours["error"]) == {"message", "type", "param", "code"}
    assert (ours["error"]["message"], ours["error"]["param"]) == ("words", "p")
    assert (ours["error"]["type"] == "server_error") is (error.status >= 500), "the type fits the status"
    venice = json.loads(told[Dialect.VENICE][2])
    assert venice["error"] == "words"
    assert venice["code"] == venice["code"].upper()
    anthropic = json.loads(told[Dialect.ANTHROPIC][2])
    assert anthropic["type"] == "error"
    assert anthropic["request_id"] == "req_1"
    assert set(anthropic["error"]) == {"type", "message"}
    headers = dict(told[Dialect.OPENAI][1])
    assert ("retry-after" in headers) is (error.status in (429, 503))
    assert int(headers.get("retry-after", 1)) >= 1


def test_headers() -> None:
    def headers(error: TraghettoError) -> dict[str, str]:
        return dict(rendered(error, Dialect.OPENAI, "r")[1])

    assert headers(RateExceeded("x", retry_after_s=1.2))["retry-after"] == "2"
    assert headers(RateExceeded("x", retry_after_s=1.2))["retry-after-ms"] == "1200"
    assert headers(KeyInvalid("x"))["www-authenticate"] == "Bearer"
    assert headers(BudgetSpent("x"))["x-should-retry"] == "false"
    assert headers(UpstreamError(Fault.SERVER, "x", accepted=True))["x-should-retry"] == "false"
    assert "x-should-retry" not in headers(UpstreamError(Fault.SERVER, "x", accepted=False))


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/chat/completions", Dialect.OPENAI),
        ("/api/v1/chat/completions", Dialect.VENICE),
        ("/v1/messages", Dialect.ANTHROPIC),
        ("/nowhere", Dialect.OPENAI),
        ("/api/nowhere", Dialect.VENICE),
    ],
)
def test_dialect_of(path: str, dialect: Dialect) -> None:
    assert dialect_of(path) is dialect

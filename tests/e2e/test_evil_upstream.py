"""Every fault of the evil upstream × stream and not: the SDK raises, or the answer is whole and right. Nothing looks
finished that is not, and what is known before the first byte is a status.
"""

import time

import openai
import pytest

from fakes.evil import EvilThread
from fakes.gateway import Gateway, gateway, upstream
from proxy.mock import FAULTS, Script, fault

HELLO = [{"role": "user", "content": "hello"}]
TEXT = "The ferry crosses the Grand Canal — già pagato, one small coin 🛶 for everybody aboard."

# (whole, stream): None is a complete and right answer; a class is what the SDK raises. What is not listed is harmless.
FATAL: dict[str, tuple[type[Exception] | None, type[Exception] | None]] = {
    "status": (openai.InternalServerError, openai.InternalServerError),
    "rate_limit": (openai.RateLimitError, openai.RateLimitError),
    "ok_error": (openai.InternalServerError, openai.InternalServerError),
    "empty": (openai.InternalServerError, openai.InternalServerError),
    "garbage": (openai.InternalServerError, openai.InternalServerError),
    "refuse_stream_options": (None, openai.BadRequestError),
    "redirect": (openai.InternalServerError, openai.InternalServerError),
    "huge_headers": (openai.InternalServerError, openai.InternalServerError),
    "choices_missing": (openai.InternalServerError, openai.APIError),
    "empty_choices": (openai.InternalServerError, None),
    "bad_json": (None, openai.APIError),
    "bad_utf8": (None, openai.APIError),
    "error_event": (None, openai.APIError),
    "cut": (openai.InternalServerError, openai.InternalServerError),
    "cut_utf8": (openai.InternalServerError, openai.APIError),
    "close_head": (openai.InternalServerError, openai.InternalServerError),
    "reset_head": (openai.InternalServerError, openai.InternalServerError),
    "reset": (None, openai.APIError),
    "stall_head": (openai.InternalServerError, openai.InternalServerError),
    "stall_first": (openai.InternalServerError, openai.InternalServerError),
    "stall": (None, openai.APIError),
    "bad_head": (openai.InternalServerError, openai.InternalServerError),
    "chunk_cut": (openai.InternalServerError, None),
    "chunk_overrun": (openai.InternalServerError, None),
    "chunk_garbage": (openai.InternalServerError, openai.APIError),
    "length_long": (openai.InternalServerError, None),
    "length_short": (openai.InternalServerError, None),
}
# The content itself is what the fault changes; that it arrives unchanged is all that can be asked.
OTHER_TEXT = {"u2028", "duplicate", "reorder", "late_delta", "think", "after_done"}
PARAMS: dict[str, dict[str, object]] = {"late_end": {"seconds": 0.2}}
# A connection that is closed unanswered when it is used again is tried once more, on a fresh one.
TWICE = {"close_head", "reset_head"}


def made(name: str) -> object:
    known = {key: value for key, value in PARAMS.get(name, {}).items() if key in FAULTS[name].defaults}
    return fault(name, **known)


@pytest.fixture(scope="module")
def client(gate: Gateway) -> openai.OpenAI:
    return openai.OpenAI(base_url=gate.v1, api_key="x", max_retries=0, timeout=15)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", FAULTS)
def test_fault(client: openai.OpenAI, mock: EvilThread, name: str, stream: bool) -> None:
    mock.script(Script(content=TEXT, faults=(made(name),), times=2 if name in TWICE else 1))
    expected = FATAL.get(name, (None, None))[stream]
    if expected is not None:
        with pytest.raises(expected) as caught:
            consume(client, stream)
        assert str(caught.value)
        assert "upstream-secret-key" not in str(caught.value)
        if isinstance(caught.value, openai.APIStatusError):
            assert caught.value.code
        return
    text, finish = consume(client, stream)
    assert finish == ["stop"]
    if name not in OTHER_TEXT:
        assert text == TEXT


def consume(client: openai.OpenAI, stream: bool) -> tuple[str, list[str]]:
    answer = client.chat.completions.create(model="m", messages=HELLO, stream=stream)  # type: ignore[call-overload]
    if not stream:
        choice = answer.choices[0]
        return choice.message.content, [choice.finish_reason]
    chunks = list(answer)
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert len({chunk.id for chunk in chunks}) == 1
    assert len({chunk.created for chunk in chunks}) == 1
    assert {chunk.model for chunk in chunks} == {"m"}
    assert [bool(choice.delta.role) for choice in choices] == [True] + [False] * (len(choices) - 1)
    assert not any(chunk.usage for chunk in chunks)
    text = "".join(choice.delta.content or "" for choice in choices)
    return text, [choice.finish_reason for choice in choices if choice.finish_reason]


@pytest.mark.parametrize("transport", ["native", "aiohttp"])
@pytest.mark.parametrize("at", [600, 1000, 1400])
def test_cut_anywhere_never_looks_finished(mock: EvilThread, at: int, transport: str) -> None:
    """A stream that is cut in its body raises under both transports, wherever the cut falls."""
    with (
        gateway(upstream(mock.url, transport=transport)) as gate,
        openai.OpenAI(base_url=gate.v1, api_key="x", max_retries=0) as client,
    ):
        mock.script(Script(content=TEXT, faults=(fault("cut", at=at),)))
        with pytest.raises(openai.APIError):
            consume(client, stream=True)


def test_the_books_tell_the_same(gate: Gateway, client: openai.OpenAI, mock: EvilThread) -> None:
    """A stream that failed half-way is in the books as failed, one that finished as finished; once each."""
    before = dict(gate.app.stays.books.endings)
    mock.script(Script(content=TEXT, faults=(fault("stall"),)), Script(content=TEXT, faults=(fault("status"),)))
    for _ in range(2):
        with pytest.raises(openai.APIError):
            consume(client, stream=True)
    consume(client, stream=True)
    after = gate.app.stays.books.endings
    changed = {ending.value: after[ending] - before[ending] for ending in after}
    assert changed == {"finished": 1, "cancelled": 0, "failed": 2, "interrupted": 0}
    assert gate.app.stays.gate.running == 0


def test_the_metrics_tell_the_same(gate: Gateway, client: openai.OpenAI, mock: EvilThread) -> None:
    """Endings, attempts and tokens of what has just happened are in the exposition."""

    def read(name: str) -> float:
        value: float | None = gate.app.desk.metrics.registry.get_sample_value(*LABELS[name])
        return value or 0.0

    before = {name: read(name) for name in LABELS}
    consume(client, stream=False)
    mock.script(fault("status", status=500))
    with pytest.raises(openai.InternalServerError):
        consume(client, stream=False)
    deadline = time.monotonic() + 2
    while read("requests") == before["requests"] and time.monotonic() < deadline:
        time.sleep(0.002)  # the server counts a request once its answer has left, in a thread of its own
    changed = {name: read(name) - before[name] for name in LABELS}
    tokens = changed.pop("tokens")
    assert changed == {"finished": 1, "failed": 1, "answered": 1, "refused": 1, "requests": 1}
    assert tokens > 0


LABELS: dict[str, tuple[str, dict[str, str]]] = {
    "finished": ("traghetto_calls_total", {"upstream": "up", "ending": "finished"}),
    "failed": ("traghetto_calls_total", {"upstream": "up", "ending": "failed"}),
    "answered": ("traghetto_attempts_total", {"upstream": "up", "outcome": "answered"}),
    "refused": ("traghetto_attempts_total", {"upstream": "up", "outcome": "upstream_error"}),
    "tokens": ("traghetto_tokens_total", {"upstream": "up", "direction": "out"}),
    "requests": ("traghetto_requests_total", {"route": "/v1/chat/completions", "status": "502"}),
}

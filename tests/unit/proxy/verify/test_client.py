"""The checker's client against real sockets."""

import time

import msgspec
import pytest

from fakes.evil import evil
from proxy.mock import Script, fault
from proxy.verify.client import Ask, Client

MODELS = Ask("GET", "/models")
BODY = msgspec.json.encode({"model": "mock-chat", "messages": [{"role": "user", "content": "hi"}], "stream": True})
CHAT = Ask("POST", "/chat/completions", BODY)


@pytest.mark.asyncio
async def test_the_request_is_what_a_client_sends() -> None:
    async with evil(api_key="sk-1") as mock:
        answer = await Client(mock.url + "/", "sk-1").ask(CHAT)
        assert (answer.status, answer.whole) == (200, True)
        [exchange] = mock.exchanges
        assert exchange.header("authorization") == "Bearer sk-1"
        assert exchange.header("host") == mock.origin.removeprefix("http://")
        assert exchange.header("content-type") == "application/json"
        assert exchange.body == BODY
        other = await Client(mock.url, "sk-1").ask(Ask("GET", "/models", None, {"authorization": "Bearer sk-2"}))
        assert other.status == 401


@pytest.mark.asyncio
async def test_times_are_those_of_the_bytes() -> None:
    async with evil() as mock:
        mock.script(fault("stall", after=3, seconds=0.2))
        answer = await Client(mock.url, None).ask(CHAT)
        offsets = [length for _, length in answer.arrivals]
        gaps = [later - earlier for (earlier, _), (later, _) in zip(answer.arrivals, answer.arrivals[1:], strict=False)]
        assert max(gaps) >= 0.19
        assert offsets == sorted(offsets)
        assert answer.head_at < 0.19 < answer.ended_at


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "end"),
    [("reset", "reset"), ("close_head", "closed"), ("cut", "closed"), ("stall", "timeout"), ("stall_head", "timeout")],
)
async def test_whatever_happens_there_is_an_answer_in_time(name: str, end: str) -> None:
    async with evil() as mock:
        mock.script(fault(name))
        began = time.monotonic()
        answer = await Client(mock.url, None, patience=0.2).ask(CHAT)
        assert time.monotonic() - began < 2
        assert (answer.end, bool(answer.problems)) == (end, True)


@pytest.mark.asyncio
async def test_nobody_listens() -> None:
    async with evil() as mock:
        url = mock.url
    answer = await Client(url, None).ask(MODELS)
    assert (answer.end, answer.status) == ("unreachable", 0)
    assert "no connection to 127.0.0.1" in answer.problems[0]


@pytest.mark.asyncio
async def test_the_connection_is_dropped_when_the_answer_is_there() -> None:
    async with evil() as mock:
        mock.script(Script(body="x" * 1_000_000, path="/models"))
        assert len((await Client(mock.url, None).ask(MODELS)).body) == 1_000_000
        await mock.journal.wait_idle(1)


@pytest.mark.parametrize("url", ["127.0.0.1:8000/v1", "ftp://x/v1", "http:///v1", ""])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="http or https"):
        Client(url, None)

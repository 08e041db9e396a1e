"""One upstream over real sockets: what goes out, what comes back, and which failure is whose."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from adapters.openai_api.adapter import OpenAI, build
from adapters.options import OpenAIOptions
from fakes.chats import chat
from fakes.evil import evil
from proxy.call import Call, Ending, Target
from proxy.errors import Fault, UpstreamError
from proxy.features import NONE, Features
from proxy.mock import MockServer, fault
from proxy.stream import DONE, events

THERE = Target("up", "mock-chat")


@pytest_asyncio.fixture
async def mock() -> AsyncIterator[MockServer]:
    async with evil(api_key="the-key") as server:
        yield server


async def asked(mock: MockServer, call: Call, **options: Any) -> tuple[bytes, Any]:
    """The whole answer to a call, and its Reply."""
    adapter = build("up", OpenAIOptions(base_url=mock.url, api_key=options.pop("api_key", "the-key"), **options))
    try:
        reply = await adapter.open(call, THERE)
        out = b""
        while reply.ending is None:
            out += await reply.next()
        reply.close()
        return out, reply
    finally:
        await adapter.aclose()


async def sent(mock: MockServer, call: Call, **options: Any) -> dict[str, Any]:
    """The body that the upstream got."""
    await asked(mock, call, **options)
    return dict(mock.exchanges[-1].json())


@pytest.mark.asyncio
async def test_a_whole_answer(mock: MockServer) -> None:
    out, reply = await asked(mock, chat())
    answer = json.loads(out)
    assert (answer["model"], answer["object"]) == ("ours", "chat.completion")
    assert reply.usage.completion_tokens == answer["usage"]["completion_tokens"] > 0
    (exchange,) = mock.exchanges
    assert (exchange.path, exchange.header("x-request-id")) == ("/v1/chat/completions", "req_1")
    assert exchange.json()["model"] == "mock-chat"


@pytest.mark.asyncio
@pytest.mark.parametrize("wanted", [False, True], ids=["", "usage"])
async def test_a_stream(mock: MockServer, wanted: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if wanted else {}
    out, reply = await asked(mock, chat(stream=True, **options))
    assert out.endswith(DONE)
    chunks = [json.loads(event.data or b"") for event in events(out.removesuffix(DONE))]
    assert {c["model"] for c in chunks} == {"ours"}
    assert all(("usage" in c) is wanted for c in chunks)
    assert reply.ending is Ending.FINISHED
    assert reply.usage.completion_tokens > 0, "the upstream is asked for usage, whoever wants it"
    assert mock.exchanges[0].json()["stream_options"] == {"include_usage": True}


@pytest.mark.asyncio
async def test_the_switches(mock: MockServer) -> None:
    plain = await sent(mock, chat(max_tokens=5, vendor={"a": 1}))
    assert (plain["max_tokens"], plain["vendor"]) == (5, {"a": 1})
    renamed = await sent(mock, chat(max_tokens=5), max_tokens_field="max_completion_tokens")
    assert (renamed["max_completion_tokens"], "max_tokens" in renamed) == (5, False)
    assert "stream_options" not in await sent(mock, chat(stream=True), stream_usage=False)
    developer = chat(messages=[{"role": "developer", "content": "a"}, {"role": "user", "content": "b"}])
    roles = [m["role"] for m in (await sent(mock, developer, developer_role=False))["messages"]]
    assert roles == ["system", "user"]
    call = chat(seed=3)
    assert "seed" not in await sent(mock, call, drops=frozenset({"seed"}))
    assert call.dropped == ["seed"]


@pytest.mark.asyncio
async def test_features_and_venices_schema_shape(mock: MockServer) -> None:
    features = Features(NONE.venice, system="House.", disable_thinking=True)
    bare = {"type": "json_schema", "json_schema": {"type": "object"}}
    body = await sent(mock, chat("hi", features=features, response_format=bare))
    assert body["messages"][0] == {"role": "system", "content": "House."}
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["response_format"]["json_schema"] == {"name": "response", "schema": {"type": "object"}}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("wrong", "stream", "kind"),
    [
        (fault("status", status=503), False, Fault.OVERLOADED),
        (fault("rate_limit"), True, Fault.RATE_LIMITED),
        (fault("ok_error"), False, None),
        (fault("ok_error"), True, None),
        (fault("cut", at=100), False, Fault.CUT),
        (fault("cut", at=400), True, Fault.CUT),
        (fault("empty"), True, None),
    ],
    ids=str,
)
async def test_failures(mock: MockServer, wrong: Any, stream: bool, kind: Fault | None) -> None:
    mock.script(wrong)
    with pytest.raises(UpstreamError) as caught:
        await asked(mock, chat(stream=stream))
    if kind is not None:
        assert caught.value.fault is kind
    assert "the-key" not in caught.value.message


@pytest.mark.asyncio
async def test_our_key_is_bad(mock: MockServer) -> None:
    with pytest.raises(UpstreamError) as caught:
        await asked(mock, chat(), api_key="wrong-key")
    assert (caught.value.fault, caught.value.status) == (Fault.AUTH, 502)


@pytest.mark.asyncio
async def test_a_whole_answer_to_a_stream_is_streamed(mock: MockServer) -> None:
    mock.script(fault("ok_json"))
    out, reply = await asked(mock, chat(stream=True))
    assert reply.content_type.startswith("text/event-stream")
    assert out.endswith(DONE)


@pytest.mark.asyncio
async def test_leaving_closes_the_connection(mock: MockServer) -> None:
    mock.script(fault("stall", after=2))
    adapter: OpenAI = build("up", OpenAIOptions(base_url=mock.url, api_key="the-key"))
    reply = await adapter.open(chat(stream=True), THERE)
    exchange = await mock.journal.wait_for(1, 5)
    await exchange.wait("held")
    reply.close()
    await exchange.wait("ended")
    assert exchange.end in ("client_closed", "reset")
    await adapter.aclose()


@pytest.mark.asyncio
async def test_probe_and_models(mock: MockServer) -> None:
    adapter: OpenAI = build("up", OpenAIOptions(base_url=mock.url, api_key="the-key"))
    assert (await adapter.probe(THERE)).startswith("reachable, ")
    assert "does not list 'other'" in await adapter.probe(Target("up", "other"))
    assert [row["id"] for row in await adapter.models("LARGE")] == ["mock-org/mock-large"]
    await adapter.aclose()

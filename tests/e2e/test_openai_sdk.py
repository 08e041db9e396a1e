"""The official Python SDK, loose and strict, through the gateway to a strict upstream."""

from collections.abc import Iterator

import openai
import pytest

from fakes.evil import EvilThread
from fakes.gateway import Gateway, gateway, upstream
from proxy.mock import Script, fault

HELLO = [{"role": "user", "content": "hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(params=[False, True], ids=["loose", "strict"])
def client(gate: Gateway, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    options = {"_strict_response_validation": request.param, "max_retries": 0, "timeout": 10}
    with openai.OpenAI(base_url=gate.v1, api_key="caller-key", **options) as made:
        yield made


def ask(client: openai.OpenAI, **more: object) -> object:
    return client.chat.completions.create(model="m", messages=HELLO, **more)  # type: ignore[call-overload]


def test_chat(client: openai.OpenAI, mock: EvilThread) -> None:
    """One answer: our model's name in it, the upstream's own in the request, no key of the caller's upstream."""
    mock.script(Script(content="good day"))
    answer = ask(client)
    assert answer.choices[0].message.content == "good day"
    assert (answer.model, answer.choices[0].finish_reason) == ("m", "stop")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert answer._request_id.startswith("req_")
    seen = mock.exchanges[-1]
    assert seen.json()["model"] == "upstream-model"
    assert seen.header("authorization") == "Bearer upstream-secret-key"
    assert b"caller-key" not in str(seen.headers).encode()


def test_stream(client: openai.OpenAI, mock: EvilThread) -> None:
    """Role first and once, deltas that join to the text, one finish reason, one id, and no usage that was not asked for."""
    mock.script(Script(content="già pagato, one small coin 🛶 aboard"))
    chunks = list(ask(client, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:])
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "già pagato, one small coin 🛶 aboard"
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["stop"]
    assert {(c.id, c.created, c.model) for c in chunks} == {(chunks[0].id, chunks[0].created, "m")}
    assert all(chunk.usage is None for chunk in chunks)
    assert mock.exchanges[-1].json()["stream_options"] == {"include_usage": True}


def test_usage_when_asked(client: openai.OpenAI, mock: EvilThread) -> None:
    """Usage comes on exactly one last chunk, whose choices are empty."""
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens > 0


def test_stream_helper(client: openai.OpenAI, mock: EvilThread) -> None:
    """The SDK's accumulating helper sees one whole message."""
    mock.script(Script(content="a whole message"))
    with client.chat.completions.stream(model="m", messages=HELLO) as stream:
        stream.until_done()
        assert stream.get_final_completion().choices[0].message.content == "a whole message"


def test_tools(client: openai.OpenAI) -> None:
    """Tool calls pass through, whole and streamed, with the same name and arguments."""
    whole = ask(client, tools=[WEATHER], tool_choice="required").choices[0]
    assert whole.finish_reason == "tool_calls"
    assert whole.message.tool_calls[0].function.name == "get_weather"
    with client.chat.completions.stream(model="m", messages=HELLO, tools=[WEATHER], tool_choice="required") as stream:
        stream.until_done()
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert call.function.arguments == whole.message.tool_calls[0].function.arguments


@pytest.mark.parametrize("name", ["tool_index_gap", "tool_index_missing", "tool_index_from_one", "tool_repeated",
                                  "tool_no_type", "tool_object", "tool_cumulative", "tool_finish_stop"])  # fmt: skip
def test_tools_with_an_accent(client: openai.OpenAI, mock: EvilThread, name: str) -> None:
    """Whatever the upstream does to its tool deltas, the helper sees one call with sound arguments."""
    with client.chat.completions.stream(model="m", messages=HELLO, tools=[WEATHER], tool_choice="required") as stream:
        stream.until_done()
        right = stream.get_final_completion().choices[0].message.tool_calls
    mock.script(fault(name))
    with client.chat.completions.stream(model="m", messages=HELLO, tools=[WEATHER], tool_choice="required") as stream:
        stream.until_done()
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls
    assert [c.function.name for c in calls] == [c.function.name for c in right]
    assert [c.function.arguments for c in calls] == [c.function.arguments for c in right]


def test_two_choices_and_logprobs(client: openai.OpenAI) -> None:
    """n=2 gives two finished choices in both forms; logprobs reach the caller."""
    whole = ask(client, n=2, logprobs=True, top_logprobs=2)
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert whole.choices[1].logprobs.content
    chunks = list(ask(client, n=2, logprobs=True, stream=True))
    ends = [(c.index, c.finish_reason) for chunk in chunks for c in chunk.choices if c.finish_reason]
    assert sorted(ends) == [(0, "stop"), (1, "stop")]
    assert any(choice.logprobs for chunk in chunks for choice in chunk.choices)


STATUSES = {
    400: openai.BadRequestError,
    401: openai.InternalServerError,
    402: openai.InternalServerError,
    403: openai.InternalServerError,
    404: openai.InternalServerError,
    405: openai.InternalServerError,
    408: openai.InternalServerError,
    409: openai.BadRequestError,
    413: openai.APIStatusError,
    422: openai.BadRequestError,
    425: openai.BadRequestError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    502: openai.InternalServerError,
    503: openai.InternalServerError,
    504: openai.InternalServerError,
}


@pytest.mark.parametrize("shape", ["openai", "string", "venice", "detail", "flat", "html"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("status", STATUSES)
def test_statuses(gate: Gateway, mock: EvilThread, status: int, stream: bool, shape: str) -> None:
    """Each of 16 statuses in each of six shapes of body is the right class, with a code, and a type that fits.

    The upstream's own 401, 402, 403 and 404 are about our key, our balance and our configuration: never the caller's.
    """
    client = openai.OpenAI(base_url=gate.v1, api_key="x", max_retries=0)
    mock.script(fault("status", status=status, shape=shape))
    with client, pytest.raises(STATUSES[status]) as caught:
        list(ask(client, stream=stream))
    error = caught.value
    assert error.code
    assert error.request_id.startswith("req_")
    assert error.type == ("server_error" if error.status_code >= 500 else error.type) is not None
    assert (error.type == "invalid_request_error") <= (error.status_code < 500)


def test_retries_are_counted(mock: EvilThread) -> None:
    """The gateway tries three times and says so; it then tells the SDK not to multiply that."""
    with gateway(upstream(mock.url)) as gate, openai.OpenAI(base_url=gate.v1, api_key="x", max_retries=2) as client:
        for _ in range(3):
            mock.script(fault("status", status=500))
        with pytest.raises(openai.InternalServerError) as caught:
            ask(client)
        assert len(mock.exchanges) == 3
        assert caught.value.response.headers["x-should-retry"] == "false"
        assert "attempt=3" in caught.value.response.headers["x-traghetto-route"]
        mock.clear()
        mock.script(fault("status", status=503))
        assert ask(client).choices[0].finish_reason == "stop"
        assert len(mock.exchanges) == 2


def test_fallback_to_the_next_target(mock: EvilThread) -> None:
    """A target that cannot be reached is left for the next, and the route header tells."""
    toml = f"""
[upstreams.dead]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
api_key = "k-nothing"
{upstream(mock.url)}
[models.two]
targets = [{{upstream = "dead", model = "a"}}, {{upstream = "up", model = "b", priority = 1}}]
"""
    with gateway(toml) as gate, openai.OpenAI(base_url=gate.v1, api_key="x", max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(model="two", messages=HELLO)
        assert raw.headers["x-traghetto-route"] == "up/b; attempt=2; reason=fallback:connect"


def test_retry_after_is_honoured_by_the_sdk(gate: Gateway, mock: EvilThread) -> None:
    """A 429 of the upstream reaches the SDK with its Retry-After, and the SDK's retry then succeeds."""
    mock.script(fault("rate_limit", retry_after="1"))
    with openai.OpenAI(base_url=gate.v1, api_key="x", max_retries=1) as client:
        assert ask(client).choices[0].finish_reason == "stop"
    times = [exchange.arrived for exchange in mock.exchanges]
    assert len(times) == 2
    assert times[1] - times[0] >= 1.0


def test_a_client_timeout_closes_the_upstream(gate: Gateway, mock: EvilThread) -> None:
    """The SDK gives up; the upstream sees its connection closed."""
    mock.script(fault("stall_head"))
    with openai.OpenAI(base_url=gate.v1, api_key="x", max_retries=0, timeout=0.3) as client:
        with pytest.raises(openai.APITimeoutError):
            ask(client)
        mock.wait(mock.wait_for(1), "ended")
    assert mock.exchanges[0].end in ("client_closed", "reset")


def test_models(client: openai.OpenAI) -> None:
    """List and retrieve; a slash in the id may be encoded; an unknown id is a 404 that says what is near."""
    assert [model.id for model in client.models.list()] == ["m"]
    assert client.models.retrieve("m").object == "model"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("org/name:tag")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_venice_prefix_keeps_the_class(gate: Gateway) -> None:
    """Under /api/v1 an error is Venice's string; the SDK still raises the right class with the text."""
    with (
        openai.OpenAI(base_url=gate.venice, api_key="x", max_retries=0) as client,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        ask(client, extra_body={"function_call": "auto"})
    assert "Unrecognized key(s) in object: 'function_call'" in caught.value.response.json()["error"]


async def _async_stream(gate: Gateway) -> str:
    async with openai.AsyncOpenAI(base_url=gate.v1, api_key="x") as client:
        stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)  # type: ignore[arg-type]
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


def test_async_client(gate: Gateway, mock: EvilThread) -> None:
    import asyncio

    mock.script(Script(content="from afar"))
    assert asyncio.run(_async_stream(gate)) == "from afar"

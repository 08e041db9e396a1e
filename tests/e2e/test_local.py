"""The embedded default: no configuration, no key, no network; the demo model on llama.cpp in a child process."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import openai
import pytest

from adapters.options import KINDS, USUAL_KEYS
from fakes.gateway import Gateway
from proxy import config as configuration
from proxy import defaults
from proxy.call import Ending

HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def gate() -> Iterator[Gateway]:
    running = Gateway("")
    running.config = configuration.decode(defaults.tree(USUAL_KEYS, {}), KINDS, {}, file="the embedded default")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def client(gate: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gate.v1, api_key="none", max_retries=0, timeout=60) as made:
        yield made


def workers(gate: Gateway) -> list[int]:
    fleet = gate.house().adapters["local"].fleet
    residents = fleet.life._residents.values()
    return [resident.engine.pid for resident in residents if resident.engine and resident.engine.pid]


def test_the_readme_s_first_answer(client: openai.OpenAI) -> None:
    """The snippet of the README: a streamed answer with one finish, and usage when asked."""
    stream = client.chat.completions.create(
        model="default", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert len(text) > 5
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert {c.model for c in chunks} == {"demo"}
    assert chunks[-1].usage.completion_tokens > 0
    whole = client.chat.completions.create(model="demo", messages=HELLO)
    assert whole.choices[0].message.content == text


def test_habits_lead_to_the_demo_model(client: openai.OpenAI) -> None:
    """A name that clients ask for out of habit is served, and the answer says by whom."""
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=HELLO)
    assert raw.headers["x-traghetto-route"].startswith("local/demo")
    assert raw.parse().model == "demo"


def test_stop_and_length(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="demo", messages=HELLO).choices[0].message.content
    word = whole.split()[1]
    stopped = client.chat.completions.create(model="demo", messages=HELLO, stop=[word]).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == (whole.partition(word)[0], "stop")
    short = client.chat.completions.create(model="demo", messages=HELLO, max_tokens=2)
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 2)


def test_sampling_parameters_reach_the_engine(client: openai.OpenAI) -> None:
    """A seed repeats itself; logprobs are there; a bias bans and forces."""
    asked: Any = {"model": "demo", "messages": HELLO, "temperature": 1.5, "max_tokens": 12}
    first = client.chat.completions.create(**asked, seed=7).choices[0].message.content
    assert client.chat.completions.create(**asked, seed=7).choices[0].message.content == first
    told = client.chat.completions.create(model="demo", messages=HELLO, logprobs=True, top_logprobs=3).choices[0]
    entry = told.logprobs.content[0]
    assert entry.logprob <= 0
    assert len(entry.top_logprobs) == 3
    assert entry.top_logprobs[0].logprob >= entry.top_logprobs[-1].logprob


def test_context_overflow_is_a_400_with_counts(client: openai.OpenAI) -> None:
    long: Any = [{"role": "user", "content": "gondola " * 60_000}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="demo", messages=long)
    assert caught.value.code == "context_length_exceeded"
    assert sum(word.isdigit() for word in caught.value.message.replace(",", " ").replace(".", " ").split()) >= 2


def test_structured_output(client: openai.OpenAI) -> None:
    """A schema binds the answer, whatever the model would have said."""
    schema = {
        "type": "object",
        "properties": {
            "city": {"enum": ["Venice", "Oslo"]},
            "canals": {"type": "integer", "minimum": 1, "maximum": 500},
        },
        "required": ["city", "canals"],
        "additionalProperties": False,
    }
    format_: Any = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    answer = client.chat.completions.create(model="demo", messages=HELLO, response_format=format_, max_tokens=60)
    said = msgspec.json.decode(answer.choices[0].message.content)
    assert said["city"] in ("Venice", "Oslo")
    assert 1 <= said["canals"] <= 500


def test_a_forced_tool_call(client: openai.OpenAI) -> None:
    parameters = {"type": "object", "properties": {"city": {"enum": ["Venice", "Oslo"]}}, "required": ["city"]}
    tool: Any = {"type": "function", "function": {"name": "get_weather", "parameters": parameters}}
    named: Any = {"type": "function", "function": {"name": "get_weather"}}
    with client.chat.completions.stream(
        model="demo", messages=HELLO, tools=[tool], tool_choice=named, max_tokens=80
    ) as stream:
        stream.until_done()
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    assert msgspec.json.decode(choice.message.tool_calls[0].function.arguments)["city"] in ("Venice", "Oslo")


def test_leaving_frees_the_engine(gate: Gateway, client: openai.OpenAI) -> None:
    """The client leaves in the middle: the sequence ends, the books say cancelled."""
    before = gate.app.stays.books.endings[Ending.CANCELLED]
    asked: Any = {"messages": HELLO, "extra_body": {"ignore_eos": True}, "max_tokens": 1500, "temperature": 1.0}
    stream = client.chat.completions.create(model="demo", stream=True, **asked)
    next(iter(stream))
    stream.close()
    settled = threading.Event()
    for _ in range(400):
        if gate.app.stays.books.endings[Ending.CANCELLED] == before + 1:
            settled.set()
            break
        threading.Event().wait(0.01)
    assert settled.is_set()
    assert client.chat.completions.create(model="demo", messages=HELLO).choices[0].finish_reason == "stop"


def test_a_killed_engine_is_an_error_event_and_comes_back(gate: Gateway, client: openai.OpenAI) -> None:
    """kill -9 in the middle of a stream: the SDK raises; the next call is served by a new process."""
    client.chat.completions.create(model="demo", messages=HELLO)
    (pid,) = workers(gate)
    asked: Any = {"messages": HELLO, "extra_body": {"ignore_eos": True}, "max_tokens": 1500, "temperature": 1.0}
    stream = client.chat.completions.create(model="demo", stream=True, **asked)
    events = iter(stream)
    for _ in range(5):
        next(events)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(openai.APIError):
        for _ in events:
            pass
    assert client.chat.completions.create(model="demo", messages=HELLO).choices[0].finish_reason == "stop"
    assert workers(gate) != [pid]


def test_models_say_what_is_loaded(client: openai.OpenAI) -> None:
    card = client.models.retrieve("demo").model_extra["model_spec"]
    assert card["engine"]["state"] == "ready"
    assert card["availableContextTokens"] > 0
    assert card["offline"] is False

"""A second machine: `traghetto engine` serves models, and a gateway has it as a row of configuration of kind openai."""

import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from fakes.engines import until
from fakes.gateway import Gateway, gateway
from fakes.gguf_model import Shape, build
from fakes.serving import Served

KEY = "node-key-0123456789"
HELLO: Any = [{"role": "user", "content": "What is a traghetto?"}]


@contextlib.contextmanager
def node(folder: Path, *arguments: str) -> Iterator[Served]:
    running = Served(*arguments, cwd=folder, command=("engine", "--listen", "127.0.0.1:0", "--parallel", "4"))
    try:
        yield running
    finally:
        assert running.stop() in (0, -15)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("node")
    path = build(folder / "endless.gguf", Shape())
    with node(folder, "--key", KEY, "--model", "demo", "--model", f"wild={path}") as running:
        yield running
    assert [entry.name for entry in folder.iterdir()] == ["endless.gguf"], "a node keeps nothing on disk"


@pytest.fixture(scope="module")
def gate(box: Served) -> Iterator[Gateway]:
    toml = f"""
[upstreams.box]
kind = "openai"
base_url = "http://127.0.0.1:{box.port}/v1"
api_key = "{KEY}"
[models.far]
targets = [{{upstream = "box", model = "demo"}}]
[models.wild]
targets = [{{upstream = "box", model = "wild"}}]
[routing]
retries = 0
"""
    with gateway(toml) as running:
        yield running


@pytest.fixture
def client(gate: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gate.v1, api_key="none", max_retries=0, timeout=30) as made:
        yield made


def card(box: Served, model: str) -> Any:
    asked = httpx.post(
        f"http://127.0.0.1:{box.port}/admin/models/status",
        json={"model": model},
        headers={"authorization": f"Bearer {KEY}"},
    )
    assert asked.status_code == 200, asked.text
    return asked.json()


def test_its_models_are_there_when_it_listens(box: Served) -> None:
    for model in ("demo", "wild"):
        found = card(box, model)
        assert (found["status"], found["concurrency"], found["expiresAt"]) == ("RUNNING", 4, None)
    assert any("wild: loaded in" in line for line in box.log)


def test_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="far", messages=HELLO, temperature=0)
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    chunks = list(
        client.chat.completions.create(
            model="far", messages=HELLO, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert len(text) > 10
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_a_forced_tool_call_crosses_both(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Venice"]}}, "required": ["city"]}
    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": schema}}]
    answer = client.chat.completions.create(model="far", messages=HELLO, tools=tools, tool_choice="required")
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_weather"


def test_leaving_the_gateway_frees_the_node(box: Served, client: openai.OpenAI) -> None:
    asked: Any = {"messages": HELLO, "max_tokens": 4000, "extra_body": {"ignore_eos": True}}
    stream = client.chat.completions.create(model="wild", stream=True, **asked)
    next(iter(stream))
    assert card(box, "wild")["running"] == 1
    stream.close()
    until(lambda: card(box, "wild")["running"] == 0, 5)
    assert client.chat.completions.create(model="wild", messages=HELLO, max_tokens=3).choices


def test_the_node_s_refusals_are_the_gateway_s(client: openai.OpenAI) -> None:
    long: Any = [{"role": "user", "content": "gondola " * 20_000}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="far", messages=long)
    assert caught.value.code == "context_length_exceeded"


def test_its_door(box: Served) -> None:
    url = f"http://127.0.0.1:{box.port}/v1/chat/completions"
    body = {"model": "demo", "messages": HELLO}
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {KEY}x"}):
        assert httpx.post(url, json=body, headers=headers).status_code == 401
    assert httpx.post(url, json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=30).status_code == 200


def test_a_unix_socket_is_its_owner_s(tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "engine", "--listen", f"unix:{path}"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert any("ready on" in line for line in iter(process.stderr.readline, ""))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://engine") as by:
            assert by.get("/livez").status_code == 200
        rows = f'[upstreams.box]\nkind = "openai"\nbase_url = "http://engine/v1"\nuds = "{path}"\nneeds_key = false\n'
        rows += '[models.far]\ntargets = [{upstream = "box", model = "demo"}]\n'
        with gateway(rows) as gate, openai.OpenAI(base_url=gate.v1, api_key="none", max_retries=0) as client:
            assert client.chat.completions.create(model="far", messages=HELLO).choices[0].finish_reason == "stop"
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert not path.exists()

"""Vendors that are rows of a configuration: each row of deploy/upstreams.toml loads, is built and carries a chat."""

import json
import tomllib
from pathlib import Path
from typing import Any

import openai
import pytest

import adapters
from adapters.openai_api.adapter import OpenAI
from adapters.options import KINDS, OpenAIOptions
from adapters.vaikerai.adapter import VaikerAI
from fakes.evil import evil_thread
from fakes.gateway import gateway
from proxy import config as configuration

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "deploy" / "upstreams.toml"
NAMES = ["openai", "together", "groq", "openrouter", "ollama", "vllm", "lmstudio", "replicate"]
LOCAL = {"ollama", "vllm", "lmstudio"}
KEY = "canary-preset-key-4be1"


def loaded(**env: str) -> dict[str, Any]:
    return configuration.load(FILE, KINDS, env).upstreams


def test_rows_are_of_kinds_that_there_are_and_the_documentation_names_them() -> None:
    rows = loaded()
    assert list(rows) == NAMES
    text = (ROOT / "docs" / "configuration.md").read_text()
    for name in ("OpenAI", "Together", "Groq", "OpenRouter", "Ollama", "vLLM", "LM Studio", "Replicate"):
        assert name in text
    for name, options in rows.items():
        made = adapters.build(name, options)
        assert type(made) is (VaikerAI if name == "replicate" else OpenAI)


def test_a_row_without_its_key_says_so_and_a_local_one_needs_none() -> None:
    for name, options in loaded().items():
        assert (options.missing() is None) is (name in LOCAL), name
    keys = dict.fromkeys(("OPENAI_API_KEY", "TOGETHER_API_KEY", "GROQ_API_KEY", "OPENROUTER_API_KEY"), KEY)
    assert all(options.missing() is None for options in loaded(**keys, REPLICATE_API_TOKEN=KEY).values())


def row_of(name: str, base_url: str) -> str:
    """The row as it stands in the file, but for its address and its key."""
    table = tomllib.loads(FILE.read_text())["upstreams"][name]
    table |= {"base_url": base_url, "api_key": KEY}
    return f"[upstreams.{name}]\n" + "\n".join(f"{key} = {_toml(value)}" for key, value in table.items())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "replicate"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_through_each_row(name: str, stream: bool) -> None:
    options = loaded()[name]
    assert isinstance(options, OpenAIOptions)
    with evil_thread(models=("theirs",), prefix="") as mock:
        toml = (
            row_of(name, mock.url)
            + f"""
[models.m]
targets = [{{upstream = "{name}", model = "theirs"}}]
"""
        )
        with gateway(toml) as gate, openai.OpenAI(base_url=gate.v1, api_key="x", max_retries=0) as client:
            raw = client.chat.completions.with_raw_response.create(
                model="m",
                messages=[{"role": "developer", "content": "be brief"}, {"role": "user", "content": "hello"}],
                max_completion_tokens=20,
                logit_bias={"50256": -100},
                stream=stream,
            )
            answer = raw.parse()
            text = (
                "".join(c.choices[0].delta.content or "" for c in answer)
                if stream
                else answer.choices[0].message.content
            )
    assert text
    (seen,) = mock.exchanges
    sent = json.loads(seen.body)
    assert sent["model"] == "theirs"
    assert sent["messages"][0]["role"] == ("developer" if options.developer_role else "system")
    assert sent.get("max_tokens" if options.max_tokens_field == "max_tokens" else "max_completion_tokens") == 20
    assert ("logit_bias" in sent) is ("logit_bias" not in options.drops)
    assert ("logit_bias" in raw.headers.get("x-traghetto-dropped", "")) is ("logit_bias" in options.drops)
    assert seen.header("authorization") == f"Bearer {KEY}"
    for header, value in options.headers.items():
        assert seen.header(header) == value

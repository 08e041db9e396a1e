"""The gateway with local models, as end-to-end tests of the engine's life want it: its TOML, its processes, its streams."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import openai

from adapters.llama.resident import Resident
from adapters.llama.supervisor import Policy
from fakes.gateway import Gateway

QUICK = Policy(heartbeat_s=0.1, heartbeat_timeout_s=3.0, backoff_s=0.02)


def local(models: Mapping[str, Path | str], **options: object) -> str:
    """An upstream of kind llama, small contexts, one thread; and a model for each file."""
    lines = {"threads": 1, "context_tokens": 1024, "parallel": 16, **options}
    rows = [f'[models.{name}]\ntargets = [{{upstream = "local", model = "{path}"}}]' for name, path in models.items()]
    keys = [f"{key} = {_toml(value)}" for key, value in lines.items()]
    return "\n".join(["[upstreams.local]", 'kind = "llama"', *keys, *rows, "[routing]", "retries = 0",
                      "breaker = {failures = 1000000}", ""])  # fmt: skip


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


def residents(gate: Gateway) -> list[Resident]:
    return list(gate.house().adapters["local"].fleet.life._residents.values())  # type: ignore[attr-defined]


def hurry(gate: Gateway) -> None:
    """Stuck processes are found out in three seconds instead of eight. Before anything is loaded."""
    gate.house().adapters["local"].fleet.life._policy = QUICK  # type: ignore[attr-defined]


def processes() -> dict[int, int]:
    """Engine processes of this one: pid → resident bytes."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            stat = (entry / "stat").read_text()
            parent, state = int(stat.rpartition(")")[2].split()[1]), stat.rpartition(")")[2].split()[0]
            if parent == os.getpid() and state != "Z" and "adapters.llama.worker" in (entry / "cmdline").read_text():
                pages = int((entry / "statm").read_text().split()[1])
                found[int(entry.name)] = pages * os.sysconf("SC_PAGE_SIZE")
    return found


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What the condition gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (given := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)
    return given


@contextlib.asynccontextmanager
async def client(gate: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=gate.v1, api_key="none", max_retries=0, timeout=60) as made:
        yield made


class Streamed:
    """One streamed chat, and how far it came. `ended`: whole, cut (an error after its first chunk), refused."""

    def __init__(self) -> None:
        self.text = ""
        self.flows = asyncio.Event()  # its first content has come
        self.began = 0.0
        self.first = 0.0
        self.chunks = 0
        self.ended = ""
        self.error: openai.APIError | None = None

    async def run(self, by: openai.AsyncOpenAI, model: str, tokens: int = 60, **more: Any) -> "Streamed":
        self.began = time.monotonic()
        finish = None
        asked: Any = {"max_tokens": tokens, "temperature": 0.5, "extra_body": {"ignore_eos": True}, **more}
        messages: Any = [{"role": "user", "content": "What is a traghetto?"}]
        try:
            stream = await by.chat.completions.create(model=model, messages=messages, stream=True, **asked)
            async for chunk in stream:
                self.chunks += 1
                for choice in chunk.choices:
                    if choice.delta.content:
                        self.first = self.first or time.monotonic()
                        self.flows.set()
                        self.text += choice.delta.content
                    finish = choice.finish_reason or finish
        except openai.APIError as error:
            self.error, self.ended = error, "cut" if self.chunks else "refused"
        else:
            self.ended = "whole" if finish == "length" else f"finished with {finish}"
        return self

"""The local engine as an upstream, with a real process behind it."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from adapters.llama.adapter import Llama, _Progress, build
from adapters.options import LlamaOptions
from fakes.chats import chat
from proxy.call import Ending, Target, UsageSource
from proxy.errors import Fault, ModelUnknown, UpstreamError
from proxy.stream import DONE, events

BODY: dict[str, Any] = {"max_tokens": 5, "temperature": 0, "ignore_eos": True, "vendor": 1}


@pytest_asyncio.fixture
async def llama() -> AsyncIterator[Llama]:
    made = build("local", LlamaOptions(context_tokens=512, parallel=2, threads=1))
    yield made
    await made.aclose()


@pytest.mark.asyncio
async def test_whole_stream_and_leaving(llama: Llama, tiny_path: Path) -> None:
    here = Target("local", str(tiny_path))
    call = chat("x", **BODY)
    reply = await llama.open(call, here)
    answer = json.loads(await reply.next())
    assert (answer["model"], answer["usage"]["completion_tokens"]) == ("ours", 5)
    assert call.dropped == ["vendor"]
    assert reply.usage is not None
    assert reply.usage.source is UsageSource.TOKENIZER

    streamed = await llama.open(chat("x", stream=True, stream_options={"include_usage": True}, **BODY), here)
    out = b""
    while streamed.ending is None:
        out += await streamed.next()
    assert out.endswith(DONE)
    chunks = [json.loads(event.data or b"") for event in events(out.removesuffix(DONE))]
    said = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    assert said == answer["choices"][0]["message"]["content"]
    assert chunks[-1]["usage"]["completion_tokens"] == 5
    assert streamed.ending is Ending.FINISHED
    streamed.close()

    left = await llama.open(chat("x", stream=True, **{**BODY, "max_tokens": 400}), here)
    await left.next()
    left.close()
    assert [status.users for status in llama.fleet.statuses()] == [0], "who leaves holds nothing"
    assert "tokens of context" in await llama.probe(here)
    assert tiny_path.name in await llama.probe()
    assert llama.facts(here)["state"] == "ready"


@pytest.mark.asyncio
@pytest.mark.parametrize("takes", [1000, 3, 1])
async def test_what_flows_is_what_is_read(llama: Llama, tiny_path: Path, takes: int) -> None:
    """Frames in the moment they come, to a client that takes so many in a row: the same text, usage and end."""
    here = Target("local", str(tiny_path))
    body = {**BODY, "max_tokens": 12, "stream": True, "stream_options": {"include_usage": True}}
    read = await llama.open(chat("flow", **body), here)
    expected = b""
    while read.ending is None:
        expected += await read.next()
    read.close()

    flowed = await llama.open(chat("flow", **body), here)
    given: list[bytes] = []

    def write(frames: bytes) -> bool:
        if len(given) % (takes + 1) == takes:
            return False
        given.append(frames)
        return True

    while flowed.ending is None:
        given.append(await flowed.flow(write))  # type: ignore[attr-defined]
    flowed.close()
    out = b"".join(given)
    assert out.endswith(DONE)
    assert _said(out) == _said(expected)
    assert flowed.usage is not None
    assert (flowed.usage.prompt_tokens, flowed.usage.completion_tokens) == (21, 12)
    assert flowed.ending is Ending.FINISHED


def _said(out: bytes) -> tuple[str, list[str | None], int]:
    """All text, how it ended, and the tokens that the last chunk counts."""
    chunks = [json.loads(event.data or b"") for event in events(out.removesuffix(DONE))]
    choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return text, [c["finish_reason"] for c in choices if c["finish_reason"]], chunks[-1]["usage"]["completion_tokens"]


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_is_not_here(llama: Llama, stream: bool) -> None:
    with pytest.raises(UpstreamError) as caught:
        await llama.open(chat(stream=stream), Target("local", "nowhere.gguf"))
    assert (caught.value.fault, caught.value.accepted) == (Fault.MISSING, False)
    assert "nothing" in await llama.probe()


def test_progress_is_told() -> None:
    progress = _Progress()
    assert "free place" in progress.said()
    progress(0.4)
    assert progress.said() == "loading the model: 40%"
    progress(1.0)
    assert "free place" in progress.said()


@pytest.mark.asyncio
async def test_files_that_nobody_configured_are_nobody_s_business(tmp_path: Path, tiny_path: Path) -> None:
    """`local//some/path` must tell neither whether a file is there nor how it begins."""
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(tiny_path, folder / "mine.gguf")
    llama = build("local", LlamaOptions(models_dir=str(folder), context_tokens=512, parallel=1, threads=1))
    for name in (str(tiny_path), "/etc/passwd", "nowhere.gguf", "../tiny.gguf"):
        call = chat("x", **BODY)
        assert call.plan is not None
        call.plan.model = msgspec.structs.replace(call.plan.model, listed=False)
        with pytest.raises(ModelUnknown):
            await llama.open(call, Target("local", name))
        assert not llama.owns(Target("local", name))
    call = chat("x", **BODY)
    assert call.plan is not None
    call.plan.model = msgspec.structs.replace(call.plan.model, listed=False)
    assert json.loads(await (await llama.open(call, Target("local", "mine.gguf"))).next())["choices"]
    rows = await llama.models("mine")
    assert [(row["id"], row["state"]) for row in rows] == [("mine.gguf", "ready")]
    assert [instance.model for instance in llama.instances(["mine.gguf"])] == ["mine.gguf"]
    await llama.aclose()

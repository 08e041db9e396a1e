"""A dry run tells what a real one does: for each kind and route, what a preview says is dropped is what is dropped."""

from collections.abc import Callable
from typing import Any

import pytest

import adapters
from adapters.options import KINDS
from fakes.calls import chat_call, draw_call, edit_call, embed_call, generate_call, speech_call, upscale_call
from fakes.doubles.clockwork import Pace
from fakes.hostile_images import picture
from fakes.kinds_media import ROWS, Row
from proxy.call import Call, Target
from proxy.ports import Previews

ROWS_HERE = [row for row in ROWS if row.kind != "vaikerai"]
PICTURE = picture("png", 320, 256)
CHATS = {
    "venice": "llama-3.3-70b",
    "novita": "deepseek/deepseek-r1",
    "bytez": "Qwen/Qwen3-4B",
    "bytez-v1": "openai-community/gpt2",
    "aime": "lab_chat",
}
WISHES: dict[str, Any] = {
    "chat": lambda t: chat_call(t, temperature=0.5, max_tokens=9, seed=4, logit_bias={"1": 1}, verbosity="low"),
    "image": lambda t: draw_call(t, size="512x512", n=1, output_format="webp", moderation="low", user="me", magic=1),
    "generate": lambda t: generate_call(
        t, width=512, height=512, steps=9, seed=4, cfg_scale=3, negative_prompt="rain", hide_watermark=True, inpaint=1
    ),
    "tts": lambda t: speech_call(t, voice="af_sky", response_format="wav", user="me"),
    "embedding": lambda t: embed_call(t, ["one", "two"], encoding_format="float", user="me"),
    "inpaint": lambda t: edit_call(t, PICTURE, n=1, output_format="png", quality="hd"),
    "upscale": lambda t: upscale_call(t, PICTURE, scale=2, replication=0.5, enhancePrompt="x"),
}
CASES = [
    (row, wish)
    for row in ROWS_HERE
    for wish in WISHES
    if wish in ("chat", "generate") or wish in row.models(None)  # type: ignore[arg-type]
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("row", "wish"), CASES, ids=[f"{row.id}-{wish}" for row, wish in CASES])
async def test_what_is_dropped_is_what_was_said(row: Row, wish: str) -> None:
    make: Callable[[Target], Call] = WISHES[wish]
    type_ = "image" if wish == "generate" else wish
    async with row.double(pace=Pace.quick()) as double:
        options: dict[str, Any] = {"base_url": double.base_url, "api_key": double.key}
        if "files" in double.ports:
            options["file_hosts"] = (double.origin("files"),)
        if row.id == "bytez-v1":
            options["api"] = "v1"
        there = Target("up", CHATS[row.id] if wish == "chat" else row.models(double)[type_])
        adapter = adapters.build("up", KINDS[row.kind](**options))
        assert isinstance(adapter, Previews)
        try:
            said = adapter.preview(make(there), there)
            assert double.requests == [], "it asks nobody"
            call = make(there)
            (await adapter.open(call, there)).close()
            assert sorted(said.dropped) == sorted(call.dropped)
            assert not set(said.kept) & set(said.dropped)
        finally:
            await adapter.aclose()

"""Schemas and decoders agree: what a schema takes is decoded, what it refuses is refused, both prefixes."""

import json
from typing import Any

import jsonschema
import pytest

from fakes.asked import desk, inbound
from proxy.call import Dialect
from proxy.errors import BadRequest
from routes import chat, embeddings, images, speech
from routes._openapi.document import document
from routes._openapi.operations import WHITE_PNG

HI = {"role": "user", "content": "hi"}
PART = {"role": "user", "content": [{"type": "text", "text": ""}]}
CASES: list[tuple[Any, str, dict[str, Any], bool, bool]] = [
    # handler, schema, body, taken under /v1, taken under /api/v1
    (chat.create, "ChatRequest", {"model": "m", "messages": [HI]}, True, True),
    (chat.create, "ChatRequest", {"model": "m", "messages": []}, False, False),
    (chat.create, "ChatRequest", {"model": "m", "messages": [{"role": "user"}]}, False, False),
    (chat.create, "ChatRequest", {"model": "m", "messages": [{"role": "assistant"}]}, True, True),
    (chat.create, "ChatRequest", {"model": "m", "messages": [{"role": "tool", "content": "x"}]}, False, False),
    (chat.create, "ChatRequest", {"model": "m", "messages": [PART]}, True, False),
    (chat.create, "ChatRequest", {"model": "m", "messages": [HI], "seed": 0}, True, False),
    (chat.create, "ChatRequest", {"model": "m", "messages": [HI], "top_k": -1}, True, False),
    (chat.create, "ChatRequest", {"model": "m", "messages": [HI], "stop": list("abcde")}, True, False),
    (chat.create, "ChatRequest", {"model": "m", "messages": [HI], "temperature": 2.1}, False, False),
    (chat.create, "ChatRequest", {"model": "m", "messages": [HI], "temperature": None}, True, True),
    (chat.create, "ChatRequest", {"model": "m", "messages": [HI], "vendor": 1}, True, False),
    (chat.create, "ChatRequest", {"model": "m", "messages": [HI], "functions": []}, True, False),
    (chat.create, "ChatRequest", {"model": "m", "messages": [HI], "tools": [{}]}, False, False),
    (chat.create, "ChatRequest", {"model": "m", "messages": [HI], "tools": [{"type": "web_search"}]}, True, True),
    (chat.create, "ChatRequest", {"model": "m", "messages": [HI], "response_format": {"type": "x"}}, True, False),
    (chat.create, "ChatRequest", {"model": "m", "messages": [HI], "tool_choice": {"type": "function"}}, True, False),
    (embeddings.create, "EmbeddingsRequest", {"model": "m", "input": ""}, False, False),
    (embeddings.create, "EmbeddingsRequest", {"model": "m", "input": ["a", 1]}, False, False),
    (embeddings.create, "EmbeddingsRequest", {"model": "m", "input": [0]}, True, False),
    (embeddings.create, "EmbeddingsRequest", {"model": "m", "input": [1] * 2049}, True, False),
    (embeddings.create, "EmbeddingsRequest", {"model": "m", "input": [[1, 2], [3]]}, True, True),
    (embeddings.create, "EmbeddingsRequest", {"model": "m", "input": [[]]}, False, False),
    (speech.create, "SpeechRequest", {"model": "m", "input": "x", "voice": {"id": "v"}}, True, True),
    (speech.create, "SpeechRequest", {"model": "m", "input": "x", "voice": {"name": "v"}}, False, False),
    (speech.create, "SpeechRequest", {"model": "m", "input": "x", "instructions": "softly"}, True, False),
    (images.generate, "GenerateRequest", {"model": "m", "prompt": "x", "cfg_scale": 0}, False, False),
    (images.generate, "GenerateRequest", {"model": "m", "prompt": "x", "vendor": 1}, False, False),
    (images.generations, "GenerationsRequest", {"prompt": "x", "size": "640x480"}, True, False),
    (images.generations, "GenerationsRequest", {"prompt": "x", "n": 2}, True, False),
    (images.generations, "GenerationsRequest", {"prompt": "x", "size": "640*480"}, False, False),
    (images.edit, "EditRequest", {"prompt": "x"}, False, False),
    (images.upscale, "UpscaleRequest", {"image": WHITE_PNG, "enhance": "true"}, True, True),
    (images.upscale, "UpscaleRequest", {"image": WHITE_PNG, "enhance": "maybe"}, False, False),
    (images.openai_edits, "EditsRequest", {"prompt": "x"}, False, False),
]


def schema_of(handler: Any, name: str, *, venice: bool) -> dict[str, Any]:
    """The body's schema, as the document has it for the route."""
    del handler
    parts = document()["components"]["schemas"]
    closed = f"Venice{name}"
    return {
        "$ref": f"#/components/schemas/{closed if venice and closed in parts else name}",
        "components": {"schemas": parts},
    }


@pytest.mark.asyncio
@pytest.mark.parametrize("venice", [False, True], ids=["v1", "venice"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: json.dumps(case[2])[:60])
async def test_schema_and_decoder_agree(case: tuple[Any, str, dict[str, Any], bool, bool], venice: bool) -> None:
    handler, name, body, *taken = case
    valid = jsonschema.Draft202012Validator(schema_of(handler, name, venice=venice)).is_valid(body)
    asked = inbound(body, venice=venice)
    assert (asked.dialect is Dialect.VENICE) == venice
    try:
        await handler(asked, desk())
        decoded = True
    except BadRequest:
        decoded = False
    assert (valid, decoded) == (taken[venice], taken[venice])


def test_forms_have_their_files() -> None:
    parts = document()["components"]["schemas"]
    assert "file" in parts["TranscriptionRequestForm"]["required"]
    assert "image" in parts["UpscaleRequestForm"]["required"]
    edits = jsonschema.Draft202012Validator(parts["EditsRequestForm"])
    assert [edits.is_valid({"prompt": "x", name: "…"}) for name in ("image", "image[]", "mask")] == [True, True, False]
    assert "images" not in parts["EditsRequestForm"]["properties"]

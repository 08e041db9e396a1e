"""What the engine said, as chunks and as one answer (the engine itself: test_engine and the e2e suite)."""

import json

import pytest

from adapters.llama.answer import ChunkWriter, logprobs_object, usage_object
from adapters.llama.spec import Usage
from proxy.stream import events


@pytest.mark.parametrize("model", ["m", "100%d", 'a"b'])
@pytest.mark.parametrize("wants", [False, True])
def test_role_first_for_every_choice_and_usage_only_if_asked(model: str, wants: bool) -> None:
    writer = ChunkWriter(id="c", model=model, choices=3, wants_usage=wants, strip_thinking=False)
    usage = Usage(prompt_tokens=1, completion_tokens=2)
    parts = events(writer.begin() + writer.end(usage))
    assert parts.pop().data == b"[DONE]"
    chunks = [json.loads(part.data or b"") for part in parts]
    assert {chunk["model"] for chunk in chunks} == {model}
    if wants:
        last = chunks.pop()
        assert (last["choices"], last["usage"]) == ([], usage_object(usage))
    assert [chunk["choices"][0]["index"] for chunk in chunks] == [0, 1, 2]
    assert all(chunk["choices"][0]["delta"]["role"] == "assistant" for chunk in chunks)
    assert all(("usage" in chunk) is wants for chunk in chunks)


def test_no_logprobs() -> None:
    assert logprobs_object(None) is None

"""Files, templates and prompts that are wrong, over HTTP: a 4xx or a load error that says why, and the next call is served."""

import json
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from fakes.engines import hurry, local, processes
from fakes.gateway import Gateway, gateway
from fakes.gguf_model import Shape, build

CONTEXT = 1024
HELLO: Any = [{"role": "user", "content": "Hello"}]
LOOPS = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"
TEMPLATES = {
    "loops": LOOPS,
    "attributes": "{{ messages.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "flood": "{% for a in range(100) %}{{ 'x' * 104858 }}{% endfor %}",  # 10 MB
    "unclosed": "{% if %}",
    "nothing": "{{ '' }}",
    "bare": "{% for m in messages %}{{ m.content }}{% endfor %}",
}


def _truncated(good: bytes) -> bytes:
    return good[: len(good) // 2]


def _no_weights(good: bytes) -> bytes:
    return good.replace(b"blk.1.attn_q.weight", b"blk.1.attn_x.weight")


def _keys_without_end(good: bytes) -> bytes:
    return good[:16] + struct.pack("<Q", 2**63) + good[24:]


FILES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (_truncated, "truncated"),
    "cut-in-the-header": (lambda good: good[:300], "truncated"),
    "empty": (lambda good: b"", "truncated"),
    "magic": (lambda good: b"HELO" + good[4:], "not a GGUF file"),
    "future": (lambda good: good[:4] + struct.pack("<I", 99) + good[8:], "version 99"),
    "endless": (_keys_without_end, "unreasonable"),
    "no-weights": (_no_weights, "attn_q"),
}


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("models")
    good = build(folder / "good.gguf", Shape()).read_bytes()
    files: dict[str, Path | str] = {"good": folder / "good.gguf", "demo": "demo", "none": folder / "none.gguf"}
    for name, (spoil, _) in FILES.items():
        files[name] = folder / f"{name}.gguf"
        (folder / f"{name}.gguf").write_bytes(spoil(good))
    for name, template in TEMPLATES.items():
        files[name] = build(folder / f"{name}.gguf", Shape(template=template))
    with gateway(local(files, context_tokens=CONTEXT, parallel=8, max_loaded=3)) as running:
        hurry(running)
        yield running
    assert processes() == {}


@pytest.fixture
def client(gate: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gate.v1, api_key="none", max_retries=0, timeout=60) as made:
        yield made


@pytest.fixture(autouse=True)
def serves_on(client: openai.OpenAI) -> Iterator[None]:
    """Whatever a test did, a good model answers afterwards."""
    yield
    assert client.chat.completions.create(model="demo", messages=HELLO, max_tokens=4).choices


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_files(gate: Gateway, name: str, stream: bool) -> None:
    body = {"model": name, "messages": HELLO, "stream": stream}
    answer = httpx.post(f"{gate.v1}/chat/completions", json=body, timeout=60)
    assert answer.status_code == 502
    error = answer.json()["error"]
    assert "cannot be loaded" in error["message"]
    assert FILES[name][1] in error["message"]
    assert str(Path("/")) + "tmp" not in error["message"], "a path of this machine is nobody's business"


def test_no_file(gate: Gateway) -> None:
    answer = httpx.post(f"{gate.v1}/chat/completions", json={"model": "none", "messages": HELLO}, timeout=60)
    assert answer.status_code == 502
    assert "traghetto pull" in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", ["loops", "attributes", "globals", "flood", "unclosed", "nothing"])
def test_templates(client: openai.OpenAI, name: str) -> None:
    """The model loads; a chat is refused with the reason; the process lives on."""
    for _ in range(2):
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model=name, messages=HELLO, timeout=60)
        assert caught.value.status_code in (400, 501)
        assert caught.value.param == "messages"
    pids = set(processes())
    with pytest.raises(openai.APIStatusError):
        client.chat.completions.create(model=name, messages=HELLO, timeout=60)
    assert set(processes()) == pids, "no process died of it"


def test_a_prompt_of_no_tokens(client: openai.OpenAI) -> None:
    nothing: Any = [{"role": "user", "content": ""}]
    bare = client.chat.completions.create(model="bare", messages=nothing, max_tokens=2)
    assert bare.usage is not None
    assert bare.usage.prompt_tokens == 1, "it begins where every text begins"
    answer = client.chat.completions.create(model="good", messages=nothing, max_tokens=2)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0


def test_the_edge_of_the_context(client: openai.OpenAI) -> None:
    def ask(letters: int, **more: Any) -> Any:
        messages: Any = [{"role": "user", "content": "z" * letters}]
        return client.chat.completions.create(model="good", messages=messages, extra_body={"ignore_eos": True}, **more)

    frame = ask(1, max_tokens=1).usage.prompt_tokens - 1
    fits = ask(CONTEXT - 1 - frame, max_tokens=50)
    assert (fits.usage.prompt_tokens, fits.usage.completion_tokens) == (CONTEXT - 1, 1)
    assert fits.choices[0].finish_reason == "length"
    for over in (CONTEXT, CONTEXT + 1):
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError) as caught:
                ask(over - frame, stream=stream)
            assert caught.value.code == "context_length_exceeded"
            assert str(over) in caught.value.message
            assert str(CONTEXT) in caught.value.message


def test_pieces_that_are_no_characters(client: openai.OpenAI) -> None:
    """Random weights say random bytes. Streamed or whole the text is the same, and is text; logprobs tell the bytes."""
    asked: Any = {
        "model": "good",
        "messages": HELLO,
        "max_tokens": 200,
        "temperature": 1.5,
        "seed": 11,
        "logprobs": True,
    }
    whole = client.chat.completions.create(**asked, top_logprobs=1).choices[0]
    assert whole.message.content is not None
    assert "\ufffd" in whole.message.content
    assert whole.logprobs is not None
    raw = b"".join(bytes(entry.bytes or []) for entry in whole.logprobs.content or [])
    with pytest.raises(UnicodeDecodeError):
        raw.decode()
    assert all(math.isfinite(entry.logprob) for entry in whole.logprobs.content or [])
    chunks = list(client.chat.completions.create(**asked, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.message.content


@pytest.mark.parametrize("content", ["\x00", "\x00" * 50, "\ud83d\ude00", "\u202e<|im_end|>", "<|im_start|>system\n"])
def test_strange_characters(gate: Gateway, content: str) -> None:
    body = json.dumps({"model": "good", "messages": [{"role": "user", "content": content}], "max_tokens": 2})
    answer = httpx.post(f"{gate.v1}/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text


def test_half_a_surrogate_is_a_400(gate: Gateway) -> None:
    body = b'{"model": "good", "messages": [{"role": "user", "content": "\\ud83d"}], "max_tokens": 2}'
    answer = httpx.post(f"{gate.v1}/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400

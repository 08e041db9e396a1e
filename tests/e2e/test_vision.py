"""Chats with pictures over HTTP, with OpenAI's SDK: a real model with a real projector, both of random weights."""

import base64
import http.server
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import httpx
import openai
import pytest

from fakes.engines import local, processes, residents, until
from fakes.gateway import Gateway, gateway
from fakes.gguf_model import Shape, build
from fakes.gguf_projector import Tower, build_projector, png


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def look(*urls: str, text: str = "What is it?") -> Any:
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    parts += [{"type": "image_url", "image_url": {"url": url, "detail": "auto"}} for url in urls]
    return [{"role": "user", "content": parts}]


class Files(http.server.BaseHTTPRequestHandler):
    """One picture, one page, and a way inside."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/away":
            self.send_response(302)
            self.send_header("location", "http://127.0.0.1:1/secret.png")
            self.end_headers()
            return
        body = png(1) if self.path == "/one.png" else b"<html>no picture</html>"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, host: str) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("models")
    build(folder / "eyes.gguf", Shape(endless=True))
    build(folder / "words.gguf", Shape(endless=True, seed=2))
    build_projector(folder / "mmproj.gguf")
    build_projector(folder / "broken.gguf", leave_out="mm.2.weight")
    (folder / "cut.gguf").write_bytes((folder / "mmproj.gguf").read_bytes()[:-4000])
    toml = local({"eyes": "eyes.gguf"}, projector="mmproj.gguf", models_dir=str(folder)).replace(
        "parallel = 16", f'parallel = 4\nimage_hosts = ["{host}"]'
    )
    for name in ("broken", "cut"):
        toml += (
            f'[upstreams.{name}]\nkind = "llama"\nthreads = 1\nprojector = "{name}.gguf"\nmodels_dir = "{folder}"\n'
            f'[models.{name}]\ntargets = [{{upstream = "{name}", model = "eyes.gguf"}}]\n'
        )
    toml += (
        f'[upstreams.blind]\nkind = "llama"\nthreads = 1\nmodels_dir = "{folder}"\n'
        '[models.words]\ntargets = [{upstream = "blind", model = "words.gguf"}]\n'
    )
    with gateway(toml) as running:
        yield running
    assert processes() == {}


@pytest.fixture
def client(gate: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gate.v1, api_key="none", max_retries=0, timeout=60) as made:
        yield made


ASKED: dict[str, Any] = {"model": "eyes", "max_tokens": 8, "temperature": 0, "logprobs": True, "top_logprobs": 3}


def likelihoods(answer: Any) -> list[float]:
    return [entry.logprob for entry in answer.choices[0].logprobs.content]


def test_pictures_are_seen_and_counted(client: openai.OpenAI) -> None:
    one = client.chat.completions.create(messages=look(data_url(png(1))), **ASKED)
    again = client.chat.completions.create(messages=look(data_url(png(1))), **ASKED)
    other = client.chat.completions.create(messages=look(data_url(png(2))), **ASKED)
    words = client.chat.completions.create(messages=look(), **ASKED)
    assert again.choices[0].message.content == one.choices[0].message.content
    assert likelihoods(again) == pytest.approx(likelihoods(one), abs=0.02)
    assert max(abs(a - b) for a, b in zip(likelihoods(one), likelihoods(other), strict=True)) > 0.02
    assert one.usage.prompt_tokens == other.usage.prompt_tokens
    # the line break before the picture is a token, too
    assert one.usage.prompt_tokens == words.usage.prompt_tokens + Tower().tokens + 1
    assert again.usage.prompt_tokens_details.cached_tokens == one.usage.prompt_tokens - 1
    two = client.chat.completions.create(messages=look(data_url(png(1)), data_url(png(2))), **ASKED)
    assert two.usage.prompt_tokens == one.usage.prompt_tokens + Tower().tokens + 1


def test_a_stream_and_a_conversation_that_goes_on(client: openai.OpenAI) -> None:
    messages = look(data_url(png(3)))
    whole = client.chat.completions.create(messages=messages, **ASKED).choices[0].message.content
    stream = client.chat.completions.create(messages=messages, stream=True, **ASKED)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == whole
    messages += [{"role": "assistant", "content": whole}, {"role": "user", "content": "And now?"}]
    later = client.chat.completions.create(messages=messages, **ASKED)
    assert later.usage.prompt_tokens_details.cached_tokens > Tower().tokens, "the picture was not read again"


def test_behind_a_url(client: openai.OpenAI, host: str) -> None:
    fetched = client.chat.completions.create(messages=look(f"{host}/one.png"), **ASKED)
    inside = client.chat.completions.create(messages=look(data_url(png(1))), **ASKED)
    assert fetched.choices[0].message.content == inside.choices[0].message.content
    assert "/one.png" in Files.asked


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("{host}/page.html", "not of a kind of image"),
        ("{host}/away", "not on the list"),
        ("http://127.0.0.1:1/a.png", "not on the list"),
        ("https://169.254.169.254/latest/meta-data/", "not on the list"),
        ("https://metadata.google.internal/", "not allowed"),
        ("file:///etc/passwd", "expected an https URL"),
        ("data:image/png;base64,aGVsbG8=", "got something else"),
        (data_url(png(1, 8, 2000)), "1:200"),
        (data_url(png(1)[:-20]), "whole PNG"),
    ],
)
def test_what_cannot_be_looked_at(client: openai.OpenAI, host: str, url: str, said: str, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError, match=said) as caught:
        client.chat.completions.create(messages=look(url.format(host=host)), stream=stream, **ASKED)
    assert caught.value.param == "messages[0].content[1].image_url.url"


def test_too_large_and_too_many(client: openai.OpenAI) -> None:
    huge = png(1, 5000, 4000)
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(messages=look(data_url(huge)), **ASKED)
    assert (caught.value.status_code, caught.value.code) == (413, "image_too_large")
    with pytest.raises(openai.BadRequestError, match="at most 16 images"):
        client.chat.completions.create(messages=look(*[data_url(png(1))] * 17), **ASKED)
    many = [data_url(png(seed)) for seed in range(16)]
    over: Any = look(*many, text="z" * 4000)
    with pytest.raises(openai.BadRequestError) as full:
        client.chat.completions.create(messages=over, **ASKED)
    assert full.value.code == "context_length_exceeded"


def test_damaged_inside_its_process_lives_on(client: openai.OpenAI, gate: Gateway) -> None:
    """Its header is whole and its pixels are not: only decoding can tell."""
    good = png(1)
    at = good.index(b"IDAT") + 20
    pids = set(processes())
    with pytest.raises(openai.BadRequestError, match="cannot be decoded") as caught:
        client.chat.completions.create(messages=look(data_url(good[:at] + bytes(40) + good[at + 40 :])), **ASKED)
    assert caught.value.param == "messages"
    assert set(processes()) == pids
    assert client.chat.completions.create(messages=look(data_url(good)), **ASKED).choices


def test_who_leaves_holds_nothing(client: openai.OpenAI, gate: Gateway) -> None:
    asked: Any = {**ASKED, "max_tokens": 700}
    stream = client.chat.completions.create(messages=look(data_url(png(5))), stream=True, **asked)
    next(iter(stream))
    stream.response.close()
    resident = next(r for r in residents(gate) if r.path.endswith("eyes.gguf"))
    until(lambda: resident.users == 0)
    stats = until(lambda: _idle(gate, resident))
    assert (stats.busy_slots, stats.running, stats.waiting) == (0, 0, 0)


def _idle(gate: Gateway, resident: Any) -> Any:
    stats = gate.call(resident.engine.stats())
    return stats if stats.busy_slots == 0 else None


def test_what_models_say(gate: Gateway) -> None:
    cards = {card["id"]: card for card in httpx.get(f"{gate.v1}/models").json()["data"]}
    assert cards["eyes"]["model_spec"]["capabilities"]["supportsVision"] is True
    assert cards["words"]["model_spec"]["capabilities"]["supportsVision"] is False


def test_without_eyes_a_picture_is_refused(client: openai.OpenAI, host: str) -> None:
    before = list(Files.asked)
    for url in (data_url(png(1)), f"{host}/one.png"):
        with pytest.raises(openai.BadRequestError, match="no projector") as caught:
            client.chat.completions.create(**{**ASKED, "model": "words"}, messages=look(url))
        assert caught.value.param == "messages[0].content[1]"
    assert Files.asked == before, "nothing was fetched for a model that cannot look"
    assert client.chat.completions.create(**{**ASKED, "model": "words"}, messages=look()).choices


@pytest.mark.parametrize(("name", "said"), [("broken", "over the projector"), ("cut", "truncated")])
def test_a_broken_projector_is_a_load_error(gate: Gateway, name: str, said: str) -> None:
    body = {"model": name, "messages": look(), "max_tokens": 2}
    answer = httpx.post(f"{gate.v1}/chat/completions", json=body, timeout=60)
    assert answer.status_code == 502
    message = answer.json()["error"]["message"]
    assert "cannot be loaded" in message
    assert said in message
    assert "/tmp" not in message

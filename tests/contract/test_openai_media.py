"""An OpenAI-like upstream's pictures, ears and voice when it fails: the suite of kinds for what is no chat and no job.

openai-python is the caller, the gateway runs over sockets, and the double counts what came, how each exchange ended, and
whether the key went anywhere that it should not.
"""

import base64
import json
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

from fakes import staging
from fakes.doubles import faults, media
from fakes.doubles.clockwork import Pace
from fakes.doubles.openai_media import OpenAIMedia
from fakes.hostile_images import picture

GONE_S = 0.1
SLOW = Pace(queue=0.02, first=0.02, token=0.3, image=5.0, cold=0.02)
SOUND = media.wav(1.0)


class Stage(staging.Stage):
    def draw(self) -> Any:
        return self.client.images.generate(model="brush", prompt="a boat")

    def edit(self) -> Any:
        return self.client.images.edit(model="edits", prompt="red", image=("a.png", picture("PNG")))

    def hear(self) -> Any:
        return self.client.audio.transcriptions.create(model="ears", file=("a.wav", SOUND))

    def speak(self) -> Any:
        return self.client.audio.speech.create(model="voice", voice="nova", input="Ciao.")


WAYS: dict[str, Callable[[Stage], Any]] = {
    "images/generations": Stage.draw,
    "images/edits": Stage.edit,
    "audio/transcriptions": Stage.hear,
    "audio/speech": Stage.speak,
}


def staged(pace: Pace, **more: Any) -> Iterator[Stage]:
    models = (
        ("brush", "image", "brush-new"),
        ("old", "image", "brush-old"),
        ("edits", "inpaint", "brush-new"),
        ("ears", "asr", "ears-new"),
        ("voice", "tts", "voice"),
    )
    rows = "".join(staging.model(name, there, type_) for name, type_, there in models)
    options, hosts = {"image_response_format": "false"}, {"file_hosts": "files"}
    with OpenAIMedia(pace=pace) as double:
        toml = staging.toml_of("openai", double, rows, options=options, hosts=hosts, **more)
        with staging.staged(Stage, None, double, toml) as stage:
            yield stage


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    yield from staged(Pace.quick())


@pytest.fixture
def slow() -> Iterator[Stage]:
    yield from staged(SLOW)


def said(status: int, text: str, code: str | None = None) -> faults.Fault:
    return faults.answer(status, {"error": {"message": text, "type": "x", "param": None, "code": code}})


REFUSALS = {
    "401": (said(401, "Incorrect API key"), 502, "upstream_auth_failed"),
    "402": (said(429, "You exceeded your current quota", "insufficient_quota"), 503, "upstream_unavailable"),
    "404": (said(404, "The model does not exist", "model_not_found"), 502, "upstream_error"),
    "400": (said(400, "Invalid value", "invalid_value"), 400, "invalid_request"),
    "413": (said(413, "Maximum content size limit exceeded"), 413, "request_too_large"),
    "429": (faults.throttled(2.0), 429, "upstream_rate_limited"),
    "500": (said(500, "The server had an error"), 502, "upstream_error"),
    "503": (said(503, "overloaded"), 503, "upstream_unavailable"),
    "html": (faults.html_502(), 502, "upstream_error"),
    "reset": (faults.reset(), 502, "upstream_error"),
    "hung up": (faults.hang_up(), 502, "upstream_error"),
}
BROKEN = {
    "garbage": faults.garbage_json(),
    "empty": faults.empty_200(),
    "a list": faults.answer(200, []),
    "an error in a 200": faults.answer(200, {"error": {"message": "no", "type": "server_error"}}, accepted=True),
    "cut": faults.cut(20),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_are_told_as_ours(stage: Stage, way: str, name: str) -> None:
    fault, status, code = REFUSALS[name]
    stage.double.script(fault, method="POST", path=way)
    with pytest.raises(openai.APIStatusError) as caught:
        WAYS[way](stage)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert stage.double.unused_faults == 0


@pytest.mark.parametrize("way", [way for way in WAYS if way != "audio/speech"])
@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_answer_is_told_and_not_tried_again(stage: Stage, way: str, name: str) -> None:
    """It has been paid for: neither we nor the SDK may ask for it a second time."""
    stage.double.script(BROKEN[name], method="POST", path=way)
    with pytest.raises(openai.InternalServerError) as caught:
        WAYS[way](stage)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_error")
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_what_is_refused_before_it_was_begun_is_tried_again_elsewhere_or_later() -> None:
    """A 503 is; an outcome that nobody knows is not."""
    for stage in staged(Pace.quick(), routing="retries = 2"):
        for way, ask in WAYS.items():
            stage.double.script(said(503, "busy"), method="POST", path=way)
            ask(stage)
            assert len(stage.double.seen("POST", way)) == 2
        for way, ask in WAYS.items():
            stage.double.script(faults.reset(accepted=True), method="POST", path=way)
            with pytest.raises(openai.InternalServerError) as caught:
                ask(stage)
            assert caught.value.response.headers["x-should-retry"] == "false"
            assert len(stage.double.seen("POST", way)) == 3


FILES = {
    "a redirect to loopback": (faults.redirect("http://127.0.0.1:1/"), 1),
    "a redirect to metadata": (faults.redirect("http://169.254.169.254/latest/meta-data/"), 1),
    "a page": (faults.answer(200, b"<html>sorry</html>", {"content-type": "image/png"}), 1),
    "too large": (faults.oversized(40 << 20), 1),
    "gone": (faults.answer(404, b"expired"), 1),
    "cut": (faults.cut(100), 3),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_what_it_should_be(stage: Stage, name: str) -> None:
    """Fetched for Venice's base64; never for an OpenAI client, who gets the URL."""
    fault, tries = FILES[name]
    before = len(stage.double.seen(port="files"))
    stage.double.script(*[fault] * tries, port="files")
    body = {"model": "old", "prompt": "a boat", "width": 1024, "height": 1024}
    sent = httpx.post(stage.gate.venice + "/image/generate", json=body, timeout=20)
    assert sent.status_code == 502, sent.text
    assert sent.json()["code"] == "INFERENCE_FAILED"
    assert "127.0.0.1" not in sent.text
    assert "sig=" not in sent.text
    assert sent.headers["x-should-retry"] == "false"
    assert len(stage.double.seen(port="files")) - before == tries
    (item,) = stage.client.images.generate(model="old", prompt="a boat").data or []
    assert (item.url or "").startswith(stage.double.origin("files"))
    assert len(stage.double.seen(port="files")) - before == tries


def until(true: Callable[[], object], seconds: float) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds
        time.sleep(0.002)


def asked(slow: Stage, path: str, body: bytes, type_: str = "application/json") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", slow.gate.port))
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {type_}\r\ncontent-length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body)
    return client


def leaves(slow: Stage, client: socket.socket, way: str) -> None:
    """The client goes away, and the upstream sees its connection closed at once."""
    until(lambda: slow.double.seen("POST", way), 5)
    (exchange,) = slow.double.seen("POST", way)
    assert exchange.ended == ""
    began = time.monotonic()
    client.close()
    until(lambda: exchange.ended, 5)
    assert exchange.ended == "client_closed"
    assert exchange.ended_at - began < GONE_S


def test_who_leaves_while_a_picture_is_drawn(slow: Stage) -> None:
    body = json.dumps({"model": "brush", "prompt": "a boat"}).encode()
    leaves(slow, asked(slow, "/v1/images/generations", body), "generations")


def test_who_leaves_in_the_middle_of_a_streamed_transcript(slow: Stage) -> None:
    form = httpx.Request(
        "POST", "http://x/", data={"model": "ears", "stream": "true"}, files={"file": ("a.wav", SOUND)}
    )
    slow.double.say = ["one two three four five six"]
    client = asked(slow, "/v1/audio/transcriptions", form.read(), form.headers["content-type"])
    client.settimeout(5)
    heard = b""
    while b"transcript.text.delta" not in heard:
        heard += client.recv(4096)
    leaves(slow, client, "transcriptions")


def test_a_streamed_transcript_comes_as_it_is_heard(slow: Stage) -> None:
    """The first words are there before the upstream has sent the last."""
    slow.double.say = ["one two three"]
    stream = slow.client.audio.transcriptions.create(model="ears", file=("a.wav", SOUND), stream=True)
    first = next(iter(stream))
    assert first.type == "transcript.text.delta"
    (exchange,) = slow.double.seen("POST", "transcriptions")
    assert exchange.ended == ""
    assert [event.type for event in stream][-1] == "transcript.text.done"


def test_a_deadline_is_kept() -> None:
    for stage in staged(SLOW, clocks=staging.ROOMY | {"total_s": 0.6}):
        began = time.monotonic()
        with pytest.raises(openai.InternalServerError) as caught:
            stage.draw()
        assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
        assert caught.value.response.headers["x-should-retry"] == "false"
        assert time.monotonic() - began < 3


def test_no_secret_is_told_to_anybody(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    told = [stage.draw().to_json(), stage.hear().to_json()]
    for status in (400, 401, 429, 500):
        for way, ask in WAYS.items():
            stage.double.script(said(status, f"the key {stage.double.key} is wrong"), method="POST", path=way)
            with pytest.raises(openai.APIStatusError) as caught:
                ask(stage)
            told += [caught.value.response.text, str(caught.value.response.headers)]
    with urllib.request.urlopen(f"{stage.gate.origin}/metrics") as metrics:
        told.append(metrics.read().decode())
    out, err = capfd.readouterr()
    assert not [text for text in (*told, out, err) if stage.double.key in text]
    assert base64.b64decode(json.loads(told[0])["data"][0]["b64_json"])[:4] == b"\x89PNG"

"""The suite of kinds, for what is no chat: pictures, speech and vectors, at once or as jobs.

A row names what a kind has of each; openai-python is the caller, the gateway runs over sockets, and the double counts what was
created, who was cancelled, and whether the key went anywhere that it should not.
"""

import base64
import http.client
import io
import json
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import openai
import pytest
from PIL import Image

from fakes import staging
from fakes.doubles import faults, media
from fakes.doubles.clockwork import Pace
from fakes.hostile_images import picture
from fakes.kinds_media import ROWS, Row

GONE_S = 0.1
QUICK = Pace.quick()
SLOW = Pace(queue=0.02, first=0.02, token=0.25, image=5.0, cold=0.02)


class Stage(staging.Stage):
    def draw(self, **more: Any) -> Any:
        return self.client.images.generate(**{"model": "image", "prompt": "a boat", "size": "512x256"} | more)


def toml_of(row: Row, double: Any, **more: Any) -> str:
    models = "".join(staging.model(type_, name, type_) for type_, name in row.models(double).items())
    hosts = {"file_hosts": "files"} if "files" in double.ports else {}
    return staging.toml_of(row.kind, double, models, options=row.options, hosts=hosts, **more)


def staged(row: Row, pace: Pace, **more: Any) -> Iterator[Stage]:
    with row.double(pace=pace) as double, staging.staged(Stage, row, double, toml_of(row, double, **more)) as stage:
        yield stage


rows = pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])


def able(row: Row) -> set[str]:
    """Our types of model that a kind has."""
    return set(row.models(row.double()))


def having(type_: str) -> pytest.MarkDecorator:
    """Rows of the kinds that have this type of model."""
    return pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in ROWS if type_ in able(row)])


@pytest.fixture
def stage(row: Row) -> Iterator[Stage]:
    yield from staged(row, QUICK)


@pytest.fixture
def slow(row: Row) -> Iterator[Stage]:
    yield from staged(row, SLOW)


@pytest.fixture
def short(row: Row) -> Iterator[Stage]:
    """With a deadline that a slow job does not keep."""
    yield from staged(row, SLOW, clocks=staging.ROOMY | {"total_s": 0.6})


@pytest.fixture
def eager(row: Row) -> Iterator[Stage]:
    yield from staged(row, QUICK, routing="retries = 2")


def shape(data: bytes) -> tuple[str, int, int]:
    return media.size_of(data)


@rows
@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_a_picture_by_openai_python(stage: Stage, format: str) -> None:
    got = stage.draw(output_format=format)
    (one,) = got.data
    assert shape(base64.b64decode(one.b64_json)) == (format, 512, 256)
    assert one.url is None
    assert len(stage.creates()) == 1


@rows
def test_several_pictures_and_data_urls(stage: Stage) -> None:
    got = stage.draw(n=3, response_format="url")
    assert len(got.data) == 3
    for one in got.data:
        head, _, data = one.url.partition(",")
        assert head == "data:image/png;base64"
        assert shape(base64.b64decode(data)) == ("png", 512, 256)


@rows
def test_a_picture_in_venices_dialect(stage: Stage) -> None:
    body = {"model": "image", "prompt": "a boat", "width": 256, "height": 512, "seed": 3, "return_binary": True}
    request = urllib.request.Request(
        f"{stage.gate.venice}/image/generate", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.headers["content-type"] == "image/webp"
        assert answer.headers["x-venice-is-content-violation"] == "false"
        assert shape(answer.read()) == ("webp", 256, 512)


@pytest.mark.parametrize("row", [row for row in ROWS if row.kind == "novita"], ids=["novita"])
@pytest.mark.parametrize(("confidence", "safe"), [(97.0, True), (97.0, False), (12.0, True)])
def test_safe_mode_blurs_what_is_called_adult(stage: Stage, confidence: float, safe: bool) -> None:
    """What is drawn is one white square on black: a blurred one has no edge left."""
    drawn = Image.new("L", (256, 256))
    drawn.paste(255, (96, 96, 160, 160))
    held = io.BytesIO()
    drawn.convert("RGB").save(held, "webp", lossless=True)
    stage.double.will(nsfw=confidence, images=[held.getvalue()])
    body = {"model": "image", "prompt": "x", "width": 256, "height": 256, "return_binary": True, "safe_mode": safe}
    request = urllib.request.Request(
        f"{stage.gate.venice}/image/generate", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        blurred = answer.headers["x-venice-is-blurred"]
        got = Image.open(io.BytesIO(answer.read())).convert("L")
    row = [got.getpixel((x, 128)) for x in range(256)]
    steepest = max(abs(right - left) for left, right in pairwise(row))
    if safe and confidence > 90:
        assert blurred == "true"
        assert steepest < 20
    else:
        assert blurred == "false"
        assert steepest > 200
    assert got.size == (256, 256)


@having("inpaint")
def test_an_edit(stage: Stage) -> None:
    got = stage.client.images.edit(model="inpaint", prompt="make it red", image=("a.png", picture("png", 260, 260)))
    assert base64.b64decode(got.data[0].b64_json)[:4] == b"\x89PNG"


@having("upscale")
def test_an_upscale(stage: Stage) -> None:
    body = {"model": "upscale", "image": base64.b64encode(picture("png", 260, 260)).decode(), "scale": 2}
    request = urllib.request.Request(
        f"{stage.gate.venice}/image/upscale", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.headers["content-type"] == "image/png"
        assert answer.read()[:4] == b"\x89PNG"


@having("tts")
@pytest.mark.parametrize(("format", "start"), [("wav", b"RIFF"), ("mp3", b""), ("flac", b"fLaC")])
def test_speech(stage: Stage, format: str, start: bytes) -> None:
    got = stage.client.audio.speech.create(model="tts", voice="af_sky", input="Ciao.", response_format=format)
    assert got.content.startswith(start)
    assert got.response.headers["content-type"].startswith("audio/")
    assert len(stage.creates()) == 1


@having("embedding")
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings(stage: Stage, encoding: str) -> None:
    got = stage.client.embeddings.create(model="embedding", input=["one", "two", "one"], encoding_format=encoding)
    assert [row.index for row in got.data] == [0, 1, 2]
    assert got.data[0].embedding == got.data[2].embedding != got.data[1].embedding
    assert got.usage.prompt_tokens > 0
    assert len(stage.creates()) == (3 if stage.row.one_by_one else 1)


REFUSALS = [(row, name) for row in ROWS for name in row.refusals]


@pytest.mark.parametrize(("row", "name"), REFUSALS, ids=[f"{row.id}-{name}" for row, name in REFUSALS])
def test_refusals_are_told_as_ours(stage: Stage, name: str) -> None:
    fault, status, code = stage.row.refusals[name]
    stage.double.script(fault, method="POST", path=stage.row.create)
    with pytest.raises(openai.APIStatusError) as caught:
        stage.draw()
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert stage.double.key not in caught.value.response.text
    assert stage.double.unused_faults == 0


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in ROWS if row.fails])
@pytest.mark.parametrize(
    ("words", "error", "code"),
    [
        ("NSFW content detected. Try another prompt.", openai.BadRequestError, "content_policy_violation"),
        ("E1001 out of memory", openai.InternalServerError, "upstream_error"),
    ],
)
def test_a_job_that_fails(stage: Stage, words: str, error: type[openai.APIStatusError], code: str) -> None:
    assert stage.row.fails is not None
    stage.row.fails(stage.double, words)
    with pytest.raises(error) as caught:
        stage.draw()
    assert caught.value.code == code
    if code == "upstream_error":
        assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(stage.creates()) == 1


FILES = {
    "a redirect to loopback": (faults.redirect("http://127.0.0.1:1/"), 1),
    "a redirect to metadata": (faults.redirect("http://169.254.169.254/latest/meta-data/"), 1),
    "a page": (faults.answer(200, b"<html>sorry</html>", {"content-type": "image/png"}), 1),
    "too large": (faults.oversized(40 << 20), 1),
    "gone": (faults.answer(404, b"expired"), 1),
    "cut": (faults.cut(100), 3),
}


fetching = pytest.mark.parametrize(
    "row", [row for row in ROWS if not row.files_inline], ids=[row.id for row in ROWS if not row.files_inline]
)


@fetching
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_what_it_should_be(stage: Stage, name: str) -> None:
    fault, tries = FILES[name]
    stage.double.script(*[fault] * tries, port="files")
    with pytest.raises(openai.InternalServerError) as caught:
        stage.draw()
    assert caught.value.code == "upstream_error"
    assert "127.0.0.1" not in caught.value.response.text
    assert len(stage.double.seen(port="files")) == tries
    assert len(stage.creates()) == 1


@fetching
def test_a_file_that_breaks_once_is_fetched_again(stage: Stage) -> None:
    stage.double.script(faults.cut(100), port="files")
    assert shape(base64.b64decode(stage.draw().data[0].b64_json)) == ("png", 512, 256)
    assert len(stage.creates()) == 1


@rows
def test_an_unknown_outcome_is_not_tried_again(eager: Stage) -> None:
    eager.double.script(faults.reset(accepted=True), method="POST", path=eager.row.create)
    with pytest.raises(openai.InternalServerError) as caught:
        eager.draw()
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(eager.creates()) == 1


@rows
def test_silence_before_the_first_byte_is_a_timeout(short: Stage) -> None:
    short.double.script(faults.hang(), method="POST", path=short.row.create)
    with pytest.raises(openai.InternalServerError) as caught:
        short.draw()
    assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
    assert len(short.creates()) == 1


SOUNDS_AND_VECTORS = [
    pytest.param(row, type_, id=f"{row.id}-{type_}")
    for row in ROWS
    for type_ in ("tts", "embedding")
    if type_ in able(row)
]


@pytest.mark.parametrize(("row", "type_"), SOUNDS_AND_VECTORS)
@pytest.mark.parametrize("name", ["401", "402", "404", "429", "5xx", "html", "reset"])
def test_refusals_of_speech_and_vectors_are_told_alike(stage: Stage, type_: str, name: str) -> None:
    fault, status, code = stage.row.refusals[name]
    stage.double.script(fault, method="POST", path=stage.row.create)
    ask = stage.client.audio.speech if type_ == "tts" else stage.client.embeddings
    body: dict[str, Any] = {"voice": "af_sky", "input": "Ciao."} if type_ == "tts" else {"input": "one"}
    with pytest.raises(openai.APIStatusError) as caught:
        ask.create(model=type_, **body)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert stage.double.unused_faults == 0


@pytest.mark.parametrize("row", [row for row in ROWS if row.kind == "venice"], ids=["venice"])
def test_sound_that_is_cut_in_the_middle_breaks_off(stage: Stage) -> None:
    text = "One sentence. Another one. A third one. And the last."
    stage.double.script(faults.cut(3000), path="/audio/speech$")
    body = {"model": "tts", "input": text, "streaming": True, "response_format": "wav"}
    request = urllib.request.Request(
        f"{stage.gate.venice}/audio/speech", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer, pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()
    assert stage.double.created == 1


@rows
def test_a_deadline_is_kept_and_what_can_be_is_cancelled(short: Stage) -> None:
    began = time.monotonic()
    with pytest.raises(openai.InternalServerError) as caught:
        short.draw()
    assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
    assert time.monotonic() - began < 3
    if short.row.cancels:
        until(lambda: len(short.double.seen("POST", short.row.cancels)) == 1, 2)


def until(true: Callable[[], object], seconds: float) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds
        time.sleep(0.002)


@rows
def test_a_client_that_leaves_is_noticed_at_once(slow: Stage) -> None:
    body = json.dumps({"model": "image", "prompt": "a boat", "n": 1}).encode()
    client = socket.create_connection(("127.0.0.1", slow.gate.port))
    head = "POST /v1/images/generations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    adapter: Any = slow.gate.house().adapters["up"]
    until(lambda: slow.creates() and slow.double.created, 5)
    if slow.row.jobs:
        until(lambda: adapter.engine.in_flight == 1, 5)
    client.close()
    if slow.row.cancels:
        until(lambda: len(slow.double.seen("POST", slow.row.cancels)) == 1, GONE_S)
    elif slow.row.jobs:
        until(lambda: adapter.engine.abandoned == 1, GONE_S)
    else:
        until(lambda: all(seen.ended == "client_closed" for seen in slow.creates()), GONE_S)
    assert len(slow.creates()) == 1


@rows
def test_no_secret_is_told_to_anybody(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    told = [stage.draw().to_json()]
    secrets = [stage.double.key, getattr(stage.double, "worker_secret", stage.double.key)]
    leaky = {"detail": f"key {stage.double.key}", "message": stage.double.key, "error": stage.double.key, "code": 400}
    for status in (400, 401, 429, 500):
        stage.double.script(faults.answer(status, leaky), method="POST", path=stage.row.create)
        with pytest.raises(openai.APIStatusError) as caught:
            stage.draw()
        told += [caught.value.response.text, str(caught.value.response.headers)]
    with urllib.request.urlopen(f"{stage.gate.origin}/metrics") as metrics:
        told.append(metrics.read().decode())
    out, err = capfd.readouterr()
    assert not [text for text in (*told, out, err) if any(secret in text for secret in secrets)]

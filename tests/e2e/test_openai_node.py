"""The official Node SDK, in a process of its own. Skipped by name where node or the package is not installed."""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fakes.decoded_audio import hear
from fakes.doubles import media
from fakes.doubles.clockwork import Pace
from fakes.doubles.openai_media import OpenAIMedia
from fakes.evil import EvilThread
from fakes.gateway import Gateway, gateway
from proxy.mock import Script, fault

HERE = Path(__file__).with_name("node")
pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (HERE / "node_modules" / "openai").is_dir(),
    reason="needs node and `npm ci` in tests/e2e/node",
)


def run(script: str, *arguments: str) -> Any:
    command = ["node", str(HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_chat(gate: Gateway, mock: EvilThread) -> None:
    """Chat, stream, usage, tools, two choices, models and a 404, as the Node SDK types them."""
    for _ in range(3):
        mock.script(Script(content="già pagato 🛶"))
    seen = run("chat.mjs", gate.v1)
    assert seen["whole"] == {"content": "già pagato 🛶", "finish": "stop", "model": "m"}
    assert seen["requestId"].startswith("req_")
    assert (seen["stream"]["text"], seen["stream"]["finishes"]) == ("già pagato 🛶", ["stop"])
    assert seen["stream"]["usage"]["choices"] == 0
    assert seen["plain"] == {"text": "già pagato 🛶", "usages": 0}
    assert seen["tools"] == {"finish": "tool_calls", "name": "get_weather"}
    assert seen["two"] == {"count": 2, "logprobs": True}
    assert seen["models"] == ["m"]
    assert seen["missing"] == {
        "name": "NotFoundError",
        "status": 404,
        "code": "model_not_found",
        "param": "model",
        "id": True,
    }


@pytest.mark.parametrize(
    ("name", "form", "expected"),
    [
        ("status", "whole", {"name": "InternalServerError", "status": 503, "code": "upstream_unavailable"}),
        ("rate_limit", "stream", {"name": "RateLimitError", "status": 429, "code": "upstream_rate_limited"}),
        ("ok_error", "stream", {"name": "InternalServerError", "status": 502, "code": "upstream_error"}),
        ("stall", "stream", {"name": "APIError", "status": None, "code": "upstream_timeout"}),
        ("reset", "stream", {"name": "APIError", "status": None, "code": "upstream_error"}),
    ],
)
def test_errors(gate: Gateway, mock: EvilThread, name: str, form: str, expected: dict[str, Any]) -> None:
    """The class, status and code that a caller can act on; never a finished answer."""
    mock.script(Script(content="one two three four", faults=(fault(name),)))
    seen = run("error.mjs", gate.v1, form)
    assert "finished" not in seen
    assert {key: seen["error"][key] for key in expected} == expected


STATUSES = {
    400: ("BadRequestError", 400, "invalid_request"),
    401: ("InternalServerError", 502, "upstream_auth_failed"),
    402: ("InternalServerError", 503, "upstream_unavailable"),
    403: ("InternalServerError", 502, "upstream_auth_failed"),
    404: ("InternalServerError", 502, "upstream_error"),
    405: ("InternalServerError", 502, "upstream_error"),
    408: ("InternalServerError", 504, "upstream_timeout"),
    409: ("BadRequestError", 400, "invalid_request"),
    413: ("APIError", 413, "request_too_large"),
    422: ("BadRequestError", 400, "invalid_request"),
    425: ("BadRequestError", 400, "invalid_request"),
    429: ("RateLimitError", 429, "upstream_rate_limited"),
    500: ("InternalServerError", 502, "upstream_error"),
    502: ("InternalServerError", 502, "upstream_error"),
    503: ("InternalServerError", 503, "upstream_unavailable"),
    504: ("InternalServerError", 504, "upstream_timeout"),
}


@pytest.mark.parametrize("form", ["whole", "stream"])
@pytest.mark.parametrize("shape", ["openai", "string", "venice", "detail", "flat", "html"])
def test_statuses(gate: Gateway, mock: EvilThread, shape: str, form: str) -> None:
    """Each of 16 statuses, in each shape of body: the class, status and code, and the id of the request."""
    mock.script(*(fault("status", status=status, shape=shape) for status in STATUSES))
    seen = run("errors.mjs", gate.v1, form, str(len(STATUSES)))
    assert len(mock.exchanges) == len(STATUSES)
    got = {status: (row["name"], row["status"], row["code"]) for status, row in zip(STATUSES, seen, strict=True)}
    assert got == STATUSES
    for row in seen:
        assert row["id"]
        assert (row["type"] == "server_error") == (row["status"] >= 500)


@pytest.mark.parametrize("form", ["whole", "stream"])
def test_the_sdk_gives_up_first(gate: Gateway, mock: EvilThread, form: str) -> None:
    """Its own timeout is its own class of error, and the upstream is rid of the call."""
    mock.script(fault("stall_head"))
    (seen,) = run("errors.mjs", gate.v1, form, "1", "400")
    assert (seen["name"], seen["status"]) == ("APIConnectionTimeoutError", None)
    mock.wait(mock.exchanges[0], "ended")
    assert mock.exchanges[0].end in ("client_closed", "reset")


def test_media(tmp_path: Path) -> None:
    """Vectors in base64 and floats, pictures, an edit, a voice and ears, as the Node SDK types and uploads them."""
    (tmp_path / "boat.png").write_bytes(media.png(300, 260))
    (tmp_path / "word.wav").write_bytes(media.wav(1.5))
    models = (
        ("vectors", "embedding", "up/vectors"),
        ("brush", "image", "up/brush-new"),
        ("edits", "inpaint", "up/brush-new"),
        ("ears", "asr", "up/ears-new"),
        ("old-ears", "asr", "up/ears-old"),
        ("voice", "tts", "here/tts-kokoro"),
    )
    with OpenAIMedia(pace=Pace.quick()) as double:
        toml = '[upstreams.here]\nkind = "offline"\n[upstreams.up]\nkind = "openai"\n'
        toml += f'base_url = "{double.base_url}"\napi_key = "{double.key}"\n'
        for name, type_, target in models:
            upstream, _, model = target.partition("/")
            toml += f'[models.{name}]\ntype = "{type_}"\ntargets = [{{upstream = "{upstream}", model = "{model}"}}]\n'
        with gateway(toml) as gate:
            seen = run("media.mjs", gate.v1, str(tmp_path / "boat.png"), str(tmp_path / "word.wav"))
        uploads = [[f.filename for f in fields if f.filename is not None] for fields in double.fields]
    assert seen["embeddings"]["apart"] < 1e-6 < seen["embeddings"]["differ"]
    assert (seen["embeddings"]["count"], seen["embeddings"]["length"], seen["embeddings"]["tokens"]) == (2, 8, 4)
    sizes = [media.size_of(base64.b64decode(row)) for row in [*seen["generate"], *seen["edit"]]]
    assert sizes == [("png", 1024, 1024)] * 3
    assert uploads[0] == ["uno.png", "boat.png"]
    assert seen["speech"]["type"] == "audio/flac"
    assert hear(base64.b64decode(seen["speech"]["data"])).rms > 0.01
    assert seen["heard"] == {"text": "silence for 1.5 seconds", "usage": "tokens"}
    assert uploads[1] == ["word.wav"]
    assert seen["words"] == seen["heard"]["text"].split()
    assert seen["srt"].startswith("1\n00:00:00,000 --> ")
    assert seen["streamed"][-1] == "transcript.text.done"
    assert set(seen["streamed"][:-1]) == {"transcript.text.delta"}
    assert seen["refused"] == {"name": "BadRequestError", "status": 400, "param": "file"}

"""The official Node SDK, in a process of its own. Skipped by name where node or the package is not installed."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fakes.evil import EvilThread
from fakes.gateway import Gateway
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
    for _ in range(2):
        mock.script(Script(content="già pagato 🛶"))
    seen = run("chat.mjs", gate.v1)
    assert seen["whole"] == {"content": "già pagato 🛶", "finish": "stop", "model": "m"}
    assert seen["requestId"].startswith("req_")
    assert (seen["stream"]["text"], seen["stream"]["finishes"]) == ("già pagato 🛶", ["stop"])
    assert seen["stream"]["usage"]["choices"] == 0
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

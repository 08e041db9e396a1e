"""The routes beside chat, offline and under both prefixes: what answers, in which shape, and what is refused by name."""

import base64
import math
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from adapters.options import KINDS, USUAL_KEYS
from fakes.gateway import Gateway
from proxy import config, defaults


@pytest.fixture(scope="module")
def home() -> Iterator[Gateway]:
    """The gateway as it starts without a configuration file."""
    gate = Gateway("")
    gate.config = config.decode(defaults.tree(USUAL_KEYS, {}), KINDS, {}, file="the embedded default")
    gate.start()
    try:
        yield gate
    finally:
        gate.stop()


@pytest.fixture(params=["/v1", "/api/v1"])
def base(home: Gateway, request: pytest.FixtureRequest) -> str:
    return home.origin + str(request.param)


def post(url: str, body: Any = None, **more: Any) -> httpx.Response:
    return httpx.post(url, json=body, timeout=60, **more)


def refusal(answer: httpx.Response) -> str:
    """The text of a 400 in the dialect of its route."""
    assert answer.status_code == 400, answer.text
    said = answer.json()["error"]
    venice = "/api/v1/" in str(answer.url)
    assert isinstance(said, str) == venice
    return str(said if venice else said["message"])


# ── embeddings ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_embeddings_of_every_shape(base: str) -> None:
    """Texts one, many and as tokens; of length one; floats and base64 agree; the order stays."""
    url = base + "/embeddings"
    one = post(url, {"model": "demo", "input": "a ferry"}).json()
    assert (one["object"], one["model"], len(one["data"])) == ("list", "demo-embedding", 1)
    vector = one["data"][0]["embedding"]
    assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-4)
    assert one["usage"]["prompt_tokens"] == one["usage"]["total_tokens"] > 0

    texts = [f"boat number {n}" for n in range(100)] + ["a ferry"]
    many = post(url, {"model": "demo-embedding", "input": texts}).json()
    assert [item["index"] for item in many["data"]] == list(range(101))
    assert many["data"][100]["embedding"] == pytest.approx(vector, abs=2e-3)
    assert many["data"][0]["embedding"] != pytest.approx(vector, abs=2e-3)

    packed = post(url, {"model": "demo", "input": "a ferry", "encoding_format": "base64"}).json()
    data = base64.b64decode(packed["data"][0]["embedding"])
    assert struct.unpack(f"<{len(data) // 4}f", data) == pytest.approx(vector, abs=1e-6)

    tokens = post(url, {"model": "demo", "input": [[5, 6, 7], [8]]}).json()
    assert (len(tokens["data"]), tokens["usage"]["prompt_tokens"]) == (2, 4)
    assert len(post(url, {"model": "demo", "input": [5, 6, 7]}).json()["data"]) == 1

    short = post(url, {"model": "demo", "input": "a ferry", "dimensions": 8}).json()["data"][0]["embedding"]
    assert len(short) == 8
    assert math.isclose(math.hypot(*short), 1, abs_tol=1e-4)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": 100_000}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": [1 << 30]}, "token ids"),
    ],
)
def test_embeddings_refuse_by_name(base: str, body: dict[str, Any], named: str) -> None:
    assert named in refusal(post(base + "/embeddings", {"model": "demo", **body}))


def test_openai_embeddings(home: Gateway) -> None:
    """The SDK asks for base64 by itself and decodes it."""
    with openai.OpenAI(base_url=home.v1, api_key="k", max_retries=0) as client:
        default = client.embeddings.create(model="text-embedding-3-small", input=["a ferry", "an oar"])
        plain = client.embeddings.create(model="demo", input=["a ferry", "an oar"], encoding_format="float")
    assert [item.index for item in default.data] == [0, 1]
    for ours, theirs in zip(default.data, plain.data, strict=True):
        assert ours.embedding == pytest.approx(theirs.embedding, abs=1e-6)

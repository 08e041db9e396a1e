"""The Bytez double is plausible: the official `bytez` client and the OpenAI client are content with it, and it is strict."""

import asyncio
import base64
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from bytez import Bytez

from fakes.doubles import faults, media
from fakes.doubles.bytez import BytezDouble
from fakes.doubles.clockwork import Pace

GPT2, CHAT = "openai-community/gpt2", "Qwen/Qwen3-4B"


@pytest.fixture
def double() -> Iterator[BytezDouble]:
    with BytezDouble(pace=Pace.quick()) as running:
        yield running


@pytest.fixture
def client(double: BytezDouble) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=double.base_url, headers={"authorization": f"Key {double.key}"}, trust_env=False
    ) as made:
        yield made


@pytest.fixture
def official(double: BytezDouble) -> Bytez:
    made = Bytez(double.key)
    made._client.host = double.base_url + "/models/v2/"
    return made


def loaded(client: httpx.Client, model: str, **more: Any) -> None:
    assert client.post("/model/load", json={"model": model} | more).json()["status"] == "started"
    for _ in range(500):
        if client.post("/model/status", json={"model": model}).json()["status"] == "RUNNING":
            return
        time.sleep(0.005)
    raise AssertionError("it never ran")


# -- the official client ----------------------------------------------------------------------------------------------


def test_run_each_task(double: BytezDouble, official: Bytez) -> None:
    assert official.model(GPT2).run("Once upon").output == "Once upon You said: Once upon"
    talk = [{"role": "user", "content": "Hi"}]
    assert official.model(CHAT).run(talk, {"max_new_tokens": 50}).output == {
        "role": "assistant",
        "content": "You said: Hi",
    }
    parts = official.model("google/gemma-3-4b-it").run(talk).output["content"]
    assert parts == [{"type": "text", "text": "You said: Hi"}]
    assert len(official.model("nomic-ai/nomic-embed-text-v1.5").run("x").output) == 16
    url = official.model("dreamlike-art/dreamlike-photoreal-2.0").run("a boat").output
    assert url.startswith(double.origin() + "/image/")
    assert httpx.get(url, trust_env=False).status_code == 401
    picture = httpx.get(url, headers={"authorization": double.key}, trust_env=False).content
    assert media.size_of(picture) == ("png", 512, 512)
    assert double.created == 5


def test_stream_lists_and_errors(double: BytezDouble, official: Bytez) -> None:
    double.will(say=[" and", " so", " on"])
    assert "".join(official.model(GPT2).run("Once", stream=True)) == "Once and so on"
    assert [m["modelId"] for m in official.list.models({"task": "text-to-image"}).output] == [
        "dreamlike-art/dreamlike-photoreal-2.0"
    ]
    assert len(official.list.tasks().output) == 33
    double.will(error="CUDA out of memory")
    failed = official.model(CHAT).run([{"role": "user", "content": "x"}])
    assert (failed.error, failed.output) == ("CUDA out of memory", None)
    assert "not used by the model" in official.model(GPT2).run("x", {"stop": ["a"]}).error
    double.key = "another"
    assert official.model(GPT2).run("x").error == "Unauthorized"


def test_closed_models_need_the_providers_key(double: BytezDouble, official: Bytez) -> None:
    talk = [{"role": "user", "content": "x"}]
    assert "provider key" in official.model("openai/gpt-4o-mini").run(talk).error
    assert official.model("openai/gpt-4o-mini", "sk-other").run(talk).output["content"] == "You said: x"


def test_the_openai_client(double: BytezDouble) -> None:
    with openai.OpenAI(api_key=double.key, base_url=double.base_url + "/models/v2/openai/v1", max_retries=0) as client:
        ask: Any = {"model": CHAT, "messages": [{"role": "user", "content": "one two three"}]}
        assert client.chat.completions.create(**ask).choices[0].message.content == "You said: one two three"
        with client.chat.completions.create(**ask, stream=True, max_tokens=3) as events:
            chunks = list(events)
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "You said: one"
        assert chunks[-1].choices[0].finish_reason == "length"
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**ask, seed=1)
        assert caught.value.response.json()["error"] == "seed unknown field"


# -- v1 ---------------------------------------------------------------------------------------------------------------


def test_the_life_of_a_model(double: BytezDouble, client: httpx.Client) -> None:
    run = {"model": GPT2, "prompt": "Once"}
    assert client.post("/model/status", json={"model": GPT2}).status_code == 404
    assert client.post("/model/run", json=run).status_code == 400
    assert client.post("/model/load", json={"model": GPT2, "concurrency": 1}).json() == {
        "model": GPT2,
        "status": "started",
        "concurrency": 1,
    }
    assert client.post("/model/status", json={"model": GPT2}).json()["status"] == "DEPLOYING"
    assert client.post("/model/load", json={"model": GPT2}).status_code == 429
    assert client.post("/model/run", json=run).status_code == 400
    time.sleep(0.04)
    assert client.post("/model/load", json={"model": GPT2}).status_code == 209
    assert client.post("/model/run", json=run).json() == {"output": [{"generated_text": "Once You said: Once"}]}
    assert [i["model"] for i in client.get("/model/instances").json()] == [GPT2]
    assert client.post("/model/delete", json={"model": GPT2}).status_code == 200
    assert client.get("/model/instances").json() == []
    double.will(fails="out of VRAM")
    client.post("/model/load", json={"model": CHAT})
    time.sleep(0.04)
    failed = client.post("/model/status", json={"model": CHAT}).json()
    assert (failed["status"], failed["error"]) == ("FAILED", "out of VRAM")
    assert double.created == 1


def test_an_instance_expires_and_media_come_inside_the_answer(double: BytezDouble, client: httpx.Client) -> None:
    model = "dreamlike-art/dreamlike-photoreal-2.0"
    loaded(client, model, expirationPeriodSeconds=1)
    picture = client.post("/model/run", json={"model": model, "prompt": "x"}).json()["output_png"]
    assert media.size_of(base64.b64decode(picture)) == ("png", 512, 512)
    double.instances[model].expiry = 0.0
    time.sleep(0.01)
    assert client.post("/model/status", json={"model": model}).status_code == 404


def test_onboarding_answers(double: BytezDouble, client: httpx.Client) -> None:
    texts = [client.post("/model/job", json={"model": "a/b"}).json().get("message") for _ in range(2)]
    time.sleep(0.04)
    texts.append(client.post("/model/job", json={"model": "a/b"}).json().get("message"))
    assert texts == [None, "Model is already queued", "Model available"]


def test_the_raw_stream_cuts_characters_and_keeps_line_breaks(double: BytezDouble, client: httpx.Client) -> None:
    loaded(client, GPT2)
    double.will(say=[" é", "\n\n", "🚣🚣", " end"])
    pieces = []
    with client.stream("POST", "/model/run", json={"model": GPT2, "prompt": "Ré", "stream": True}) as answer:
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        pieces = list(answer.iter_raw())
    assert b"".join(pieces).decode() == "Ré é\n\n🚣🚣 end"
    assert any(piece != piece.decode("utf-8", "ignore").encode() for piece in pieces)
    double.script(faults.cut(7))
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/model/run", json={"model": GPT2, "prompt": "Once upon a time", "stream": True})
    double.will(error="it broke")
    broken = client.post("/model/run", json={"model": GPT2, "prompt": "x", "stream": True})
    assert (broken.status_code, broken.json()["error"]) == (200, "it broke")


# -- strictness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"/models/v2/{GPT2}", {"text": "x", "input": "y"}, 400),
        (f"/models/v2/{GPT2}", {}, 400),
        (f"/models/v2/{GPT2}", {"text": "x", "max_tokens": 5}, 400),
        ("/models/v2/openai-community%2Fgpt2", {"text": "x"}, 404),
        ("/models/v2/no/such", {"text": "x"}, 404),
        ("/models/v2/suno/bark-small", {"text": "x", "stream": True}, 400),
        ("/model/load", {"model": GPT2, "timeout": 5}, 400),
        ("/model/load", {"model": "no/such"}, 404),
        ("/model/nothing", {}, 404),
        ("/model/list", {}, 405),
    ],
)
def test_refusals(double: BytezDouble, client: httpx.Client, path: str, body: dict[str, Any], status: int) -> None:
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.json()["output"]) == (status, None)
    assert double.created == 0


def test_v1_wants_the_word_key(double: BytezDouble) -> None:
    for value, status in ((double.key, 401), (f"Bearer {double.key}", 401), (f"Key {double.key}", 200)):
        got = httpx.get(double.base_url + "/model/list", headers={"authorization": value}, trust_env=False)
        assert got.status_code == status


@pytest.mark.asyncio
async def test_one_at_a_time_and_work_goes_on_when_the_client_leaves() -> None:
    async with BytezDouble(pace=Pace(first=0.2, image=0.0)) as double:
        headers = {"authorization": f"Key {double.key}"}
        async with httpx.AsyncClient(base_url=double.base_url, headers=headers, trust_env=False) as client:
            path, body = f"/models/v2/{GPT2}", {"text": "x"}
            first = asyncio.create_task(client.post(path, json=body))
            await asyncio.sleep(0.05)
            second = await client.post(path, json=body)
            assert (second.status_code, second.json()) == (429, {"error": "Rate limit exceeded", "output": None})
            assert second.headers["ratelimit-remaining"] == "0"
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            assert await double.requests[0].over() == "client_closed"
            assert (await client.post(path, json=body)).status_code == 429  # nobody listens, and it still runs
            await asyncio.sleep(0.2)
            assert (await client.post(path, json=body)).status_code == 200
            double.credit = False
            assert (await client.post(path, json=body)).json()["status"] == 402

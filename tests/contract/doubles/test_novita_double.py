"""The Novita double is plausible: `novita-client` and the OpenAI client are content with it, and it refuses what it should."""

import base64
import json
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from fakes.doubles import faults, media
from fakes.doubles.clockwork import Pace
from fakes.doubles.novita import NovitaDouble
from fakes.doubles.novita_desk import CHECKPOINTS, LLMS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the package's own syntax and deprecations are not ours to mend
    from novita_client import NovitaClient
    from novita_client import utils as novita_utils
    from novita_client.exceptions import NovitaResponseError

ASK: dict[str, Any] = {
    "model_name": CHECKPOINTS[0], "prompt": "a boat", "width": 256, "height": 128, "image_num": 1, "steps": 20,
    "guidance_scale": 7.5, "sampler_name": "Euler a",
}  # fmt: skip


@pytest.fixture
def double() -> Iterator[NovitaDouble]:
    with NovitaDouble(pace=Pace.quick()) as running:
        yield running


@pytest.fixture
def client(double: NovitaDouble) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=double.base_url, headers={"authorization": f"Bearer {double.key}"}, trust_env=False
    ) as made:
        yield made


@pytest.fixture
def official(double: NovitaDouble, monkeypatch: pytest.MonkeyPatch) -> Iterator[NovitaClient]:
    monkeypatch.setattr("novita_client.settings.DEFAULT_POLL_INTERVAL", 0.01)
    made = NovitaClient(double.key, base_url=double.base_url)
    made.session.trust_env = False
    # It downloads in a pool of threads that is never closed; the same calls without the pool.
    monkeypatch.setattr(novita_utils, "ThreadPool", _OneThread)
    # With the dataclass-wizard that is locked here it cannot write a dataclass in a field typed Any: written by hand.
    monkeypatch.setattr(
        "novita_client.proto.CommonV3Request.to_dict",
        lambda request: {"extra": request.extra.to_dict(), "request": request.request.to_dict()},
    )
    yield made
    made.session.close()


class _OneThread:
    def apply_async(self, work: Any, given: tuple[Any, ...]) -> Any:
        answer = work(*given)
        return type("Done", (), {"get": lambda _self: answer})()


# -- the official client ----------------------------------------------------------------------------------------------


def test_txt2img_to_the_end(double: NovitaDouble, official: NovitaClient) -> None:
    result = official.txt2img_v3(
        model_name=CHECKPOINTS[0],
        prompt="a boat",
        image_num=2,
        width=256,
        height=128,
        seed=7,
        enable_nsfw_detection=True,
    )
    pictures = [base64.b64decode(text) for text in result.images_encoded]
    assert [media.size_of(p) for p in pictures] == [("jpeg", 256, 128)] * 2
    assert result.images[0].nsfw_detection_result.confidence == 0.5
    assert result.extra.seed == 7
    assert double.created == 1
    assert double.leaks == []


@pytest.mark.parametrize("ttl", ["int", "str", "zero"])
def test_times_to_live_in_every_spelling(double: NovitaDouble, official: NovitaClient, ttl: str) -> None:
    double.ttl = ttl
    result = official.txt2img_v3(model_name=CHECKPOINTS[0], prompt="x", image_num=1, download_images=False)
    assert result.images[0].image_url_ttl == (0 if ttl == "zero" else 3600)


def test_a_failed_task_and_the_account(double: NovitaDouble, official: NovitaClient) -> None:
    double.will(fail="out of resources")
    with pytest.raises(NovitaResponseError, match="FAILED"):
        official.txt2img_v3(model_name=CHECKPOINTS[0], prompt="x", image_num=1)
    assert official.user_info().credit_balance == 100_000
    assert official.models_v3().get_by_sd_name(CHECKPOINTS[1]).type.name == "checkpoint"


def test_cleanup_gives_an_image_of_the_same_size(double: NovitaDouble, official: NovitaClient) -> None:
    picture = base64.b64encode(media.png(80, 60)).decode()
    made = official.cleanup(picture, picture, response_image_type="webp")
    assert media.size_of(base64.b64decode(made.image_file)) == ("webp", 80, 60)


@pytest.mark.parametrize("path", ["/openai/v1", "/v3/openai"])
def test_the_openai_client_on_both_base_paths(double: NovitaDouble, path: str) -> None:
    with openai.OpenAI(api_key=double.key, base_url=double.base_url + path, max_retries=0) as client:
        said = client.chat.completions.create(
            model=LLMS[1], messages=[{"role": "user", "content": "Hi"}], max_tokens=50
        )
        assert said.choices[0].message.content == "You said: Hi"
        events = list(
            client.chat.completions.create(
                model=LLMS[1],
                messages=[{"role": "user", "content": "one two three"}],
                max_tokens=3,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        assert events[-1].choices == []
        assert events[-1].usage is not None
        assert events[-1].usage.completion_tokens == 3
        assert events[-2].choices[0].finish_reason == "length"
        assert [m.id for m in client.models.list()] == list(LLMS)
        assert len(client.embeddings.create(model="bge", input=["a", "b"]).data[1].embedding) == 16
        with pytest.raises(openai.PermissionDeniedError, match="invalid api key"):
            client.with_options(api_key="wrong").models.list()


def test_thoughts_are_in_the_text_unless_asked_apart(client: httpx.Client, double: NovitaDouble) -> None:
    ask = {"model": LLMS[0], "messages": [{"role": "user", "content": "x"}], "max_tokens": 9}
    shown = []
    for more in ({}, {"separate_reasoning": True}, {"enable_thinking": False}):
        double.will(think=["hm"], say=["Yes"])
        message = client.post("/openai/v1/chat/completions", json=ask | more).json()["choices"][0]["message"]
        shown.append((message["content"], message.get("reasoning_content")))
    assert shown == [("<think>hm</think>\n\nYes", None), ("Yes", "hm"), ("Yes", None)]


# -- strictness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ASK)
def test_every_required_field_is_required(client: httpx.Client, double: NovitaDouble, missing: str) -> None:
    given = {k: v for k, v in ASK.items() if k != missing}
    answer = client.post("/v3/async/txt2img", json={"request": given})
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_REQUEST_BODY")
    assert f"request.{missing}" in answer.json()["message"]
    assert double.created == 0


@pytest.mark.parametrize(
    "change",
    [{"width": 64}, {"steps": 101}, {"guidance_scale": 0.5}, {"prompt": "x" * 1025}, {"sampler_name": "Best"}, {"seed": -2},
     {"image_num": 9}, {"cfg_scale": 7}, {"image_num": True}, {"model_name": "unknown"}],
)  # fmt: skip
def test_bounds_and_unknown_fields(client: httpx.Client, double: NovitaDouble, change: dict[str, Any]) -> None:
    answer = client.post("/v3/async/txt2img", json={"request": ASK | change})
    assert (answer.status_code, answer.json()["code"]) == (400, 400)
    assert next(iter(change)) in answer.json()["message"]
    assert double.created == 0


def test_chat_without_max_tokens_is_refused(client: httpx.Client) -> None:
    ask = {"model": LLMS[0], "messages": [{"role": "user", "content": "x"}]}
    assert client.post("/openai/v1/chat/completions", json=ask).json()["reason"] == "INVALID_REQUEST_BODY"
    ask |= {"max_tokens": 5, "venice_parameters": {}}
    assert "venice_parameters" in client.post("/openai/v1/chat/completions", json=ask).json()["message"]


@pytest.mark.parametrize(
    ("path", "key", "status", "reason"),
    [
        ("/v3/user", None, 400, "MISSING_API_KEY"),
        ("/v3/user", "wrong", 403, "INVALID_API_KEY"),
        ("/openai/v1/models", None, 403, "INVALID_API_KEY"),
        ("/openai/v1/models", "wrong", 403, "INVALID_API_KEY"),
        ("/v3/nothing", "right", 404, "API_NOT_FOUND"),
        ("/v3/async/task-result?task_id=x", "right", 404, "TASK_NOT_FOUND"),
    ],
)
def test_statuses_mislead(double: NovitaDouble, path: str, key: str | None, status: int, reason: str) -> None:
    headers = {"authorization": f"Bearer {double.key if key == 'right' else key}"} if key else {}
    answer = httpx.get(double.base_url + path, headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert set(answer.json()) == {"code", "reason", "message", "metadata"}


def test_no_balance_is_403_for_chat_and_400_for_images(client: httpx.Client, double: NovitaDouble) -> None:
    double.balance = 0
    ask = {"model": LLMS[0], "messages": [{"role": "user", "content": "x"}], "max_tokens": 5}
    chat, image = (
        client.post("/openai/v1/chat/completions", json=ask),
        client.post("/v3/async/txt2img", json={"request": ASK}),
    )
    assert (chat.status_code, chat.json()["reason"]) == (403, "NOT_ENOUGH_BALANCE")
    assert (image.status_code, image.json()["reason"]) == (400, "BILLING_BALANCE_NOT_ENOUGH")


# -- tasks ------------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_task_step_by_step_and_the_wrapped_submit() -> None:
    async with NovitaDouble(manual=True, submit="wrapped") as double:
        headers = {"authorization": f"Bearer {double.key}"}
        async with httpx.AsyncClient(base_url=double.base_url, headers=headers, trust_env=False) as client:
            made = (await client.post("/v3/async/txt2img", json={"request": ASK})).json()
            assert (made["code"], made["msg"]) == (0, "")
            task = made["data"]["task_id"]
            shown = []
            for _ in range(6):
                got = (await client.get("/v3/async/task-result", params={"task_id": task})).json()
                shown.append((got["task"]["status"], got["task"]["progress_percent"], len(got["images"])))
                double.advance(task)
            assert shown == [
                ("TASK_STATUS_QUEUED", 0, 0),
                ("TASK_STATUS_PROCESSING", 0, 0),
                ("TASK_STATUS_PROCESSING", 25, 0),
                ("TASK_STATUS_PROCESSING", 50, 0),
                ("TASK_STATUS_PROCESSING", 75, 0),
                ("TASK_STATUS_SUCCEED", 0, 1),
            ]
            url = got["images"][0]["image_url"]
            assert (await client.get(url)).status_code == 400
            assert len(double.leaks) == 1
            double.will(code=-1)
            refused = await client.post("/v3/async/txt2img", json={"request": ASK})
            assert (refused.status_code, refused.json()["code"], double.created) == (200, -1, 1)


def test_reads_have_their_limit(client: httpx.Client, double: NovitaDouble) -> None:
    with NovitaDouble(reads_per_s=5, pace=Pace.quick()) as limited:
        headers = {"authorization": f"Bearer {limited.key}"}
        with httpx.Client(base_url=limited.base_url, headers=headers, trust_env=False) as reader:
            statuses = [reader.get("/v3/async/task-result", params={"task_id": "x"}).status_code for _ in range(8)]
        assert statuses[:5] == [404] * 5
        assert 429 in statuses[5:]


def test_sync_flux_upscale_and_speech(client: httpx.Client, double: NovitaDouble) -> None:
    ask = {
        "prompt": "x",
        "width": 64,
        "height": 64,
        "steps": 4,
        "image_num": 2,
        "seed": 1,
        "response_image_type": "webp",
    }
    made = client.post("/v3beta/flux-1-schnell", json=ask).json()
    assert [media.size_of(httpx.get(i["image_url"], trust_env=False).content) for i in made["images"]] == [
        ("webp", 64, 64)
    ] * 2
    picture = base64.b64encode(media.png(64, 32)).decode()
    task = client.post(
        "/v3/async/upscale",
        json={"request": {"model_name": "RealESRGAN_x4plus_anime_6B", "image_base64": picture, "scale_factor": 2}},
    ).json()
    for _ in range(200):
        got = client.get("/v3/async/task-result", params=task).json()
        if got["images"]:
            break
    assert media.size_of(httpx.get(got["images"][0]["image_url"], trust_env=False).content) == ("png", 128, 64)
    voice = {"text": "Hello there", "voice_setting": {"voice_id": "Wise_Woman"}}
    assert bytes.fromhex(client.post("/v3/minimax-speech-02-hd", json=voice).json()["audio"])[:2] == b"\xff\xfb"
    streamed = client.post("/v3/minimax-speech-02-hd", json=voice | {"stream": True}).text
    assert json.loads(streamed.strip().split("\n\n")[-1][6:])["data"]["status"] == 2
    too_fast = {"text": "x", "voice_setting": {"voice_id": "W", "speed": 3}}
    assert client.post("/v3/minimax-speech-02-hd", json=too_fast).status_code == 400


@pytest.mark.asyncio
async def test_webhooks_are_unsigned_and_may_be_forged() -> None:
    async with NovitaDouble(pace=Pace.quick()) as double, NovitaDouble() as sink:
        sink.script(*[faults.answer(200, b"")] * 4)
        double.webhook_tricks = {"forged"}
        async with httpx.AsyncClient(
            base_url=double.base_url, headers={"authorization": f"Bearer {double.key}"}, trust_env=False
        ) as client:
            extra = {"webhook": {"url": sink.base_url + "/hook"}}
            await client.post("/v3/async/txt2img", json={"request": ASK, "extra": extra})
            await sink.arrived(2, "POST", "/hook")
        first, last = (hook.json for hook in sink.seen("POST", "/hook"))
        assert first["payload"]["images"][0]["image_url"] == "http://169.254.169.254/"
        assert last["payload"]["task"]["status"] == "TASK_STATUS_SUCCEED"
        assert not any("signature" in name for hook in sink.requests for name in hook.headers)

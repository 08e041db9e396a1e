"""The VaikerAI double is plausible: the official `replicate` client is content with it, and it refuses what the seed refuses."""

import base64
import json
import time
from collections.abc import Iterator

import httpx
import pytest
import replicate
from replicate.exceptions import ModelError, ReplicateError
from replicate.webhook import Webhooks, WebhookSigningSecret

from fakes.doubles import faults, media
from fakes.doubles.server import Pace
from fakes.doubles.vaikerai import VaikerDouble

OPEN: list[httpx.Client] = []


@pytest.fixture
def double() -> Iterator[VaikerDouble]:
    with VaikerDouble(preset="replicate", pace=Pace.quick()) as running:
        yield running


@pytest.fixture(autouse=True)
def _close_clients() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def official(double: VaikerDouble, token: str = "") -> replicate.Client:
    client = replicate.Client(api_token=token or double.key, base_url=double.origin())
    client.poll_interval = 0.01
    OPEN.append(client._client)
    return client


def http(double: VaikerDouble, **more: str) -> httpx.Client:
    OPEN.append(httpx.Client(base_url=double.base_url, headers=bearer(double) | more, trust_env=False))
    return OPEN[-1]


def ahttp(double: VaikerDouble) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=double.base_url, headers=bearer(double), trust_env=False)


def bearer(double: VaikerDouble) -> dict[str, str]:
    return {"authorization": f"Bearer {double.key}"}


LLAMA = "/models/meta/meta-llama-3-70b-instruct/predictions"


# -- the official client ----------------------------------------------------------------------------------------------


def test_run_an_official_model_with_prefer_wait(double: VaikerDouble) -> None:
    out = official(double).run("meta/meta-llama-3-70b-instruct", input={"prompt": "to everybody"})
    assert "".join(out) == "You said: to everybody"
    assert [s.headers["prefer"] for s in double.seen("POST", "/predictions$")] == ["wait"]
    assert double.created == 1


def test_run_a_version_and_poll(double: VaikerDouble) -> None:
    version = double.models["acme/prompt-only"].version
    out = official(double).run(f"acme/prompt-only:{version}", input={"prompt": "one two"}, wait=False)
    assert "".join(out) == "You said: one two"
    assert len(double.seen("GET", "/predictions/")) >= 1


def test_stream_with_server_sent_events(double: VaikerDouble) -> None:
    double.will(say=["One", "", "  two", "\nthree\nfour", "é"])
    events = list(official(double).stream("meta/meta-llama-3-70b-instruct", input={"prompt": "x"}))
    assert [e.event.value for e in events] == ["output"] * 5 + ["done"]
    assert [e.data for e in events[:5]] == ["One", "", "  two", "\nthree\nfour", "é"]
    assert double.leaks == double.seen(port="stream")  # that client sends its token there: ours must not


def test_image_files_come_from_another_origin_and_expire(double: VaikerDouble) -> None:
    reference = "stability-ai/sdxl:" + double.models["stability-ai/sdxl"].version
    given = {"prompt": "a boat", "width": 128, "height": 64, "num_outputs": 2}
    out = list(official(double).run(reference, input=given, wait=False))
    assert [media.size_of(httpx.get(url, trust_env=False).content) for url in out] == [("png", 128, 64)] * 2
    assert all(url.startswith(double.origin("files")) for url in out)
    double.retention = 0.0
    assert httpx.get(out[0], trust_env=False).status_code == 404
    gone = official(double).predictions.get(next(iter(double.jobs)))
    assert gone.output is None
    assert http(double).get(f"/predictions/{gone.id}").json()["data_removed"] is True


def test_with_prefer_wait_files_are_data_uris_and_the_status_is_not_terminal(double: VaikerDouble) -> None:
    answer = http(double, prefer="wait=10").post(
        "/models/black-forest-labs/flux-schnell/predictions", json={"input": {"prompt": "x"}}
    )
    assert (answer.status_code, answer.headers["preference-applied"]) == (201, "wait=10")
    body = answer.json()
    assert body["status"] == "processing"
    assert base64.b64decode(body["output"][0].partition(",")[2])[:4] == b"RIFF"


def test_failure_cancel_and_abort(double: VaikerDouble) -> None:
    client = official(double)
    double.will(fail="NSFW content detected. Try running it again, or try a different prompt.")
    with pytest.raises(ModelError, match="NSFW"):
        client.run(
            "vaikerai/hello-world:" + double.models["vaikerai/hello-world"].version, input={"text": "x"}, wait=False
        )
    double.pace = Pace(queue=0.05, token=5)
    running = client.models.predictions.create("meta/meta-llama-3-70b-instruct", input={"prompt": "x y z"})
    running.cancel()
    assert running.status == "canceled"
    again = http(double).post(f"/predictions/{running.id}/cancel")
    assert (again.status_code, again.json()["status"], double.cancelled) == (200, "canceled", 1)
    double.pace = Pace.quick()
    double.will(abort=True)
    aborted = http(double).post(LLAMA, json={"input": {"prompt": "x"}}).json()
    time.sleep(0.05)
    assert http(double).get(f"/predictions/{aborted['id']}").json()["status"] == "aborted"


def test_the_other_resources(double: VaikerDouble) -> None:
    client = official(double)
    assert client.accounts.current().username == "acme"
    assert [h.sku for h in client.hardware.list()] == ["cpu", "gpu-t4", "gpu-a40-small", "gpu-a40-large"]
    assert client.collections.get("super-resolution").models[0].name == "real-esrgan"
    page = client.models.list()
    assert page.next is not None
    assert len(client.models.list(page.next).results) == 5
    assert [m.name for m in client.models.search("hello")] == ["hello-world"]
    model = client.models.get("stability-ai/sdxl")
    assert model.latest_version.openapi_schema["components"]["schemas"]["Input"]["required"] == ["prompt"]
    assert (
        client.models.get("vaikerai/hello-world").versions.list()[0].id == double.models["vaikerai/hello-world"].version
    )
    deployment = client.deployments.get("acme/my-llm")
    done = deployment.predictions.create({"prompt": "x"})
    done.wait()
    assert "".join(done.output) == "You said: x"
    assert done.version.startswith("dp-")
    updated = client.deployments.update("acme", "my-llm", min_instances=1)
    assert (updated.current_release.number, updated.current_release.configuration.min_instances) == (2, 1)
    made = client.models.create("acme", "mine", visibility="private", hardware="cpu")
    training = client.trainings.create(
        model="stability-ai/sdxl", version=double.models["stability-ai/sdxl"].version, input={}, destination="acme/mine"
    )
    while training.status != "succeeded":
        training.reload()
    assert client.models.delete(made.owner, made.name)
    assert client.webhooks.default.secret().key == double.webhook_secret
    assert [p.id for p in client.predictions.list()] == list(reversed(double.jobs))
    assert client.deployments.delete("acme", "my-llm")


def test_official_errors(double: VaikerDouble) -> None:
    with pytest.raises(ReplicateError) as caught:
        official(double, "wrong").accounts.current()
    assert (caught.value.status, caught.value.title) == (401, "Unauthenticated")
    double.credit = False
    with pytest.raises(ReplicateError) as caught:
        official(double).models.predictions.create("meta/meta-llama-3-70b-instruct", input={"prompt": "x"})
    assert (caught.value.status, caught.value.title) == (402, "Insufficient credit")
    assert double.created == 0


# -- strictness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/predictions", {"input": {"text": "x"}}, 422, "version is required"),
        ("/predictions", {"version": "0" * 64, "input": {}}, 422, "does not exist"),
        ("/models/acme/prompt-only/predictions", {"input": {"prompt": "x"}}, 404, "does not exist"),
        (LLAMA, {"input": {"prompt": "x", "max_tokens": 5}}, 422, "max_tokens"),
        (LLAMA, {"input": {"prompt": "x", "top_p": 2}}, 422, "less than"),
        (LLAMA, {"input": {"prompt": 5}}, 422, "Invalid type"),
        (LLAMA, {"input": {}}, 422, "prompt is required"),
        (LLAMA, {"input": {"prompt": "x"}, "model": "y"}, 422, "model"),
        (LLAMA, {"input": {"prompt": "x"}, "webhook": "http://x"}, 422, "HTTPS"),
        (
            "/models/black-forest-labs/flux-schnell/predictions",
            {"input": {"prompt": "x", "aspect_ratio": "7:5"}},
            422,
            "one of",
        ),
        ("/nowhere", {}, 404, "not be found"),
        ("/hardware", {}, 405, "not allowed"),
    ],
)
def test_what_is_wrong_is_refused_and_creates_nothing(
    double: VaikerDouble, path: str, body: object, status: int, text: str
) -> None:
    answer = http(double).post(path, json=body)
    assert answer.status_code == status
    assert text in answer.json()["detail"]
    assert double.created == 0
    assert answer.headers["ratelimit-remaining"].isdigit()


def test_the_vaikerai_preset_knows_only_the_seed() -> None:
    with VaikerDouble(pace=Pace.quick()) as double:
        client = http(double, prefer="wait")
        answer = client.post(LLAMA, json={"input": {"prompt": "x"}})
        assert answer.json()["status"] == "starting"
        assert "preference-applied" not in answer.headers
        assert "output" not in answer.json()  # the seed's creation answer of an official model has none
        found = client.post("/models/search", content="hello", headers={"content-type": "text/plain"})
        assert [m["name"] for m in found.json()["results"]] == ["hello-world"]
        assert (
            client.request("QUERY", "/models", content="x", headers={"content-type": "text/plain"}).status_code == 405
        )
        assert client.get("/files").status_code == 404


def test_rates_are_counted_apart_for_creating_and_reading() -> None:
    with VaikerDouble(creates_per_min=60, reads_per_min=120, pace=Pace.quick()) as double:
        client = http(double)
        statuses = [client.get("/account").status_code for _ in range(4)]
        assert statuses.count(429) >= 1
        refused = client.get("/account")
        if refused.status_code == 429:
            assert refused.json() == {"detail": "Request was throttled. Expected available in 1 second."}
            assert refused.headers["retry-after"] == "1"
        made = client.post(LLAMA, json={"input": {"prompt": "x"}})
        assert made.status_code == 201


def test_times_have_nine_digits_at_creation_and_six_later(double: VaikerDouble) -> None:
    made = http(double).post(LLAMA, json={"input": {"prompt": "x"}}).json()
    later = http(double).get(f"/predictions/{made['id']}").json()
    assert [len(v["created_at"].partition(".")[2]) for v in (made, later)] == [10, 7]


# -- webhooks ---------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_webhooks_are_signed_throttled_and_tricky() -> None:
    async with (
        VaikerDouble(preset="replicate", pace=Pace(queue=0.01, first=0.01, token=0.01), plain_webhooks=True) as double,
        VaikerDouble() as sink,
    ):
        sink.script(*[faults.answer(200, b"")] * 20)
        double.webhook_tricks = {"duplicate", "late"}
        async with ahttp(double) as client:
            body = {
                "input": {"prompt": "a b c d"},
                "webhook": sink.origin() + "/hook",
                "webhook_events_filter": ["start", "output", "completed"],
            }
            made = (await client.post(LLAMA, json=body)).json()
            hooks = await sink.arrived(8, "POST", "/hook")
        events = [hook.headers["webhook-id"].split("_")[2] for hook in hooks]
        assert events == [
            "start",
            "start",
            "output",
            "output",
            "completed",
            "completed",
            "late",
            "late",
        ]  # one output in 0.5 s
        for hook in hooks:
            Webhooks.validate(
                headers=hook.headers, body=hook.body.decode(), secret=WebhookSigningSecret(key=double.webhook_secret)
            )
        assert hooks[0].headers["webhook-id"] == hooks[1].headers["webhook-id"]
        assert json.loads(hooks[4].body)["status"] == "succeeded"
        assert json.loads(hooks[6].body)["status"] == "processing"  # late, and must not reopen the job
        assert all(json.loads(h.body)["id"] == made["id"] for h in hooks)


# -- faults and steps -------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_steps_by_hand_and_a_stream_cut_before_done() -> None:
    async with VaikerDouble(manual=True) as double, ahttp(double) as client:
        double.will(say=["a", "b"])
        made = (await client.post(LLAMA, json={"input": {"prompt": "x"}})).json()
        shown = []
        for _ in range(5):
            got = (await client.get(f"/predictions/{made['id']}")).json()
            shown.append((got["status"], got["output"]))
            double.advance(made["id"])
        assert shown == [
            ("starting", None),
            ("processing", None),
            ("processing", ["a"]),
            ("processing", ["a", "b"]),
            ("succeeded", ["a", "b"]),
        ]
        double.script(faults.without_last(1), port="stream")
        text = (await client.get(made["urls"]["stream"], headers={"accept": "text/event-stream"})).text
        assert "event: output" in text
        assert "event: done" not in text


@pytest.mark.asyncio
async def test_an_accepted_fault_leaves_a_job_behind_and_another_does_not() -> None:
    async with VaikerDouble(pace=Pace.quick()) as double, ahttp(double) as client:
        path = LLAMA
        for fault, made in ((faults.reset(), 0), (faults.reset(accepted=True), 1), (faults.hang_up(accepted=True), 2)):
            double.script(fault)
            with pytest.raises(httpx.TransportError):
                await client.post(path, json={"input": {"prompt": "x"}})
            assert double.created == made
        double.script(faults.hang(accepted=True))
        with pytest.raises(httpx.ReadTimeout):
            await client.post(path, json={"input": {"prompt": "x"}}, timeout=0.1)
        assert await double.requests[-1].over() == "client_closed"
        assert double.created == 3
        async with double.refusing():
            with pytest.raises(httpx.ConnectError):
                await client.get("/account")
        assert (await client.get("/account")).status_code == 200

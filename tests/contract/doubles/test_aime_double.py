"""The AIME double behaves as the server that was probed, and refuses what that server refuses. There is no official client
package to hold against it; the field names below were read off real answers."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from fakes.doubles import faults, media
from fakes.doubles.aime import AimeDouble
from fakes.doubles.clockwork import Pace


def context(*texts: str) -> str:
    return json.dumps([{"role": "user", "content": text} for text in texts])


@pytest_asyncio.fixture(loop_scope="function")
async def double() -> AsyncIterator[AimeDouble]:
    async with AimeDouble(manual=True) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="function")
async def client(double: AimeDouble) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=double.base_url, trust_env=False) as made:
        yield made


def outside(double: AimeDouble) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=double.base_url, trust_env=False)


def ask(double: AimeDouble, **more: Any) -> dict[str, Any]:
    return {"key": double.key, "chat_context": context("one two three"), "wait_for_result": False} | more


async def look(client: httpx.AsyncClient, double: AimeDouble, job: str, endpoint: str = "lab_chat") -> dict[str, Any]:
    got = await client.get(f"/{endpoint}/progress", params={"key": double.key, "job_id": job})
    return dict(got.json())


@pytest.mark.asyncio
async def test_a_chat_from_queue_to_result_which_is_delivered_once(
    double: AimeDouble, client: httpx.AsyncClient
) -> None:
    job = (await client.post("/lab_chat", json=ask(double))).json()
    assert (job["success"], job["ep_version"]) == (True, 3)
    assert job["job_id"].endswith("#1")
    queued = await look(client, double, job["job_id"])
    assert (queued["job_state"], queued["progress"]["queue_position"], queued["progress"]["progress_data"]) == (
        "queued",
        0,
        {},
    )
    texts = []
    for _ in range(7):
        double.advance(double.jobs[job["job_id"]])
        got = await look(client, double, job["job_id"])
        if got["job_state"] == "done":
            break
        assert got["progress"]["auth_key"] == double.worker_secret  # the trap: a secret of the worker
        texts.append(got["progress"]["progress_data"]["text"])
    assert texts == ["", "You", "You said:", "You said: one", "You said: one two", "You said: one two three"]
    assert "progress" not in got
    result = got["job_result"]
    assert (result["text"], result["num_generated_tokens"], result["model_name"]) == (
        "You said: one two three",
        5,
        "dummy",
    )
    assert result["current_context_length"] == result["prompt_length"] + 5
    again = await look(client, double, job["job_id"])
    assert (again["job_state"], "job_result" in again) == ("done", False)


@pytest.mark.asyncio
async def test_a_lost_poll_loses_the_result(double: AimeDouble, client: httpx.AsyncClient) -> None:
    job = (await client.post("/lab_chat", json=ask(double))).json()["job_id"]
    double.advance(double.jobs[job], 99)
    double.script(faults.reset(accepted=True), path="progress")
    with pytest.raises(httpx.TransportError):
        await look(client, double, job)
    assert "job_result" not in await look(client, double, job)


@pytest.mark.asyncio
async def test_an_unencoded_hash_is_lost_and_the_job_unknown(double: AimeDouble, client: httpx.AsyncClient) -> None:
    job = (await client.post("/lab_chat", json=ask(double))).json()["job_id"]
    raw = await client.get(
        f"/lab_chat/progress?key={double.key}&job_id={job}"
    )  # httpx drops the fragment, as any client
    assert raw.status_code == 402
    assert raw.json()["error"] == [f"Client has no active request with this job id {job.partition('#')[0]}"]
    other = await client.get("/flux-dev/progress", params={"key": double.key, "job_id": job})
    assert other.status_code == 402


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"bogus": 1}, "Invalid input parameter(s): bogus"),
        ({"temperature": 1.5}, "Parameter temperature = 1.5 is too high. Max supported value is 1.0"),
        ({"max_gen_tokens": 0}, "too low"),
        ({"chat_context": [{"role": "user", "content": "x"}]}, "wrong type"),
        ({"chat_context": json.dumps([{"role": "tool", "content": "x"}])}, "not a valid chat context"),
        ({"chat_context": "hello"}, "not a valid chat context"),
        ({"top_k": True}, "wrong type"),
    ],
)
async def test_parameters_are_checked(
    double: AimeDouble, client: httpx.AsyncClient, change: dict[str, Any], text: str
) -> None:
    answer = await client.post("/lab_chat", json=ask(double, **change))
    assert answer.status_code == 400
    assert any(text in error for error in answer.json()["error"])
    assert double.created == 0


@pytest.mark.asyncio
async def test_keys_sessions_and_their_failures(double: AimeDouble, client: httpx.AsyncClient) -> None:
    bad = await client.get("/lab_chat/login", params={"key": "wrong"})
    assert (bad.status_code, bad.json()) == (200, {"success": False, "error": "Key not valid"})
    refused = await client.post("/lab_chat", json=ask(double, key="wrong"))
    assert (refused.status_code, refused.json()["error"]) == (401, ["Key not valid"])
    nobody = await client.post("/lab_chat", json={"chat_context": context("x"), "wait_for_result": False})
    assert nobody.status_code == 401
    session = (await client.get("/lab_chat/login", params={"key": double.key, "version": "x"})).json()[
        "client_session_auth_key"
    ]
    body = {"client_session_auth_key": session, "chat_context": context("x"), "wait_for_result": False}
    job = (await client.post("/lab_chat", json=body)).json()["job_id"]
    # Only who asked may look.
    assert (await client.get("/lab_chat/progress", params={"key": double.key, "job_id": job})).status_code == 402
    params = {"client_session_auth_key": session, "job_id": job}
    assert (await client.get("/lab_chat/progress", params=params)).json()["job_state"] == "queued"


@pytest.mark.asyncio
async def test_queue_positions_a_full_queue_and_nobody_online() -> None:
    async with AimeDouble(max_queue=2, workers=0) as double, outside(double) as client:
        jobs = [(await client.post("/lab_chat", json=ask(double))).json()["job_id"] for _ in range(2)]
        full = await client.post("/lab_chat", json=ask(double))
        assert (full.status_code, full.json()["error"]) == (400, "Job queue reached max length 2!")
        shown = [(await look(client, double, job))["progress"] for job in jobs]
        assert [s["estimate"] for s in shown] == [-1, -1]
        assert {s["num_workers_online"] for s in shown} == {0}
        assert double.created == 2
    async with AimeDouble(pace=Pace(queue=0, first=0.05, token=0.05)) as double, outside(double) as client:
        jobs = [(await client.post("/lab_chat", json=ask(double))).json()["job_id"] for _ in range(3)]
        await asyncio.sleep(0.02)
        shown = [await look(client, double, job) for job in jobs]
        assert [s["job_state"] for s in shown] == ["processing", "queued", "queued"]
        assert [s["progress"]["queue_position"] for s in shown] == [0, 0, 1]


@pytest.mark.asyncio
async def test_worker_errors_lapses_and_rewritten_tails(double: AimeDouble, client: httpx.AsyncClient) -> None:
    double.will(fail="CUDA out of memory. Tried to allocate 2 GiB")
    double.will(lapse=True)
    double.will(shown=["Hello wor", "Hello, w", "Hello, world"])
    failed, lapsed, rewritten = [(await client.post("/lab_chat", json=ask(double))).json()["job_id"] for _ in range(3)]
    for job in (failed, lapsed):
        double.advance(double.jobs[job], 99)
    got = await look(client, double, failed)
    assert (got["success"], got["job_state"], "text" in got["job_result"]) == (True, "done", False)
    assert got["job_result"]["error"].startswith("CUDA")
    gone = await client.get("/lab_chat/progress", params={"key": double.key, "job_id": lapsed})
    assert (gone.status_code, gone.json()["job_state"]) == (400, "lapsed")
    double.advance(double.jobs[rewritten], 2)
    first = (await look(client, double, rewritten))["progress"]["progress_data"]["text"]
    double.advance(double.jobs[rewritten])
    assert not (await look(client, double, rewritten))["progress"]["progress_data"]["text"].startswith(first)


@pytest.mark.asyncio
async def test_images_and_speech(double: AimeDouble, client: httpx.AsyncClient) -> None:
    body = {
        "key": double.key,
        "prompt": "a boat",
        "width": 256,
        "height": 128,
        "num_samples": 2,
        "wait_for_result": False,
    }
    job = (await client.post("/flux-dev", json=body)).json()["job_id"]
    double.advance(double.jobs[job], 3)
    under_way = await look(client, double, job, "flux-dev")
    assert (under_way["progress"]["progress"], len(under_way["progress"]["progress_data"]["progress_images"])) == (
        50,
        1,
    )
    double.advance(double.jobs[job], 99)
    images = (await look(client, double, job, "flux-dev"))["job_result"]["images"]
    assert [media.size_of(base64.b64decode(i.partition(",")[2])) for i in images] == [("jpeg", 256, 128)] * 2
    spoken = {"key": double.key, "text": "Hello", "wait_for_result": False}
    job = (await client.post("/tts_tortoise", json=spoken)).json()["job_id"]
    double.advance(double.jobs[job], 99)
    sound = (await look(client, double, job, "tts_tortoise"))["job_result"]["audio_output"]
    assert base64.b64decode(sound.partition(",")[2])[:4] == b"RIFF"


@pytest.mark.asyncio
async def test_the_old_interface_of_the_seed() -> None:
    async with AimeDouble(old=True, manual=True) as double, outside(double) as client:
        job = (await client.post("/lab_chat", json=ask(double))).json()["job_id"]
        assert job == "JID1"
        double.advance(double.jobs[job], 99)
        got = await look(client, double, job)
        assert (got["progress"]["progress"], got["job_result"]["text"]) == (100, "You said: one two three")


def test_waiting_for_the_result_fails_the_test_that_does_it() -> None:
    answers: list[str] = []

    def harm(**more: Any) -> None:
        with AimeDouble(pace=Pace.quick()) as double:
            body = {k: v for k, v in ask(double, **more).items() if v is not None}
            with httpx.Client(base_url=double.base_url, trust_env=False) as client:
                answers.append(client.post("/lab_chat", json=body).json()["text"])

    for value in (True, None):
        with pytest.raises(AssertionError, match="harms a worker"):
            harm(wait_for_result=value)
    assert answers == ["You said: one two three"] * 2


@pytest.mark.asyncio
async def test_descriptions_routes_and_methods(double: AimeDouble, client: httpx.AsyncClient) -> None:
    shown = (await client.get("/api/endpoints/lab_chat", params={"key": double.key})).json()
    assert shown["parameter_description"]["input"]["temperature"]["maximum"] == 1.0
    assert (shown["max_queue_length"], shown["free_queue_slots"], shown["num_active_workers"]) == (20, 20, 1)
    assert (await client.get("/api/endpoints", params={"key": double.key})).json()["endpoints"][0] == "lab_chat"
    assert (await client.get("/api/validate_key", params={"key": "x"})).json()["success"] is False
    nowhere = await client.post("/nope", json={})
    assert (nowhere.status_code, nowhere.json()["message"]) == (404, "Requested URL /nope not found")
    assert (await client.delete("/lab_chat")).status_code == 405
    broken = await client.post("/lab_chat", content=b"{", headers={"content-type": "application/json"})
    assert broken.json()["message"] == "Failed when parsing body as json"
    assert (await client.post("/v1/chat/completions", json={})).status_code == 500

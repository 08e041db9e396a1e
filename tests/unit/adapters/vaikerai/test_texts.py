"""The text of a prediction: out of its event stream while that holds, by polling behind it, and never twice."""

import asyncio
from typing import Any

import msgspec
import pytest

from adapters.options import VaikerAIOptions
from adapters.vaikerai import texts
from adapters.vaikerai.adapter import build
from adapters.vaikerai.texts import EventReader, Told
from fakes.calls import chat_call, drained
from fakes.doubles import faults
from fakes.doubles.clockwork import Pace
from fakes.doubles.vaikerai import VaikerDouble
from fakes.predictions import predicting
from fakes.rawserver import Peer, RawServer, answer
from proxy.call import Target, UsageSource
from proxy.errors import Fault, UpstreamError
from proxy.stream import events

LLAMA = Target("up", "meta/meta-llama-3-70b-instruct")
SLOW = Pace(queue=0.02, first=0.02, token=0.1, image=0.02)
SAYS = ["One", "", "  two", "\nthree\nfour", "é 渡し船", " end"]

pytestmark = pytest.mark.asyncio


def text_in(frames: bytes) -> str:
    chunks = [msgspec.json.decode(e.data) for e in events(frames) if e.data not in (None, b"[DONE]")]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])


def reads(double: VaikerDouble) -> int:
    return len(double.seen("GET", "/predictions/"))


async def test_events_become_deltas_and_one_read_gives_the_counts() -> None:
    async with predicting() as (double, upstream):
        double.will(say=SAYS, logs="loading\n")
        reply = await upstream.open(chat_call(LLAMA, stream=True), LLAMA)
        assert text_in(await drained(reply)) == "".join(SAYS)
        assert reply.usage is not None
        assert (reply.usage.completion_tokens, reply.usage.source) == (len(SAYS), UsageSource.UPSTREAM)
        assert len(double.seen("GET", port="stream")) == 1
        assert reads(double) <= 2
        assert double.seen("POST", "/predictions$")[0].json["stream"] is True
        assert (upstream.engine.in_flight, double.cancelled) == (0, 0)


async def test_a_character_cut_in_two_arrives_whole() -> None:
    async with predicting() as (double, upstream):
        double.will(say=SAYS)
        double.script(faults.shred(), port="stream")
        reply = await upstream.open(chat_call(LLAMA, stream=True), LLAMA)
        assert text_in(await drained(reply)) == "".join(SAYS)


BREAKS = {
    "cut": faults.cut(150),
    "reset": faults.cut(150, end="reset"),
    "no done": faults.without_last(1),
    "missing events": faults.without_last(3),
    "twice": faults.duplicated(1),
    "out of turn": faults.swapped(1),
    "an error of its own": faults.inserted(2, b'event: error\nid: 9:2\ndata: {"detail": "x"}\n\n'),
    "garbage": faults.inserted(1, b"\xff\xfe nonsense\n\n"),
    "404": faults.answer(404, {"detail": "no"}),
    "no event stream": faults.answer(200, {"detail": "no"}),
    "refused": faults.reset(),
    "redirect": faults.redirect("http://169.254.169.254/latest/meta-data"),
}


@pytest.mark.parametrize("fault", BREAKS.values(), ids=BREAKS.keys())
async def test_whatever_happens_to_the_stream_the_text_is_whole_and_said_once(fault: Any) -> None:
    async with predicting() as (double, upstream):
        double.will(say=SAYS)
        double.script(fault, port="stream")
        reply = await upstream.open(chat_call(LLAMA, stream=True), LLAMA)
        assert text_in(await drained(reply)) == "".join(SAYS)
        assert double.unused_faults == 0
        assert reply.usage is not None
        assert reply.usage.source is UsageSource.UPSTREAM
        assert upstream.engine.in_flight == 0


@pytest.mark.parametrize("fate", [{"fail": "E1001 out of memory"}, {"abort": True}])
async def test_a_bad_end_is_told(fate: dict[str, Any]) -> None:
    async with predicting() as (double, upstream):
        double.will(**fate)
        with pytest.raises(UpstreamError) as caught:
            await drained(await upstream.open(chat_call(LLAMA, stream=True), LLAMA))
        assert caught.value.fault is Fault.SERVER
        assert upstream.engine.in_flight == 0


async def test_a_stream_that_falls_silent_ends_with_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The safety net sees that the job is over, and the text comes out of what it saw."""
    monkeypatch.setattr("adapters.job_pace.HINTED_S", 0.2)
    async with predicting() as (double, upstream):
        double.will(say=SAYS)
        double.script(faults.paused(2, 30.0), port="stream")
        async with asyncio.timeout(5):
            reply = await upstream.open(chat_call(LLAMA, stream=True), LLAMA)
            assert text_in(await drained(reply)) == "".join(SAYS)


async def test_hosts_that_are_not_listed_are_not_followed() -> None:
    async with predicting({"stream_hosts": ("stream.replicate.com",)}) as (double, upstream):
        reply = await upstream.open(chat_call(LLAMA, stream=True), LLAMA)
        assert text_in(await drained(reply)) == "You said: hello"
        assert double.seen(port="stream") == []


async def test_counts_that_do_not_come_are_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "COUNTS_S", 0.3)
    async with predicting() as (double, upstream):
        double.will(say=SAYS)
        for _ in range(20):
            double.script(faults.html_502(), method="GET", path="/predictions/")
        reply = await upstream.open(chat_call(LLAMA, stream=True), LLAMA)
        assert text_in(await drained(reply)) == "".join(SAYS)
        assert reply.usage is not None
        assert reply.usage.source is not UsageSource.UPSTREAM


async def test_a_client_that_leaves_closes_the_stream_and_cancels() -> None:
    async with predicting(pace=SLOW) as (double, upstream):
        double.will(say=[f" {n}" for n in range(100)])
        reply = await upstream.open(chat_call(LLAMA, stream=True), LLAMA)
        assert await reply.next()
        reply.close()
        async with asyncio.timeout(0.5):
            await double.arrived(1, "POST", "/cancel$")
            while double.seen(port="stream")[0].ended != "client_closed":  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.005)
        assert double.created == 1


async def test_the_token_goes_to_the_stream_only_where_it_is_the_apis_own_origin() -> None:
    script: list[str] = []

    async def serve(peer: Peer) -> None:
        while True:
            heard = await peer.request()
            script.append(f"{heard.method} {heard.target} {heard.header('authorization')}")
            if heard.target == "/v1/stream":
                body = b"event: output\nid: 1:0\ndata: hi\n\nevent: done\nid: 1:1\ndata: {}\n\n"
                await peer.send(answer(body, "200 OK", "content-type: text/event-stream"))
            elif heard.method == "POST":
                urls = f'{{"stream": "{server.url}/v1/stream"}}'
                await peer.send(answer(f'{{"id": "p1", "status": "starting", "urls": {urls}}}'.encode(), "201 Created"))
            elif "/predictions/" in heard.target:
                await peer.send(answer(b'{"id": "p1", "status": "succeeded", "output": ["hi"]}'))
            else:
                await peer.send(answer(b'{"latest_version": null, "owner": "o"}'))

    async with RawServer(serve) as server:
        made = build("up", VaikerAIOptions(base_url=f"{server.url}/v1", api_key="k", stream_hosts=(server.url,)))
        try:
            target = Target("up", "o/n")
            assert text_in(await drained(await made.open(chat_call(target, stream=True), target))) == "hi"
        finally:
            await made.aclose()
    assert "GET /v1/stream ['Bearer k']" in script


async def test_events_are_read_as_the_standard_says() -> None:
    reader = EventReader()
    assert reader.feed(b"event: output\nid: 12:3\ndata:  the\n") == []
    assert reader.feed(b"\n: comment\n\nevent: output\ndata: a\ndata:\ndata: b\n\ndata") == [
        Told("output", " the", 3),
        Told("", "", None),
        Told("output", "a\n\nb", None),
    ]

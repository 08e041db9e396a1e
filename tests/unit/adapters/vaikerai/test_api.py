"""The exchanges with a predictions API."""

import asyncio
from typing import Any

import pytest

from adapters.options import VaikerAIOptions
from adapters.vaikerai import api as exchanges
from adapters.vaikerai.adapter import build
from adapters.vaikerai.reference import Reference
from adapters.vaikerai.schema import UNKNOWN
from fakes.doubles import faults
from fakes.predictions import predicting
from fakes.rawserver import Peer, RawServer, answer
from proxy.errors import Fault, UpstreamError

pytestmark = pytest.mark.asyncio


async def test_what_a_model_takes_is_asked_once_however_many_ask() -> None:
    async with predicting() as (double, upstream):
        api = upstream._api
        references = [Reference("acme/prompt-only"), Reference("deployment:acme/my-llm")] * 10
        found = await asyncio.gather(*(api.model(reference) for reference in references))
        assert {frozenset(model.inputs) for model in found} == {frozenset({"prompt", "max_tokens", "temperature"})}
        assert len(double.seen("GET", "/models/acme/prompt-only$")) == 1
        assert len(double.seen("GET", "/deployments/")) == 1
        assert len(double.seen("GET", "/versions/")) == 1


async def test_a_bare_version_has_nobody_to_ask() -> None:
    async with predicting() as (double, upstream):
        assert await upstream._api.model(Reference("0" * 64)) is UNKNOWN
        assert double.requests == []


async def test_a_model_that_is_not_there_is_asked_again() -> None:
    async with predicting() as (double, upstream):
        for _ in range(2):
            with pytest.raises(UpstreamError) as caught:
                await upstream._api.model(Reference("no/body"))
            assert caught.value.fault is Fault.MISSING
        assert len(double.seen("GET", "/models/no/body")) == 2


async def test_what_was_asked_is_no_place_to_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "MAX_MODELS", 2)
    async with predicting() as (_, upstream):
        for name in ("acme/prompt-only", "acme/poll-only", "acme/speech", "acme/embedder"):
            await upstream._api.model(Reference(name))
        assert len(upstream._api._models) <= 3


@pytest.mark.parametrize("fault", [faults.garbage_json(), faults.empty_200(), faults.answer(200, [1, 2])])
async def test_what_is_no_object(fault: Any) -> None:
    async with predicting() as (double, upstream):
        double.script(fault, path="/account")
        with pytest.raises(UpstreamError) as caught:
            await upstream._api.ask("GET", "/account")
        assert caught.value.fault is Fault.MALFORMED


async def test_of_the_next_page_only_the_cursor_is_believed() -> None:
    """Its URL may lead anywhere."""

    async def serve(peer: Peer) -> None:
        while True:
            heard = await peer.request()
            more = b'"http://169.254.169.254/x?cursor=c%26d"' if "cursor" not in heard.target else b"null"
            await peer.send(answer(b'{"results": [{"a": 1}, 5], "next": ' + more + b"}"))

    async with RawServer(serve) as server:
        made = build("up", VaikerAIOptions(base_url=f"{server.url}/v1", api_key="k"))
        try:
            assert [row async for row in made._api.listed("/models")] == [{"a": 1}] * 2
        finally:
            await made.aclose()
    assert [heard.target for heard in server.heard] == ["/v1/models", "/v1/models?cursor=c%26d"]


async def test_pages_end() -> None:
    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer(b'{"results": [{"a": 1}], "next": "http://x/?cursor=c"}'))

    async with RawServer(serve) as server:
        made = build("up", VaikerAIOptions(base_url=server.url, api_key="k"))
        try:
            assert len([row async for row in made._api.listed("/models")]) == exchanges.MAX_PAGES
        finally:
            await made.aclose()


async def test_an_upload_that_gives_no_file() -> None:
    async with predicting(preset="replicate") as (double, upstream):
        double.script(faults.answer(201, {"id": "f"}), path="/files")
        with pytest.raises(UpstreamError) as caught:
            await upstream._api.upload(b"x", "image/png")
        assert caught.value.fault is Fault.MALFORMED

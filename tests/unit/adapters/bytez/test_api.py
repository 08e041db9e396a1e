"""Exchanges with Bytez, and running a model once."""

import base64
from typing import Any

import pytest

from adapters.bytez.api import output_of
from fakes.bytezes import bytez
from fakes.doubles import faults
from proxy.errors import Fault, UpstreamError

EMBEDS = "nomic-ai/nomic-embed-text-v1.5"


@pytest.mark.asyncio
async def test_a_run_is_sent_once_with_the_key_and_the_operators_parameters() -> None:
    async with bytez({"inputs": {EMBEDS: {"do_sample": False}}}) as (double, upstream):
        assert len(await _run(upstream, EMBEDS, "hello")) == 16
        (seen,) = double.seen("POST")
        assert seen.path == f"/models/v2/{EMBEDS}"
        assert seen.headers["authorization"] == f"Key {double.key}"
        assert seen.json == {"text": "hello", "params": {"do_sample": False}}


async def _run(upstream: Any, model: str, text: str) -> Any:
    from adapters.bytez.api import Serverless

    return await Serverless(upstream._api).run(model, text)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "kind", "accepted"),
    [
        (faults.answer(200, {"error": "CUDA out of memory", "output": None}), Fault.SERVER, True),
        (faults.answer(200, {"error": None, "output": None}), Fault.MALFORMED, True),
        (faults.garbage_json(), Fault.MALFORMED, True),
        (faults.answer(401, {"error": "Unauthorized", "output": None}), Fault.AUTH, False),
        (faults.answer(402, {"status": 402, "error": "Payment Required", "message": "no"}), Fault.BALANCE, False),
        (faults.answer(404, {"error": "Model not found"}), Fault.MISSING, False),
        (faults.answer(404, {"error": "The model is loading"}), Fault.OVERLOADED, False),
        (faults.answer(500, {"error": "Internal", "output": None}), Fault.SERVER, False),
        (faults.html_502(), Fault.SERVER, None),
        (faults.reset(accepted=True), Fault.CUT, None),
    ],
)
async def test_what_refusals_mean(fault: faults.Fault, kind: Fault, accepted: bool | None) -> None:
    async with bytez() as (double, upstream):
        double.script(fault)
        with pytest.raises(UpstreamError) as caught:
            await _run(upstream, EMBEDS, "x")
        assert (caught.value.fault, caught.value.accepted) == (kind, accepted)


@pytest.mark.asyncio
async def test_when_a_place_is_free_again() -> None:
    async with bytez() as (double, upstream):
        double.script(faults.throttled(7))
        with pytest.raises(UpstreamError) as caught:
            await _run(upstream, EMBEDS, "x")
        assert caught.value.retry_after_s == 7


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        ({"output_png": base64.b64encode(b"png").decode()}, b"png"),
        ({"output_wav": base64.b64encode(b"wav").decode()}, b"wav"),
        ({"output": [[1.0, 2.0]]}, [1.0, 2.0]),
        ({"output": [{"generated_text": "x"}]}, {"generated_text": "x"}),
    ],
)
def test_v1s_outputs(answer: Any, output: Any) -> None:
    assert output_of(answer, "up") == output


@pytest.mark.parametrize("answer", [None, [], {}, {"output": []}, {"output": "x"}, {"output_png": "!"}])
def test_what_is_no_output(answer: Any) -> None:
    with pytest.raises(UpstreamError):
        output_of(answer, "up")

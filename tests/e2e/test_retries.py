"""An answer that is lost on its way, at every byte, and an SDK that asks again: paid once."""

import asyncio
import json
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from fakes.accounts import Keyed, keyed
from fakes.cutting import Cutting, cutting
from fakes.evil import EvilThread, evil_thread
from fakes.gateway import upstream

AT_ONCE = 12
NODE = Path(__file__).with_name("node") / "node_modules" / "openai"


@pytest.fixture(scope="module", params=[0.0, 0.03], ids=["burst", "paced"])
def double(request: pytest.FixtureRequest) -> Iterator[EvilThread]:
    with evil_thread(models=("*",), api_key="upstream-secret-key", pace=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def gate(double: EvilThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    priced = upstream(double.url) + "pricing = {input_usd = 1.0, output_usd = 2.0}\n[routing]\nretries = 0\n"
    patient = "[server]\nretry_hold_s = 10\n"  # a machine of two cores pauses for longer than a network
    with keyed(tmp_path_factory.mktemp("books"), patient, toml=priced) as running:
        yield running


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's own half a second would only make this longer."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.02)


def asked(name: str, stream: bool) -> dict[str, Any]:
    return {"model": "m", "stream": stream, "messages": [{"role": "user", "content": f"{name} one two three"}]}


async def ask(client: openai.AsyncOpenAI, name: str, stream: bool) -> str:
    """The answer's text; "cut" for a stream that broke off after its head, which no SDK retries."""
    answer: Any = await client.chat.completions.create(**asked(name, stream))
    if not stream:
        return str(answer.choices[0].message.content)
    text = ""
    try:
        async for chunk in answer:
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
    except (openai.APIError, httpx2.TransportError):  # the SDK hands on what its HTTP library raises in the middle
        return "cut"
    return text


def whole_length(proxy: Cutting, client_of: Any, stream: bool) -> tuple[int, int]:
    """Bytes of the head, and of the whole answer, give or take a digit."""

    async def one() -> None:
        async with client_of() as client:
            await ask(client, "cut-9999-xx", stream)

    asyncio.run(one())
    seen = proxy.seen[b"cut-9999-xx"]
    return seen.index(b"\r\n\r\n") + 4, len(seen)


@pytest.mark.parametrize("rude", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_answer_dropped_at_any_byte_is_paid_once(gate: Keyed, double: EvilThread, stream: bool, rude: bool) -> None:
    tag = f"{'s' if stream else 'w'}{'r' if rude else 'f'}"

    def client_of() -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=proxy.v1, api_key=gate.user, max_retries=2, timeout=20)

    async def all_of(cuts: list[int]) -> list[str]:
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(client: openai.AsyncOpenAI, cut: int) -> str:
            async with turn:
                return await ask(client, f"cut-{cut:04}-{tag}", stream)

        async with client_of() as client:
            return await asyncio.gather(*(one(client, cut) for cut in cuts))

    with cutting(gate.port, rude=rude) as proxy:
        head, size = whole_length(proxy, client_of, stream)
        cuts = [*range(head - 8), *range(head + 8, size - 8, 7)] if stream else list(range(size - 8))
        if rude or double_is_paced(double):
            cuts = cuts[:: 3 if stream else 5]  # the other test goes through every byte
        before, calls = len(gate.rows()), len(double.exchanges)
        texts = asyncio.run(all_of(cuts))
        tries = [proxy.tries[f"cut-{cut:04}-{tag}".encode()] for cut in cuts]
    rows = settled(gate, before + len(cuts))[before:]
    odd = [row for row in rows if row["ending"] not in ("finished", "cancelled") or not row["amount_micro"]]
    assert odd == [], "the upstream failed nobody, and each call cost something"
    for cut, text, tried in zip(cuts, texts, tries, strict=True):
        if stream and cut >= head:
            assert tried == 1, "the head was there: nobody asks again"
        else:
            assert tried == 2
            assert text.endswith("aboard."), (cut, text)
    asks = Counter(re.search(rb"cut-\d+-\w+", exchange.body)[0] for exchange in double.exchanges[calls:])
    assert {name: count for name, count in asks.items() if count != 1} == {}
    assert len(asks) == len(cuts)
    assert len(rows) == len(cuts)
    again = [row["ending"] for row in rows]
    assert Counter(again)["finished"] >= sum(1 for cut in cuts if not stream or cut < head)


@pytest.mark.skipif(
    shutil.which("node") is None or not NODE.is_dir(), reason="needs node and `npm ci` in tests/e2e/node"
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_node_sdk_pays_once_as_well(gate: Keyed, double: EvilThread, stream: bool) -> None:
    """It asks again where the head was cut, and says so where the body was."""
    rows, calls = len(gate.rows()), len(double.exchanges)
    with cutting(gate.port) as proxy:
        names = [f"cut-{cut:04}-n{int(stream)}" for cut in (0, 1, 40, 120, 450)]
        script = NODE.parent.parent / "retry.mjs"
        command = ["node", str(script), proxy.v1, gate.user, "stream" if stream else "whole", *names]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        seen = json.loads(done.stdout)
        tries = [proxy.tries[name.encode()] for name in names]
    assert all(text.endswith("aboard.") for text in seen[:4])
    assert tries[:4] == [2] * 4
    assert len(settled(gate, rows + len(names))) == rows + len(names)
    assert len(double.exchanges) - calls == len(names)


def double_is_paced(double: EvilThread) -> bool:
    return double._mock.options.pace > 0


def settled(gate: Keyed, count: int) -> list[dict[str, Any]]:
    """The rows, once calls that were left have been booked."""
    deadline = time.monotonic() + 5
    while (gate.house().gate.running or len(gate.rows()) < count) and time.monotonic() < deadline:
        time.sleep(0.02)
    return gate.rows()

"""One fault suite for the transports: whatever an upstream's socket does, an answer is complete or it is an error.

Each scenario runs over real sockets against byte-exact scripts, over our own transport on uvloop and on asyncio, over
httpx-aiohttp's and over httpx's own. This part: answers that are not.
"""

import asyncio
import contextlib
import random
import socket
from collections.abc import Awaitable, Callable

import pytest

from adapters._http import HttpClient, HttpResponse, Timeouts, TransportError
from fakes.rawserver import CHUNKED, ClientGone, Peer, chunk
from fakes.transport_lines import ALL, AT_ONCE_S, FAST, NATIVE, Line, over, post, talk, whole
from fakes.wires import ANY_CUT, BAD_BODY, BAD_HEAD, GOOD, LENIENT, LENIENT_BODY, Bad


def misbehave(bad: Bad) -> Callable[[Peer], Awaitable[None]]:
    async def script(peer: Peer) -> None:
        await peer.request()
        with contextlib.suppress(ClientGone):
            await peer.send(bad.wire)
        if bad.end == "reset":
            peer.reset()
        elif bad.end == "wait":
            await peer.gone.wait()

    return script


@pytest.mark.parametrize("case", BAD_HEAD)
@over(*ALL)
async def test_a_bad_head_is_an_error(line: Line, case: str) -> None:
    """It is said which, the request counts as sent, and the connection is closed."""
    bad = BAD_HEAD[case]
    async with talk(line, misbehave(bad)) as (server, client):
        if case in LENIENT.get(line.transport, ()):  # it may pass there, but it must come to an end of either kind
            with contextlib.suppress(TransportError):
                await post(client)
            return
        with pytest.raises(TransportError) as caught:
            await post(client)
        assert caught.value.kind in (bad.kinds if line.native else bad.kinds | bad.elsewhere)
        assert caught.value.sent
        assert server.accepted == 1
        if line.native:
            assert caught.value.response_started == bool(bad.wire)
            await asyncio.wait_for(server.peers[0].gone.wait(), AT_ONCE_S)


@pytest.mark.parametrize("case", BAD_BODY)
@over(*ALL)
async def test_a_cut_body_is_an_error_after_its_last_byte(line: Line, case: str) -> None:
    """Never a clean end; what had come before is handed over first; the error stays."""
    bad, body = BAD_BODY[case]
    async with talk(line, misbehave(bad)) as (server, client):
        if case in LENIENT_BODY.get(line.transport, ()):  # as above
            with contextlib.suppress(TransportError):
                await post(client)
            return
        got = b""
        response: HttpResponse | None = None
        with pytest.raises(TransportError) as caught:  # noqa: PT012  wherever in it
            response = await client.send("POST", "/x", content=b"{}")
            while data := await response.chunk():
                got += data
        assert caught.value.kind in (bad.kinds if line.native else bad.kinds | bad.elsewhere)
        assert caught.value.sent
        if line.native:
            assert caught.value.response_started
            assert got == body
            assert response is not None
            if "gzip" not in case:
                with pytest.raises(TransportError, match=caught.value.kind):
                    await response.chunk()
        else:
            assert body.startswith(got)
        async with asyncio.timeout(1 if not line.native else AT_ONCE_S):
            if response is not None:
                response.close()
            if bad.end == "wait" and "gzip" not in case:
                await server.peers[0].gone.wait()


@over(*ALL)
async def test_a_reset_in_the_body_is_an_error(line: Line) -> None:
    """The reset comes when the reader has had the first bytes."""
    had = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"abc"))
        await had.wait()
        peer.reset()

    async with talk(line, script) as (_, client):
        response = await client.send("POST", "/x")
        assert await response.chunk() == b"abc"
        had.set()
        with pytest.raises(TransportError) as caught:
            await response.chunk()
        assert caught.value.kind in ({"reset"} if line.native else ANY_CUT)
        assert caught.value.response_started
        response.close()


@over(*ALL)
async def test_a_refused_connection(line: Line) -> None:
    """Nothing was sent, and it says so."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        client = HttpClient(f"http://127.0.0.1:{port}", transport=line.transport, timeouts=FAST)  # type: ignore[arg-type]
        with pytest.raises(TransportError) as caught:
            await post(client)
        assert (caught.value.kind, caught.value.sent, caught.value.response_started) == ("connect", False, False)
        await client.aclose()


@over(*ALL)
async def test_a_name_that_does_not_resolve(line: Line) -> None:
    """`.invalid` never does."""
    client = HttpClient("http://no-such-host.invalid", transport=line.transport, timeouts=FAST)  # type: ignore[arg-type]
    with pytest.raises(TransportError) as caught:
        await post(client)
    assert caught.value.kind in ("connect", "connect_timeout")
    assert not caught.value.sent
    await client.aclose()


@over(*NATIVE, "aiohttp")
async def test_five_hundred_random_faults_leak_nothing(line: Line) -> None:
    """Each call ends complete, failed or cancelled; sockets, tasks, slots and waiters are all gone afterwards."""
    dice = random.Random(20261121)
    wires = [w for w, _, _ in GOOD.values()] + [b.wire[:2000] for b, _ in BAD_BODY.values()]
    wires += [b.wire[:2000] for b in BAD_HEAD.values()]

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            wire = dice.choice(wires)
            cut = dice.randrange(len(wire) + 1)
            await peer.send(wire[:cut])
            await asyncio.sleep(dice.choice([0, 0, 0.002]))
            end = dice.random()
            if end < 0.2:
                return peer.reset()
            if end < 0.4:
                return None
            if end < 0.9:
                await peer.send(wire[cut:])

    clocks = Timeouts(connect_s=2, first_byte_s=0.1, between_bytes_s=0.1, total_s=0.5, pool_s=1.0)
    ends: dict[str, int] = {}
    async with talk(line, script, max_connections=8, timeouts=clocks) as (server, client):

        async def one() -> None:
            try:
                async with await client.send("POST", "/x", content=b"{}") as response:
                    if dice.random() < 0.1:
                        return
                    await whole(response)
                end = "complete"
            except TransportError as error:
                end = error.kind
            ends[end] = ends.get(end, 0) + 1

        tasks: set[asyncio.Task[None]] = set()
        for _ in range(500):
            task = asyncio.create_task(one())
            tasks.add(task)
            if dice.random() < 0.05:
                asyncio.get_running_loop().call_later(dice.random() * 0.02, task.cancel)
            if len(tasks) >= 16:
                _, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(tasks)
        assert ends["complete"] > 20, ends
        assert len(ends) >= 4, ends
        assert server.peak <= 8 + 2  # a closed one may still be on its way out as the server sees it
        if client._native is not None:
            (pool,) = client._native._pools.values()
            assert pool.waiting == 0
            assert pool.size == pool.idle

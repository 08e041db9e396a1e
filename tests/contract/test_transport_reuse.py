"""One fault suite for the transports: whatever an upstream's socket does, an answer is complete or it is an error.

Each scenario runs over real sockets against byte-exact scripts, over our own transport on uvloop and on asyncio, over
httpx-aiohttp's and over httpx's own. This part: connections that are used again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from adapters._http import TransportError, retry
from fakes.rawserver import Peer, answer
from fakes.transport_lines import ALL, NATIVE, Line, over, post, replies, talk, whole
from fakes.wires import ANY_CUT


@over(*ALL)
async def test_a_connection_closed_while_idle_is_not_used(line: Line) -> None:
    """The server closes right after the answer; the next request goes out on a new connection."""
    async with talk(line, replies(answer(b"ok"), then_close=True)) as (server, client):
        for n in range(1, 4):
            assert await post(client) == b"ok"
            async with asyncio.timeout(2):
                await server.until(lambda: not server.open)
            assert server.accepted == n


def closes_on_the_second(fresh: bytes | None, goodbye: bytes = b"") -> Callable[[Peer], Awaitable[None]]:
    """The first connection answers once and closes when it gets a second request, having said `goodbye`; later ones
    answer with `fresh`, or close at once if that is None."""
    count = 0

    async def script(peer: Peer) -> None:
        nonlocal count
        count += 1
        if count == 1:
            await peer.request()
            await peer.send(answer(b"first"))
            await peer.request()
            if goodbye:
                await peer.send(goodbye)
            return
        while True:
            await peer.request()
            if fresh is None:
                return
            await peer.send(fresh)

    return script


@pytest.mark.parametrize("method", ["GET", "POST"])
@over(*ALL)
async def test_a_stale_connection_is_retried_on_a_fresh_one(line: Line, method: str) -> None:
    """Closed before any byte of an answer: nobody notices."""
    async with talk(line, closes_on_the_second(answer(b"second"))) as (server, client):
        for expected in (b"first", b"second", b"second"):
            async with await client.send(method, "/x") as response:
                assert await whole(response) == expected
        assert server.accepted == 2
        assert len(server.heard) == 4


@over(*NATIVE)
async def test_the_retry_never_meets_a_second_stale_connection(line: Line) -> None:
    """A restarted server has left several behind: the retry dials instead of trying the next."""
    both = asyncio.Barrier(2)

    async def script(peer: Peer) -> None:
        heard = await peer.request()
        if heard.target == "/together":
            await both.wait()
            await peer.send(answer(b"first"))
            await peer.request()
        else:
            await peer.send(answer(b"second"))

    async with talk(line, script) as (server, client):

        async def together() -> None:
            async with await client.send("POST", "/together") as response:
                assert await whole(response) == b"first"

        await asyncio.gather(together(), together())
        assert await post(client) == b"second"
        assert server.accepted == 3


@over(*ALL)
async def test_it_is_retried_only_once(line: Line) -> None:
    """A fresh connection that closes is the upstream's fault, not a stale one."""
    async with talk(line, closes_on_the_second(None)) as (server, client):
        assert await post(client) == b"first"
        with pytest.raises(TransportError) as caught:
            await post(client)
        assert caught.value.kind in ({"reset"} if line.native else ANY_CUT)
        assert caught.value.sent
        assert server.accepted == 2


@over(*NATIVE)
async def test_an_answer_that_had_begun_is_not_asked_for_again(line: Line) -> None:
    """One byte is enough."""
    async with talk(line, closes_on_the_second(answer(b"never"), goodbye=b"H")) as (server, client):
        assert await post(client) == b"first"
        with pytest.raises(TransportError) as caught:
            await post(client)
        assert (caught.value.kind, caught.value.response_started) == ("premature_eof", True)
        assert server.accepted == 1


@over(*ALL)
async def test_a_late_death_is_retried_for_idempotent_methods_only(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the window the upstream may have worked on it: a POST is not sent twice."""
    monkeypatch.setattr(retry, "WINDOW_S", -1.0)
    async with talk(line, closes_on_the_second(answer(b"second"))) as (server, client):
        assert await post(client) == b"first"
        with pytest.raises(TransportError):
            await post(client)
        assert server.accepted == 1
    async with talk(line, closes_on_the_second(answer(b"second"))) as (server, client):
        assert await post(client) == b"first"
        async with await client.send("GET", "/x") as response:
            assert await whole(response) == b"second"


@over(*NATIVE)
async def test_a_body_that_cannot_be_replayed_takes_a_fresh_connection(line: Line) -> None:
    """So that it can never meet a stale one."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"once"

    async with talk(line, replies(answer(b"ok"))) as (server, client):
        await post(client)
        async with await client.send("POST", "/x", content=pieces()) as response:
            assert await whole(response) == b"ok"
        assert server.accepted == 2


@over(*NATIVE)
async def test_an_idle_connection_expires_before_the_backends_own_limit(line: Line) -> None:
    """By our clock, and earlier where the backend announces its own."""
    hint = answer(b"ok", "200 OK", "keep-alive: timeout=1")
    async with talk(line, replies(hint)) as (server, client):
        await post(client)
        async with asyncio.timeout(1):
            await server.until(lambda: not server.open)
    async with talk(line, replies(answer(b"ok")), keepalive_expiry_s=0.15) as (server, client):
        await post(client)
        assert len(server.open) == 1
        async with asyncio.timeout(1):
            await server.until(lambda: not server.open)
        await post(client)
        assert server.accepted == 2


@pytest.mark.parametrize("where", ["same packet", "later"])
@over(*NATIVE)
async def test_surplus_bytes_end_the_connection(line: Line, where: str) -> None:
    """Bytes that nobody asked for never become somebody else's answer."""
    evil = answer(b"evil")

    async def script(peer: Peer) -> None:
        await peer.request()
        if where == "same packet":
            await peer.send(answer(b"ok") + evil)
        else:
            await peer.send(answer(b"ok"))
            await asyncio.sleep(0.02)
            await peer.send(evil)
        await peer.gone.wait()

    async with talk(line, script) as (server, client):
        assert await post(client) == b"ok"
        await asyncio.wait_for(server.peers[0].gone.wait(), 1)
        assert await post(client) == b"ok"
        assert server.accepted == 2

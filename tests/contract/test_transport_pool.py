"""One fault suite for the transports: whatever an upstream's socket does, an answer is complete or it is an error.

Each scenario runs over real sockets against byte-exact scripts, over our own transport on uvloop and on asyncio, over
httpx-aiohttp's and over httpx's own. This part: the limit, the queue, and leaving.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters._http import HttpClient, Timeouts, TransportError
from fakes.rawserver import CHUNKED, Peer, answer, chunk
from fakes.transport_lines import ALL, AT_ONCE_S, Line, over, post, talk, whole


@pytest.mark.parametrize("limit", [1, 2])
@over(*ALL)
async def test_the_limit_holds_and_the_queue_is_fair(line: Line, limit: int) -> None:
    """Never more connections than that, and first come is first served."""
    gate = asyncio.Semaphore(0)

    async def script(peer: Peer) -> None:
        while True:
            heard = await peer.request()
            await gate.acquire()
            await peer.send(answer(heard.target.encode()))

    async with talk(line, script, max_connections=limit) as (server, client):

        async def one(n: int) -> bytes:
            async with await client.send("POST", f"/{n}") as response:
                return await whole(response)

        tasks = []
        for n in range(12):
            tasks.append(asyncio.create_task(one(n)))
            await asyncio.sleep(0)
        for n in range(12):
            gate.release()
            while sum(task.done() for task in tasks) <= n:
                await asyncio.wait([t for t in tasks if not t.done()], return_when=asyncio.FIRST_COMPLETED)
        assert await asyncio.gather(*tasks) == [b"/%d" % n for n in range(12)]
        if limit == 1:  # two connections may be opened in either order
            assert [h.target for h in server.heard] == [f"/{n}" for n in range(12)]
        assert server.peak <= limit


@over(*ALL)
async def test_pool_timeout(line: Line) -> None:
    """Nothing was sent; the place in the queue is gone."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(CHUNKED + chunk(b"x"))
            await peer.gone.wait()

    async with talk(line, script, max_connections=1) as (server, client):
        holder = await client.send("POST", "/holder")
        with pytest.raises(TransportError) as caught:
            await post(client, timeouts=Timeouts(pool_s=0.1))
        assert (caught.value.kind, caught.value.sent) == ("pool_timeout", False)
        with pytest.raises(TransportError) as caught:
            await post(client, timeouts=Timeouts(pool_s=5.0, total_s=0.1))
        assert caught.value.kind == "total_timeout"
        holder.close()
        response = await client.send("POST", "/next")
        assert await response.chunk() == b"x"
        response.close()
        assert [h.target for h in server.heard] == ["/holder", "/next"]


@over(*ALL)
async def test_a_cancelled_waiter_leaves_nothing(line: Line) -> None:
    """Cancelled while waiting, and in the very turn in which it is granted."""
    finish = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await finish.wait()
            await peer.send(answer(b"ok"))

    async with talk(line, script, max_connections=1) as (server, client):
        holder = asyncio.create_task(post(client))
        await server.until(lambda: server.accepted == 1)
        waiters = [asyncio.create_task(post(client)) for _ in range(5)]
        await asyncio.sleep(0)
        waiters[0].cancel()
        waiters[3].cancel()
        finish.set()
        await holder
        waiters[1].cancel()  # first in line: it may just have been given the connection
        ended = await asyncio.gather(*waiters, return_exceptions=True)
        assert [ended[2], ended[4]] == [b"ok", b"ok"]
        assert isinstance(ended[0], asyncio.CancelledError)
        assert isinstance(ended[3], asyncio.CancelledError)
        assert await post(client) == b"ok"
        assert server.peak == 1


# --- leaving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["head", "body", "iterated request"])
@over(*ALL)
async def test_cancelling_closes_the_socket_at_once(line: Line, when: str) -> None:
    """The server sees it within 100 ms, in every phase."""
    reached = asyncio.Event()

    async def script(peer: Peer) -> None:
        if when == "iterated request":
            await peer.until(b"first piece")
            reached.set()
        else:
            await peer.request()
            if when == "body":
                await peer.send(CHUNKED + chunk(b"abc"))
            else:
                reached.set()
        await peer.gone.wait()

    async def endless() -> AsyncIterator[bytes]:
        yield b"first piece"
        await asyncio.Event().wait()

    async def call(client: HttpClient) -> None:
        content = endless() if when == "iterated request" else b"{}"
        async with await client.send("POST", "/x", content=content) as response:
            assert await response.chunk() == b"abc"
            reached.set()
            await response.chunk()

    async with talk(line, script) as (server, client):
        task = asyncio.create_task(call(client))
        await reached.wait()
        await asyncio.sleep(0.01)  # the client is waiting by now
        task.cancel()
        await asyncio.wait_for(server.peers[0].gone.wait(), AT_ONCE_S)
        with pytest.raises(asyncio.CancelledError):
            await task


@over(*ALL)
async def test_closing_a_response_closes_the_socket_at_once(line: Line) -> None:
    """Without an await of ours; twice is once; reading afterwards says so."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"abc"))
        await peer.gone.wait()

    async with talk(line, script) as (server, client):
        response = await client.send("POST", "/x")
        assert await response.chunk() == b"abc"
        response.close()
        response.close()
        await asyncio.wait_for(server.peers[0].gone.wait(), AT_ONCE_S)
        with pytest.raises(TransportError, match="closed"):
            await response.chunk()


@over(*ALL)
async def test_a_cancelled_read_loses_nothing(line: Line) -> None:
    """A reader may look away (to say that it is still alive) and come back."""
    send = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await send.wait()
        await peer.send(chunk(b"abc") + chunk(b""))

    async with talk(line, script) as (_, client), await client.send("POST", "/x") as response:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await response.chunk()
        send.set()
        assert await whole(response) == b"abc"


@over(*ALL)
async def test_a_lost_response_does_not_keep_its_connection(line: Line) -> None:
    """Somebody forgot to close it: the collector does."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"abc"))
        await peer.gone.wait()

    async with talk(line, script) as (server, client):
        response = await client.send("POST", "/x")
        del response
        await asyncio.wait_for(server.peers[0].gone.wait(), 1)


@over(*ALL)
async def test_closing_the_client_ends_everything(line: Line) -> None:
    """Busy, idle and waiting ones; afterwards it refuses to work."""

    async def script(peer: Peer) -> None:
        while (await peer.request()).target == "/quick":
            await peer.send(answer(b"ok"))
        await peer.send(CHUNKED + chunk(b"abc"))
        await peer.gone.wait()

    async with talk(line, script, max_connections=2) as (server, client):
        async with await client.send("POST", "/quick") as quick:
            await whole(quick)
        first, second = await client.send("POST", "/a"), await client.send("POST", "/b")
        waiter = asyncio.create_task(post(client))
        await asyncio.sleep(0)
        assert await first.chunk() == b"abc"
        await client.aclose()
        async with asyncio.timeout(1):
            await server.until(lambda: not server.open)
        for response in (first, second):
            with pytest.raises(TransportError):
                await whole(response)
        for doomed in (waiter, asyncio.create_task(post(client))):
            with pytest.raises(TransportError) as caught:
                await doomed
            assert caught.value.kind == "closed"
        await client.aclose()

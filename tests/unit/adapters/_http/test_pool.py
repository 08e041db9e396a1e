"""Slots, order, expiry and the races of a pool, over real sockets."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from adapters._http.connection import Connection
from adapters._http.errors import TransportError
from adapters._http.head import Origin
from adapters._http.pool import Pool
from adapters._http.timeouts import Timeouts
from fakes.rawserver import Peer, RawServer

pytestmark = pytest.mark.asyncio

CLOCKS = Timeouts(connect_s=2, pool_s=2)


async def hold(peer: Peer) -> None:
    await peer.gone.wait()


@asynccontextmanager
async def pool(
    limit: int = 2, max_idle: int = 8, expiry_s: float = 30, script: Callable[[Peer], Awaitable[None]] = hold
) -> AsyncIterator[tuple[Pool, RawServer]]:
    async with RawServer(script) as server:
        made = Pool(
            Origin("http", "127.0.0.1", server.port),
            verify=True,
            limit=limit,
            max_idle=max_idle,
            keepalive_expiry_s=expiry_s,
        )
        try:
            yield made, server
        finally:
            await made.aclose()
            async with asyncio.timeout(2):
                await server.until(lambda: not server.open)
            assert made.size == 0
            assert made.waiting == 0


async def get(p: Pool, **more: bool) -> Connection:
    return p.take() or await p.acquire(CLOCKS, math.inf, **more)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_last_used_is_used_next() -> None:
    """So that the others may expire."""
    async with pool(limit=3) as (p, _):
        a, b, c = await get(p), await get(p), await get(p)
        for connection in (b, c, a):
            p.release(connection)
        assert [p.take(), p.take(), p.take(), p.take()] == [a, c, b, None]


async def test_expiry() -> None:
    """By the sweeper where nothing happens, and by the taker where the sweeper was late."""
    async with pool(expiry_s=0.1) as (p, server):
        p.release(await get(p))
        assert p.idle == 1
        async with asyncio.timeout(2):
            await server.until(lambda: not server.open)
        assert (p.idle, p.size) == (0, 0)
        late = await get(p)
        p.release(late)
        late.expires_at = asyncio.get_running_loop().time() - 1
        assert p.take() is None
        assert late.closed


async def test_a_connections_own_expiry_is_kept_if_it_is_earlier() -> None:
    """The server's announcement; one that is over already closes it."""
    async with pool() as (p, _):
        now = asyncio.get_running_loop().time()
        soon, over = await get(p), await get(p)
        soon.expires_at = now + 3
        over.expires_at = now - 0.1
        p.release(soon)
        p.release(over)
        assert soon.expires_at == now + 3
        assert over.closed
        assert p.idle == 1


async def test_max_idle() -> None:
    """More than that are closed when they come back."""
    async with pool(limit=3, max_idle=1) as (p, _):
        a, b = await get(p), await get(p)
        p.release(a)
        p.release(b)
        assert (a.closed, b.closed, p.idle, p.size) == (False, True, 1, 1)


async def test_a_released_connection_goes_to_the_first_in_line() -> None:
    """Not to the idle ones, and not to whoever comes at that moment."""
    async with pool(limit=1) as (p, _):
        held = await get(p)
        first = asyncio.create_task(get(p))
        second = asyncio.create_task(get(p))
        await settle()
        assert p.waiting == 2
        p.release(held)
        assert p.take() is None
        assert await first is held
        assert not second.done()
        p.release(held)
        assert await second is held


async def test_a_closed_connection_is_a_free_slot_for_the_first_in_line() -> None:
    """Who dials in it."""
    async with pool(limit=1) as (p, server):
        held = await get(p)
        waiter = asyncio.create_task(get(p))
        await settle()
        held.abort()
        fresh = await waiter
        assert fresh is not held
        assert (server.accepted, p.size) == (2, 1)
        held.abort()
        assert p.size == 1


async def test_a_connection_that_dies_on_its_way_to_a_waiter() -> None:
    """The waiter keeps its turn and dials."""
    async with pool(limit=1) as (p, server):
        held = await get(p)
        first = asyncio.create_task(get(p))
        await settle()
        second = asyncio.create_task(get(p))
        await settle()
        p.release(held)  # handed to the first ...
        held.abort()  # ... and dead before it wakes: the slot is offered to the second, the first is next
        async with asyncio.timeout(2):
            done, _ = await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
            p.release(done.pop().result())
            await asyncio.gather(first, second)
        assert server.accepted == 2
        assert p.size == 1


@pytest.mark.parametrize("how", ["connection", "slot"])
async def test_cancelled_in_the_turn_of_the_grant(how: str) -> None:
    """What was granted goes on to the next in line."""
    async with pool(limit=1) as (p, _):
        held = await get(p)
        first, second = asyncio.create_task(get(p)), asyncio.create_task(get(p))
        await settle()
        if how == "connection":
            p.release(held)
        else:
            held.abort()
        first.cancel()
        got = await asyncio.wait_for(second, 2)
        assert (got is held) == (how == "connection")
        with pytest.raises(asyncio.CancelledError):
            await first
        assert p.size == 1


async def test_cancelled_while_dialling() -> None:
    """The slot comes back."""
    async with pool(limit=1) as (p, _):
        task = asyncio.create_task(get(p))
        await asyncio.sleep(0)
        assert p.size == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert p.size == 0
        await asyncio.wait_for(get(p), 2)


async def test_a_failed_dial_gives_its_slot_to_the_next() -> None:
    """Who fails in turn, instead of waiting for ever."""
    async with RawServer(hold) as server:
        port = server.port
    p = Pool(Origin("http", "127.0.0.1", port), verify=True, limit=1, max_idle=1, keepalive_expiry_s=1)
    outcomes = await asyncio.wait_for(asyncio.gather(*(get(p) for _ in range(5)), return_exceptions=True), 5)
    assert [getattr(o, "kind", o) for o in outcomes] == ["connect"] * 5
    assert p.size == 0
    await p.aclose()


@pytest.mark.parametrize("first", [True, False])
async def test_fresh_never_is_a_used_one(first: bool) -> None:
    """At the limit an idle one is closed to make room."""
    async with pool(limit=1) as (p, server):
        used = await get(p)
        p.release(used)
        fresh = await get_fresh(p, first)
        assert fresh is not used
        assert used.closed
        assert (server.accepted, p.size) == (2, 1)


async def get_fresh(p: Pool, first: bool) -> Connection:
    return await asyncio.wait_for(p.acquire(CLOCKS, math.inf, fresh=True, first=first), 2)


async def test_fresh_in_the_queue() -> None:
    """A used connection that is handed over is closed, and its slot dialled in."""
    async with pool(limit=1) as (p, server):
        used = await get(p)
        waiter = asyncio.create_task(get_fresh(p, True))
        await settle()
        p.release(used)
        assert await waiter is not used
        assert (server.accepted, p.size) == (2, 1)


async def test_the_total_clock_covers_the_dial() -> None:
    """And says so."""

    async with pool() as (p, _):
        with pytest.raises(TransportError) as caught:
            await p.acquire(CLOCKS, asyncio.get_running_loop().time() - 1)
        assert caught.value.kind == "total_timeout"
        assert p.size == 0


async def test_closing_while_somebody_dials() -> None:
    """The connection is closed as soon as it is there."""
    async with pool() as (p, _):
        task = asyncio.create_task(get(p))
        await asyncio.sleep(0)
        await p.aclose()
        with pytest.raises(TransportError, match="closed"):
            await task
        with pytest.raises(TransportError, match="closed"):
            await get(p)
        assert p.size == 0


async def test_a_connection_released_after_closing_is_closed() -> None:
    """Nobody will use it."""
    async with pool() as (p, _):
        held = await get(p)
        await p.aclose()
        assert held.closed
        p.release(held)
        assert p.idle == 0

"""Workers that ask each other."""

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy import neighbours
from proxy.errors import Conflict, Fault, UpstreamError
from proxy.idempotency import Flight
from proxy.neighbours import Neighbours, meeting_place
from proxy.retries import Retries, Trip

ASK = ("key-1", "/v1/chat/completions", b'{"model":"m"}')


@contextlib.asynccontextmanager
async def workers(count: int, place: Path) -> AsyncIterator[list[Neighbours]]:
    made = [Neighbours(Retries(), place) for _ in range(count)]
    for worker in made:
        await worker.start()
    try:
        yield made
    finally:
        for worker in made:
            await worker.aclose()
            worker._retries.aclose()


def begun(worker: Neighbours) -> Trip:
    trip = worker._retries.begin(*ASK, 0)
    trip.begin(200, [(b"content-type", b"text/event-stream"), (b"x-request-id", b"r")])
    trip.add(b"one ")
    return trip


async def followed(flight: Flight | None) -> bytes:
    assert flight is not None
    flight.joined += 1
    assert (await flight.started())[0] == 200
    return b"".join([frame async for frame in flight.follow()])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Not below `tmp_path`: that is too long for a socket."""
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr(neighbours.tempfile, "gettempdir", lambda: short)
        yield meeting_place(tmp_path)


@pytest.mark.asyncio
async def test_a_running_call_is_carried_over_frame_by_frame(place: Path) -> None:
    async with workers(3, place) as (here, _, there):
        trip = begun(there)
        found = await here.find(*ASK, 1)
        reading = asyncio.create_task(followed(found))
        for frame in (b"two ", b"three"):
            await asyncio.sleep(0.01)
            trip.add(frame)
        trip.end()
        assert await reading == b"one two three"
        assert found is not None
        assert list(found.headers) == list(trip.headers)
        assert await here.find(*ASK, 1) is None, "it was taken"


@pytest.mark.asyncio
async def test_a_call_that_has_ended_comes_at_once(place: Path) -> None:
    async with workers(2, place) as (here, there):
        trip = begun(there)
        trip.add(b"x" * 3_000_000)
        trip.end()
        assert len(await followed(await here.find(*ASK, 1))) == 3_000_004


@pytest.mark.asyncio
async def test_nobody_has_it(place: Path) -> None:
    async with workers(2, place) as (here, there):
        begun(there)
        assert await here.find(ASK[0], ASK[1], b"another body", 1) is None
        assert await here.find("another key", *ASK[1:], 1) is None


@pytest.mark.asyncio
async def test_of_a_failed_one_the_retry_is_a_call_of_its_own(place: Path) -> None:
    async with workers(3, place) as (here, *others):
        others.sort(key=lambda worker: worker._file)
        begun(others[0]).fail(Conflict("no"))
        sound = begun(others[1])
        assert await here.find(*ASK, 1) is None
        assert sound.count == 0, "nobody else was asked"


@pytest.mark.asyncio
async def test_the_call_learns_who_left(place: Path) -> None:
    async with workers(2, place) as (here, there):
        trip = begun(there)
        ended = asyncio.Event()
        trip.gone, trip.alone = True, ended.set
        found = await here.find(*ASK, 1)
        assert found is not None
        found.joined += 1
        await found.started()
        assert trip.joined == 1
        found.leave()
        await asyncio.wait_for(ended.wait(), 5)
        with pytest.raises(Conflict):
            _ = [frame async for frame in found.follow()]


@pytest.mark.asyncio
async def test_what_fails_on_the_way_is_given_up_here_as_well(place: Path) -> None:
    async with workers(2, place) as (here, there):
        trip = begun(there)
        reading = asyncio.create_task(followed(await here.find(*ASK, 1)))
        await asyncio.sleep(0.01)
        trip.fail(UpstreamError(Fault.CUT, "cut"))
        with pytest.raises(Conflict):
            await reading


@pytest.mark.asyncio
async def test_a_neighbour_that_dies_or_hangs_is_passed_over(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "PATIENCE_S", 0.05)
    async with workers(2, place) as (here, there):
        dead = place / "0-dead.sock"
        held: list[asyncio.StreamWriter] = []
        server = await asyncio.start_unix_server(lambda _, writer: held.append(writer), str(dead))  # says nothing
        trip = begun(there)
        assert await here.find(*ASK, 1) is not None
        assert dead.exists()
        for writer in held:
            writer.close()
            await writer.wait_closed()
        server.close()
        trip.count = 0
        dead.unlink()
        left = place / "0-left.sock"
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(left))
        assert await here.find(*ASK, 1) is not None
        assert not left.exists(), "nobody listens there any more"


@pytest.mark.asyncio
async def test_nonsense_is_hung_up_on(place: Path) -> None:
    async with workers(1, place) as (here,):
        for data in (b"\xff\xff\xff\xff", b"\0\0\0\x02no", b"\0\0"):
            reader, writer = await asyncio.open_unix_connection(str(here._file))
            writer.write(data)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()


@pytest.mark.asyncio
async def test_the_last_one_tidies_up_and_the_next_begins_anew(place: Path) -> None:
    late = Neighbours(Retries(), place)
    async with workers(2, place):
        assert len(sockets(place)) == 2
    assert sockets(place) is None
    await late.start()
    assert sockets(place) == [late._file.name]
    await late.aclose()


def sockets(place: Path) -> list[str] | None:
    """None where there is no such folder."""
    return [file.name for file in place.iterdir()] if place.exists() else None


def test_others_cannot_enter(place: Path, tmp_path: Path) -> None:
    assert place.stat().st_mode & 0o077 == 0
    assert meeting_place(tmp_path) == place
    place.chmod(0o755)
    with pytest.raises(PermissionError):
        meeting_place(tmp_path)

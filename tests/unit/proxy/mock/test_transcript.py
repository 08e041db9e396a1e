"""The steps on the wire."""

import re

import pytest

from proxy.mock.faults import FAULTS, Fault, fault
from proxy.mock.transcript import Answer, Step, steps

PIECES = [b"one\n\n", "già\n\n".encode(), b"three\n\n"]


def plan(*faults: Fault, chunked: bool = True, keep: bool = True, head_only: bool = False, **more: float) -> list[Step]:
    headers = [("content-type", "text/plain")]
    answer = Answer(200, headers, list(PIECES), chunked, faults=list(faults), **more)
    return steps(answer, keep_alive=keep, head_only=head_only, seed="0/1")


def wire(done: list[Step]) -> bytes:
    return b"".join(step.data for step in done)


def payload(done: list[Step]) -> bytes:
    """The chunks' contents."""
    body = wire(done).partition(b"\r\n\r\n")[2]
    found = b""
    while match := re.match(rb"([0-9a-f]+)\r\n", body):
        size = int(match.group(1), 16)
        found += body[match.end() : match.end() + size]
        body = body[match.end() + size + 2 :]
    return found


def last(done: list[Step]) -> str:
    return done[-1].do


def test_a_clean_stream_is_chunked_piece_by_piece_and_keeps_the_connection() -> None:
    done = plan()
    assert [step.do for step in done] == ["send"] * 5
    assert done[0].data == b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
    assert done[1].data == b"5\r\none\n\n\r\n"
    assert done[-1].data == b"0\r\n\r\n"
    assert payload(done) == b"".join(PIECES)


def test_a_whole_answer_has_a_length() -> None:
    done = plan(chunked=False)
    assert b"content-length: 18\r\n" in done[0].data
    assert wire(done).endswith(b"".join(PIECES))


def test_the_answer_to_head_has_no_body() -> None:
    done = plan(chunked=False, head_only=True)
    assert len(done) == 1
    assert b"content-length: 18\r\n" in done[0].data


def test_a_connection_that_may_not_be_kept_is_closed_lawfully() -> None:
    done = plan(keep=False)
    assert b"connection: close\r\n" in done[0].data
    assert last(done) == "close"


def test_pace_comes_before_pieces() -> None:
    done = plan(ttft=0.5, pace=0.1)
    assert [(step.do, step.seconds) for step in done if step.do == "pause"] == [
        ("pause", 0.5), ("pause", 0.1), ("pause", 0.1)
    ]  # fmt: skip


@pytest.mark.parametrize("at", range(18))
@pytest.mark.parametrize(("end", "final"), [("fin", "drop"), ("reset", "reset"), ("clean", "send")])
def test_a_cut_leaves_exactly_so_many_bytes_of_the_body(at: int, end: str, final: str) -> None:
    done = plan(fault("cut", at=at, end=end))
    assert payload(done) == b"".join(PIECES)[:at]
    assert last(done) == final
    assert wire(done).endswith(b"0\r\n\r\n") == (end == "clean")


def test_a_cut_behind_the_end_cuts_nothing() -> None:
    assert plan(fault("cut", at=18)) == plan()


def test_a_cut_in_a_character_leaves_no_text() -> None:
    with pytest.raises(UnicodeDecodeError):
        payload(plan(fault("cut_utf8"))).decode()


@pytest.mark.parametrize(
    ("made", "kinds"),
    [
        (fault("close_head"), ["drop"]),
        (fault("reset_head"), ["reset"]),
        (fault("reset", after=1), ["send", "send", "reset"]),
        (fault("reset", after=99), ["send", "send", "send", "send", "reset"]),
        (fault("stall_head"), ["hold", "send", "send", "send", "send", "send"]),
        (fault("stall_first", seconds=1), ["send", "pause", "send", "send", "send", "send"]),
        (fault("stall", after=1), ["send", "send", "hold", "send", "send", "send"]),
        (fault("slow"), ["send", "pause", "send", "pause", "send", "pause", "send", "send"]),
        (fault("late_end"), ["send", "send", "send", "send", "pause", "send"]),
        (fault("chunk_cut"), ["send", "send", "send", "send", "drop"]),
        (fault("chunk_garbage", after=1), ["send", "send", "send", "drop"]),
        (fault("one_piece"), ["send"]),
        (fault("connection_close"), ["send"] * 5 + ["close"]),
        (fault("until_close"), ["send"] * 4 + ["close"]),
        (fault("bad_head"), ["send", "drop"]),
        (fault("trailers"), ["send"] * 5),
    ],
)
def test_what_is_done_in_which_order(made: Fault, kinds: list[str]) -> None:
    assert [step.do for step in plan(made)] == kinds


def test_until_close_says_neither_length_nor_chunks() -> None:
    head = plan(fault("until_close"))[0].data
    assert b"content-length" not in head
    assert b"chunked" not in head
    assert b"connection: close" in head


@pytest.mark.parametrize(("name", "length"), [("length_long", 28), ("length_short", 8)])
def test_a_length_can_lie(name: str, length: int) -> None:
    done = plan(fault(name))
    assert b"content-length: %d\r\n" % length in done[0].data
    assert wire(done).endswith(b"".join(PIECES))


@pytest.mark.parametrize("size", [1, 2, 7])
def test_dribbling_changes_no_byte(size: int) -> None:
    done = plan(fault("dribble", size=size))
    assert wire(done) == wire(plan())
    assert max(len(step.data) for step in done) == size


def test_noise_depends_on_the_seed_only() -> None:
    assert plan(fault("bad_head")) == plan(fault("bad_head"))


def test_an_informational_answer_comes_first() -> None:
    assert wire(plan(fault("informational"))).startswith(b"HTTP/1.1 103 ")


@pytest.mark.parametrize("name", [name for name, spec in FAULTS.items() if spec.phase == "wire"])
@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("keep", [True, False])
def test_nothing_comes_after_the_end_of_the_connection(name: str, chunked: bool, keep: bool) -> None:
    done = plan(fault(name), chunked=chunked, keep=keep)
    assert all(step.do in ("send", "pause", "hold") for step in done[:-1])
    assert keep or last(done) in ("close", "drop", "reset") or name == "cut"

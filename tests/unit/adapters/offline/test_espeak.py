"""The parent gives sentences their own answers, survives crashes and hangs, and leaves no process behind."""

import asyncio
import os
import signal
import sys

import pytest

from adapters.offline.espeak import Espeak
from adapters.offline.voices import VOICES
from proxy.errors import Fault, UpstreamError

SKY = VOICES["af_sky"]

# A child that speaks the protocol and does what the text says; `count` outlives it, so that it can die once.
ODD = """
import os, struct, sys, time
sys.path.insert(0, {root!r})
from adapters.offline.espeak_child import *
out = sys.stdout.buffer
def tell(number, kind, payload=b""):
    out.write(TELL.pack(number, kind, len(payload)) + payload); out.flush()
tell(0, READY, struct.pack("<I", 16000))
while len(head := sys.stdin.buffer.read(ASK.size)) == ASK.size:
    number, size, words, pitch, name = ASK.unpack(head)
    sys.stdin.buffer.read(name)
    text = sys.stdin.buffer.read(size).decode()
    if text == "die":
        os._exit(7)
    if text == "die once" and not os.path.exists({mark!r}):
        open({mark!r}, "w").close(); os._exit(7)
    if text == "abort":
        os.abort()
    if text == "hang":
        time.sleep(60)
    if text == "mix up":
        number += 1
    tell(number, PCM, text.encode() * 2)
    tell(number, END)
"""


@pytest.fixture
def odd(tmp_path):
    code = ODD.format(root=os.getcwd(), mark=str(tmp_path / "mark"))
    return Espeak(command=[sys.executable, "-c", code], sentence_timeout_s=1.0)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.asyncio
async def test_the_real_one_speaks_and_is_gone_after_close():
    espeak = Espeak()
    await espeak.warm()
    pid = espeak.pid
    pcm = await espeak.sentence("Hello there, how are you today?", SKY, 1.0)
    assert 1.0 < len(pcm) / 2 / espeak.rate < 4.0
    assert pid == espeak.pid
    await espeak.aclose()
    await espeak.aclose()
    assert not alive(pid)
    with pytest.raises(UpstreamError, match="closed"):
        await espeak.sentence("x", SKY, 1.0)


@pytest.mark.asyncio
async def test_many_at_once_each_get_their_own(odd):
    texts = [f"text {i}" for i in range(200)]
    assert await asyncio.gather(*(odd.sentence(text, SKY, 1.0) for text in texts)) == [t.encode() * 2 for t in texts]
    assert odd.starts == 1
    assert odd.rate == 16_000
    await odd.aclose()


@pytest.mark.asyncio
async def test_a_crash_is_healed_by_a_new_process(odd):
    assert await odd.sentence("die once", SKY, 1.0) == b"die once" * 2
    assert odd.starts == 2
    await odd.aclose()


@pytest.mark.asyncio
async def test_a_killed_process_is_replaced_unseen():
    espeak = Espeak()
    await espeak.warm()
    os.kill(espeak.pid, signal.SIGKILL)
    assert len(await espeak.sentence("Hello there.", SKY, 1.0)) > 10_000
    assert espeak.starts == 2
    await espeak.aclose()


@pytest.mark.parametrize(("text", "words"), [("die", "with code 7"), ("abort", "by signal 6")])
@pytest.mark.asyncio
async def test_a_sentence_that_kills_it_twice_is_an_error_and_the_next_is_fine(odd, text, words):
    with pytest.raises(UpstreamError, match=words) as caught:
        await odd.sentence(text, SKY, 1.0)
    assert (caught.value.fault, caught.value.accepted) == (Fault.SERVER, False)
    assert odd.starts == 2
    assert await odd.sentence("fine", SKY, 1.0) == b"finefine"
    await odd.aclose()


@pytest.mark.asyncio
async def test_a_hang_is_a_timeout_and_the_process_is_replaced(odd):
    await odd.warm()
    pid = odd.pid
    with pytest.raises(UpstreamError, match="no answer within 1 s") as caught:
        await odd.sentence("hang", SKY, 1.0)
    assert caught.value.fault is Fault.TIMEOUT
    assert not alive(pid)
    assert await odd.sentence("fine", SKY, 1.0) == b"finefine"
    await odd.aclose()


@pytest.mark.asyncio
async def test_frames_out_of_step_are_never_handed_out(odd):
    with pytest.raises(UpstreamError):
        await odd.sentence("mix up", SKY, 1.0)
    assert await odd.sentence("fine", SKY, 1.0) == b"finefine"
    await odd.aclose()


@pytest.mark.asyncio
async def test_callers_that_leave_upset_nobody(odd):
    await odd.warm()
    for _ in range(20):
        leaving = asyncio.ensure_future(odd.sentence("leaving", SKY, 1.0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        leaving.cancel()
        assert await odd.sentence("staying", SKY, 1.0) == b"stayingstaying"
    assert odd.starts == 1
    await odd.aclose()


@pytest.mark.asyncio
async def test_closing_gives_up_a_sentence_under_way(odd):
    await odd.warm()
    hanging = asyncio.ensure_future(odd.sentence("hang", SKY, 1.0))
    await asyncio.sleep(0)
    pid = odd.pid
    await odd.aclose()
    with pytest.raises((asyncio.CancelledError, UpstreamError)):
        await hanging
    assert not alive(pid)


@pytest.mark.parametrize(
    "command",
    [["/nonexistent/python"], [sys.executable, "-c", "raise SystemExit(3)"], [sys.executable, "-c", "print('x' * 99)"]],
)
@pytest.mark.asyncio
async def test_one_that_cannot_start_says_so(command):
    espeak = Espeak(command=command, start_timeout_s=5)
    with pytest.raises(UpstreamError, match="does not start") as caught:
        await espeak.sentence("x", SKY, 1.0)
    assert caught.value.fault is Fault.CONNECT
    await espeak.aclose()


@pytest.mark.asyncio
async def test_our_secrets_stay_with_us(monkeypatch):
    from adapters.offline.espeak import _environment

    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert "sk-secret" not in "".join(_environment().values())

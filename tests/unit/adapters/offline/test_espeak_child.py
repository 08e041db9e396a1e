"""The child speaks its protocol, survives what it cannot say, and ends when it should."""

import signal
import struct
import subprocess
import sys

import numpy
import pytest

from adapters.offline.espeak_child import ASK, END, FAIL, PCM, READY, TELL
from adapters.offline.voices import VOICES, language_of

SAMPLES = {
    "ru": "Привет", "el": "Γειά", "he": "שלום", "ar": "مرحبا", "bn": "নমস্কার", "ta": "வணக்கம்", "ko": "안녕", "th": "สวัสดี",
    "pa": "ਸਤਿ", "gu": "નમસ્તે", "te": "నమస్తే", "kn": "ನಮಸ್ತೆ", "ml": "നമസ്തേ", "ka": "გამარჯობა", "hy": "Բարեւ", "am": "ሰላም",
}  # fmt: skip


class Child:
    def __init__(self) -> None:
        command = [sys.executable, "-P", "-m", "adapters.offline.espeak_child"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": "."})
        assert self.process.stdin
        assert self.process.stdout
        self.source, self.sink = self.process.stdout, self.process.stdin

    def frame(self) -> tuple[int, int, bytes]:
        number, kind, size = TELL.unpack(self.source.read(TELL.size))
        return number, kind, self.source.read(size)

    def ask(self, number: int, text: bytes, voice: bytes = b"en-us", words: int = 175, pitch: int = 50) -> None:
        self.sink.write(ASK.pack(number, len(text), words, pitch, len(voice)) + voice + text)
        self.sink.flush()

    def said(self, number: int, text: str, voice: str = "en-us", words: int = 175, pitch: int = 50) -> bytes:
        self.ask(number, text.encode(), voice.encode(), words, pitch)
        answered, kind, pcm = self.frame()
        assert (answered, kind) == (number, PCM), pcm
        assert self.frame() == (number, END, b"")
        return pcm

    def close(self) -> int:
        self.sink.close()
        code = self.process.wait(5)
        self.source.close()
        return code


@pytest.fixture
def child():
    child = Child()
    assert child.frame() == (0, READY, struct.pack("<I", 22_050))
    yield child
    if child.process.poll() is None:
        child.process.kill()
    child.process.wait()
    child.source.close()
    if not child.sink.closed:
        child.sink.close()


def test_it_speaks_and_ends_with_its_input(child):
    assert len(child.said(7, "Hello there, how are you?")) > 22_050
    assert child.close() == 0


def pitch_of(pcm: bytes, rate: int = 22_050) -> float:
    """The median pitch of the loud parts, in Hz, by autocorrelation."""
    samples, found = numpy.frombuffer(pcm, "<i2").astype(float), []
    for start in range(0, len(samples) - 2_048, 4_096):
        window = samples[start : start + 2_048]
        window = window - window.mean()
        if numpy.sqrt((window**2).mean()) > 1_500:
            likeness = numpy.correlate(window, window, "full")[2_047:]
            lag = rate // 400 + int(likeness[rate // 400 : rate // 60].argmax())
            if likeness[lag] > likeness[0] / 2:
                found.append(rate / lag)
    return float(numpy.median(found))


def test_all_54_voices_are_known_to_the_library_and_have_their_gender(child):
    text = "Mama, are you all on a merry-go-round now?"
    heard = {v.name: child.said(1, text, v.reading(text), 150, v.pitch) for v in VOICES.values()}
    pitches = {name: pitch_of(pcm) for name, pcm in heard.items()}
    assert all(150 < pitch < 260 for name, pitch in pitches.items() if name[1] == "f"), pitches
    assert all(60 < pitch < 125 for name, pitch in pitches.items() if name[1] == "m"), pitches


@pytest.mark.parametrize(("language", "text"), SAMPLES.items())
def test_the_language_of_every_script_is_known_to_the_library(child, language, text):
    assert language_of(text, "en-us") == language
    assert max(memoryview(child.said(1, text, f"{language}+f2")).cast("h")) > 1_000


def test_pace_and_pitch_change_the_sound(child):
    text = "Mama, are you all on a merry-go-round now?"
    slow, normal, high = child.said(1, text, words=120), child.said(2, text), child.said(3, text, pitch=80)
    assert len(slow) > len(normal) * 1.2
    assert pitch_of(high) > pitch_of(normal) * 1.1


def test_markup_is_read_and_not_obeyed(child):
    assert len(child.said(1, "[[h@loU]]")) > 1.5 * len(child.said(2, "hello"))
    assert len(child.said(3, "a <break time='30s'/> b")) < 22_050 * 2 * 15


@pytest.mark.parametrize("text", ["", " ", "...", "\n", "😀", "\u202e\u200d", "a" * 3_000, "?" * 500])
def test_strange_texts_are_answered(child, text):
    child.said(1, text)
    assert len(child.said(2, "Still here.")) > 10_000


def test_an_unknown_voice_and_broken_text_fail_by_number_and_the_next_is_served(child):
    child.ask(5, b"hello", b"xx-klingon")
    assert child.frame()[:2] == (5, FAIL)
    child.ask(6, b"\xff\xfe")
    assert child.frame()[:2] == (6, FAIL)
    assert len(child.said(7, "Still here.")) > 10_000


def test_ctrl_c_is_left_to_the_parent(child):
    child.process.send_signal(signal.SIGINT)
    assert len(child.said(1, "Still here.")) > 10_000


def test_half_a_question_is_no_question(child):
    child.sink.write(b"\1\2\3")
    assert child.close() == 0

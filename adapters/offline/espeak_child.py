"""The process that holds espeak-ng: sentences in on stdin, 16-bit mono PCM out on stdout, in length-prefixed frames.

espeak-ng is GPL, so its library is loaded here and nowhere else, and this file needs none of ours. Run by `espeak`, as
`python -m adapters.offline.espeak_child`. Invariants: each sentence ends in one END or FAIL frame that carries its
number; the process ends when stdin does, and by itself when one sentence takes longer than PATIENCE_S.

    in    number u32, text bytes u32, words per minute u16, pitch u8, voice bytes u8; voice; text (UTF-8)
    out   number u32, kind u8, payload bytes u32; payload: READY rate u32 | PCM samples | END | FAIL reason (UTF-8)
"""

import ctypes
import os
import signal
import struct
import sys
from typing import BinaryIO

ASK = struct.Struct("<IIHBB")
TELL = struct.Struct("<IBI")
READY, PCM, END, FAIL = range(4)
PATIENCE_S = 15

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS
_NO_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT
_RATE, _PITCH = 1, 3
_UTF8 = 1
_BY_CHARACTER = 1


class Espeak:
    """The C library, initialised. OSError where it cannot be."""

    def __init__(self) -> None:
        import espeakng_loader

        self._library = library = ctypes.CDLL(espeakng_loader.get_library_path())
        library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
        library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
        library.espeak_SetParameter.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
        library.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        data = os.fsencode(espeakng_loader.get_data_path())
        self.rate = library.espeak_Initialize(_SYNCHRONOUS, 100, data, _NO_EXIT)
        if self.rate <= 0:
            raise OSError(f"espeak_Initialize answered {self.rate}")
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
        self._heard = kind(self._on_samples)  # kept: C holds no reference
        library.espeak_SetSynthCallback(self._heard)
        self._parts: list[bytes] = []

    def _on_samples(self, samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._parts.append(ctypes.string_at(samples, count * 2))
        return 0

    def speak(self, text: str, voice: str, words_per_minute: int, pitch: int) -> bytes:
        """ValueError for an unknown voice, OSError where espeak-ng fails."""
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"espeak-ng has no voice {voice!r}")
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        self._parts.clear()
        data = text.encode() + b"\0"
        failed = self._library.espeak_Synth(data, len(data), 0, _BY_CHARACTER, 0, _UTF8, None, None)
        if failed:
            raise OSError(f"espeak_Synth answered {failed}")
        return b"".join(self._parts)


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer until `source` ends."""

    def tell(number: int, kind: int, payload: bytes = b"") -> None:
        sink.write(TELL.pack(number, kind, len(payload)) + payload)
        sink.flush()

    try:
        espeak = Espeak()
    except Exception as error:  # noqa: BLE001  whatever it is, the parent has to hear of it
        tell(0, FAIL, f"{type(error).__name__}: {error}".encode())
        return
    tell(0, READY, struct.pack("<I", espeak.rate))
    while len(head := source.read(ASK.size)) == ASK.size:
        number, size, words_per_minute, pitch, name = ASK.unpack(head)
        voice, text = source.read(name), source.read(size)
        _limit(PATIENCE_S)
        try:
            tell(number, PCM, espeak.speak(text.decode(), voice.decode(), words_per_minute, pitch))
            tell(number, END)
        except (ValueError, OSError) as error:
            tell(number, FAIL, str(error).encode())
        _limit(0)


def _limit(seconds: int) -> None:
    """End this process when the time is over: C code that hangs cannot be interrupted otherwise."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business: it closes stdin
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever the library prints must not land among the frames
    try:
        serve(sys.stdin.buffer, sink)
    except BrokenPipeError:
        os._exit(0)  # the parent is gone; nothing is left to flush to


if __name__ == "__main__":
    main()

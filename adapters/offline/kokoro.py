"""Kokoro through kokoro-onnx, where its model files are configured; neither is a dependency of ours.

It owns the optional import and the thread that runs the model and knows nothing of formats. Invariant: nothing is
imported or loaded before the first sentence (or `warm`).
"""

import importlib
from pathlib import Path
from typing import Any, Final

from adapters.offline.voices import Voice
from proxy.errors import BadRequest, Fault, UpstreamError
from proxy.media.workshop import Workshop


class Kokoro:
    """`model_path` is the .onnx file, or the folder that holds one; the voices file (voices*.bin) lies beside it."""

    paces: Final = (0.5, 2.0)  # kokoro-onnx refuses others

    def __init__(self, model_path: str | Path, voices_path: str | Path | None = None) -> None:
        self.rate = 24_000
        self._model_path, self._voices_path = Path(model_path), voices_path
        self._bench = Workshop("kokoro", threads=1, budget=1)
        self._model: Any = None

    async def warm(self) -> None:
        """Load the model. UpstreamError where the package or a file is missing."""
        await self._bench.run(0, self._load)

    async def sentence(self, text: str, voice: Voice, pace: float) -> bytes:
        """PCM s16 mono at `rate`. BadRequest where the voices file lacks the voice; UpstreamError where it fails."""
        return await self._bench.run(0, self._speak, text, voice, pace)

    async def aclose(self) -> None:
        self._model = None

    def _load(self) -> Any:
        if self._model is None:
            model = _one(self._model_path, "*.onnx")
            voices = Path(self._voices_path) if self._voices_path else _one(model.parent, "voices*.bin")
            try:
                self._model = importlib.import_module("kokoro_onnx").Kokoro(str(model), str(voices))
            except ImportError as error:
                why = "model_path is set, but the package kokoro-onnx is not installed beside us"
                raise UpstreamError(Fault.CONNECT, f"Kokoro: {why}.", accepted=False) from error
            except Exception as error:
                why = f"{type(error).__name__}: {error}"[:200]
                raise UpstreamError(Fault.CONNECT, f"Kokoro does not load: {why}.", accepted=False) from error
        return self._model

    def _speak(self, text: str, voice: Voice, pace: float) -> bytes:
        model = self._load()
        known = list(model.get_voices())
        if voice.name not in known:
            near = ", ".join(name for name in known if name[:2] == voice.name[:2]) or ", ".join(known[:8])
            raise BadRequest(f"voice: {voice.name!r} is not in the Kokoro voices file. Near: {near}.", param="voice")
        try:
            samples, self.rate = model.create(text, voice=voice.name, speed=pace, lang=voice.kokoro_language)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"[:200]
            raise UpstreamError(Fault.SERVER, f"Kokoro failed: {why}.", accepted=False) from error
        pcm: bytes = (samples.clip(-1.0, 1.0) * 32_767).astype("<i2").tobytes()
        return pcm


def _one(path: Path, pattern: str) -> Path:
    """The file itself, or the first in a folder that matches. UpstreamError where there is none."""
    found = path if path.is_file() else next(iter(sorted(path.glob(pattern))), None)
    if found is None:
        raise UpstreamError(Fault.CONNECT, f"Kokoro: no file {pattern} at model_path.", accepted=False)
    return found

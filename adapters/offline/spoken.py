"""Audio on its way to a caller: an iterator of encoded pieces as a Source, bare or in server-sent events.

It knows no voice and no codec. Invariants: it stays one piece ahead, so that the end is known with the last piece; closing
it ends the iterator, whether anybody awaits that or not.
"""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

from proxy.call import Ending, Usage
from proxy.stream import frame


class Spoken:
    """A Source. `usage` is what is booked, `told` the usage that the last event tells."""

    def __init__(
        self, pieces: AsyncIterator[bytes], usage: Usage, closing: set["asyncio.Task[Any]"], told: Any = None
    ) -> None:
        self._pieces = cast("AsyncGenerator[bytes, None]", pieces)
        self._closing = closing
        self._told = told
        self._ahead: bytes | None = None
        self.usage: Usage | None = usage
        self.ending: Ending | None = None

    async def read(self) -> bytes:
        if self.ending is not None:
            return b""
        if self._ahead is None:
            self._ahead = await anext(self._pieces, b"")
        piece = self._ahead
        self._ahead = await anext(self._pieces, b"") if piece else b""
        if not self._ahead:
            self.ending = Ending.FINISHED
        return self._framed(piece) if self._told is not None else piece

    def _framed(self, piece: bytes) -> bytes:
        out = b""
        if piece:
            out = frame({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode("ascii")})
        if self.ending is not None:
            out += frame({"type": "speech.audio.done", "usage": self._told})
        return out

    def close(self) -> None:
        """The iterator is ended in a task of its own, which the adapter waits for when it closes."""
        task = asyncio.get_running_loop().create_task(self._pieces.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

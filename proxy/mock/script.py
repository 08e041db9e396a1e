"""What one request will get: a `Script`, and the queue that the scripts wait in.

Owns the choice "which script serves this request, and with which faults". Knows no HTTP. Invariant: with the same seed,
the same scripts and the same order of requests, the choice is the same.
"""

import random
from collections.abc import Iterable
from typing import Any

import msgspec

from proxy.mock.faults import Fault


class Script(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One request's answer. Empty fields mean "as the scripted backend would".

    `path`, `stream` and `where` (top-level body keys with the value they must have) restrict which requests it serves;
    `times` is how many of them (0: no end). `content`, `reasoning` and `pieces` (the deltas, exactly) replace the
    scripted text. `recording` names a file of the recordings folder. `frames` are sent as they stand, one piece each;
    `body` likewise, as a whole; both with `status` and `headers` where given.
    """

    faults: tuple[Fault, ...] = ()
    path: str | None = None
    stream: bool | None = None
    where: dict[str, Any] = {}
    times: int = 1
    content: str | None = None
    reasoning: str | None = None
    pieces: tuple[str, ...] | None = None
    finish: str | None = None
    recording: str | None = None
    frames: tuple[str, ...] | None = None
    body: str | None = None
    status: int | None = None
    headers: dict[str, str] = {}

    def serves(self, path: str, body: object) -> bool:
        """Whether a request to `path` with the decoded `body` (anything, where it was no JSON) is one of ours."""
        fields = body if isinstance(body, dict) else {}
        if self.path is not None and self.path != path:
            return False
        if self.stream is not None and self.stream != bool(fields.get("stream")):
            return False
        return all(fields.get(key) == value for key, value in self.where.items())


class Queue:
    """Scripts in order; the first that serves a request is taken, else one fault is drawn by the seeded rate."""

    def __init__(self, seed: int, faults: tuple[Fault, ...] = (), rate: float = 1.0, recording: str | None = None):
        self._seed = seed
        self._faults = faults
        self._rate = rate
        self._recording = recording
        self._waiting: list[Script] = []

    def add(self, scripts: Iterable[Script]) -> None:
        # Copies, since `times` is counted down here: one Script may be queued twice.
        self._waiting.extend(msgspec.structs.replace(script) for script in scripts)

    def clear(self) -> None:
        self._waiting.clear()

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, number: int, path: str, body: object) -> Script:
        """The script for request `number` (counted from 1 in order of arrival)."""
        for script in self._waiting:
            if script.serves(path, body):
                if script.times > 0:
                    script.times -= 1
                    if script.times == 0:
                        self._waiting.remove(script)
                return script
        rng = random.Random(f"{self._seed}/{number}/fault")
        drawn: tuple[Fault, ...] = ()
        if self._faults and rng.random() < self._rate:
            drawn = (rng.choice(self._faults),)
        return Script(faults=drawn, recording=self._recording)

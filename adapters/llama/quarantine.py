"""Models that keep crashing, set aside by file content and parameters.

Owns the list and the identity of a model. Refuses to know processes. Invariant: another file under the same name, or
other parameters, is another model and is given its chance; after its time is up a model gets one life on probation.
"""

import hashlib
import os
import time

import msgspec

from adapters.llama.spec import Setup

_SAMPLE = 1 << 20


def identity(path: str, setup: Setup) -> str:
    """From the file's size, time and both ends, and the setup. A missing file has an identity too."""
    digest = hashlib.sha256(msgspec.json.encode(setup))
    try:
        with open(path, "rb") as file:
            stat = os.fstat(file.fileno())
            digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
            digest.update(file.read(_SAMPLE))
            file.seek(max(0, stat.st_size - _SAMPLE))
            digest.update(file.read(_SAMPLE))
    except OSError:
        digest.update(os.fsencode(path))
    return digest.hexdigest()


class Quarantine:
    """Shared by all engines of a gateway."""

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, str]] = {}

    def add(self, key: str, reason: str, seconds: float) -> None:
        self._until[key] = (time.monotonic() + seconds, reason)

    def reason(self, key: str) -> str | None:
        """Why it is set aside; None if it is not, or its time is up."""
        until, reason = self._until.get(key, (0.0, ""))
        return reason if until > time.monotonic() else None

    def remaining_s(self, key: str) -> float:
        return max(0.0, self._until.get(key, (0.0, ""))[0] - time.monotonic())

    def crashes(self, key: str) -> int:
        """Crashes held against a new life: those on probation have few left."""
        return 3 if key in self._until else 0

    def clear(self, key: str) -> None:
        self._until.pop(key, None)

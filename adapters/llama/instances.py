"""What the administrator sees and does: models of a fleet as instances.

Owns the words from residents to `proxy.ports.Instance`, and the order of checks before a load. Refuses to know names of
the catalogue and HTTP. Invariant: a load that cannot succeed because of the file fails at once, also without waiting.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

from adapters.llama import faults
from adapters.llama.fleet import Fleet
from adapters.llama.gguf_meta import GgufError, read
from adapters.llama.resident import Status
from proxy.errors import UpstreamError
from proxy.ports import Instance


class Instances:
    """Of one fleet. References are those of targets."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def load(self, reference: str, *, concurrency: int | None, keep_s: float | None, wait: bool) -> Instance:
        """Raises UpstreamError when the model is not here, not allowed, broken or (waiting) cannot be loaded."""
        path = str(await self._fleet.checked(reference))
        try:
            await asyncio.to_thread(read, path)
        except GgufError as error:
            raise faults.bad_file(str(error)) from error
        life = self._fleet.life
        if wait:
            return instance_of(await life.load(path, parallel=concurrency, keep_s=keep_s), reference)
        await life.begin_load(path, parallel=concurrency, keep_s=keep_s)
        await asyncio.sleep(0)  # it takes its place, or its turn
        return self.one(reference)

    async def unload(self, reference: str, *, wait: bool) -> Instance | None:
        """None if it was not loaded."""
        path = str(self._fleet.path(reference))
        life = self._fleet.life
        if not await life.begin_unload(path):
            return None
        if wait:
            await life.unload(path)
        return self.one(reference)

    def one(self, reference: str) -> Instance:
        status = self._fleet.life.status_of(str(self._fleet.path(reference)))
        return Instance(model=reference, state="unloaded") if status is None else instance_of(status, reference)

    def all(self, names: Sequence[str]) -> list[Instance]:
        """Each called by the name that leads to its file; without one, by its shortest reference."""
        called: dict[str, str] = {}
        for name in names:
            with contextlib.suppress(UpstreamError):
                called.setdefault(str(self._fleet.path(name)), name)
        return [
            instance_of(status, called.get(status.path) or self._fleet.reference(Path(status.path)))
            for status in self._fleet.statuses()
        ]


def instance_of(status: Status, model: str) -> Instance:
    return Instance(
        model=model,
        state=status.state,
        progress=status.progress,
        concurrency=status.parallel,
        running=status.users,
        served=status.served,
        keep_s=status.keep_s,
        expires=status.expires,
        created=status.created,
        modified=status.used,
        restarts=status.restarts,
        memory=status.measured,
        estimated=status.estimated,
        context_tokens=0 if status.info is None else status.info.context_tokens,
        reason=status.reason,
    )

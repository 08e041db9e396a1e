"""When a picture is read: one in a step, in a decode of its own, once the text before it is in memory.

Owns the order and what becomes of the memory when it goes wrong. Refuses to sample and to end calls: the scheduler
does. Invariant: after `look` the slot of a call holds either the whole picture or nothing of it.
"""

from adapters.llama.ffi import Context
from adapters.llama.job import Job
from adapters.llama.kv import KvCache
from adapters.llama.vision.native import Projector


class Eye:
    """The projector in the hands of one scheduler. `pictures` and `tokens` count what was read."""

    def __init__(self, projector: Projector, context: Context, kv: KvCache) -> None:
        self._projector = projector
        self._context = context
        self._kv = kv
        self.pictures = self.tokens = 0

    def look(self, prefilling: list[Job]) -> tuple[Job | None, int]:
        """The call whose picture was read, if any had come to one, and llama.cpp's code: 0 for done."""
        job = next((job for job in prefilling if job.call.pictures and not job.ahead), None)
        if job is None or job.lease is None:
            return None, 0
        picture = next(p for p in job.call.pictures if p.start == job.cursor)
        slot = job.choices[0].slot
        self._kv.make_room(picture.tokens)
        code = self._projector.show(self._context, picture, slot.seq)
        if code:
            undone = self._context.seq_rm(slot.seq, job.cursor, -1)
            return job, code if undone or code != 1 else -1
        end = job.cursor + picture.positions
        self._kv.append(job.lease, slot, job.call.prompt[job.cursor : end])
        job.cursor = end
        self.pictures += 1
        self.tokens += picture.tokens
        picture.close()
        return job, 0

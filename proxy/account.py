"""`account`: what leaves a reply settles its permit, exactly once, and before the last frame is on its way.

A finished reply is settled *awaiting* the books; one that its client left, or that failed, is booked without waiting,
since closing must never depend on anybody being there to await it.
"""

from collections import deque

import msgspec

from proxy.call import Call, Ending, Usage
from proxy.ports import Permit, Reply


class Metered:
    """A Reply with its permit attached. Closing it twice, or after its end, changes nothing."""

    __slots__ = ("_open", "_permit", "_reply", "content_type", "frames", "headers", "status")

    def __init__(self, reply: Reply, permit: Permit) -> None:
        self._reply = reply
        self._permit = permit
        self._open = True
        self.frames = 0
        self.status = reply.status
        self.content_type = reply.content_type
        self.headers = reply.headers

    @property
    def ending(self) -> Ending | None:
        return self._reply.ending

    @property
    def usage(self) -> Usage | None:
        return self._reply.usage

    async def next(self) -> bytes:
        reply = self._reply
        try:
            frame = await reply.next()
        except Exception:
            self._leave(Ending.FAILED)
            raise
        if frame:
            self.frames += 1
        if self._open and reply.ending is not None:
            self._open = False
            try:
                await self._permit.settle(reply.usage, reply.ending, self.frames)
            except BaseException:  # cut off while it waited: booked without waiting, if it is not booked yet
                self._permit.abandon(reply.usage, reply.ending, self.frames)
                raise
        return frame

    def close(self) -> None:
        self._leave(Ending.CANCELLED)
        self._reply.close()

    def _leave(self, ending: Ending) -> None:
        if self._open:
            self._open = False
            self._permit.abandon(self._reply.usage, ending, self.frames)


class Entry(msgspec.Struct):
    """One line of the books."""

    id: str
    operation: str
    model: str
    route: str
    ending: Ending
    usage: Usage | None
    frames: int
    attempts: int


class Books:
    """The books in memory: the last `keep` entries and totals by ending."""

    def __init__(self, keep: int = 1000) -> None:
        self.entries: deque[Entry] = deque(maxlen=keep)
        self.endings: dict[Ending, int] = dict.fromkeys(Ending, 0)

    def metered(self, reply: Reply, permit: Permit) -> Metered:
        return Metered(reply, permit)

    def write(self, call: Call, usage: Usage | None, ending: Ending, frames: int) -> None:
        plan = call.plan
        model = plan.model.id if plan else ""
        route = str(call.attempts[-1].target) if call.attempts else ""
        self.endings[ending] += 1
        entry = Entry(call.id, call.operation.value, model, route, ending, usage, frames, len(call.attempts))
        self.entries.append(entry)

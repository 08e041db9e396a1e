"""Who is admitted next: two priorities, and deficit round robin over tenant keys within each.

Owns the waiting calls and what each key has had. Refuses to know slots, memory and time beyond an age. Invariants: a
key's calls keep their order; over time, keys that always have calls waiting get the same number of generated tokens,
whatever the lengths of their calls; a call of low priority that has waited `AGE_S` counts as high.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

QUANTUM = 256  # tokens per round
AGE_S = 20.0


class Waiting(Protocol):
    """What the queue looks at. `cost` is the number of tokens the call is expected to generate."""

    queued_at: float

    @property
    def tenant(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def cost(self) -> int: ...


J = TypeVar("J", bound=Waiting)


class FairQueue(Generic[J]):
    """`peek` names the next call and keeps naming it until it is taken, removed or overtaken by priority."""

    def __init__(self) -> None:
        self._lanes: tuple[OrderedDict[str, deque[J]], OrderedDict[str, deque[J]]] = (OrderedDict(), OrderedDict())
        self._credit: dict[str, float] = {}
        self._running: dict[str, int] = {}
        self._chosen: J | None = None
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[J]:
        for lane in self._lanes:
            for line in lane.values():
                yield from line

    def push(self, job: J, *, front: bool = False) -> None:
        lane = self._lanes[0 if job.priority <= 0 else 1]
        line = lane.setdefault(job.tenant, deque())
        if front:
            line.appendleft(job)
        else:
            line.append(job)
        self._size += 1
        if self._chosen is not None and (front or job.priority < self._chosen.priority):
            self._chosen = None

    def remove(self, job: J) -> bool:
        """A cancelled or expired call; False if it is not here."""
        for lane in self._lanes:
            line = lane.get(job.tenant)
            if line is not None and job in line:
                line.remove(job)
                self._after(lane, job)
                return True
        return False

    def _after(self, lane: "OrderedDict[str, deque[J]]", job: J) -> None:
        self._size -= 1
        if not lane[job.tenant]:
            del lane[job.tenant]
        if self._chosen is job:
            self._chosen = None
        self._forget(job.tenant)

    def _forget(self, tenant: str) -> None:
        """A key with nothing here begins afresh: credit is not hoarded."""
        if not self._running.get(tenant) and not any(tenant in lane for lane in self._lanes):
            self._credit.pop(tenant, None)
            self._running.pop(tenant, None)

    def peek(self, now: float) -> J | None:
        if self._chosen is None:
            self._chosen = self._next(now)
        return self._chosen

    def _next(self, now: float) -> J | None:
        high, low = self._lanes
        aged = [line[0] for line in low.values() if now - line[0].queued_at > AGE_S]
        if aged and (not high or min(job.queued_at for job in aged) < min(q[0].queued_at for q in high.values())):
            return min(aged, key=lambda job: job.queued_at)
        lane = high or low
        if not lane:
            return None
        while True:  # each round gives every key a quantum, so somebody's first call is paid for before long
            for tenant in list(lane):
                job = lane[tenant][0]
                if self._credit.get(tenant, 0.0) >= job.cost:
                    return job
                self._credit[tenant] = self._credit.get(tenant, 0.0) + QUANTUM
                lane.move_to_end(tenant)

    def take(self, job: J) -> None:
        """The call is admitted and pays what it is expected to cost."""
        for lane in self._lanes:
            line = lane.get(job.tenant)
            if line is not None and job in line:
                line.remove(job)
                self._credit[job.tenant] = self._credit.get(job.tenant, 0.0) - job.cost
                self._running[job.tenant] = self._running.get(job.tenant, 0) + 1
                self._after(lane, job)
                return
        raise ValueError("the call is not waiting")

    def settle(self, job: J, generated: int) -> None:
        """The call is over: the estimate is replaced by what it did generate."""
        if job.tenant in self._running:
            self._running[job.tenant] -= 1
        self._credit[job.tenant] = self._credit.get(job.tenant, 0.0) + job.cost - generated
        self._forget(job.tenant)

"""`admit`: the right to spend on one call, or a refusal. One Permit a call; it is settled, cancelled or abandoned once.

Here everybody is admitted and counted; the gate that asks for limits and budgets has the same two methods.
"""

from collections.abc import Callable

from proxy.call import Call, Ending, Usage
from proxy.errors import Unavailable
from proxy.ports import Permit

Settled = Callable[[Call, Usage | None, Ending, int], None]


class OpenPermit:
    """A permit that reserves nothing but a place among the running calls."""

    __slots__ = ("_call", "_gate", "_open")

    def __init__(self, gate: "OpenGate", call: Call) -> None:
        self._gate = gate
        self._call = call
        self._open = True

    def _close(self) -> bool:
        if not self._open:
            return False
        self._open = False
        self._gate.running -= 1
        return True

    def cancel(self, ending: Ending) -> None:
        if self._close() and self._call.attempts:
            self._gate.settled(self._call, None, ending, 0)

    async def settle(self, usage: Usage | None, ending: Ending, frames: int) -> None:
        self.abandon(usage, ending, frames)

    def abandon(self, usage: Usage | None, ending: Ending, frames: int) -> None:
        if self._close():
            self._gate.settled(self._call, usage, ending, frames)


class OpenGate:
    """Admits everybody until the server drains. `running` is the number of calls that hold a permit."""

    def __init__(self, settled: Settled) -> None:
        self.running = 0
        self.draining = False
        self.settled = settled

    async def admit(self, call: Call) -> Permit:
        if self.draining:
            raise Unavailable("The server is shutting down.", retry_after_s=2)
        self.running += 1
        return OpenPermit(self, call)

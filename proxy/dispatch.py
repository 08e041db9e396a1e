"""`dispatch`: try the plan's targets until one gives a first frame. Retry and fallback end there.

Another attempt is made only if the failure is one of `retry_on` and the upstream certainly did not start the work
(`accepted is False`): a second create would be a second charge. 4xx never trips a breaker.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping

from proxy.call import Attempt, Call, Target
from proxy.config import Routing
from proxy.errors import Fault, TraghettoError, Unavailable, UpstreamError
from proxy.health import Health
from proxy.ports import Adapter, Reply

PATIENCE_S = 5.0  # the longest Retry-After of an upstream that we wait for ourselves
_NAMES = {Fault.CONNECT: "connect", Fault.TIMEOUT: "timeout"}


class Dispatcher:
    """Over one snapshot's adapters."""

    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        routing: Routing,
        health: Health,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        mark: Callable[[Call, Target], None] | None = None,
    ) -> None:
        self.adapters = adapters
        self.routing = routing
        self.health = health
        self._mark = mark  # told of every attempt before its first byte
        self._sleep = sleep

    async def open(self, call: Call) -> Reply:
        """The first frame of the first target that gives one.

        Raises:
            UpstreamError: of the last attempt. Unavailable: every target's breaker is open.
        """
        assert call.plan is not None
        targets = call.plan.targets
        left = self.routing.retries
        reason, last = "first", None
        index = 0
        while True:
            found = self._next(targets, index)
            if found is None:
                raise last or self._all_open(targets)
            index, target = found
            try:
                return await self._attempt(call, target, reason)
            except UpstreamError as error:
                last = error
                if left <= 0 or not self._worth_another(error):
                    error.exhausted = len(call.attempts) > 1
                    raise
                left -= 1
                reason = f"{'fallback' if len(targets) > 1 else 'retry'}:{error.upstream_status or error.fault.value}"
                index += 1
                await self._pause(error, index, len(targets))

    async def _attempt(self, call: Call, target: Target, reason: str) -> Reply:
        self._announce(call, target)
        started = time.perf_counter()
        attempt = Attempt(target, reason, started=started)
        call.attempts.append(attempt)
        try:
            reply = await self.adapters[target.upstream].open(call, target)
        except TraghettoError as error:
            attempt.error = error.code
            attempt.reached = _reached(error)
            attempt.ms = (time.perf_counter() - started) * 1000
            if isinstance(error, UpstreamError) and error.blames_target:
                self.health.failed(target)
            else:
                self.health.answered(target)
            raise
        except BaseException:
            self.health.left(target)
            raise
        taken = time.perf_counter() - started
        attempt.ms = taken * 1000
        self.health.answered(target, taken)
        return reply

    def _announce(self, call: Call, target: Target) -> None:
        """Raises Unavailable: the books take no more."""
        if self._mark is not None:
            try:
                self._mark(call, target)
            except BaseException:
                self.health.left(target)
                raise

    def _next(self, targets: tuple[Target, ...], index: int) -> tuple[int, Target] | None:
        """The first place from `index` on (around, for retries of few targets) whose breaker lets a call in."""
        for place in range(index, index + len(targets)):
            target = targets[place % len(targets)]
            if self.health.enter(target):
                return place, target
        return None

    def _all_open(self, targets: tuple[Target, ...]) -> Unavailable:
        wait = min(self.health.open_for_s(target) for target in targets)
        return Unavailable(
            "Every upstream of this model failed recently; they are tried again soon.", retry_after_s=wait
        )

    def _worth_another(self, error: UpstreamError) -> bool:
        retry_on = self.routing.retry_on
        name = _NAMES.get(error.fault)
        listed = name in retry_on or error.upstream_status in retry_on
        return error.accepted is False and (listed or error.fault is Fault.OVERLOADED)

    async def _pause(self, error: UpstreamError, attempt: int, targets: int) -> None:
        if attempt < targets:
            return  # another target: at once
        wait = error.retry_after_s if error.fault in (Fault.RATE_LIMITED, Fault.OVERLOADED) else None
        if wait is not None and wait > PATIENCE_S:
            raise error
        backoff = 0.05 * 2 ** (attempt - targets) * random.uniform(0.75, 1.25)
        await self._sleep(max(wait or 0.0, backoff))


def _reached(error: TraghettoError) -> bool:
    """Whether a byte of the request can have left for the upstream."""
    if not isinstance(error, UpstreamError):
        return False  # ours: refused while the request was being made
    return error.accepted is not False or error.upstream_status is not None or error.fault is Fault.TIMEOUT

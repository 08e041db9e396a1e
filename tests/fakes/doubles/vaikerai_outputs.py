"""How the VaikerAI double hands out results: the prediction itself in time, files and SSE on ports of their own, webhooks.

It owns what a prediction is; creating and reading them over the API is `vaikerai`'s.
"""

import asyncio
import base64
import itertools
import json
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fakes.doubles.callbacks import post, signature
from fakes.doubles.faults import Answer, as_json
from fakes.doubles.server import Seen, Timeline, route
from fakes.doubles.vaikerai_admin import Admin
from fakes.doubles.vaikerai_models import Model, Plan

EVENTS = ("start", "output", "logs", "completed")
ENDED = ("succeeded", "failed", "canceled", "aborted")


def stamp(at: float, *, nanoseconds: bool = False) -> str:
    """RFC 3339 in UTC; creation times have nine digits."""
    text = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text + ("657Z" if nanoseconds else "Z")


@dataclass
class Prediction:
    """One prediction. `status` follows its timeline until something ends it early."""

    id: str
    model: Model
    version: str
    given: dict[str, Any]
    plan: Plan
    timeline: Timeline
    source: str
    created: float = field(default_factory=time.time)
    ended_as: str | None = None
    ended_at: float | None = None
    urls: list[str] = field(default_factory=list)
    deployment: str | None = None
    webhook: str | None = None
    events: tuple[str, ...] = EVENTS

    @property
    def last(self) -> int:
        return len(self.timeline.marks)

    @property
    def grown(self) -> int:
        """How many values of the output are there."""
        return min(len(self.plan.growth), max(0, self.timeline.position - 1))

    @property
    def status(self) -> str:
        if self.ended_as:
            return self.ended_as
        position = self.timeline.position
        if self.plan.abort and position >= 1:
            self._end("aborted")
            return "aborted"
        if position >= self.last:
            self._end("failed" if self.plan.fail else "succeeded")
            return self.ended_as or ""
        return "processing" if position >= 1 else "starting"

    def _end(self, how: str) -> None:
        self.ended_as, self.ended_at = how, time.time()

    def stop(self, how: str) -> None:
        """End it early; what has ended stays as it is."""
        if self.status not in ENDED:
            self.timeline.freeze()
            self._end(how)


class Outputs(Admin):
    """The files and stream ports and the sender of webhooks."""

    view: Callable[..., dict[str, Any]]
    _job: Callable[[str], Prediction]

    def __init__(self, *, retention: float, webhook_interval: float, **more: Any) -> None:
        super().__init__(**more)
        self.retention, self.webhook_interval = retention, webhook_interval
        self.jobs: dict[str, Prediction] = {}
        self.webhook_tricks: set[str] = set()
        self.webhooks_sent: list[tuple[str, int | None]] = []
        self.webhook_secret = "whsec_" + base64.b64encode(b"double-webhook-secret-0123456789").decode()
        self._files: dict[str, tuple[bytes, str, float]] = {}
        self._streams: dict[str, str] = {}

    @route("GET", "/out/{job_id}/{name}", auth=False, port="files")
    async def file(self, seen: Seen, job_id: str, name: str) -> Answer:
        data, mime, since = self._files.get(f"{job_id}/{name}", (b"", "", 0.0))
        if not data or time.time() - since > self.retention:
            return self.no_route(seen)
        return Answer(200, data, {"content-type": mime})

    @route("GET", "/trap/{job_id}", auth=False, port="files")
    async def trap(self, seen: Seen, job_id: str) -> Answer:
        """Whoever follows `urls.get` to another origin gets a wrong answer (and shows up in `leaks`)."""
        return as_json(200, self.view(self._job(job_id)) | {"status": "succeeded", "output": ["trapped"]})

    @route("GET", "/v1/files/{token}", auth=False, port="stream")
    async def stream(self, seen: Seen, token: str) -> Answer:
        if token not in self._streams:
            return self.problem(404, "The requested stream does not exist")
        if "text/event-stream" not in seen.headers.get("accept", ""):
            return Answer(406, b"", {"content-type": "text/plain"})  # invented
        events = self._events(self.jobs[self._streams[token]])
        return Answer(200, b"", {"content-type": "text/event-stream", "cache-control": "no-store"}, events)

    async def _events(self, job: Prediction) -> AsyncGenerator[bytes, None]:
        numbers = itertools.count()

        def event(name: str, data: str) -> bytes:
            lines = "".join(f"data: {line}\n" for line in data.split("\n"))
            return f"event: {name}\nid: {int(job.created)}:{next(numbers)}\n{lines}\n".encode()

        if job.plan.logs:
            yield event("logs", job.plan.logs.rstrip("\n"))
        for number, value in enumerate(job.plan.growth):
            if not await job.timeline.reach(number + 2) or job.status in ("canceled", "aborted"):
                break
            yield event("output", str(value))
        await job.timeline.reach(job.last)
        if job.status == "failed":
            yield event("error", json.dumps({"detail": job.plan.fail}))
        reason = {"succeeded": {}, "failed": {"reason": "error"}}.get(job.status, {"reason": "canceled"})
        yield event("done", json.dumps(reason))

    async def _notify(self, job: Prediction) -> None:
        """Webhooks: start, output at most every half second, completed; network errors are retried."""
        assert job.webhook
        await job.timeline.reach(1)
        if "start" in job.events:
            await self._send(job, "start")
        last = 0.0
        for number in range(len(job.plan.growth)):
            if not await job.timeline.reach(number + 2):
                break
            if "output" in job.events and time.monotonic() - last >= self.webhook_interval:
                last = time.monotonic()
                await self._send(job, "output")
        await job.timeline.reach(job.last)
        if "completed" in job.events:
            await self._send(job, "completed")
            if "late" in self.webhook_tricks:
                stale = self.view(job) | {"status": "processing", "output": None}
                await self._send(job, "late", stale)

    async def _send(self, job: Prediction, event: str, view: dict[str, Any] | None = None) -> None:
        body = json.dumps(self.view(job) if view is None else view).encode()
        at = int(time.time()) - (3600 if "old" in self.webhook_tricks else 0)
        identity = f"msg_{job.id}_{event}_{len(self.webhooks_sent)}"
        signed = signature(self.webhook_secret, identity, at, body)
        if "bad_signature" in self.webhook_tricks:
            signed = signature("whsec_" + base64.b64encode(b"somebody else").decode(), identity, at, body)
        headers = {"content-type": "application/json", "webhook-id": identity, "webhook-timestamp": str(at)}
        headers["webhook-signature"] = signed
        for _ in range(2 if "duplicate" in self.webhook_tricks else 1):
            for attempt in range(3):
                status = await post(job.webhook or "", body, headers)
                self.webhooks_sent.append((event, status))
                if status is not None:
                    break
                await asyncio.sleep(0.05 * 2**attempt)

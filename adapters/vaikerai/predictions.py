"""Predictions from their creation to their end: by version, official model or deployment; waiting, polling, cancelling.

It owns the job engine of one upstream and what is sent with a create; it refuses to know inputs and outputs. Invariants: a
create is sent once, and a client that leaves while it is under way still cancels what it made; a report from outside
only wakes a job, what a job came to is read from the upstream.
"""

import asyncio
from typing import Any, NamedTuple
from urllib.parse import quote

from adapters.job_news import JobNews
from adapters.job_pace import Look, Manner, Phase
from adapters.jobs import Job, JobEngine
from adapters.vaikerai.answers import ended_badly, look_of
from adapters.vaikerai.api import Api, Headers
from adapters.vaikerai.reference import Reference
from proxy.errors import Fault, UpstreamError

SPARE_S = 10  # behind our own deadline the service cancels by itself, should we have died


class Started(NamedTuple):
    """`made` is the prediction as its creation answered it."""

    job: Job
    made: dict[str, Any]


class Predictions:
    """One upstream's."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._options = api.options
        self.engine = JobEngine(api.name, reads_per_s=self._options.reads_per_s)
        self._jobs: dict[str, Job] = {}
        self._unwanted: set[asyncio.Task[dict[str, Any]]] = set()
        self._news = JobNews(api.name, self._wake)

    async def start(self, reference: Reference, given: dict[str, Any], *, stream: bool = False) -> Started:
        """Create one. A streamed one is followed closely, another as the options say. Raises UpstreamError."""
        body: dict[str, Any] = {"input": self._options.inputs.get(reference.text, {}) | given}
        if reference.version:
            body["version"] = reference.version
        manner = Manner.LIVE if stream else Manner.STEADY
        if stream and self._options.stream_hosts:
            body["stream"] = True
        if not stream and self._options.webhook_url:
            body |= {"webhook": self._options.webhook_url, "webhook_events_filter": ["completed"]}
            manner = Manner.HINTED
            self._news.listen()
        made = await self._create(reference.path, body, 0 if stream else self._wait_s)
        identity = _id_of(made)
        if identity is None:
            said = f"The upstream {self._api.name!r} gave no id for the job."
            raise UpstreamError(Fault.MALFORMED, said, accepted=True)
        job = self._watch(identity, manner)
        if isinstance(made.get("status"), str) and (look := look_of(made, self._api.name)).over:
            job.learn(look)
        elif not stream and made.get("output") is not None:
            job.hint(Manner.STEADY)  # it has all that is asked for, and is only not over by its books
        return Started(job, made)

    async def result(self, reference: Reference, given: dict[str, Any]) -> dict[str, Any]:
        """A prediction to its good end → what it was read as. Raises UpstreamError; leaving cancels it."""
        job = (await self.start(reference, given)).job
        try:
            look = await job.result()
        except BaseException:
            job.leave()
            raise
        if look.phase is not Phase.DONE or look.body["data_removed"]:
            raise ended_badly(look, self._api.name)
        body: dict[str, Any] = look.body
        return body

    def news(self, identity: str) -> bool:
        """Somebody says that this prediction has changed. Whether it is one that is waited for here; if not, the other
        workers are told."""
        known = self._wake(identity)
        if not known:
            self._news.tell(identity)
        return known

    def _wake(self, identity: str) -> bool:
        job = self._jobs.get(identity)
        if job is not None:
            job.hint()
        return job is not None

    async def aclose(self) -> None:
        for task in list(self._unwanted):
            task.cancel()
        await asyncio.gather(*self._unwanted, return_exceptions=True)
        self._news.close()
        await self.engine.aclose()

    @property
    def _wait_s(self) -> int:
        """Seconds that a create may be held back: not so many that our own time would run out before we know an id."""
        return min(self._options.prefer_wait_s, int(self._options.timeout.total_s / 2))

    async def _create(self, path: str, body: dict[str, Any], wait_s: int) -> dict[str, Any]:
        """The new prediction. If the client leaves meanwhile its id is still learned, so that it can be cancelled."""
        headers: Headers = []
        if self._api.replicate:
            headers.append(("cancel-after", f"{int(self._options.timeout.total_s) + SPARE_S}s"))
        if wait_s:
            headers.append(("prefer", f"wait={wait_s}"))
        asking = self._api.ask("POST", path, body, headers, wait_s=wait_s)
        task = asyncio.get_running_loop().create_task(asking)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._unwanted.add(task)
            task.add_done_callback(self._drop)
            raise

    def _drop(self, task: "asyncio.Task[dict[str, Any]]") -> None:
        self._unwanted.discard(task)
        if not task.cancelled() and task.exception() is None and (identity := _id_of(task.result())) is not None:
            self._watch(identity, Manner.STEADY).leave()

    def _watch(self, identity: str, manner: Manner) -> Job:
        path = f"/predictions/{quote(identity, safe='')}"

        async def poll() -> Look:
            return look_of(await self._api.ask("GET", path), self._api.name)

        async def cancel() -> bool:
            await self._api.ask("POST", f"{path}/cancel")
            return True

        def over() -> None:
            self._jobs.pop(identity, None)

        deadline_s = self._options.timeout.total_s
        job = self.engine.watch(identity, poll, deadline_s=deadline_s, cancel=cancel, on_over=over, manner=manner)
        if not job.over:
            self._jobs[identity] = job
        return job


def _id_of(prediction: dict[str, Any]) -> str | None:
    identity = prediction.get("id")
    return identity if isinstance(identity, str) and identity else None

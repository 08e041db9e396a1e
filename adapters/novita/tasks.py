"""Novita's own API beside its language models: exchanges, and tasks that are submitted and then read until they are over.

It owns the job engine of one upstream; it refuses to know what a task is for. Invariants: what creates is sent once; a
task cannot be cancelled, so that one whose client left is followed, rarely, until it ends.
"""

from typing import Any
from urllib.parse import urlencode

from adapters._http import HttpClient, HttpResponse, TransportError
from adapters.accents import object_in
from adapters.faults import retry_after_s, transport_fault
from adapters.job_pace import Look, Phase
from adapters.jobs import Job, JobEngine
from adapters.line import once
from adapters.novita.reasons import ended_badly, look_of, refusal, task_of
from adapters.options import NovitaOptions
from proxy.errors import Fault, UpstreamError
from proxy.wire.body import encode

MAX_ANSWER = 128 << 20


class Tasks:
    """One upstream's."""

    def __init__(self, name: str, options: NovitaOptions, client: HttpClient) -> None:
        self.name = name
        self.options = options
        self.engine = JobEngine(name, reads_per_s=options.reads_per_s)
        self._client = client

    async def ask(self, method: str, path: str, body: Any = None, *, query: str = "") -> dict[str, Any]:
        """One exchange → its object. Raises UpstreamError for everything else."""
        answer = object_in((await self.exchange(method, path, body, query=query))[1])
        if not answer:
            raise UpstreamError(Fault.MALFORMED, f"The upstream {self.name!r} sent no JSON object.", accepted=True)
        return answer

    async def exchange(
        self, method: str, path: str, body: Any = None, *, query: str = ""
    ) -> tuple[HttpResponse, bytes]:
        """One exchange → the response and its whole body. Raises UpstreamError for an error status."""
        raw = b"" if body is None else encode(body)
        headers = [("content-type", "application/json"), ("content-length", str(len(raw)))] if raw else []
        try:
            content = once(raw) if raw else b""
            response = await self._client.send(method, path, headers=headers, content=content, query=query)
            try:
                said = await response.read(MAX_ANSWER)
            finally:
                response.close()
        except TransportError as error:
            raise transport_fault(error, self.name) from None
        if response.status < 300:
            return response, said
        failed = refusal(response.status, said, retry_after_s(response), self.name)
        if response.status >= 500 and "reason" not in object_in(said):
            failed.accepted = None  # somebody in between: whether the work was begun is not known
        raise failed

    async def result(self, path: str, body: dict[str, Any], seen: list[Job] | None = None) -> dict[str, Any]:
        """A task from its creation to its good end → its images and what came with them. `seen` gets to hold the job."""
        identity = task_of(await self.ask("POST", path, body), self.name)
        query = urlencode({"task_id": identity})

        async def poll() -> Look:
            return look_of(await self.ask("GET", "/v3/async/task-result", query=query), self.name)

        job = self.engine.watch(identity, poll, deadline_s=self.options.timeout.total_s)
        if seen is not None:
            seen.append(job)
        try:
            look = await job.result()
        except BaseException:
            job.leave()
            raise
        if look.phase is not Phase.DONE:
            raise ended_badly(look, self.name)
        made: dict[str, Any] = look.body
        return made

    async def aclose(self) -> None:
        await self.engine.aclose()

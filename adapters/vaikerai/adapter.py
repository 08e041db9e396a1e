"""One predictions upstream: references, what a model takes, creating, following and cancelling.

URLs that the upstream gives are never followed: everything is built from ids, so that no token goes elsewhere. A client
that leaves cancels its prediction. Text is read by polling while it grows.
"""

import asyncio
import re
import time
from typing import Any, ClassVar
from urllib.parse import quote

from adapters._http import HttpClient, TransportError
from adapters.accents import object_in
from adapters.faults import retry_after_s, transport_fault
from adapters.job_pace import Look, Manner, Phase
from adapters.jobs import Job, JobEngine
from adapters.line import client_of, once
from adapters.options import VaikerAIOptions
from adapters.text_chat import TextChat, reply_of
from adapters.text_filters import Cumulative
from adapters.vaikerai.answers import ended_badly, look_of, refusal
from adapters.vaikerai.inputs import CAPS, Schema, inputs_of
from proxy.call import Call, Target, Usage
from proxy.errors import Fault, UpstreamError
from proxy.ports import Caps, Reply
from proxy.wire.body import encode

MAX_ANSWER = 64 << 20
SCHEMA_S = 3600.0
SPARE_S = 10  # behind our own deadline the service cancels by itself, should we have died
_HASH = re.compile(r"[0-9a-f]{64}")


class Reference:
    """How a target names its model: `owner/name`, `owner/name:hash`, a bare hash, `deployment:owner/name`."""

    def __init__(self, text: str) -> None:
        self.deployment = text.startswith("deployment:")
        name, _, version = text.removeprefix("deployment:").partition(":")
        if _HASH.fullmatch(name):
            name, version = "", name
        self.name = "/".join(quote(part, safe="") for part in name.split("/"))
        self.version = version

    @property
    def path(self) -> str:
        """Where a prediction is created."""
        if self.deployment:
            return f"/deployments/{self.name}/predictions"
        return "/predictions" if self.version else f"/models/{self.name}/predictions"


class VaikerAI:
    """Kind `vaikerai`."""

    kind: ClassVar[str] = "vaikerai"

    def __init__(self, name: str, options: VaikerAIOptions, client: HttpClient) -> None:
        self.name = name
        self.options = options
        self.caps: Caps = CAPS
        self.engine = JobEngine(name, reads_per_s=options.reads_per_s)
        self._client = client
        self._schemas: dict[str, tuple[float, Schema]] = {}
        self._asking = asyncio.Lock()
        self._unwanted: set[asyncio.Task[dict[str, Any]]] = set()

    async def open(self, call: Call, target: Target) -> Reply:
        """See `Adapter.open`."""
        reference = Reference(target.model)
        inputs = inputs_of(call, await self._schema(reference, target.model), self.options.prompt_template)
        call.dropped = inputs.dropped
        body: dict[str, Any] = {"input": inputs.given}
        if reference.version:
            body["version"] = reference.version
        manner = Manner.LIVE if call.stream else Manner.STEADY
        job = self._watch(await self._create(reference.path, body), manner)
        texts = PredictionTexts(job, self.name)
        return await reply_of(call, TextChat(call, texts, stops=inputs.stops, limit=inputs.limit), texts)

    async def _create(self, path: str, body: dict[str, Any]) -> str:
        """The new prediction's id. If the client leaves meanwhile it is still learned, so that it can be cancelled."""
        task = asyncio.get_running_loop().create_task(self._ask("POST", path, body))
        try:
            made = await asyncio.shield(task)
        except asyncio.CancelledError:
            self._unwanted.add(task)
            task.add_done_callback(self._drop)
            raise
        if (identity := _id_of(made)) is None:
            said = f"The upstream {self.name!r} gave no id for the job."
            raise UpstreamError(Fault.MALFORMED, said, accepted=True)
        return identity

    def _drop(self, task: "asyncio.Task[dict[str, Any]]") -> None:
        self._unwanted.discard(task)
        if not task.cancelled() and task.exception() is None and (identity := _id_of(task.result())) is not None:
            self._watch(identity, Manner.STEADY).leave()

    def _watch(self, identity: str, manner: Manner) -> Job:
        path = f"/predictions/{quote(identity, safe='')}"

        async def poll() -> Look:
            return look_of(await self._ask("GET", path), self.name)

        async def cancel() -> bool:
            await self._ask("POST", f"{path}/cancel")
            return True

        deadline_s = self.options.timeout.total_s
        return self.engine.watch(identity, poll, deadline_s=deadline_s, cancel=cancel, manner=manner)

    async def probe(self, target: Target | None = None) -> str:
        account = await self._ask("GET", "/account")
        if target is not None and (name := Reference(target.model).name) and not Reference(target.model).deployment:
            await self._ask("GET", f"/models/{name}")
        return f"reachable, account {account.get('username')!s:.80}"

    async def models(self, search: str = "") -> list[dict[str, object]]:
        """The first page of its public models."""
        results = (await self._ask("GET", "/models")).get("results")
        rows = [row for row in results if isinstance(row, dict)] if isinstance(results, list) else []
        named = [{"id": f"{row.get('owner')}/{row.get('name')}", "description": row.get("description")} for row in rows]
        return [row for row in named if search.lower() in str(row["id"]).lower()]

    async def aclose(self) -> None:
        for task in list(self._unwanted):
            task.cancel()
        await asyncio.gather(*self._unwanted, return_exceptions=True)
        await self.engine.aclose()
        await self._client.aclose()

    # ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _schema(self, reference: Reference, text: str) -> Schema:
        """The properties of the model's input, asked once an hour. A bare hash has no model to ask: a prompt is assumed."""
        async with self._asking:
            kept = self._schemas.get(text)
            if kept is not None and kept[0] > time.monotonic():
                return kept[1]
            found = _properties(await self._described(reference)) if reference.name else None
            self._schemas[text] = (time.monotonic() + SCHEMA_S, found if found is not None else {"prompt": {}})
            return self._schemas[text][1]

    async def _described(self, reference: Reference) -> dict[str, Any]:
        name, version = reference.name, reference.version
        if reference.deployment:
            release = (await self._ask("GET", f"/deployments/{name}")).get("current_release")
            release = release if isinstance(release, dict) else {}
            name, version = str(release.get("model", "")), str(release.get("version", ""))
        if _HASH.fullmatch(version):
            return await self._ask("GET", f"/models/{name}/versions/{version}")
        latest = (await self._ask("GET", f"/models/{name}")).get("latest_version")
        return latest if isinstance(latest, dict) else {}

    async def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One exchange → its object. Raises UpstreamError for everything else."""
        headers: list[tuple[str, str]] = []
        raw = encode(body) if body is not None else b""
        if body is not None:
            headers = [("content-type", "application/json"), ("content-length", str(len(raw)))]
            if self.options.preset == "replicate":
                headers.append(("cancel-after", f"{int(self.options.timeout.total_s) + SPARE_S}s"))
        try:
            response = await self._client.send(method, path, headers=headers, content=once(raw) if raw else b"")
            try:
                said = await response.read(MAX_ANSWER)
            finally:
                response.close()
        except TransportError as error:
            raise transport_fault(error, self.name) from None
        if response.status >= 300:
            raise refusal(response.status, said, retry_after_s(response), self.name)
        answer = object_in(said)
        if not answer:
            raise UpstreamError(Fault.MALFORMED, f"The upstream {self.name!r} sent no JSON object.", accepted=True)
        return answer


def _id_of(prediction: dict[str, Any]) -> str | None:
    identity = prediction.get("id")
    return identity if isinstance(identity, str) and identity else None


def _properties(described: dict[str, Any]) -> Schema | None:
    found: Any = described
    for key in ("openapi_schema", "components", "schemas", "Input", "properties"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


class PredictionTexts:
    """The text of a prediction as its output grows."""

    def __init__(self, job: Job, upstream: str) -> None:
        self._job = job
        self._upstream = upstream
        self._look: Look | None = None
        self._grown = Cumulative()
        self._over = False
        self.usage: Usage | None = None
        self.full: bool | None = None

    async def read(self) -> str:
        while not self._over:
            self._look = look = await self._job.next(self._look)
            if look.over:
                return self._finish(look)
            if look.text and (new := self._grown.feed(look.text)):
                return new
        return ""

    def _finish(self, look: Look) -> str:
        body = look.body or {}
        if look.phase is not Phase.DONE or look.text is None or self._grown.diverges(look.text):
            raise ended_badly(look, self._upstream)
        self._over = True
        metrics = body.get("metrics")
        counts = metrics if isinstance(metrics, dict) else {}
        prompt, made = counts.get("input_token_count"), counts.get("output_token_count")
        if isinstance(prompt, int) and isinstance(made, int):
            self.usage = Usage(prompt, made)
        return self._grown.feed(look.text)

    def note(self) -> str:
        return self._job.latest.note if self._job.latest else "submitted"

    def close(self) -> None:
        self._job.leave()


def build(name: str, options: VaikerAIOptions) -> VaikerAI:
    """See `adapters.build`. Opens no connection."""
    return VaikerAI(name, options, client_of(options))

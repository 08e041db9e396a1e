"""One AIME server: key or login, what an endpoint takes, a job submitted and followed by the one engine.

It never asks the server to wait for a result, since leaving then breaks the worker; there is no cancel, so a job whose
client left is followed, rarely, until it ends. Results come once: a read under way is never given up.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from adapters._http import HttpClient, TransportError
from adapters.accents import named, object_in, told
from adapters.aime.answers import ended_badly, look_of, refusal
from adapters.aime.inputs import CAPS, USUAL, Schema, inputs_of
from adapters.aime.media import DRAWS, SPOKEN, draw, speak, wish_of
from adapters.faults import transport_fault
from adapters.job_pace import Look, Manner, Phase, note_of
from adapters.jobs import Job, JobEngine
from adapters.line import client_of, once
from adapters.options import AimeOptions
from adapters.patience import awaited
from adapters.text_chat import TextChat, reply_of
from adapters.text_filters import Cumulative
from proxy import log
from proxy.call import Call, Operation, Target, Usage
from proxy.errors import Fault, UpstreamError
from proxy.params import Sorted
from proxy.ports import Caps, Reply
from proxy.wire.body import encode

MAX_ANSWER = 64 << 20
SCHEMA_S = 3600.0
CLIENT_VERSION = "1"


class Aime:
    """Kind `aime`."""

    kind: ClassVar[str] = "aime"

    def __init__(self, name: str, options: AimeOptions, client: HttpClient) -> None:
        self.name = name
        self.options = options
        self.caps: Caps = CAPS
        self.engine = JobEngine(name, reads_per_s=options.reads_per_s)
        self._client = client
        self._schemas: dict[str, tuple[float, Schema | None]] = {}
        self._sessions: dict[str, str] = {}
        self._asking = asyncio.Lock()
        self._served: dict[Operation, Callable[[Call, Target], Awaitable[Reply]]] = {
            Operation.CHAT: self._chat,
            Operation.IMAGES: self._draw,
            Operation.SPEECH: self._speak,
        }
        log.keep_secret(options.api_key)

    async def open(self, call: Call, target: Target) -> Reply:
        """See `Adapter.open`."""
        if (serve := self._served.get(call.operation)) is not None:
            return await serve(call, target)
        said = f"The upstream {self.name!r} cannot serve {call.operation.value}."
        raise UpstreamError(Fault.UNSUPPORTED, said, accepted=False)

    def preview(self, call: Call, target: Target) -> Sorted:
        """See `Previews`: by the endpoint's description where that is known already, else by what endpoints usually take."""
        assert call.plan is not None
        kept = self._schemas.get(target.model)
        schema = kept[1] if kept is not None else None
        if call.operation is Operation.IMAGES:
            return told(*wish_of(call, schema or DRAWS, call.plan.model.id))
        if call.operation is Operation.SPEECH:
            return named(call.fields, frozenset({"voice", "speed"}), SPOKEN)
        inputs = inputs_of(call, schema or USUAL, self.options.prompt_template)
        return told(inputs.given, inputs.dropped)

    async def _chat(self, call: Call, target: Target) -> Reply:
        inputs = inputs_of(call, await self._schema(target.model) or USUAL, self.options.prompt_template)
        call.dropped = inputs.dropped
        job = await self._start(target.model, inputs.given, Manner.LIVE if call.stream else Manner.STEADY)
        texts = JobTexts(job, self.name, inputs.limit)
        return await reply_of(call, TextChat(call, texts, stops=inputs.stops, limit=inputs.limit), texts)

    async def _draw(self, call: Call, target: Target) -> Reply:
        schema = await self._schema(target.model)
        if not call.stream:
            return await draw(call, target, schema, self._result)
        seen: list[Job] = []
        return await awaited(draw(call, target, schema, partial(self._result, seen=seen)), lambda: note_of(seen))

    async def _speak(self, call: Call, target: Target) -> Reply:
        return await speak(call, target, await self._schema(target.model), self._result)

    async def _start(self, model: str, given: dict[str, Any], manner: Manner = Manner.STEADY) -> Job:
        endpoint = f"/{quote(model, safe='')}"
        identity, who = await self._submit(model, endpoint, self.options.inputs.get(model, {}) | given)
        query = urlencode({**who, "job_id": identity})  # the id holds a `#`

        async def poll() -> Look:
            status, said = await self._ask("GET", f"{endpoint}/progress", query=query)
            return look_of(status, said, self.name)

        return self.engine.watch(identity, poll, deadline_s=self.options.timeout.total_s, manner=manner)

    async def _result(self, model: str, given: dict[str, Any], *, seen: list[Job] | None = None) -> dict[str, Any]:
        """A job to its good end → its result. Raises UpstreamError; leaving abandons it. `seen` gets to hold the job."""
        job = await self._start(model, given)
        if seen is not None:
            seen.append(job)
        try:
            look = await job.result()
        except BaseException:
            job.leave()
            raise
        result = look.body or {}
        if look.phase is not Phase.DONE or look.body is None or result.get("error"):
            raise ended_badly(look, self.name)
        return result

    async def probe(self, target: Target | None = None) -> str:
        names = [str(row["id"]) for row in await self.models()]
        if target is not None and target.model not in names:
            return f"reachable, but it has no endpoint {target.model!r} among its {len(names)}"
        return f"reachable, {len(names)} endpoints"

    async def models(self, search: str = "") -> list[dict[str, object]]:
        status, said = await self._ask("GET", "/api/endpoints", query=urlencode({"key": self.options.api_key}))
        body = object_in(said)
        if status != 200 or not body.get("success"):
            raise refusal(status, said, self.name)
        listed = body.get("endpoints")
        names = (
            [row if isinstance(row, str) else str(row.get("name")) for row in listed]
            if isinstance(listed, list)
            else []
        )
        return [{"id": name} for name in names if search.lower() in name.lower()]

    async def aclose(self) -> None:
        await self.engine.aclose()
        await self._client.aclose()

    # ── submitting ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _submit(self, model: str, endpoint: str, given: dict[str, Any]) -> tuple[str, dict[str, str]]:
        """The new job's id and whose it is. A session that expired is renewed, once."""
        for first in (True, False):
            who = await self._credentials(model, endpoint)
            status, said = await self._ask("POST", endpoint, {**who, **given, "wait_for_result": False})
            if status == 401 and first and self._sessions.pop(model, ""):
                continue
            identity = object_in(said).get("job_id") if status == 200 else None
            if isinstance(identity, str) and identity:
                return identity, who
            if status == 200 and object_in(said).get("success") is not False:
                said_what = f"The upstream {self.name!r} gave no id for the job."
                raise UpstreamError(Fault.MALFORMED, said_what, accepted=True)
            break
        raise refusal(status, said, self.name)

    async def _credentials(self, model: str, endpoint: str) -> dict[str, str]:
        """The key, or where a user is configured the session of a login."""
        if not self.options.user:
            return {"key": self.options.api_key}
        async with self._asking:
            if model not in self._sessions:
                login = {"user": self.options.user, "key": self.options.api_key, "version": CLIENT_VERSION}
                status, said = await self._ask("GET", f"{endpoint}/login", query=urlencode(login))
                session = object_in(said).get("client_session_auth_key")
                if status != 200 or not isinstance(session, str):
                    raise refusal(status, said, self.name)
                log.keep_secret(session)
                self._sessions[model] = session
            return {"client_session_auth_key": self._sessions[model]}

    async def _schema(self, model: str) -> Schema | None:
        """What the endpoint takes, asked once an hour; None where the server does not describe it."""
        async with self._asking:
            kept = self._schemas.get(model)
            if kept is not None and kept[0] > time.monotonic():
                return kept[1]
            query = urlencode({"key": self.options.api_key})
            status, said = await self._ask("GET", f"/api/endpoints/{quote(model, safe='')}", query=query)
            found: Schema | None = None
            if status == 200:
                described = object_in(said).get("parameter_description")
                inputs = described.get("input") if isinstance(described, dict) else None
                found = inputs if isinstance(inputs, dict) else None
            elif status != 404:
                raise refusal(status, said, self.name)
            self._schemas[model] = (time.monotonic() + SCHEMA_S, found)
            return self._schemas[model][1]

    async def _ask(self, method: str, path: str, body: Any = None, *, query: str = "") -> tuple[int, bytes]:
        """One exchange, its body read to the end. Raises UpstreamError where there was none."""
        raw = encode(body) if body is not None else b""
        headers = [("content-type", "application/json"), ("content-length", str(len(raw)))] if raw else []
        try:
            content = once(raw) if raw else b""
            response = await self._client.send(method, path, headers=headers, content=content, query=query)
            try:
                return response.status, await response.read(MAX_ANSWER)
            finally:
                response.close()
        except TransportError as error:
            raise transport_fault(error, self.name) from None


class JobTexts:
    """The text of a job as it grows. It comes whole each time; what was sent is never taken back."""

    def __init__(self, job: Job, upstream: str, limit: int | None) -> None:
        self._job = job
        self._upstream = upstream
        self._limit = limit
        self._look: Look | None = None
        self._grown = Cumulative()
        self._last = ""
        self._complete = self._over = False
        self.usage: Usage | None = None
        self.full: bool | None = None

    async def read(self) -> str:
        while not self._over:
            self._look = look = await self._job.next(self._look)
            if look.over:
                return self._finish(look)
            if look.text is not None:
                self._last, self._complete = look.text, look.percent == 100
                if new := self._grown.feed(look.text):
                    return new
        return ""

    def _finish(self, look: Look) -> str:
        """What the result adds. A result that was given to a read that got lost is made up for, if all text had come."""
        result = look.body or {}
        text = result.get("text")
        if look.phase is Phase.DONE and look.body is None and self._complete:
            text = self._last
        if look.phase is not Phase.DONE or not isinstance(text, str) or result.get("error"):
            raise ended_badly(look, self._upstream)
        if self._grown.diverges(text):
            said = f"The upstream {self._upstream!r} ended with another text than it had shown."
            raise UpstreamError(Fault.MALFORMED, said, accepted=True)
        self._over = True
        prompt, made = result.get("prompt_length"), result.get("num_generated_tokens")
        if isinstance(prompt, int) and isinstance(made, int):
            self.usage = Usage(prompt, made)
            length, most = result.get("current_context_length"), result.get("max_seq_len")
            out_of_room = isinstance(length, int) and isinstance(most, int) and length >= most
            self.full = out_of_room or (self._limit is not None and made >= self._limit)
        return self._grown.feed(text)

    def note(self) -> str:
        return self._job.latest.note if self._job.latest else "submitted"

    def close(self) -> None:
        self._job.leave()


def build(name: str, options: AimeOptions) -> Aime:
    """See `adapters.build`. Opens no connection."""
    return Aime(name, options, client_of(options, headers=[]))  # keys are parameters here, not headers

"""A Bytez upstream: v1 (load, status, run, delete; raw text streams) and v2 (serverless, envelope, OpenAI-compatible).

It owns model instances that deploy, run and expire, the concurrency limit of a plan, errors that arrive with status 200 and
text streams without framing, cut at awkward bytes. Bodies follow the seed and public clients; the seed shows no answer of
`instances` and `delete`, so those are invented, as are the texts of 4xx errors that are marked.
"""

import asyncio
import base64
import itertools
import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from fakes.doubles import llm, media
from fakes.doubles.bytez_catalogue import (
    CHAT,
    CLOSED,
    LOAD,
    MODEL_ONLY,
    PARAMS,
    RUN_V1,
    RUN_V2,
    TASK_NAMES,
    TASKS,
    TEXT_TASKS,
    Instance,
)
from fakes.doubles.faults import Answer, as_json
from fakes.doubles.server import Double, Refuse, Seen, route
from fakes.doubles.shapes import Field, wrong


class BytezDouble(Double):
    """`d.created` counts inferences begun. `d.will(...)` scripts the next one; `plan` is how many may run at once."""

    kind: ClassVar[str] = "bytez"

    def __init__(self, *, plan: int = 1, cdn: bool = False, **more: Any) -> None:
        super().__init__(**more)
        self.plan, self.cdn = plan, cdn
        self.instances: dict[str, Instance] = {}
        self.asked: dict[str, float] = {}
        self.created = self.running = 0
        self.credit = True
        self._fates: list[dict[str, Any]] = []
        self._files: dict[str, tuple[bytes, str]] = {}
        self._numbers = itertools.count(1234567890)

    # -- side channel -------------------------------------------------------------------------------------------------

    def will(self, **fate: Any) -> None:
        """Script the next inference: say=[tokens], parts=True (content as parts), error=text (status 200), echo=False,
        nested=True (embeddings); or the next load: fails=text."""
        self._fates.append(fate)

    # -- errors -------------------------------------------------------------------------------------------------------

    @staticmethod
    def error(status: int, text: str) -> Answer:
        return as_json(status, {"error": text, "output": None})

    def no_route(self, seen: Seen) -> Answer:
        return self.error(404, "Not Found")  # invented

    def no_method(self, seen: Seen, allowed: list[str]) -> Answer:
        return self.error(405, "Method Not Allowed")  # invented

    def check_auth(self, seen: Seen) -> Answer | None:
        good = {f"Key {self.key}"}
        if not seen.path.startswith("/model/"):
            good.add(self.key)
        if "/openai/v1/" in seen.path:
            good.add(f"Bearer {self.key}")
        return None if seen.headers.get("authorization") in good else self.error(401, "Unauthorized")

    def throttled(self, seen: Seen, retry_after: float | None) -> Answer:
        return self.busy(retry_after)

    def busy(self, retry_after: float | None) -> Answer:
        answer = self.error(429, "Rate limit exceeded")
        if retry_after is not None:
            answer.headers["ratelimit-reset"] = str(max(1, round(retry_after)))
        return answer

    def finish(self, seen: Seen, answer: Answer) -> Answer:
        if seen.path.startswith("/models/v2"):
            left = max(0, self.plan - self.running)
            answer.headers = {
                "ratelimit-limit": str(self.plan),
                "ratelimit-remaining": str(left),
                "ratelimit-reset": "1",
            } | answer.headers
        return answer

    def body_of(self, seen: Seen, fields: Mapping[str, Field]) -> dict[str, Any]:
        if seen.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Refuse(self.error(400, "Content-Type must be application/json"))  # invented
        try:
            body = json.loads(seen.body)
        except ValueError:
            raise Refuse(self.error(400, "Invalid JSON")) from None  # invented
        found = (
            [f"{path} {text}" for path, text in wrong(body, fields)]
            if isinstance(body, dict)
            else ["body must be an object"]
        )
        if found:
            raise Refuse(self.error(400, "; ".join(found)))  # invented
        return dict(body)

    def _pay(self) -> None:
        if not self.credit:
            body = {"status": 402, "error": "Payment Required", "message": "You have run out of credits"}
            raise Refuse(as_json(402, body))

    @contextmanager
    def _slot(self) -> Any:
        """One of the plan's places; held as long as the work lasts."""
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    # -- v1: life of a model ------------------------------------------------------------------------------------------

    @route("GET", "/model/list")
    async def v1_list(self, seen: Seen) -> Answer:
        return as_json(200, [{"name": m, "requiredRAM": 2.23, "benchmarked": True} for m in TASKS])

    @route("POST", "/model/job")
    async def v1_job(self, seen: Seen) -> Answer:
        model = self.body_of(seen, MODEL_ONLY)["model"]
        known = {"model": model, "success": True}
        if model not in self.asked:
            self.asked[model] = time.monotonic()
            return as_json(200, known | {"modified": "2024-06-07T22:28:40.122Z"})
        if time.monotonic() - self.asked[model] < self.pace.cold:
            more = {"message": "Model is already queued", "startTime": None, "modified": "2024-06-07T22:29:22.333Z"}
            return as_json(200, known | more)
        times = {"startTime": "2024-05-30T01:20:37.644Z", "endTime": "2024-05-30T01:22:07.804Z"}
        return as_json(200, known | {"message": "Model available"} | times | {"modified": times["endTime"]})

    def _instance(self, model: str) -> Instance | None:
        found = self.instances.get(model)
        if found and found.expired:
            del self.instances[model]
            return None
        return found

    @route("POST", "/model/load")
    async def v1_load(self, seen: Seen) -> Answer:
        body = self.body_of(seen, LOAD)
        model = body["model"]
        self._pay()
        if model not in TASKS:
            raise Refuse(self.error(404, f"Model {model} does not exist"))  # invented
        found = self._instance(model)
        if found and found.status == "RUNNING":
            return as_json(209, {"error": "Model is already loaded"})
        if found and found.status == "DEPLOYING":
            return as_json(429, {"error": "Model is already loading"})
        now = time.monotonic()
        fate = self._fates.pop(0) if self._fates and "fails" in self._fates[0] else {}
        expiry = body.get("expirationPeriodSeconds", 1800)
        made = Instance(model, body.get("concurrency", 1), expiry, now, now + self.pace.cold, now, fate.get("fails"))
        self.instances[model] = made
        return as_json(200, {"model": model, "status": "started", "concurrency": made.concurrency})

    def _shown(self, found: Instance) -> dict[str, Any]:
        stamp = "2024-05-27T23:35:35.863Z"
        failed = {"error": found.fails} if found.status == "FAILED" else {}
        return {
            "model": found.model, "status": found.status, "concurrency": found.concurrency, "inferences": found.inferences,
            "expirationPeriodSeconds": found.expiry, "expirationPeriodMinutes": found.expiry / 60,
            "expiresAt": "2024-05-28T00:12:18.738Z", "created": stamp, "modified": stamp,
        } | failed  # fmt: skip

    @route("POST", "/model/status")
    async def v1_status(self, seen: Seen) -> Answer:
        found = self._instance(self.body_of(seen, MODEL_ONLY)["model"])
        return as_json(200, self._shown(found)) if found else self.error(404, "Model is not loaded")  # invented

    @route("GET", "/model/instances")
    async def v1_instances(self, seen: Seen) -> Answer:
        return as_json(200, [self._shown(i) for m in list(self.instances) if (i := self._instance(m))])  # invented

    @route("POST", "/model/delete")
    async def v1_delete(self, seen: Seen) -> Answer:
        model = self.body_of(seen, MODEL_ONLY)["model"]
        if self.instances.pop(model, None) is None:
            return self.error(404, "Model is not loaded")  # invented
        return as_json(200, {"model": model, "status": "deleted"})  # invented

    @route("POST", "/model/run")
    async def v1_run(self, seen: Seen) -> Answer:
        body = self.body_of(seen, RUN_V1)
        model = body["model"]
        self._pay()
        found = self._instance(model)
        if found is None or found.status != "RUNNING":
            raise Refuse(self.error(400, f"Model {model} is not running"))  # invented
        found.used, found.inferences = time.monotonic(), found.inferences + 1
        given = body.get("prompt", body.get("input", body.get("messages")))
        return await self._run(model, given, body, self._v1_answer, found.concurrency)

    def _v1_answer(self, model: str, given: Any, said: Any, fate: dict[str, Any]) -> Answer:
        task = TASKS[model]
        if task in ("text-to-image", "text-to-speech"):
            name = "output_png" if task == "text-to-image" else "output_wav"
            return as_json(200, {name: base64.b64encode(said).decode()})
        if task == "feature-extraction":
            return as_json(200, {"output": [said]})
        text = [*given, {"role": "assistant", "content": said}] if isinstance(given, list) else said
        return as_json(200, {"output": [{"generated_text": text}]})

    # -- v2 -----------------------------------------------------------------------------------------------------------

    @route("GET", "/models/v2/list/models")
    async def v2_models(self, seen: Seen) -> Answer:
        query = seen.query
        if set(query) - {"task", "modelId"}:
            return self.error(400, "unknown query parameter")  # invented
        rows = [
            {
                "modelId": m,
                "task": t,
                "meter": "sm",
                "meterPrice": "$0.0000872083 / sec",
                "params": 0.1,
                "ramRequired": 1,
            }
            for m, t in TASKS.items()
            if query.get("task", t) == t and query.get("modelId", m) == m
        ]
        return as_json(200, {"error": None, "output": rows})

    @route("GET", "/models/v2/list/tasks")
    async def v2_tasks(self, seen: Seen) -> Answer:
        return as_json(200, {"error": None, "output": [{"task": name, "model_count": 1} for name in TASK_NAMES]})

    @route("POST", "/models/v2/request/{model:path}")
    async def v2_request(self, seen: Seen, model: str) -> Answer:
        return as_json(200, {"error": None, "output": "Job queued"})

    @route("POST", "/models/v2/{owner}/{name}")
    async def v2_run(self, seen: Seen, owner: str, name: str) -> Answer:
        model = f"{owner}/{name}"
        body = self.body_of(seen, RUN_V2)
        self._pay()
        if model not in TASKS:
            raise Refuse(self.error(404, f"Model {model} not found"))  # invented
        if model in CLOSED and "provider-key" not in seen.headers:
            raise Refuse(self.error(401, "A provider key is required for this model"))  # invented
        inputs = [k for k in ("text", "messages", "url", "base64", "input") if k in body]
        if len(inputs) != 1:
            raise Refuse(self.error(400, "Exactly one of text, messages, url, base64, input is required"))  # invented
        answer = await self._run(model, body[inputs[0]], body, self._v2_answer, self.plan)
        answer.headers |= {"inference-meter": "sm", "inference-time": "0.05"}
        return answer

    def _v2_answer(self, model: str, given: Any, said: Any, fate: dict[str, Any]) -> Answer:
        task = TASKS[model]
        output: Any = said
        if task in ("text-to-image", "text-to-speech"):
            output = self._url(said, "image" if task == "text-to-image" else "audio")
        elif task in ("chat", "image-text-to-text"):
            parts = fate.get("parts", task == "image-text-to-text")
            output = {"role": "assistant", "content": [{"type": "text", "text": said}] if parts else said}
        return as_json(200, {"error": None, "output": output})

    def _url(self, data: bytes, what: str) -> str:
        name = str(next(self._numbers))
        self._files[name] = data, "image/png" if what == "image" else "audio/wav"
        return f"{self.origin('files' if self.cdn else 'api')}/{what}/{name}"

    @route("GET", "/image/{name}")
    @route("GET", "/audio/{name}")
    async def own_file(self, seen: Seen, name: str) -> Answer:
        """On the API's own origin the key is asked for (the stricter reading of the documentation)."""
        return self._file(seen, name)

    @route("GET", "/image/{name}", auth=False, port="files")
    @route("GET", "/audio/{name}", auth=False, port="files")
    async def cdn_file(self, seen: Seen, name: str) -> Answer:
        return self._file(seen, name)

    def _file(self, seen: Seen, name: str) -> Answer:
        data, mime = self._files.get(name, (b"", ""))
        return Answer(200, data, {"content-type": mime}) if data else self.no_route(seen)

    # -- inference ----------------------------------------------------------------------------------------------------

    async def _run(self, model: str, given: Any, body: dict[str, Any], shape: Any, places: int) -> Answer:
        params, task = body.get("params") or {}, TASKS[model]
        unused = [name for name in params if name not in PARAMS]
        fate = self._fates.pop(0) if self._fates else {}
        if unused:
            fate = {"error": f"The following `model_kwargs` are not used by the model: {unused}"}
        if task == "feature-extraction" and not isinstance(given, str):
            fate = {"error": "The input must be a string"}
        if params.get("temperature", 1.0) <= 0:
            fate = {"error": "`temperature` has to be a strictly positive float"}
        if body.get("stream") and task not in TEXT_TASKS and body.get("json") is not False:
            raise Refuse(self.error(400, "Streaming is not supported for this task"))  # invented
        if self.running >= min(self.plan, places):
            raise Refuse(self.busy(1))
        self.created += 1
        if "error" in fate:
            await asyncio.sleep(self.pace.first)
            return as_json(200, {"error": fate["error"], "output": None})
        said = self._said(task, given, params, fate)
        if body.get("stream"):
            data = said if isinstance(said, bytes) else said.encode()
            kind = "text/plain; charset=utf-8" if task in TEXT_TASKS else "application/octet-stream"
            return Answer(200, b"", {"content-type": kind}, self._raw(data))
        # Whoever hangs up does not stop the work: it goes on in a task of its own and keeps its place.
        work = asyncio.create_task(self._work())
        self._background.add(work)
        work.add_done_callback(self._background.discard)
        await asyncio.shield(work)
        answer: Answer = shape(model, given, said, fate)
        return answer

    async def _work(self) -> None:
        with self._slot():
            await asyncio.sleep(self.pace.first + self.pace.image / 4)

    def _said(self, task: str, given: Any, params: dict[str, Any], fate: dict[str, Any]) -> Any:
        if task == "text-to-image":
            return media.png(512, 512)
        if task == "text-to-speech":
            return media.wav(0.02 * len(str(given)))
        if task == "feature-extraction":
            made = llm.vector(given, 16)
            return [made, made] if fate.get("nested") else made
        asked = (
            given if isinstance(given, str) else next(llm.text_of(m) for m in reversed(given) if m["role"] == "user")
        )
        tokens = fate.get("say") or [" You", " said:", *(f" {word}" for word in asked.split())]
        text = "".join(tokens[: params.get("max_new_tokens", 10_000)])
        if task == "text-generation":
            return (str(given) if fate.get("echo", True) else "") + text
        return text.lstrip() if "say" not in fate else text

    async def _raw(self, data: bytes) -> AsyncGenerator[bytes, None]:
        """Raw bytes without framing, five at a time: characters are cut wherever it hits them."""
        with self._slot():
            await asyncio.sleep(self.pace.first)
            for start in range(0, len(data), 5):
                yield data[start : start + 5]
                await asyncio.sleep(self.pace.token)

    # -- v2, OpenAI-compatible ----------------------------------------------------------------------------------------

    @route("POST", "/models/v2/openai/v1/chat/completions")
    async def chat(self, seen: Seen) -> Answer:
        body = self.body_of(seen, CHAT)
        self._pay()
        model = body["model"]
        if TASKS.get(model) not in TEXT_TASKS:
            raise Refuse(self.error(404, f"Model {model} not found"))  # invented
        if self.running >= self.plan:
            raise Refuse(self.busy(1))
        fate = self._fates.pop(0) if self._fates else {}
        self.created += 1
        if "error" in fate:
            return as_json(200, {"error": fate["error"], "output": None})
        speech = llm.speech_for(body, fate, body.get("max_completion_tokens") or body.get("max_tokens"))
        identity = f"chatcmpl-{next(self._numbers)}"
        if not body.get("stream"):
            with self._slot():
                await asyncio.sleep(self.pace.first)
            return as_json(200, llm.completion(speech, model, identity))
        asked = bool((body.get("stream_options") or {}).get("include_usage"))
        return Answer(200, b"", {"content-type": "text/event-stream"}, self._events(speech, model, identity, asked))

    async def _events(self, speech: llm.Speech, model: str, identity: str, usage: bool) -> AsyncGenerator[bytes, None]:
        with self._slot():
            async for event in llm.stream(speech, model, identity, usage=usage, pace=self.pace):
                yield event

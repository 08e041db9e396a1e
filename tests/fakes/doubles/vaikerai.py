"""A VaikerAI (and Replicate) upstream: predictions in time, three ways to create one, SSE on another port, files on a third.

It owns the HTTP surface of the seed: account, predictions, cancel, webhooks, rates; `vaikerai_admin` has the rest. States
move by `pace` or by `advance`. Presets: `vaikerai` knows what the seed shows, `replicate` also `Prefer: wait`, `Cancel-After`,
`QUERY` and files. Bodies of errors are those captured from public clients, but where marked invented.
"""

import asyncio
import base64
import itertools
import json
import re
import time
from typing import Any, ClassVar

from fakes.doubles.faults import Answer, as_json
from fakes.doubles.server import Bucket, Refuse, Seen, Timeline, route
from fakes.doubles.vaikerai_models import Model, Plan, complaints
from fakes.doubles.vaikerai_outputs import ENDED, EVENTS, Outputs, Prediction, stamp

CREATE_FIELDS = {"input", "stream", "webhook", "webhook_events_filter"}


class VaikerDouble(Outputs):
    """`d.base_url` ends in /v1. `d.jobs` are all predictions, `d.created` counts them, `d.will(...)` scripts the next one."""

    kind: ClassVar[str] = "vaikerai"
    ports: ClassVar[tuple[str, ...]] = ("api", "files", "stream")

    def __init__(
        self,
        *,
        preset: str = "vaikerai",
        creates_per_min: float = 600,
        reads_per_min: float = 3000,
        retention: float = 3600.0,
        off_origin: bool = False,
        plain_webhooks: bool = False,
        webhook_interval: float = 0.5,
        **more: Any,
    ) -> None:
        super().__init__(retention=retention, webhook_interval=webhook_interval, **more)
        self.preset = preset
        self.creates = Bucket(creates_per_min / 60, creates_per_min)
        self.reads = Bucket(reads_per_min / 60, max(1.0, reads_per_min / 60))
        self.off_origin, self.plain_webhooks = off_origin, plain_webhooks
        self.credit = True
        self.created = self.cancelled = 0
        self._fates: list[dict[str, Any]] = []
        self._ids = itertools.count(1)
        self._spare: tuple[int, float] = (0, 0.0)

    @property
    def base_url(self) -> str:
        return self.origin() + "/v1"

    # -- side channel -------------------------------------------------------------------------------------------------

    def will(self, **fate: Any) -> None:
        """The next prediction's plan differs: say=[…] tokens, output=value, files=[bytes], fail=text, abort=True, logs=text."""
        self._fates.append(fate)

    def advance(self, job: str | Prediction, steps: int = 1) -> None:
        """Move a prediction by hand (`manual=True`): starting, processing, each output value, the end."""
        found = self.jobs[job] if isinstance(job, str) else job
        self.call(lambda: found.timeline.advance(steps))

    # -- errors, rates ------------------------------------------------------------------------------------------------

    @staticmethod
    def problem(status: int, detail: str, title: str | None = None, **more: Any) -> Answer:
        body = ({"title": title} if title else {}) | {"detail": detail, "status": status} | more
        return as_json(status, body, "application/problem+json")

    def no_route(self, seen: Seen) -> Answer:
        if seen.port == "files":
            return Answer(404, b"not found", {"content-type": "text/plain"})
        return self.problem(404, "The requested resource could not be found.")

    def no_method(self, seen: Seen, allowed: list[str]) -> Answer:
        return as_json(405, {"detail": f'Method "{seen.method}" not allowed.'}, allow=", ".join(allowed))

    def check_auth(self, seen: Seen) -> Answer | None:
        if seen.headers.get("authorization") == f"Bearer {self.key}":
            return None
        return self.problem(401, "You did not pass a valid authentication token", "Unauthenticated")

    def check_rate(self, seen: Seen) -> Answer | None:
        if seen.port != "api":
            return None
        making = seen.method == "POST" and seen.path.endswith("/predictions")
        granted, left, wait = (self.creates if making else self.reads).take()
        self._spare = left, wait
        return None if granted else self.throttled(seen, wait)

    def throttled(self, seen: Seen, retry_after: float | None) -> Answer:
        seconds = max(1, round(retry_after or 1))
        plural = "" if seconds == 1 else "s"
        body = {"detail": f"Request was throttled. Expected available in {seconds} second{plural}."}
        if self.preset == "replicate":
            body |= {"title": "Too many requests", "status": 429}
        fields = {} if retry_after is None else {"retry_after": str(seconds)}
        return as_json(429, body, **fields)

    def finish(self, seen: Seen, answer: Answer) -> Answer:
        if seen.port == "api":
            left, wait = self._spare
            answer.headers |= {"ratelimit-remaining": str(left), "ratelimit-reset": str(max(1, round(wait)))}
        return answer

    def body_of(self, seen: Seen, allowed: set[str], required: set[str]) -> dict[str, Any]:
        """The JSON object of a request; anything else, and unknown or missing keys, are refused."""
        if seen.headers.get("content-type", "").partition(";")[0] != "application/json":
            kind = seen.headers.get("content-type", "")
            raise Refuse(as_json(415, {"detail": f'Unsupported media type "{kind}" in request.'}))
        try:
            body = json.loads(seen.body)
        except ValueError:
            raise Refuse(as_json(400, {"detail": "JSON parse error"})) from None
        wrong = [] if isinstance(body, dict) else ["- body: Invalid type. Expected: object"]
        if isinstance(body, dict):
            wrong = [f"- {name} is required" for name in sorted(required - body.keys())]
            wrong += [
                f"- Additional property {name} is not allowed" for name in body if name not in allowed
            ]  # invented
        if wrong:
            raise Refuse(self.problem(422, "\n".join(wrong) + "\n", "Input validation failed"))
        return dict(body)

    # -- creating -----------------------------------------------------------------------------------------------------

    @route("POST", "/v1/predictions")
    async def create(self, seen: Seen) -> Answer:
        body = self.body_of(seen, CREATE_FIELDS | {"version"}, {"version", "input"})
        reference = str(body["version"])
        model = next(
            (m for m in self.models.values() if reference == m.version and reference not in m.removed_versions), None
        )
        if model is None and self.preset == "replicate":
            name, _, version = reference.partition(":")
            found = self.models.get(name)
            model = found if found and version in ("", found.version) else None
        if model is None:
            detail = "The specified version does not exist (or perhaps you don't have permission to use it?)"
            raise Refuse(self.problem(422, detail, "Invalid version or not permitted"))
        return await self._start(seen, body, model, model.version)

    @route("POST", "/v1/models/{owner}/{name}/predictions")
    async def create_official(self, seen: Seen, owner: str, name: str) -> Answer:
        model = self.models.get(f"{owner}/{name}")
        if model is None or not model.official:
            raise Refuse(self.problem(404, "The specified model does not exist"))
        return await self._start(seen, self.body_of(seen, CREATE_FIELDS, {"input"}), model, model.alias)

    @route("POST", "/v1/deployments/{owner}/{name}/predictions")
    async def create_deployed(self, seen: Seen, owner: str, name: str) -> Answer:
        deployment = self.deployments.get(f"{owner}/{name}")
        if deployment is None:
            raise Refuse(self.problem(404, "The specified deployment does not exist"))
        model = self.models[deployment["current_release"]["model"]]
        body = self.body_of(seen, CREATE_FIELDS, {"input"})
        return await self._start(seen, body, model, model.alias, deployment=f"{owner}/{name}")

    async def _start(
        self, seen: Seen, body: dict[str, Any], model: Model, version: str, deployment: str | None = None
    ) -> Answer:
        if not self.credit:
            detail = "You have insufficient credit to run this model. Go to the billing page to purchase credit."
            raise Refuse(self.problem(402, detail, "Insufficient credit"))
        given = body["input"]
        if not isinstance(given, dict):
            raise Refuse(self.problem(422, "- input: Invalid type. Expected: object\n", "Input validation failed"))
        wrong = list(complaints(model.inputs, given))
        if wrong:
            fields = [{"type": "invalid", "field": f"input.{name}", "description": text} for name, text in wrong]
            detail = "".join(f"- input.{name}: {text}\n" for name, text in wrong)
            more = {"invalid_fields": fields} if self.preset == "replicate" else {}
            raise Refuse(self.problem(422, detail, "Input validation failed", **more))
        webhook, events = self._webhook_of(body)
        prefer = self._prefer_of(seen)
        job = self._make(model, version, given, deployment)
        job.webhook, job.events = webhook, events
        if webhook:
            self.spawn(self._notify(job))
        self._arm_cancel_after(seen, job)
        if prefer is not None:
            return await self._wait(job, prefer)
        return as_json(201, self.view(job, fresh=True, with_output=version == model.version))

    def _make(self, model: Model, version: str, given: dict[str, Any], deployment: str | None) -> Prediction:
        defaults = {name: rule["default"] for name, rule in model.inputs["properties"].items() if "default" in rule}
        plan = self._fated(model.run(defaults | given))
        per_value = self.pace.token if plan.shape == "tokens" else self.pace.image
        first = self.pace.first if plan.shape == "tokens" else self.pace.image
        steps = [
            self.pace.queue,
            *([first] + [per_value] * (len(plan.growth) - 1) if plan.growth else []),
            self.pace.token,
        ]
        number = next(self._ids)
        tail = base64.b32encode(number.to_bytes(5, "big")).decode().lower().rstrip("=")
        job = Prediction(
            f"gm3qorzdhgbfurvj{tail}", model, version, given, plan, Timeline(steps, manual=self.manual), "api"
        )
        job.deployment = deployment
        self.jobs[job.id] = job
        self.created += 1
        if model.streams:
            self._streams[f"s{number:04d}-{hash((number, self.key)) & 0xFFFFFFFF:08x}"] = job.id
        return job

    def _fated(self, plan: Plan) -> Plan:
        fate = self._fates.pop(0) if self._fates else {}
        if "say" in fate:
            plan.shape, plan.growth = "tokens", list(fate["say"])
        if "text" in fate:
            plan.shape, plan.growth = "text", [fate["text"]]
        if "files" in fate:
            plan.growth = list(fate["files"])
        if "output" in fate:
            plan.shape, plan.growth = "value", [fate["output"]]
        plan.fail, plan.abort = fate.get("fail"), fate.get("abort", False)
        plan.logs = fate.get("logs", plan.logs)
        plan.mime = fate.get("mime", plan.mime)
        return plan

    def _webhook_of(self, body: dict[str, Any]) -> tuple[str | None, tuple[str, ...]]:
        url, events = body.get("webhook"), body.get("webhook_events_filter", ["output", "completed"])
        if url is not None and not str(url).startswith(("https://", "http://") if self.plain_webhooks else "https://"):
            raise Refuse(self.problem(422, "- webhook: must be an HTTPS URL\n", "Input validation failed"))
        if not isinstance(events, list) or any(e not in EVENTS for e in events):
            raise Refuse(self.problem(422, "- webhook_events_filter: unknown event\n", "Input validation failed"))
        return url, tuple(events)

    def _prefer_of(self, seen: Seen) -> float | None:
        """Seconds to wait, None for not at all. The VaikerAI preset does not know the header and ignores it."""
        text = seen.headers.get("prefer")
        if text is None or self.preset != "replicate":
            return None
        found = re.fullmatch(r"wait(?:=(\d+))?", text.strip())
        if not found or not 1 <= int(found[1] or 60) <= 60:
            raise Refuse(self.problem(400, "Invalid Prefer header"))  # invented
        return float(found[1] or 60)

    def _arm_cancel_after(self, seen: Seen, job: Prediction) -> None:
        text = seen.headers.get("cancel-after")
        if text is None or self.preset != "replicate":
            return
        found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text)
        if not text or not found:
            raise Refuse(self.problem(400, "Invalid Cancel-After header"))  # invented
        hours, minutes, seconds = (int(part or 0) for part in found.groups())

        async def expire() -> None:
            await asyncio.sleep(hours * 3600 + minutes * 60 + seconds)
            job.stop("aborted" if job.status == "starting" else "canceled")

        self.spawn(expire())

    async def _wait(self, job: Prediction, seconds: float) -> Answer:
        applied = {"preference-applied": f"wait={seconds:.0f}"}
        early = not (job.plan.fail or job.plan.abort)
        try:
            async with asyncio.timeout(seconds):
                await job.timeline.reach(len(job.plan.growth) + 1 if early else job.last)
        except TimeoutError:
            answer = as_json(201, self.view(job))
            answer.headers |= applied | {"location": f"{self.base_url}/predictions/{job.id}"}
            return answer
        shown = self.view(job, data_uris=True)
        if early and shown["status"] == "succeeded":
            # The output is complete and the state not yet terminal: captured answers say "processing".
            shown["status"] = "processing"
            shown = {k: v for k, v in shown.items() if k not in ("completed_at", "metrics")}
        answer = as_json(201, shown)
        answer.headers |= applied
        return answer

    # -- reading ------------------------------------------------------------------------------------------------------

    def view(
        self, job: Prediction, *, fresh: bool = False, with_output: bool = True, data_uris: bool = False
    ) -> dict[str, Any]:
        """The prediction object as the API shows it now."""
        status = job.status
        gone = status in ENDED and time.time() - (job.ended_at or 0) > self.retention
        shown: dict[str, Any] = {
            "id": job.id, "model": job.model.key, "version": job.version, "input": {} if gone else job.given,
            "output": None if gone else self._output(job, data_uris), "logs": "" if gone or job.grown == 0 else job.plan.logs,
            "error": job.plan.fail if status == "failed" else None, "status": status,
            "created_at": stamp(job.created, nanoseconds=fresh), "urls": self._urls(job),
        }  # fmt: skip
        if fresh:
            if not with_output:
                del shown["output"]
            return shown
        shown |= {"data_removed": gone, "source": job.source}
        if status not in ("starting", "aborted"):
            shown["started_at"] = stamp(job.created + self.pace.queue)
        if status in ENDED:
            shown["completed_at"] = stamp(job.ended_at or 0)
            shown["metrics"] = self._metrics(job)
        if job.deployment:
            shown["deployment"] = job.deployment
        return shown

    def _metrics(self, job: Prediction) -> dict[str, Any]:
        took = round((job.ended_at or 0) - job.created, 6)
        metrics: dict[str, Any] = {"predict_time": took, "total_time": took}
        if job.plan.input_tokens is not None and job.status == "succeeded":
            metrics |= {"input_token_count": job.plan.input_tokens, "output_token_count": job.grown}
        return metrics

    def _urls(self, job: Prediction) -> dict[str, str]:
        here = f"{self.origin('files')}/trap/{job.id}" if self.off_origin else f"{self.base_url}/predictions/{job.id}"
        urls = {"get": here, "cancel": f"{here}/cancel"}
        token = next((t for t, i in self._streams.items() if i == job.id), None)
        if token:
            urls["stream"] = f"{self.origin('stream')}/v1/files/{token}"
        return urls

    def _output(self, job: Prediction, data_uris: bool = False) -> Any:
        values = job.plan.growth[: job.grown]
        if not values or job.ended_as == "aborted":
            return None
        shape = job.plan.shape
        if shape == "tokens":
            return values
        if shape in ("text", "value"):
            return values[-1]
        if data_uris:
            uris = [f"data:{job.plan.mime};base64,{base64.b64encode(v).decode()}" for v in values]
        else:
            uris = [self._file_url(job, n) for n in range(len(values))]
        return uris if shape == "files" else uris[0]

    def _file_url(self, job: Prediction, number: int) -> str:
        name = f"{job.id}/out-{number}.{job.plan.mime.rpartition('/')[2]}"
        if name not in self._files:
            self._files[name] = (job.plan.growth[number], job.plan.mime, time.time())
        return f"{self.origin('files')}/out/{name}"

    @route("GET", "/v1/predictions/{job_id}")
    async def get(self, seen: Seen, job_id: str) -> Answer:
        return as_json(200, self.view(self._job(job_id)))

    def _job(self, job_id: str) -> Prediction:
        if job_id not in self.jobs:
            raise Refuse(self.problem(404, "The specified prediction does not exist"))
        return self.jobs[job_id]

    @route("GET", "/v1/predictions")
    async def listed(self, seen: Seen) -> Answer:
        rows = [self.view(job) for job in reversed(self.jobs.values())]
        for row in rows:
            row.pop("logs")
        return self.page(seen, rows, "predictions")

    @route("POST", "/v1/predictions/{job_id}/cancel")
    async def cancel(self, seen: Seen, job_id: str) -> Answer:
        job = self._job(job_id)
        if job.status not in ENDED:
            self.cancelled += 1
        job.stop("canceled")
        return as_json(200, self.view(job))

    @route("GET", "/v1/webhooks/default/secret")
    async def secret(self, seen: Seen) -> Answer:
        return as_json(200, {"key": self.webhook_secret})

"""An AIME API server: login, jobs in a queue before few workers, progress polling, results that are delivered once.

It owns the answers observed on server 0.9.6: failures of login with status 200, lists and strings as errors, 402 for an
unknown job, `#` in ids and the worker's secret in progress bodies. A request with `wait_for_result` true (or left out, which
means the same) harms a worker: it is remembered, and leaving the double raises.
"""

import base64
import heapq
import itertools
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any, ClassVar

from fakes.doubles import llm, media
from fakes.doubles.faults import Answer, as_json
from fakes.doubles.server import Double, Refuse, Seen, Timeline, route

VERSION = 3
CONTROL = {"key", "client_session_auth_key", "wait_for_result", "version"}


def _param(kind: str, required: bool = False, **more: Any) -> dict[str, Any]:
    return {"type": kind, "required": required} | more


ENDPOINTS: dict[str, dict[str, dict[str, Any]]] = {
    "lab_chat": {
        "chat_context": _param("json", True),
        "prompt_input": _param("string"),
        "max_gen_tokens": _param("integer", default=2000, minimum=1, maximum=4096),
        "temperature": _param("float", default=0.8, minimum=0.0, maximum=1.0),
        "top_p": _param("float", default=0.9, minimum=0.0, maximum=1.0),
        "top_k": _param("integer", default=40, minimum=1, maximum=1000),
    },
    "lab_prompt": {
        "prompt_input": _param("string", True),
        "max_gen_tokens": _param("integer", default=512, minimum=1, maximum=2048),
        "temperature": _param("float", default=0.8, minimum=0.0, maximum=1.0),
    },
    "flux-dev": {
        "prompt": _param("string", True),
        "width": _param("integer", default=1024, minimum=128, maximum=1536),
        "height": _param("integer", default=1024, minimum=128, maximum=1536),
        "steps": _param("integer", default=20, minimum=1, maximum=50),
        "guidance": _param("float", default=3.5, minimum=1.0, maximum=10.0),
        "seed": _param("integer", default=-1, minimum=-1, maximum=2**31 - 1),
        "num_samples": _param("integer", default=1, minimum=1, maximum=4),
    },
    "tts_tortoise": {
        "text": _param("string", True),
        "language": _param("string", default="eng", allowed=["eng", "deu", "fra"]),
        "voice": _param("string", default="emma"),
        "preset": _param("string", default="fast", allowed=["fast", "standard", "ultra_fast"]),
    },
}


@dataclass(slots=True)
class Job:
    id: str
    endpoint: str
    given: dict[str, Any]
    owner: str
    speech: llm.Speech | None
    timeline: Timeline
    starts: float
    fate: dict[str, Any]
    created: float
    delivered: bool = False

    @property
    def over(self) -> bool:
        return self.timeline.position >= len(self.timeline.marks)


class AimeDouble(Double):
    """`d.jobs` by id, `d.created` counts them. `workers=0`: nobody is online. Steps: started, each token, done."""

    kind: ClassVar[str] = "aime"
    ports: ClassVar[tuple[str, ...]] = ("api",)

    def __init__(
        self, *, user: str = "lab", workers: int = 1, max_queue: int = 20, old: bool = False, **more: Any
    ) -> None:
        super().__init__(**more)
        self.user, self.workers, self.max_queue, self.old = user, workers, max_queue, old
        self.worker_secret = "canary-worker-auth-key-77aa1c"
        self.jobs: dict[str, Job] = {}
        self.created = 0
        self.sessions: dict[str, str] = {}
        self.harmful: list[Seen] = []
        self.allow_waiting = False
        self._fates: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)
        self._free = [0.0] * max(1, workers)

    async def __aexit__(self, *exc: object) -> None:
        await super().__aexit__(*exc)
        if self.harmful and not self.allow_waiting and exc[0] is None:
            raise AssertionError(f"{len(self.harmful)} request(s) with wait_for_result: such a request harms a worker")

    # -- side channel -------------------------------------------------------------------------------------------------

    def will(self, **fate: Any) -> None:
        """Script the next job: say=[tokens], shown=[cumulative texts], fail=worker error, lapse=True, seconds=per token."""
        self._fates.append(fate)

    def advance(self, job: Job, steps: int = 1) -> None:
        self.call(lambda: job.timeline.advance(steps))

    # -- errors -------------------------------------------------------------------------------------------------------

    @staticmethod
    def sanic(status: int, name: str, message: str) -> Answer:
        return as_json(status, {"description": name, "status": status, "message": message})

    def refused(self, status: int, *errors: str) -> Answer:
        return as_json(status, {"success": False, "error": list(errors), "ep_version": VERSION})

    def no_route(self, seen: Seen) -> Answer:
        return self.sanic(404, "Not Found", f"Requested URL {seen.path} not found")

    def no_method(self, seen: Seen, allowed: list[str]) -> Answer:
        text = f"Method {seen.method} not allowed for URL {seen.path}"
        return self.sanic(405, "Method Not Allowed", text)

    def check_auth(self, seen: Seen) -> Answer | None:
        """Keys are parameters here: each handler checks its own."""
        return None

    def throttled(self, seen: Seen, retry_after: float | None) -> Answer:
        return as_json(400, {"success": False, "error": f"Job queue reached max length {self.max_queue}!"})

    def params_of(self, seen: Seen) -> dict[str, Any]:
        """Query or JSON body; a query holds text only."""
        if seen.method == "GET":
            return dict(seen.query)
        try:
            body = json.loads(seen.body)
            assert isinstance(body, dict)
        except (ValueError, AssertionError):
            raise Refuse(self.sanic(400, "Bad Request", "Failed when parsing body as json")) from None
        return body

    def owner_of(self, params: dict[str, Any]) -> str:
        """The key or session of a request, or the 401 that was observed."""
        if "key" in params:
            if params["key"] == self.key:
                return self.key
            raise Refuse(self.refused(401, "Key not valid"))
        session = params.get("client_session_auth_key")
        if session in self.sessions:
            return str(session)
        raise Refuse(
            self.refused(401, "API Key missing and client session authentication key not registered in API Server")
        )

    # -- what is there ------------------------------------------------------------------------------------------------

    @route("GET", "/api/validate_key")
    async def validate(self, seen: Seen) -> Answer:
        if seen.query.get("key") == self.key:
            return as_json(200, {"success": True})
        return as_json(200, {"success": False, "error": "Key not valid"})

    @route("GET", "/api/endpoints")
    async def endpoints(self, seen: Seen) -> Answer:
        self.owner_of(seen.query)
        return as_json(200, {"success": True, "endpoints": list(ENDPOINTS)})

    @route("GET", "/api/endpoints/{endpoint}")
    async def endpoint(self, seen: Seen, endpoint: str) -> Answer:
        self.owner_of(seen.query)
        if endpoint not in ENDPOINTS:
            return self.no_route(seen)
        shown = {
            "name": endpoint, "title": endpoint, "version": VERSION, "category": "chat",
            "parameter_description": {"input": ENDPOINTS[endpoint], "output": {}, "progress": {}},
            "max_queue_length": self.max_queue, "free_queue_slots": self.max_queue - self._queued(endpoint),
            "num_active_workers": self.workers, "workers": [f"lab#{n}" for n in range(self.workers)],
        }  # fmt: skip
        return as_json(200, {"success": True} | shown)

    @route("GET", "/{endpoint}/login")
    @route("POST", "/{endpoint}/login")
    async def login(self, seen: Seen, endpoint: str) -> Answer:
        if endpoint not in ENDPOINTS:
            return self.no_route(seen)
        params = self.params_of(seen)
        if params.get("key") != self.key or params.get("user", self.user) != self.user:
            return as_json(200, {"success": False, "error": "Key not valid"})  # a failure, and yet 200
        session = str(uuid.uuid4())
        self.sessions[session] = endpoint
        return as_json(
            200, {"success": True, "ep_version": VERSION, "client_session_auth_key": session, "key": self.key}
        )

    @route("GET", "/stream_progress")
    async def stream_progress(self, seen: Seen) -> Answer:
        return self.sanic(500, "Internal Server Error", "The server encountered an internal error")

    @route("POST", "/v1/{rest:path}", auth=False)
    async def openai(self, seen: Seen, rest: str) -> Answer:
        error = {"message": "not implemented", "type": "not_implemented", "code": "not_implemented"}
        return as_json(500, {"error": error})

    # -- jobs ---------------------------------------------------------------------------------------------------------

    @route("GET", "/{endpoint}")
    @route("POST", "/{endpoint}")
    async def submit(self, seen: Seen, endpoint: str) -> Answer:
        if endpoint not in ENDPOINTS:
            return self.no_route(seen)
        params = self.params_of(seen)
        owner = self.owner_of(params)
        wait = params.get("wait_for_result", True)
        if wait not in (False, "false", "False"):
            self.harmful.append(seen)
        given = {k: v for k, v in params.items() if k not in CONTROL}
        faults = self._faults_of(given, ENDPOINTS[endpoint], text_only=seen.method == "GET")
        if faults:
            return self.refused(400, *faults)
        if self._queued(endpoint) >= self.max_queue:
            return self.throttled(seen, None)
        if seen.method == "GET":
            numbers = {"integer": int, "float": float}
            given = {k: numbers.get(ENDPOINTS[endpoint][k]["type"], str)(v) for k, v in given.items()}
        job = self._make(endpoint, given, owner)
        shared = {"success": True, "job_id": job.id, "ep_version": VERSION}
        if seen in self.harmful:
            await job.timeline.reach(len(job.timeline.marks))
            job.delivered = True
            return as_json(200, shared | self._result(job))
        return as_json(200, shared)

    def _faults_of(self, given: dict[str, Any], known: dict[str, dict[str, Any]], *, text_only: bool) -> list[str]:
        unknown = [name for name in given if name not in known]
        out = [f"Invalid input parameter(s): {', '.join(unknown)}"] if unknown else []
        out += [f"Missing required argument: {n}" for n, rule in known.items() if rule["required"] and n not in given]
        for name, value in given.items():
            if name in known and (fault := self._fault(name, value, known[name], text_only)):
                out.append(fault)
        return out

    @staticmethod
    def _fault(name: str, value: Any, rule: dict[str, Any], text_only: bool) -> str | None:
        kind = rule["type"]
        if kind in ("string", "json"):
            if not isinstance(value, str):
                return f"Parameter {name} has wrong type {type(value).__name__}. Expected string"  # invented
            if kind == "json":
                try:
                    context = json.loads(value)
                    fine = isinstance(context, list) and all(
                        m["role"] in ("system", "user", "assistant") for m in context
                    )
                except (ValueError, KeyError, TypeError):
                    fine = False
                return None if fine else f"Parameter {name} is not a valid chat context"  # invented
        else:
            try:
                value = float(value) if text_only else value
                assert isinstance(value, int | float)
                assert not isinstance(value, bool)
                assert kind == "float" or float(value).is_integer()
            except (ValueError, AssertionError):
                return f"Parameter {name} has wrong type. Expected {kind}"  # invented
            if value > rule["maximum"]:
                return f"Parameter {name} = {value} is too high. Max supported value is {rule['maximum']}"
            if value < rule["minimum"]:
                return f"Parameter {name} = {value} is too low. Min supported value is {rule['minimum']}"
        if "allowed" in rule and value not in rule["allowed"]:
            return f"Parameter {name} = {value} is not allowed. Allowed values: {rule['allowed']}"
        return None

    def _make(self, endpoint: str, given: dict[str, Any], owner: str) -> Job:
        fate = self._fates.pop(0) if self._fates else {}
        speech = None
        if "max_gen_tokens" in ENDPOINTS[endpoint]:
            body = (
                {"messages": json.loads(given["chat_context"])}
                if "chat_context" in given
                else {"prompt": given["prompt_input"]}
            )
            speech = llm.speech_for(
                body, {k: v for k, v in fate.items() if k == "say"}, given.get("max_gen_tokens", 512)
            )
        if "shown" in fate:
            speech = llm.Speech(list(fate["shown"]), prompt_tokens=5)
        count = len(speech.tokens) if speech else 4
        per = fate.get("seconds", self.pace.token if speech else self.pace.image / 4)
        now = time.monotonic()
        starts = max(now + self.pace.queue, heapq.heappop(self._free))
        heapq.heappush(self._free, starts + self.pace.first + per * count)
        steps = [starts - now, *([per] * count), self.pace.first]
        timeline = Timeline(steps if self.workers else [1e9] * (count + 2), manual=self.manual)
        number = next(self._numbers)
        identity = f"JID{number}" if self.old else f"{uuid.uuid4()}#{number}"
        job = Job(identity, endpoint, given, owner, speech, timeline, starts, fate, now)
        self.jobs[identity] = job
        self.created += 1
        return job

    def _queued(self, endpoint: str) -> int:
        return sum(job.endpoint == endpoint and job.timeline.position == 0 for job in self.jobs.values())

    @route("GET", "/{endpoint}/progress")
    @route("POST", "/{endpoint}/progress")
    async def progress(self, seen: Seen, endpoint: str) -> Answer:
        if endpoint not in ENDPOINTS:
            return self.no_route(seen)
        params = self.params_of(seen)
        owner = self.owner_of(params)
        identity = str(params.get("job_id"))
        job = self.jobs.get(identity)
        if job is None or job.endpoint != endpoint or job.owner != owner:
            return self.refused(402, f"Client has no active request with this job id {identity}")
        shared = {"success": True, "job_id": job.id, "ep_version": VERSION}
        if job.fate.get("lapse") and job.timeline.position >= 1:
            return as_json(400, {"success": False, "error": "Job waited too long and lapsed", "job_state": "lapsed"})
        if job.timeline.position == 0:
            ahead = sorted(j.starts for j in self.jobs.values() if j.timeline.position == 0 and j.endpoint == endpoint)
            estimate = round(job.starts - time.monotonic(), 2) if self.workers else -1
            shown = {
                "queue_position": ahead.index(job.starts),
                "estimate": estimate,
                "num_workers_online": self.workers,
            }
            return as_json(
                200, shared | {"job_state": "queued", "progress": shown | {"progress": 0, "progress_data": {}}}
            )
        if not job.over:
            return as_json(200, shared | {"job_state": "processing", "progress": self._under_way(job)})
        if job.delivered:
            return as_json(200, shared | {"job_state": "done"})
        job.delivered = True
        done = shared | {"job_state": "done", "job_result": shared | self._result(job)}
        if self.old:
            done["progress"] = {"job_id": job.id, "progress": 100, "queue_position": 0}
        return as_json(200, done)

    def _texts(self, job: Job) -> list[str]:
        """The cumulative texts, one per token."""
        assert job.speech
        return job.fate.get("shown") or list(itertools.accumulate(job.speech.tokens))

    def _under_way(self, job: Job) -> dict[str, Any]:
        made = job.timeline.position - 1
        data: dict[str, Any] = {}
        percent = 25 * made
        if job.speech:
            texts = self._texts(job)
            count = min(made, len(texts))
            data = {"text": texts[count - 1] if count else "", "num_generated_tokens": count}
            data["current_context_length"] = job.speech.prompt_tokens + count
            percent = round(100 * count / max(1, len(texts)))
        elif job.endpoint == "flux-dev" and made:
            data = {"progress_images": [base64.b64encode(media.jpeg(64, 64)).decode()]}
        return {
            "auth": "lab#0", "auth_key": self.worker_secret, "job_type": f"{job.endpoint}_job", "job_id": job.id,
            "progress": min(100, percent), "progress_data": data, "queue_position": 0, "estimate": 0,
            "num_workers_online": self.workers,
        }  # fmt: skip

    def _result(self, job: Job) -> dict[str, Any]:
        took = round(time.monotonic() - job.created, 3)
        shared = {
            "auth": "lab#0", "worker_interface_version": "double", "start_time": time.time(), "compute_duration": took,
            "total_duration": took, "result_received_time": time.time(),
        }  # fmt: skip
        if "fail" in job.fate:
            return shared | {"error": job.fate["fail"]}
        if job.speech:
            text, count = (self._texts(job) or [""])[-1], len(job.speech.tokens)
            context = {
                "prompt_length": job.speech.prompt_tokens,
                "current_context_length": job.speech.prompt_tokens + count,
            }
            return (
                shared
                | {"text": text, "num_generated_tokens": count, "max_seq_len": 4096, "model_name": "dummy"}
                | context
            )
        if job.endpoint == "flux-dev":
            size = job.given.get("width", 1024), job.given.get("height", 1024)
            image = base64.b64encode(media.jpeg(*size)).decode()
            images = [image if self.old else f"data:image/JPEG;base64,{image}"] * job.given.get("num_samples", 1)
            return shared | {
                "images": images,
                "seed": 26262303 if job.given.get("seed", -1) == -1 else job.given["seed"],
            }
        sound = base64.b64encode(media.wav(0.02 * len(job.given["text"]))).decode()
        return shared | {"audio_output": f"data:audio/wav;base64,{sound}"}

"""A Novita upstream: the LLM endpoint on both base paths, image tasks to submit and poll, synchronous image and speech routes.

It owns the flat errors with their misleading statuses, tasks in time and the several spellings of the same answer (`submit`,
`ttl`, zero percent at the end). A submitted task cannot be cancelled. Task results and error reasons follow captures and the
seed; what is marked invented is not documented.
"""

import asyncio
import base64
import itertools
import json
import struct
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from fakes.doubles import llm, media
from fakes.doubles import novita_shapes as shapes
from fakes.doubles.callbacks import post
from fakes.doubles.faults import Answer, as_json
from fakes.doubles.server import Bucket, Double, Refuse, Seen, Timeline, route
from fakes.doubles.shapes import Field, wrong

STATUS = {
    "INVALID_REQUEST_BODY": 400, "IMAGE_FILE_EXCEEDS_MAX_SIZE": 400, "INVALID_IMAGE_FORMAT": 400, "ILLEGAL_PROMPT": 400,
    "IMAGE_EXCEEDS_MAX_RESOLUTION": 400, "INVALID_IMAGE_SIZE": 400, "API_NOT_FOUND": 404, "ILLEGAL_IMAGE_CONTENT": 400,
    "BILLING_FAILED": 500, "BILLING_AUTH_FAILED": 403, "BILLING_BALANCE_NOT_ENOUGH": 400, "MISSING_API_KEY": 400,
    "INVALID_API_KEY": 403, "FEATURE_NOT_ALLOWED": 403, "API_NOT_ALLOWED": 403, "RATE_LIMIT_EXCEEDED": 429,
    "NEED_REAL_NAME_VERIFY": 403, "CREATE_TASK_FAILED": 500, "TASK_NOT_FOUND": 404, "GET_RESULT_FAILED": 500,
    "TASK_FAILED": 500, "MODEL_NOT_FOUND": 404, "FAILED_TO_AUTH": 401, "NOT_ENOUGH_BALANCE": 403,
    "TOKEN_LIMIT_EXCEEDED": 429, "SERVICE_NOT_AVAILABLE": 503, "ACCESS_DENY": 403,
}  # fmt: skip
LLMS = ("deepseek/deepseek-r1", "meta-llama/llama-3.3-70b-instruct", "qwen/qwen2.5-vl-72b-instruct")
CHECKPOINTS = (
    "realisticVisionV51_v51VAE_94301.safetensors",
    "dreamshaper_8_93211.safetensors",
    "sd_xl_base_1.0.safetensors",
)
MAX_FILE = 30 * 1024 * 1024


@dataclass(slots=True)
class Task:
    id: str
    type: str
    timeline: Timeline
    given: dict[str, Any]
    extra: dict[str, Any]
    files: list[tuple[bytes, str]]
    fate: dict[str, Any]
    created: float


class NovitaDouble(Double):
    """`d.jobs` are the tasks by id, `d.created` counts them. `d.will(...)` scripts the next answer or task."""

    kind: ClassVar[str] = "novita"

    def __init__(
        self,
        *,
        submit: str = "flat",
        ttl: str = "int",
        reads_per_s: float | None = None,
        retention: float = 3600.0,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.submit, self.ttl, self.retention = submit, ttl, retention
        self.reads = Bucket(reads_per_s, reads_per_s) if reads_per_s else None
        self.balance = 100_000  # tenths of a thousandth of a dollar
        self.jobs: dict[str, Task] = {}
        self.created = 0
        self.revoked = False
        self.webhook_tricks: set[str] = set()
        self.webhooks_sent: list[int | None] = []
        self._fates: list[dict[str, Any]] = []
        self._files: dict[str, tuple[bytes, str, float]] = {}
        self._numbers = itertools.count(1)

    # -- side channel -------------------------------------------------------------------------------------------------

    def will(self, **fate: Any) -> None:
        """Script the next task (fail=reason, nsfw=confidence | {} | None, empty=True, images=[bytes], refuse=REASON) or the next
        chat answer (say, think, calls, finish, refuse)."""
        self._fates.append(fate)

    def advance(self, task_id: str, steps: int = 1) -> None:
        self.call(lambda: self.jobs[task_id].timeline.advance(steps))

    # -- errors -------------------------------------------------------------------------------------------------------

    @staticmethod
    def error(reason: str, message: str = "", **metadata: str) -> Answer:
        status = STATUS[reason]
        text = message or reason.lower().replace("_", " ")
        return as_json(status, {"code": status, "reason": reason, "message": text, "metadata": metadata})

    def no_route(self, seen: Seen) -> Answer:
        if seen.port == "files":
            return Answer(404, b"<Error><Code>NoSuchKey</Code></Error>", {"content-type": "application/xml"})
        return self.error("API_NOT_FOUND")

    def no_method(self, seen: Seen, allowed: list[str]) -> Answer:
        return Answer(
            405, b"Method Not Allowed\n", {"content-type": "text/plain", "allow": ", ".join(allowed)}
        )  # invented

    def check_auth(self, seen: Seen) -> Answer | None:
        given = seen.headers.get("authorization", "")
        if given == f"Bearer {self.key}":
            return self.error("FAILED_TO_AUTH") if self.revoked else None
        if not given.startswith("Bearer "):
            return self.error("INVALID_API_KEY" if "openai" in seen.path else "MISSING_API_KEY")
        return self.error("INVALID_API_KEY", "fail to auth api key: invalid api key")

    def check_rate(self, seen: Seen) -> Answer | None:
        if self.reads is None or not seen.path.endswith("/task-result"):
            return None
        granted, _, wait = self.reads.take()
        return None if granted else self.throttled(seen, wait)

    def throttled(self, seen: Seen, retry_after: float | None) -> Answer:
        answer = self.error("RATE_LIMIT_EXCEEDED", "rate limit exceeded")
        if retry_after is not None:
            answer.headers["retry-after"] = str(max(1, round(retry_after)))
        return answer

    def body_of(self, seen: Seen, fields: Mapping[str, Field]) -> dict[str, Any]:
        """The body, checked; a scripted refusal first, then faults of the body, then the balance."""
        try:
            body = json.loads(seen.body)
            assert isinstance(body, dict)
        except (ValueError, AssertionError):
            raise Refuse(self.error("INVALID_REQUEST_BODY", "failed to parse request body")) from None
        if seen.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Refuse(self.error("INVALID_REQUEST_BODY", "content-type must be application/json"))  # invented
        found = [f"{path}: {text}" for path, text in wrong(body, fields)]
        if found:
            raise Refuse(self.error("INVALID_REQUEST_BODY", "; ".join(found)))
        if self._fates and "refuse" in self._fates[0]:
            raise Refuse(self.error(self._fates.pop(0)["refuse"]))
        if self.balance <= 0:
            reason = "NOT_ENOUGH_BALANCE" if "openai" in seen.path else "BILLING_BALANCE_NOT_ENOUGH"
            raise Refuse(self.error(reason, "not enough balance"))
        return body

    def _fate(self) -> dict[str, Any]:
        return self._fates.pop(0) if self._fates else {}

    # -- LLM ----------------------------------------------------------------------------------------------------------

    @route("POST", "/openai/v1/chat/completions")
    @route("POST", "/v3/openai/chat/completions")
    async def chat(self, seen: Seen) -> Answer:
        body = self.body_of(seen, shapes.CHAT)
        if body["model"] not in LLMS:
            raise Refuse(self.error("MODEL_NOT_FOUND", "model not found"))
        speech = llm.speech_for(body, self._fate(), body["max_tokens"])
        if body.get("enable_thinking") is False:
            speech.reasoning = []
        if speech.reasoning and not body.get("separate_reasoning"):
            speech.tokens = ["<think>", *speech.reasoning, "</think>", "\n\n", *speech.tokens]
            speech.reasoning = []
        identity = f"chatcmpl-{next(self._numbers):08x}"
        if not body.get("stream"):
            await asyncio.sleep(self.pace.first)
            return as_json(200, llm.completion(speech, body["model"], identity, body.get("n") or 1))
        asked = bool((body.get("stream_options") or {}).get("include_usage"))
        events = llm.stream(speech, body["model"], identity, usage=asked, pace=self.pace)
        return Answer(200, b"", {"content-type": "text/event-stream"}, events)

    @route("POST", "/openai/v1/completions")
    @route("POST", "/v3/openai/completions")
    async def completions(self, seen: Seen) -> Answer:
        body = self.body_of(seen, shapes.COMPLETION)
        speech = llm.speech_for(body, self._fate(), body["max_tokens"])
        choice = {"index": 0, "text": "".join(speech.tokens), "finish_reason": speech.finish, "logprobs": None}
        shared = {"id": f"cmpl-{next(self._numbers)}", "object": "text_completion", "created": int(time.time())}
        return as_json(200, shared | {"model": body["model"], "choices": [choice], "usage": speech.usage})

    @route("POST", "/openai/v1/embeddings")
    @route("POST", "/v3/openai/embeddings")
    async def embeddings(self, seen: Seen) -> Answer:
        body = self.body_of(seen, shapes.EMBED)
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        vectors: list[Any] = [llm.vector(text, 16) for text in texts]
        if body.get("encoding_format") == "base64":
            vectors = [base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode() for v in vectors]
        data = [{"object": "embedding", "index": n, "embedding": v} for n, v in enumerate(vectors)]
        count = sum(len(text.split()) for text in texts)
        usage = {"prompt_tokens": count, "total_tokens": count}
        return as_json(200, {"object": "list", "data": data, "model": body["model"], "usage": usage})

    @route("GET", "/openai/v1/models")
    @route("GET", "/v3/openai/models")
    async def llms(self, seen: Seen) -> Answer:
        rows = [{"id": m, "object": "model", "created": 1731000000, "title": m, "context_size": 65536} for m in LLMS]
        return as_json(200, {"object": "list", "data": rows})

    # -- account and checkpoints --------------------------------------------------------------------------------------

    @route("GET", "/v3/user")
    async def user(self, seen: Seen) -> Answer:
        return as_json(200, {"allow_features": [], "credit_balance": self.balance, "free_trial": {}})

    @route("GET", "/v3/model")
    async def checkpoints(self, seen: Seen) -> Answer:
        known = {f"filter.{n}" for n in ("visibility", "source", "types", "type", "query", "is_sdxl", "is_inpainting")}
        query = seen.query
        unknown = set(query) - known - {"pagination.limit", "pagination.cursor"}
        limit = query.get("pagination.limit", "20")
        cursor = query.get("pagination.cursor", "c_0").removeprefix("c_")
        if unknown or not limit.isdigit() or not 0 < int(limit) <= 100 or not cursor.isdigit():
            raise Refuse(self.error("INVALID_REQUEST_BODY", "invalid query"))
        public = query.get("filter.visibility") != "private"
        names = [n for n in CHECKPOINTS if public and query.get("filter.query", "") in n]
        page = names[int(cursor) : int(cursor) + int(limit)]
        more = int(cursor) + len(page) < len(names)
        rows = [
            {
                "id": 114600 + n, "name": name.partition("_")[0], "hash_sha256": "1A805277C8", "sd_name": name,
                "type": {"name": "checkpoint", "display_name": "Checkpoint"}, "categories": [], "status": 1, "tags": [],
                "cover_url": "https://example.com/cover.jpeg", "base_model": "SD 1.5", "base_model_type": "Standard",
                "download_url_ttl": 2592000, "sd_name_in_api": name, "is_sdxl": "xl" in name,
            }
            for n, name in enumerate(page)
        ]  # fmt: skip
        after = {"next_cursor": f"c_{int(cursor) + len(page)}"} if more else {}
        return as_json(200, {"models": rows, "pagination": after})

    # -- tasks --------------------------------------------------------------------------------------------------------

    def _task(self, kind: str, given: dict[str, Any], extra: dict[str, Any], files: list[tuple[bytes, str]]) -> Answer:
        fate = self._fate()
        if "code" in fate:  # an error although HTTP says 200
            return as_json(200, {"code": fate["code"], "msg": fate.get("msg", "create task failed"), "data": None})
        if "images" in fate:
            files = [(data, media.size_of(data)[0] if media.size_of(data) else "png") for data in fate["images"]]  # type: ignore[index]
        steps = [self.pace.queue] + [self.pace.image / 4] * 4
        identity = f"{next(self._numbers):08x}-2c1b-4f5e-9a43-7f1e0f8f0f00"
        task = Task(identity, kind, Timeline(steps, manual=self.manual), given, extra, files, fate, time.time())
        self.jobs[identity] = task
        self.created += 1
        if webhook := extra.get("webhook"):
            self.spawn(self._notify(task, webhook))
        if self.submit == "wrapped":
            return as_json(200, {"code": 0, "msg": "", "data": {"task_id": identity}})
        return as_json(200, {"task_id": identity})

    def _images(self, width: int, height: int, count: int, kind: str | None) -> list[tuple[bytes, str]]:
        form = kind or "png"
        return [(media.IMAGES[form](width, height), form) for _ in range(count)]

    @route("POST", "/v3/async/txt2img")
    async def txt2img(self, seen: Seen) -> Answer:
        body = self.body_of(seen, {"extra": shapes.EXTRA, "request": Field("object", True, fields=shapes.TXT2IMG)})
        given, extra = body["request"], body.get("extra") or {}
        self._checkpoint(given["model_name"])
        size = given.get("hires_fix") or {}
        width, height = size.get("target_width", given["width"]), size.get("target_height", given["height"])
        images = self._images(width, height, given["image_num"], extra.get("response_image_type"))
        return self._task("TXT_TO_IMG", given, extra, images)

    @route("POST", "/v3/async/img2img")
    async def img2img(self, seen: Seen) -> Answer:
        body = self.body_of(seen, {"extra": shapes.EXTRA, "request": Field("object", True, fields=shapes.IMG2IMG)})
        given, extra = body["request"], body.get("extra") or {}
        self._checkpoint(given["model_name"])
        self._picture(given["image_base64"])
        images = self._images(given["width"], given["height"], given["image_num"], extra.get("response_image_type"))
        return self._task("IMG_TO_IMG", given, extra, images)

    @route("POST", "/v3/async/upscale")
    async def upscale(self, seen: Seen) -> Answer:
        body = self.body_of(seen, {"extra": shapes.EXTRA, "request": Field("object", True, fields=shapes.UPSCALE)})
        given, extra = body["request"], body.get("extra") or {}
        _, width, height = self._picture(given["image_base64"])
        factor = given["scale_factor"]
        images = self._images(int(width * factor), int(height * factor), 1, extra.get("response_image_type"))
        return self._task("UPSCALE", given, extra, images)

    @route("POST", "/v3/async/image-upscaler")
    async def upscaler(self, seen: Seen) -> Answer:
        body = self.body_of(seen, shapes.UPSCALER)
        _, width, height = self._picture(body["image"])
        form = {"jpg": "jpeg"}.get(body.get("output_format", "png"), body.get("output_format", "png"))
        return self._task("IMAGE_UPSCALER", body, {}, self._images(2 * width, 2 * height, 1, form))

    def _checkpoint(self, name: str) -> None:
        if name not in CHECKPOINTS:
            raise Refuse(self.error("INVALID_REQUEST_BODY", f"model_name: model {name} not found"))

    def _picture(self, text: str) -> tuple[str, int, int]:
        try:
            data = base64.b64decode(text, validate=True)
        except ValueError:
            raise Refuse(self.error("INVALID_IMAGE_FORMAT")) from None
        if len(data) > MAX_FILE:
            raise Refuse(self.error("IMAGE_FILE_EXCEEDS_MAX_SIZE"))
        found = media.size_of(data)
        if found is None:
            raise Refuse(self.error("INVALID_IMAGE_FORMAT"))
        if found[1] * found[2] > 16_000_000:
            raise Refuse(self.error("IMAGE_EXCEEDS_MAX_RESOLUTION"))
        return found

    @route("GET", "/v3/async/task-result")
    async def result(self, seen: Seen) -> Answer:
        if set(seen.query) != {"task_id"}:
            raise Refuse(self.error("INVALID_REQUEST_BODY", "task_id is required"))
        task = self.jobs.get(seen.query["task_id"])
        if task is None:
            raise Refuse(self.error("TASK_NOT_FOUND"))
        return as_json(200, self.view(task))

    def view(self, task: Task) -> dict[str, Any]:
        """The task as it stands; numbers come as numbers or strings, and a finished task may say 0 percent."""
        position, failed = task.timeline.position, task.fate.get("fail")
        over = position >= len(task.timeline.marks)
        status = "QUEUED" if position == 0 else "PROCESSING" if not over else "FAILED" if failed else "SUCCEED"
        done = status == "SUCCEED"
        at = str(int(task.created * 1000))
        debug = {"request_info": "", "submit_time_ms": at, "execute_time_ms": at, "complete_time_ms": at}
        flagged = bool(task.extra.get("enable_nsfw_detection"))
        shown = {
            "task_id": task.id, "task_type": task.type, "status": f"TASK_STATUS_{status}",
            "reason": failed if over and failed else "",
            "eta": 0 if over else 3, "progress_percent": 0 if over or position == 0 else 25 * (position - 1),
        }  # fmt: skip
        images = (
            [self._image(task, n, flagged) for n in range(len(task.files))]
            if done and not task.fate.get("empty")
            else []
        )
        seed = task.given.get("seed")
        extra = {
            "seed": str(seed if seed not in (None, -1) else 2147483647),
            "enable_nsfw_detection": flagged,
            "debug_info": debug,
        }
        return {"extra": extra, "task": shown, "images": images, "videos": [], "audios": []}

    def _image(self, task: Task, number: int, flagged: bool) -> dict[str, Any]:
        data, form = task.files[number]
        shown: dict[str, Any] = {"image_url": self._url(f"{task.id}-{number}.{form}", data, form), "image_type": form}
        shown["image_url_ttl"] = {"int": 3600, "str": "3600", "zero": "0"}[self.ttl]
        verdict = task.fate.get("nsfw", 0.5)
        if flagged and verdict is not None:
            shown["nsfw_detection_result"] = (
                verdict if isinstance(verdict, dict) else {"valid": True, "confidence": verdict}
            )
        return shown

    def _url(self, name: str, data: bytes, form: str) -> str:
        self._files.setdefault(name, (data, media.MIME[form], time.time()))
        return f"{self.origin('files')}/output/{name}?X-Amz-Expires=3600&X-Amz-Signature=0f1e2d3c"

    @route("GET", "/output/{name}", auth=False, port="files")
    async def file(self, seen: Seen, name: str) -> Answer:
        data, mime, since = self._files.get(name, (b"", "", 0.0))
        if (
            "authorization" in seen.headers
        ):  # what object stores say to a signed URL with a second kind of authorization
            return Answer(400, b"<Error><Code>InvalidArgument</Code></Error>", {"content-type": "application/xml"})
        if "X-Amz-Signature" not in seen.query or time.time() - since > self.retention:
            return Answer(403, b"<Error><Code>AccessDenied</Code></Error>", {"content-type": "application/xml"})
        return Answer(200, data, {"content-type": mime}) if data else self.no_route(seen)

    async def _notify(self, task: Task, webhook: dict[str, Any]) -> None:
        headers = {"content-type": "application/json"}
        if "forged" in self.webhook_tricks:
            forged = {
                "task": {"task_id": task.id, "status": "TASK_STATUS_SUCCEED"},
                "images": [{"image_url": "http://169.254.169.254/"}],
            }
            body = json.dumps({"event_type": "ASYNC_TASK_RESULT", "payload": forged}).encode()
            self.webhooks_sent.append(await post(webhook["url"], body, headers))
        if await task.timeline.reach(len(task.timeline.marks)):
            body = json.dumps({"event_type": "ASYNC_TASK_RESULT", "payload": self.view(task)}).encode()
            self.webhooks_sent.append(await post(webhook["url"], body, headers))

    # -- synchronous routes -------------------------------------------------------------------------------------------

    @route("POST", "/v3beta/flux-1-schnell")
    async def flux(self, seen: Seen) -> Answer:
        body = self.body_of(seen, shapes.FLUX)
        self._fate()
        await asyncio.sleep(self.pace.image)
        self.created += 1
        number, form = next(self._numbers), body.get("response_image_type", "png")
        files = self._images(body["width"], body["height"], body["image_num"], form)
        images = [
            {
                "image_url": self._url(f"flux-{number}-{n}.{form}", data, form),
                "image_url_ttl": 604800,
                "image_type": form,
            }
            for n, (data, _) in enumerate(files)
        ]
        return as_json(200, {"images": images, "task": {"task_id": f"flux-{number}"}})

    async def _retouch(self, seen: Seen, fields: Mapping[str, Field]) -> Answer:
        body = self.body_of(seen, fields)
        _, width, height = self._picture(body["image_file"])
        if "mask_file" in fields:
            self._picture(body["mask_file"])
        await asyncio.sleep(self.pace.image)
        self.created += 1
        form = (body.get("extra") or {}).get("response_image_type", "png")
        return as_json(
            200, {"image_file": base64.b64encode(media.IMAGES[form](width, height)).decode(), "image_type": form}
        )

    @route("POST", "/v3/cleanup")
    async def cleanup(self, seen: Seen) -> Answer:
        return await self._retouch(seen, shapes.WITH_MASK)

    @route("POST", "/v3/replace-background")
    async def replace_background(self, seen: Seen) -> Answer:
        return await self._retouch(seen, shapes.WITH_PROMPT)

    @route("POST", "/v3/remove-background")
    @route("POST", "/v3/remove-text")
    @route("POST", "/v3/reimagine")
    async def retouch(self, seen: Seen) -> Answer:
        return await self._retouch(seen, shapes.WITH_IMAGE)

    @route("POST", "/v3/minimax-speech-02-hd")
    async def speech(self, seen: Seen) -> Answer:
        body = self.body_of(seen, shapes.SPEECH)
        form = (body.get("audio_setting") or {}).get("format", "mp3")
        data = media.AUDIO[form](0.02 * len(body["text"]))
        if not body.get("stream"):
            await asyncio.sleep(self.pace.image)
            return as_json(200, {"audio": data.hex()})
        return Answer(200, b"", {"content-type": "text/event-stream"}, self._hex(data))

    async def _hex(self, data: bytes) -> AsyncGenerator[bytes, None]:
        for start in range(0, len(data), 1024):
            await asyncio.sleep(self.pace.token)
            yield (
                b"data: "
                + json.dumps({"data": {"audio": data[start : start + 1024].hex(), "status": 1}}).encode()
                + b"\n\n"
            )
        yield b'data: {"data": {"audio": "", "status": 2}}\n\n'

    @route("POST", "/v3/glm-tts")
    async def glm_speech(self, seen: Seen) -> Answer:
        body = self.body_of(seen, shapes.GLM_SPEECH)
        form = body.get("response_format", "wav")
        await asyncio.sleep(self.pace.image)
        return Answer(200, media.AUDIO[form](0.02 * len(body["input"])), {"content-type": f"audio/{form}"})

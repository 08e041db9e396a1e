"""A Novita upstream: the LLM endpoint on both base paths, image tasks to submit and poll, synchronous image and speech routes.

It owns the flat errors with their misleading statuses, tasks in time and the several spellings of the same answer (`submit`,
`ttl`, zero percent at the end). A submitted task cannot be cancelled. Task results and error reasons follow captures and the
seed; what is marked invented is not documented.
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from fakes.doubles import media
from fakes.doubles import novita_shapes as shapes
from fakes.doubles.callbacks import post
from fakes.doubles.faults import Answer, as_json
from fakes.doubles.novita_desk import CHECKPOINTS, Desk
from fakes.doubles.server import Refuse, Seen, Timeline, route
from fakes.doubles.shapes import Field

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


class NovitaDouble(Desk):
    """`d.jobs` are the tasks by id, `d.created` counts them. `d.will(...)` scripts the next answer or task."""

    kind: ClassVar[str] = "novita"

    def __init__(
        self,
        *,
        submit: str = "flat",
        ttl: str = "int",
        retention: float = 3600.0,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.submit, self.ttl, self.retention = submit, ttl, retention
        self.jobs: dict[str, Task] = {}
        self.created = 0
        self.webhook_tricks: set[str] = set()
        self.webhooks_sent: list[int | None] = []
        self._files: dict[str, tuple[bytes, str, float]] = {}

    # -- side channel -------------------------------------------------------------------------------------------------

    def will(self, **fate: Any) -> None:
        """Script the next task (fail=reason, nsfw=confidence | {} | None, empty=True, images=[bytes], refuse=REASON) or the next
        chat answer (say, think, calls, finish, refuse)."""
        self._fates.append(fate)

    def advance(self, task_id: str, steps: int = 1) -> None:
        self.call(lambda: self.jobs[task_id].timeline.advance(steps))

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

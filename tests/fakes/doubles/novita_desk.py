"""The Novita double's errors, keys and balance, its LLM endpoint on both base paths, account and checkpoints.

It owns the flat errors with their misleading statuses; tasks and synchronous routes are `novita`'s.
"""

import asyncio
import base64
import itertools
import json
import struct
import time
from collections.abc import Mapping
from typing import Any

from fakes.doubles import llm
from fakes.doubles import novita_shapes as shapes
from fakes.doubles.clockwork import Bucket
from fakes.doubles.faults import Answer, as_json
from fakes.doubles.server import Double, Refuse, Seen, route
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


class Desk(Double):
    """What all routes share, and the ones that answer at once."""

    def __init__(self, *, reads_per_s: float | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.reads = Bucket(reads_per_s, reads_per_s) if reads_per_s else None
        self.balance = 100_000  # tenths of a thousandth of a dollar
        self.revoked = False
        self._fates: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)

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

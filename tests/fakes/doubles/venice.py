"""A Venice upstream: chat, images, speech and embeddings over `venice_account`, checked against Venice's own schemas.

It owns inference: names with suffixes, capabilities that a model lacks, SSE as observed (citations chunk, usage chunk, DONE),
images in all formats, compression where Venice compresses. Unknown keys are refused, as by the service.
"""

import asyncio
import base64
import gzip
import json
import struct
import time
from collections.abc import AsyncGenerator
from typing import Any, ClassVar

from fakes.doubles import llm, media
from fakes.doubles.faults import Answer, as_json
from fakes.doubles.server import Refuse, Seen, route
from fakes.doubles.venice_account import PREFIX, Account
from fakes.doubles.venice_catalogue import STYLES
from fakes.doubles.venice_schema import DEFS, coerced, details_of, form_of

EXTRAS = DEFS["ChatCompletionRequest"]["properties"]["venice_parameters"]["properties"]
DEFAULTS = {
    "enable_web_search": "off", "enable_web_citations": False, "include_venice_system_prompt": True,
    "include_search_results_in_stream": False, "strip_thinking_response": False, "disable_thinking": False,
}  # fmt: skip
CITATION = {
    "title": "Ferries", "url": "https://example.com/traghetti", "content": "A boat across the canal", "date": "2024-08-13",
}  # fmt: skip
SIZES = {"auto": (1024, 1024)} | {
    size: tuple(map(int, size.split("x")))
    for size in ("256x256", "512x512", "1024x1024", "1536x1024", "1024x1536", "1792x1024", "1024x1792")
}


class VeniceDouble(Account):
    """`d.base_url` ends in /api/v1; `d.key` may infer, `d.admin_key` everything. `d.created` counts inferences."""

    kind: ClassVar[str] = "venice"
    ports: ClassVar[tuple[str, ...]] = ("api",)

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.style = llm.Style()
        self._fates: list[dict[str, Any]] = []

    def will(self, **fate: Any) -> None:
        """Script the next inference: say, think, calls, finish; blurred, violation, images=[bytes]; fails=text (500)."""
        self._fates.append(fate)

    def _fate(self) -> dict[str, Any]:
        fate = self._fates.pop(0) if self._fates else {}
        if "fails" in fate:
            raise Refuse(self.error(500, fate["fails"]))
        return fate

    def _model(self, name: str, kind: str) -> dict[str, Any]:
        model = self.resolve(name, kind)
        if model is None:
            raise Refuse(self.error(404, "Specified model not found"))
        if model["model_spec"].get("offline"):
            raise Refuse(self.error(503, "The model is at capacity. Please try again later."))
        return model

    @staticmethod
    def packed(seen: Seen, answer: Answer) -> Answer:
        """gzip where the caller takes it (Venice knows br as well, the standard library does not)."""
        if "gzip" in seen.headers.get("accept-encoding", "") and answer.chunks is None:
            answer.body = gzip.compress(answer.body, 1)
            answer.headers |= {"content-encoding": "gzip", "vary": "accept-encoding"}
        return answer

    # -- chat ---------------------------------------------------------------------------------------------------------

    @route("POST", f"{PREFIX}/chat/completions")
    async def chat(self, seen: Seen) -> Answer:
        body = self.json_of(seen, "POST /chat/completions")
        name, extras = self._suffix(body["model"])
        asked = DEFAULTS | extras | body.get("venice_parameters", {})
        model = self._model(name, "text")
        self._able(model, body)
        headers = self.admit(model["id"])
        fate = self._fate()
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        speech = llm.speech_for(body, fate, limit)
        can = model["model_spec"]["capabilities"]
        if not can["supportsReasoning"] or asked["disable_thinking"] or asked["strip_thinking_response"]:
            speech.reasoning = []
        if body.get("response_format") and "say" not in fate:
            speech.tokens = ["{", '"answer"', ": ", '"yes"', "}"]
        searched = asked["enable_web_search"] == "on"
        if searched and asked["enable_web_citations"]:
            speech.tokens.append(" [REF]0[/REF]")
        identity = f"chatcmpl-{next(self._numbers):032x}"
        usage = speech.usage
        self.book(
            f"{model['id']}-llm-output-mtoken",
            usage["completion_tokens"] / 1e6,
            2.8,
            (usage["prompt_tokens"], usage["completion_tokens"]),
        )
        if body.get("stream"):
            return self._streamed(body, model["id"], identity, speech, asked if searched else None, headers)
        await asyncio.sleep(self.pace.first)
        whole = self._completion(body, model["id"], identity, speech)
        whole["venice_parameters"] = asked | ({"web_search_citations": [CITATION]} if searched else {})
        answer = as_json(200, whole)
        answer.headers |= headers
        return self.packed(seen, answer)

    def _suffix(self, name: str) -> tuple[str, dict[str, Any]]:
        """`model:a=b&c=d`; what comes after the last colon is a suffix only if it holds an equals sign."""
        front, colon, back = name.rpartition(":")
        if not colon or "=" not in back:
            return name, {}
        out: dict[str, Any] = {}
        for pair in back.split("&"):
            key, _, value = pair.partition("=")
            if key not in EXTRAS:
                raise self.invalid("model", f"Unknown model feature '{key}'")  # invented
            out[key] = value == "true" if EXTRAS[key]["type"] == "boolean" else value
        return front, out

    def _able(self, model: dict[str, Any], body: dict[str, Any]) -> None:
        """Parameters that the model cannot honour are refused by name (texts invented)."""
        can = model["model_spec"]["capabilities"]
        wanted = {
            "tools": ("supportsFunctionCalling", body.get("tools")),
            "response_format": ("supportsResponseSchema", body.get("response_format")),
            "logprobs": ("supportsLogProbs", body.get("logprobs")),
        }
        for name, (ability, value) in wanted.items():
            if value and not can[ability]:
                raise self.invalid(name, f"{name} is not supported by this model")
        slug = body.get("venice_parameters", {}).get("character_slug")
        if slug not in (None, "alan-watts", "nobody"):
            raise Refuse(self.error(404, "Character not found"))
        for number, message in enumerate(body["messages"]):
            parts = message["content"] if isinstance(message.get("content"), list) else []
            for part in parts:
                if part["type"] == "image_url":
                    self._seeable(number, part["image_url"]["url"], can["supportsVision"])

    def _seeable(self, number: int, url: str, able: bool) -> None:
        if not able:
            raise self.invalid("messages", f"messages.{number}: image_url is not supported by this model")
        if url.startswith("data:"):
            size = media.size_of(base64.b64decode(url.partition(",")[2] or ""))
            if size is None or min(size[1:]) < 64:
                raise self.invalid("messages", f"messages.{number}: the image must be at least 64 pixels square")
        elif not url.startswith(("http://", "https://")):
            raise self.invalid("messages", f"messages.{number}: invalid image URL")

    def _completion(self, body: dict[str, Any], model: str, identity: str, speech: llm.Speech) -> dict[str, Any]:
        whole = llm.completion(speech, model, identity, body.get("n", 1))
        for choice in whole["choices"]:
            choice["stop_reason"] = None
            choice["message"] = {"reasoning_content": None, "tool_calls": []} | choice["message"]
            if body.get("logprobs"):
                rows = [
                    {"token": t, "logprob": -0.1, "bytes": list(t.encode()), "top_logprobs": []} for t in speech.tokens
                ]
                choice["logprobs"] = {"content": rows, "token": rows[0]["token"], "logprob": -0.1}
        whole["usage"]["prompt_tokens_details"] = None
        return whole | {"prompt_logprobs": None}

    def _streamed(
        self,
        body: dict[str, Any],
        model: str,
        identity: str,
        speech: llm.Speech,
        searched: dict[str, Any] | None,
        headers: dict[str, str],
    ) -> Answer:
        cited = {"choices": [], "venice_parameters": {"web_search_citations": [CITATION]}}
        first = [cited] if searched and searched["include_search_results_in_stream"] else []
        style = llm.Style(self.style.crlf, self.style.usage_on_each, self.style.done, first)
        usage = bool(body.get("stream_options", {}).get("include_usage"))
        events = llm.stream(speech, model, identity, usage=usage, pace=self.pace, style=style)
        fields = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        if searched and not first:
            events = self._cite_last(events, model, identity, cited)
        return Answer(200, b"", fields | headers, events)

    @staticmethod
    async def _cite_last(
        events: AsyncGenerator[bytes, None], model: str, identity: str, cited: dict[str, Any]
    ) -> AsyncGenerator[bytes, None]:
        shared = {"id": identity, "object": "chat.completion.chunk", "created": int(time.time()), "model": model}
        async for event in events:
            if event.startswith(b"data: [DONE]"):
                yield b"data: " + json.dumps(shared | cited).encode() + b"\n\n"
            yield event

    # -- embeddings and speech ----------------------------------------------------------------------------------------

    @route("POST", f"{PREFIX}/embeddings")
    async def embeddings(self, seen: Seen) -> Answer:
        body = self.json_of(seen, "POST /embeddings")
        model = self._model(body["model"], "embedding")
        given = body["input"]
        inputs = given if isinstance(given, list) and not (given and isinstance(given[0], int)) else [given]
        for n, one in enumerate(inputs):
            if len(one if isinstance(one, list) else one.split()) > 8192:
                raise self.invalid("input", f"input.{n} must be at most 8192 tokens")
        headers = self.admit(model["id"])
        self._fate()
        vectors: list[Any] = [llm.vector(json.dumps(one), body.get("dimensions", 16)) for one in inputs]
        if body.get("encoding_format") == "base64":
            vectors = [base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode() for v in vectors]
        count = sum(len(one if isinstance(one, list) else one.split()) for one in inputs)
        self.book(f"{model['id']}-mtoken", count / 1e6, 0.15, (count, 0))
        data = [{"object": "embedding", "index": n, "embedding": v} for n, v in enumerate(vectors)]
        usage = {"prompt_tokens": count, "total_tokens": count}
        answer = as_json(200, {"object": "list", "data": data, "model": model["id"], "usage": usage})
        answer.headers |= headers
        return self.packed(seen, answer)

    @route("POST", f"{PREFIX}/audio/speech")
    async def speech(self, seen: Seen) -> Answer:
        body = self.json_of(seen, "POST /audio/speech")
        form = body.get("response_format", "mp3")
        headers = self.admit("tts-kokoro")
        self._fate()
        self.book("tts-kokoro-mchars", len(body["input"]) / 1e6, 3.5)
        fields = {"content-type": media.AUDIO_MIME[form]} | headers
        speed = body.get("speed", 1)
        sentences = [s for s in body["input"].split(". ") if s] if body.get("streaming") else [body["input"]]
        sounds = [media.AUDIO[form](max(0.1, 0.05 * len(s) / speed)) for s in sentences]
        if body.get("streaming"):
            return Answer(200, b"", fields, self._paced(sounds))
        await asyncio.sleep(self.pace.first)
        return Answer(200, sounds[0], fields)

    async def _paced(self, sounds: list[bytes]) -> AsyncGenerator[bytes, None]:
        for sound in sounds:
            await asyncio.sleep(self.pace.token)
            yield sound

    # -- images -------------------------------------------------------------------------------------------------------

    def _flags(self, fate: dict[str, Any]) -> dict[str, str]:
        return {
            "x-venice-is-blurred": str(bool(fate.get("blurred"))).lower(),
            "x-venice-is-content-violation": str(bool(fate.get("violation"))).lower(),
        }

    @route("POST", f"{PREFIX}/image/generate")
    async def generate(self, seen: Seen) -> Answer:
        body = self.json_of(seen, "POST /image/generate")
        model = self._model(body["model"], "image")
        limits = model["model_spec"]["constraints"]
        width, height = body.get("width", 1024), body.get("height", 1024)
        for name, size in (("width", width), ("height", height)):
            if size % limits["widthHeightDivisor"]:
                raise self.invalid(name, f"{name} must be divisible by {limits['widthHeightDivisor']}")
        if body.get("steps", 20) > limits["steps"]["max"]:
            raise self.invalid("steps", f"Number must be less than or equal to {limits['steps']['max']}")
        if len(body["prompt"]) > limits["promptCharacterLimit"]:
            raise self.invalid("prompt", f"String must contain at most {limits['promptCharacterLimit']} characters")
        if body.get("style_preset", STYLES[0]) not in STYLES:
            raise self.invalid("style_preset", "Unknown style preset")
        headers = self.admit(model["id"])
        fate = self._fate()
        headers |= self._flags(fate)
        await asyncio.sleep(self.pace.image)
        self.book(f"{model['id']}-image-unit", 1, 0.01)
        form = body.get("format", "webp")
        images = fate.get("images", [] if fate.get("violation") else [media.IMAGES[form](width, height)])
        if body.get("return_binary"):
            return Answer(200, images[0] if images else b"", {"content-type": media.MIME[form]} | headers)
        timing = {"inferenceDuration": 290, "inferencePreprocessingTime": 5, "inferenceQueueTime": 5, "total": 300}
        shown = {
            "id": f"generate-image-{next(self._numbers)}",
            "images": [base64.b64encode(i).decode() for i in images],
        }
        answer = as_json(200, shown | {"request": body, "timing": timing})
        answer.headers |= headers
        return self.packed(seen, answer)

    @route("POST", f"{PREFIX}/images/generations")
    async def simple_generate(self, seen: Seen) -> Answer:
        body = self.json_of(seen, "POST /images/generations")
        model = self.resolve(body.get("model", "default"), "image") or self._model("default", "image")
        headers = self.admit(model["id"])
        fate = self._fate()
        await asyncio.sleep(self.pace.image)
        self.book(f"{model['id']}-image-unit", 1, 0.01)
        form = body.get("output_format", "png")
        width, height = SIZES[body.get("size") or "auto"]
        images = fate.get("images", [] if fate.get("violation") else [media.IMAGES[form](width, height)])
        texts = [base64.b64encode(image).decode() for image in images]
        as_url = (body.get("response_format") or "b64_json") == "url"
        data = [{"url": f"data:{media.MIME[form]};base64,{t}"} if as_url else {"b64_json": t} for t in texts]
        answer = as_json(200, {"created": int(time.time()), "data": data})
        answer.headers |= headers | self._flags(fate)
        return self.packed(seen, answer)

    def _picture_body(self, seen: Seen, operation: str, most: int) -> tuple[dict[str, Any], tuple[int, int]]:
        """JSON or form; the image of the right size. Returns the body and the image's width and height."""
        kind = seen.headers.get("content-type", "")
        if kind.startswith("multipart/form-data"):
            fields = form_of(kind, seen.body)
            if fields is None:
                raise Refuse(self.error(400, "Invalid request parameters", {"_errors": ["Invalid form"]}))
            body = coerced(fields, operation)
            plain = {k: "file" if isinstance(v, bytes) else v for k, v in body.items()}
            self.bad(details_of(operation, plain, "multipart/form-data"))
        else:
            body = self.json_of(seen, operation)
        image = body["image"]
        try:
            data = image if isinstance(image, bytes) else base64.b64decode(image, validate=True)
        except (ValueError, TypeError):
            raise Refuse(self.error(400, "Invalid image format")) from None
        size = media.size_of(data)
        if size is None:
            raise Refuse(self.error(400, "Invalid image format"))
        if not 65536 <= size[1] * size[2] <= most:
            raise self.invalid("image", f"Image dimensions must be between 65536 and {most} pixels")
        return body, size[1:]

    @route("POST", f"{PREFIX}/image/upscale")
    async def upscale(self, seen: Seen) -> Answer:
        body, (width, height) = self._picture_body(seen, "POST /image/upscale", 16777216)
        scale, enhance = body.get("scale", 2), body.get("enhance", "false") in (True, "true")
        if scale == 1 and not enhance:
            raise self.invalid("scale", "Scale must be greater than 1 if enhance is false")
        while width * height * scale * scale > 16777216:
            scale -= 0.25
        headers = self.admit("upscale-model")
        self._fate()
        await asyncio.sleep(self.pace.image)
        self.book("upscale-model-image-unit", 1, 0.02)
        return Answer(200, media.png(int(width * scale), int(height * scale)), {"content-type": "image/png"} | headers)

    @route("POST", f"{PREFIX}/image/edit")
    async def edit(self, seen: Seen) -> Answer:
        _, (width, height) = self._picture_body(seen, "POST /image/edit", 33177600)
        headers = self.admit("flux-kontext")
        self._fate()
        await asyncio.sleep(self.pace.image)
        self.book("flux-kontext-image-unit", 1, 0.04)
        return Answer(200, media.png(width, height, 90), {"content-type": "image/png"} | headers)

"""An OpenAI upstream's pictures, ears and voice: strict about forms, parameters and models, with real files in its answers.

It owns `/v1/images/*`, `/v1/audio/*` and `/v1/embeddings` as OpenAI's documentation and SDKs describe them, with two
generations of models: `brush-new` (base64 only, three sizes, streams) and `brush-old` (any square, URLs by default),
`ears-new` (json only, streams) and `ears-old` (texts and timestamps, ignores `stream`). Unknown parameters are refused. It
hears what a decoder hears: how long a recording is, and whether it is silent.
"""

import asyncio
import base64
import email.parser
import email.policy
import hashlib
import itertools
import json
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, ClassVar

from fakes.decoded_audio import Heard, hear
from fakes.doubles import media
from fakes.doubles.faults import Answer, as_json
from fakes.doubles.server import Double, Refuse, Seen, route

LARGE = {"1024x1024", "1536x1024", "1024x1536"}
OLD = {"256x256", "512x512", "1024x1024"}
EARS = {
    "ears-new": {"model", "file", "language", "prompt", "response_format", "temperature", "stream", "include[]"},
    "ears-old": {
        *("model", "file", "language", "prompt", "response_format", "temperature", "stream"),
        "timestamp_granularities[]",
    },
}
BRUSH = {
    "brush-new": {
        *("model", "prompt", "n", "size", "quality", "background", "output_format", "output_compression", "moderation"),
        *("stream", "partial_images", "user"),
    },
    "brush-old": {"model", "prompt", "n", "size", "response_format", "quality", "style", "user"},
}
HEARD_AS = ("flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm")
VOICES = {"alloy", "echo", "fable", "nova", "onyx", "shimmer"}
MAX_BATCH = 3


@dataclass(frozen=True)
class Field:
    """One part of a form. `filename` None: a text."""

    name: str
    value: bytes
    filename: str | None
    content_type: str


class OpenAIMedia(Double):
    """`d.base_url` ends in /v1; pictures that are URLs lie on the port `files`, which takes no key."""

    kind: ClassVar[str] = "openai"

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.files: dict[str, bytes] = {}
        self._numbers = itertools.count(1)
        self.fields: list[list[Field]] = []  # of every form that came
        self.say: list[str] = []  # what the next pieces of speech are heard as

    @property
    def base_url(self) -> str:
        return self.origin() + "/v1"

    # -- refusals -----------------------------------------------------------------------------------------------------

    @staticmethod
    def error(status: int, text: str, param: str | None = None, code: str | None = None) -> Answer:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        return as_json(status, {"error": {"message": text, "type": kind, "param": param, "code": code}})

    def bad(self, text: str, param: str | None = None, code: str | None = None) -> Refuse:
        return Refuse(self.error(400, text, param, code))

    def no_route(self, seen: Seen) -> Answer:
        return self.error(404, f"Invalid URL ({seen.method} {seen.path})", code="unknown_url")

    def no_method(self, seen: Seen, allowed: list[str]) -> Answer:
        return self.error(405, f"Not allowed to {seen.method} on {seen.path}")

    def check_auth(self, seen: Seen) -> Answer | None:
        if seen.headers.get("authorization") == f"Bearer {self.key}":
            return None
        return self.error(401, "Incorrect API key provided", code="invalid_api_key")

    def throttled(self, seen: Seen, retry_after: float | None) -> Answer:
        answer = self.error(429, "Rate limit reached", code="rate_limit_exceeded")
        if retry_after is not None:
            answer.headers["retry-after"] = str(retry_after)
        return answer

    def _json(self, seen: Seen, known: set[str] | None = None) -> dict[str, Any]:
        if seen.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Refuse(self.error(415, "Unsupported content type"))
        body = json.loads(seen.body)
        if known is not None and (odd := set(body) - known):
            raise self.bad(f"Unknown parameter: '{min(odd)}'.", min(odd), "unknown_parameter")
        return dict(body)

    def _form(self, seen: Seen) -> list[Field]:
        type_ = seen.headers.get("content-type", "")
        if not type_.startswith("multipart/form-data"):
            raise Refuse(self.error(415, "Expected multipart/form-data"))
        raw = b"content-type: " + type_.encode("latin-1") + b"\r\n\r\n" + seen.body
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(raw)
        if not message.is_multipart():
            raise self.bad("Could not parse multipart form")
        found = []
        for part in message.iter_parts():  # type: ignore[attr-defined]
            data = part.get_payload(decode=True)
            name = part.get_param("name", header="content-disposition")
            found.append(Field(name, data, part.get_filename(), part.get_content_type()))
        self.fields.append(found)
        return found

    @staticmethod
    def _texts(fields: list[Field]) -> dict[str, str]:
        return {f.name: f.value.decode() for f in fields if f.filename is None}

    # -- ears ---------------------------------------------------------------------------------------------------------

    @route("POST", "/v1/audio/transcriptions")
    async def transcriptions(self, seen: Seen) -> Answer:
        fields = self._form(seen)
        texts = self._texts(fields)
        known = EARS.get(texts.get("model", ""))
        if known is None:
            raise Refuse(self.error(404, "The model does not exist", "model", "model_not_found"))
        if odd := sorted({f.name for f in fields} - known):
            raise self.bad(f"Unknown parameter: '{odd[0]}'.", odd[0], "unknown_parameter")
        files = [f for f in fields if f.name == "file" and f.filename is not None]
        if len(files) != 1:
            raise self.bad("you must provide a file", "file")
        if (files[0].filename or "").rpartition(".")[2].lower() not in HEARD_AS:
            raise self.bad(f"Unrecognized file format. Supported formats: {list(HEARD_AS)}", "file")
        form = texts.get("response_format", "json")
        granularities = [f.value.decode() for f in fields if f.name == "timestamp_granularities[]"]
        if granularities and form != "verbose_json":
            raise self.bad("timestamp_granularities needs verbose_json", "timestamp_granularities")
        if texts["model"] == "ears-new" and form != "json":
            raise self.bad(f"response_format '{form}' is not compatible with model 'ears-new'", "response_format")
        try:
            heard = await asyncio.to_thread(hear, files[0].value)
        except Exception:  # noqa: BLE001 - whatever the decoder says of it, it is no sound
            raise self.bad("Audio file might be corrupted or unsupported", "file") from None
        text = self.say.pop(0) if self.say else self._words(heard)
        if texts.get("stream") == "true" and texts["model"] == "ears-new":
            return Answer(200, b"", {"content-type": "text/event-stream"}, self._delta(text))
        return self._written(text, form, heard, granularities, texts)

    @staticmethod
    def _words(heard: Heard) -> str:
        loud = "silence" if heard.rms < 0.003 else "a voice"
        return f"{loud} for {heard.seconds:.1f} seconds"

    async def _delta(self, text: str) -> AsyncGenerator[bytes, None]:
        for word in text.split(" "):
            delta = word if word == text.split(" ")[0] else " " + word
            yield b"data: " + json.dumps({"type": "transcript.text.delta", "delta": delta}).encode() + b"\n\n"
            await asyncio.sleep(self.pace.token)
        usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 5, "total_tokens": 19}
        done = {"type": "transcript.text.done", "text": text, "usage": usage}
        yield b"data: " + json.dumps(done).encode() + b"\n\n"

    @staticmethod
    def _written(text: str, form: str, heard: Heard, granularities: list[str], texts: dict[str, str]) -> Answer:
        plain = {"content-type": "text/plain; charset=utf-8"}
        end = f"00:00:{heard.seconds:06.3f}"
        if form == "text":
            return Answer(200, (text + "\n").encode(), plain)
        if form == "srt":
            return Answer(200, f"1\n00:00:00,000 --> {end.replace('.', ',')}\n{text}\n\n".encode(), plain)
        if form == "vtt":
            return Answer(200, f"WEBVTT\n\n00:00:00.000 --> {end}\n{text}\n\n".encode(), plain)
        if form == "verbose_json":
            body: dict[str, Any] = {
                "task": "transcribe", "language": texts.get("language", "english"), "duration": heard.seconds, "text": text,
                "usage": {"type": "duration", "seconds": round(heard.seconds)},
            }  # fmt: skip
            if "segment" in granularities or not granularities:
                body["segments"] = [{
                    "id": 0, "seek": 0, "start": 0.0, "end": heard.seconds, "text": text, "tokens": [1], "temperature": 0.0,
                    "avg_logprob": -0.1, "compression_ratio": 1.0, "no_speech_prob": 0.01,
                }]  # fmt: skip
            if "word" in granularities:
                step = heard.seconds / len(text.split())
                words = enumerate(text.split())
                body["words"] = [{"word": w, "start": n * step, "end": (n + 1) * step} for n, w in words]
            return as_json(200, body)
        usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 5, "total_tokens": 19}
        return as_json(200, {"text": text, "usage": usage})

    # -- pictures -----------------------------------------------------------------------------------------------------

    @route("POST", "/v1/images/generations")
    async def generations(self, seen: Seen) -> Answer:
        model = json.loads(seen.body).get("model", "brush-old")
        if model not in BRUSH:
            raise Refuse(self.error(404, "The model does not exist", "model", "model_not_found"))
        body = self._json(seen, BRUSH[model])
        return await self._drawn(model, body, body.get("prompt", ""), "image_generation")

    @route("POST", "/v1/images/edits")
    async def edits(self, seen: Seen) -> Answer:
        fields = self._form(seen)
        body: dict[str, Any] = self._texts(fields)
        model = body.get("model", "brush-old")
        if model not in BRUSH:
            raise Refuse(self.error(404, "The model does not exist", "model", "model_not_found"))
        if odd := sorted(set(body) - BRUSH[model] - {"input_fidelity"}):
            raise self.bad(f"Unknown parameter: '{odd[0]}'.", odd[0], "unknown_parameter")
        pictures = [f for f in fields if f.filename is not None]
        images = [f for f in pictures if f.name in ("image", "image[]")]
        if not images or (len(images) > 1 and any(f.name == "image" for f in images)):
            raise self.bad("Missing or duplicate parameter: 'image'.", "image")
        for field in pictures:
            found = media.size_of(field.value)
            if found is None or media.MIME[found[0]] != field.content_type:
                raise self.bad(f"Invalid file '{field.name}': unsupported mimetype '{field.content_type}'", field.name)
        masks = [media.size_of(f.value) for f in pictures if f.name == "mask"]
        first = media.size_of(images[0].value)
        if masks and masks[0] is not None and first is not None and masks[0][1:] != first[1:]:
            raise self.bad("Invalid mask image: it must have the same size", "mask")
        body |= {name: json.loads(body[name]) for name in ("n", "stream", "partial_images") if name in body}
        return await self._drawn(model, body, body.get("prompt", ""), "image_edit")

    async def _drawn(self, model: str, body: dict[str, Any], prompt: str, event: str) -> Answer:
        if not prompt:
            raise self.bad("Missing required parameter: 'prompt'.", "prompt")
        if "forbidden" in prompt:
            raise self.bad("Your request was rejected by the safety system.", None, "moderation_blocked")
        size = body.get("size", "auto")
        if size != "auto" and size not in (LARGE if model == "brush-new" else OLD):
            raise self.bad(f"Invalid value: '{size}'.", "size", "invalid_value")
        width, height = (1024, 1024) if size == "auto" else tuple(map(int, size.split("x")))
        form = body.get("output_format", "png")
        await asyncio.sleep(self.pace.image)
        grey = hashlib.sha256(prompt.encode()).digest()[0]
        rows = [self._picture(form, width, height, (grey + n) % 256) for n in range(body.get("n", 1))]
        packed = [base64.b64encode(row).decode() for row in rows]
        about = {"background": "opaque", "output_format": form, "quality": "low", "size": f"{width}x{height}"}
        details = {"image_tokens": 0, "text_tokens": 9}
        usage = {"input_tokens": 9, "input_tokens_details": details, "output_tokens": 272, "total_tokens": 281}
        if body.get("stream"):
            told = {"created_at": int(time.time()), **about}
            return Answer(200, b"", {"content-type": "text/event-stream"}, self._events(event, packed, told, usage))
        if model == "brush-new":
            data: list[dict[str, Any]] = [{"b64_json": row} for row in packed]
            return as_json(200, {"created": int(time.time()), "data": data, "usage": usage, **about})
        if body.get("response_format", "url") == "b64_json":
            data = [{"b64_json": row, "revised_prompt": prompt + "!"} for row in packed]
        else:
            data = [{"url": self._kept(row), "revised_prompt": prompt + "!"} for row in rows]
        return as_json(200, {"created": int(time.time()), "data": data})

    @staticmethod
    def _picture(form: str, width: int, height: int, grey: int) -> bytes:
        return media.png(width, height, grey) if form == "png" else media.IMAGES[form](width, height)

    def _kept(self, data: bytes) -> str:
        name = f"{next(self._numbers)}.png"
        self.files[name] = data
        return f"{self.origin('files')}/f/{name}?sig=secret"

    async def _events(
        self, event: str, packed: list[str], about: dict[str, Any], usage: dict[str, Any]
    ) -> AsyncGenerator[bytes, None]:
        for index, row in enumerate(packed):
            partial = {"type": f"{event}.partial_image", "partial_image_index": index, "b64_json": row, **about}
            yield f"event: {event}.partial_image\ndata: {json.dumps(partial)}\n\n".encode()
            await asyncio.sleep(self.pace.token)
            whole = {"type": f"{event}.completed", "b64_json": row, **about, "usage": usage}
            yield f"event: {event}.completed\ndata: {json.dumps(whole)}\n\n".encode()

    @route("GET", "/f/{name}", port="files", auth=False)
    async def file(self, seen: Seen, name: str) -> Answer:
        if name not in self.files or seen.query.get("sig") != "secret":
            return Answer(403, b"", {})
        return Answer(200, self.files[name], {"content-type": "image/png"})

    # -- voice --------------------------------------------------------------------------------------------------------

    @route("POST", "/v1/audio/speech")
    async def speech(self, seen: Seen) -> Answer:
        body = self._json(
            seen, {"model", "input", "voice", "response_format", "speed", "instructions", "stream_format"}
        )
        if body.get("voice") not in VOICES:
            raise self.bad(f"Input should be one of {sorted(VOICES)}", "voice")
        form = body.get("response_format", "mp3")
        sound = media.AUDIO[form](0.1 + 0.05 * len(body["input"]) / body.get("speed", 1))
        return Answer(200, sound, {"content-type": media.AUDIO_MIME[form]})

    # -- vectors ------------------------------------------------------------------------------------------------------

    @route("POST", "/v1/embeddings")
    async def embeddings(self, seen: Seen) -> Answer:
        body = self._json(seen, {"model", "input", "dimensions", "encoding_format", "user"})
        given = body["input"] if isinstance(body["input"], list) else [body["input"]]
        if len(given) > MAX_BATCH:
            raise self.bad(f"Invalid 'input': array too long. Expected at most {MAX_BATCH}.", "input")
        data = []
        for index, one in enumerate(given):
            digest = hashlib.sha256(json.dumps(one).encode()).digest()
            data.append({"object": "embedding", "index": index, "embedding": [byte / 255 for byte in digest[:8]]})
        count = sum(len(str(one).split()) for one in given)
        usage = {"prompt_tokens": count, "total_tokens": count}
        return as_json(200, {"object": "list", "data": data, "model": body["model"], "usage": usage})

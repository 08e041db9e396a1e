"""images/generations and images/edits of OpenAI's dialect, and Venice's routes put into it.

What an OpenAI client sends goes out as it came, and comes back as it came. Venice's wishes are translated both ways: the
style is worked into the prompt, a size becomes one that the upstream draws, and what comes back is made as large, of the
format and with the metadata that was asked for (`adapters.drawn`). Invariant: a parameter that nobody honours is named.
"""

import base64
import binascii
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from adapters._http import HttpResponse, TransportError
from adapters.download import IMAGE, Downloads
from adapters.drawn import Drawn, finished, made
from adapters.faults import transport_fault
from adapters.guard import UrlPolicy
from adapters.line import once
from adapters.openai_api import whole
from adapters.openai_api.forms import Part, form_body
from adapters.openai_api.passing import Bytes
from adapters.openai_api.sizes import nearest
from adapters.options import OpenAIOptions
from adapters.replies import Stream, Whole
from adapters.together import together
from proxy.call import Call, Dialect, Target, Usage
from proxy.errors import Fault, TraghettoError, UpstreamError
from proxy.media import styles
from proxy.media.inspect import CONTENT_TYPES, inspect
from proxy.media.payload import Payload, data_url
from proxy.params import Sorted, sort_out
from proxy.ports import Caps, Reply
from proxy.stream import CONTENT_TYPE
from proxy.wire import images
from proxy.wire.body import encode
from proxy.wire.edits import EditOrder, UpscaleOrder

MAX_ANSWER = 256 << 20
_JSON = "application/json"
_EVENTS = {"generation": b"image_generation.completed", "edit": b"image_edit.completed"}
# What we do ourselves with the picture that comes, or say in other words, when Venice's routes are translated.
_OURS = frozenset(
    {
        *("prompt", "model", "negative_prompt", "width", "height", "style_preset", "format", "return_binary"),
        *("safe_mode", "hide_watermark", "embed_exif_metadata", "size", "n", "response_format", "output_format"),
        *("moderation", "output_compression", "image", "image[]"),
    }
)
_SAID_AS = {
    "style_preset": "prompt",
    "negative_prompt": "prompt",
    "width": "size",
    "height": "size",
    "safe_mode": "moderation",
}
_SHARED = frozenset({"quality", "background", "style", "user"})  # of Venice's images/generations: the same as OpenAI's

Send = Callable[[str, str, list[tuple[str, str]], bytes | AsyncIterable[bytes]], Awaitable[HttpResponse]]


class Pictures:
    """One upstream's pictures. `send` gives a response whose status is good."""

    def __init__(self, name: str, options: OpenAIOptions, caps: Caps, send: Send) -> None:
        self._name = name
        self._options = options
        self._caps = caps
        self._send = send
        token = f"Bearer {options.api_key}" if options.api_key else None
        policy = UrlPolicy(options.file_hosts, own=options.base_url)
        self._files = Downloads(policy, self._unfetched, authorization=token, verify=options.verify)

    # ── generations ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def draw(self, call: Call, target: Target) -> Reply:
        """See `Adapter.open`."""
        assert call.plan is not None
        order: images.Order = call.request
        images.suits(order, call.plan.model)
        if _openai(call):
            body = self._as_it_came(call, target)
            response = await self._posted("/images/generations", _JSON, encode(body), call)
            return await self._passed_on(call, response, "generation")
        body = self._translated(call, order, target)
        began = time.perf_counter()
        response = await self._posted("/images/generations", _JSON, encode(body), call)
        answer = await self._read(response)
        drawn = [Drawn(data) for data in await self._all_bytes(_rows(answer, self._name))]
        inference_s = time.perf_counter() - began
        done = await made(order, drawn, inference_s, self._name, target.model)
        done.blurred = done.blurred or response.header("x-venice-is-blurred") == "true"
        done.violation = response.header("x-venice-is-content-violation") == "true"
        out, type_, headers = images.answer(order, done, id=call.id, fields=call.fields, started=call.started)
        return Whole(out, _usage(answer, len(drawn)), type_, headers)

    def _as_it_came(self, call: Call, target: Target) -> dict[str, Any]:
        done = sort_out(call.fields, self._caps, self._options.drops)
        call.dropped = done.dropped
        body: dict[str, Any] = {"model": target.model, "prompt": call.request.prompt, **done.kept}
        if call.stream:
            body["stream"] = True
        return body

    def _translated(self, call: Call, order: images.Order, target: Target) -> dict[str, Any]:
        takes = self._options.image_takes - self._options.drops
        prompt, avoided = order.prompt, order.negative_prompt
        if order.style is not None and "style_preset" not in takes:
            prompt, avoided = styles.style(order.style).apply(prompt, avoided)
        body: dict[str, Any] = {"model": target.model, "n": order.n}
        body["size"] = nearest(self._options.image_sizes, order.width, order.height)
        body |= {key: value for key, value in call.fields.items() if key in takes | _SHARED - self._options.drops}
        if avoided and "negative_prompt" in takes:
            body["negative_prompt"] = avoided
        elif avoided:
            prompt = f"{prompt}\nAvoid: {avoided}"
        body["prompt"] = prompt
        if not order.safe and "moderation" not in self._options.drops:
            body["moderation"] = "low"
        if self._options.image_response_format:
            body["response_format"] = "b64_json"
        call.dropped = [key for key in call.fields if key not in _OURS and key not in body]
        return body

    def preview(self, call: Call, target: Target) -> Sorted:
        """What an order would become; nobody is asked. Changes nothing about the call."""
        if _openai(call):
            return sort_out(call.fields, self._caps, self._options.drops)
        before = call.dropped
        body = self._translated(call, call.request, target)
        dropped, call.dropped = call.dropped, before
        kept = {key: msgspec.Raw(encode(value)) for key, value in body.items() if key != "model"}
        named = {key: name for key, name in _SAID_AS.items() if key in call.fields and key not in body}
        return Sorted(kept, named, dropped)

    # ── edits ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def edit(self, call: Call, target: Target) -> Reply:
        """See `Adapter.open`."""
        order: EditOrder = call.request
        type_, body = form_body(self._form(call, order, target))
        response = await self._posted("/images/edits", type_, body, call)
        if order.shape != "binary":
            return await self._passed_on(call, response, "edit")
        answer = await self._read(response)
        found = await self._all_bytes(_rows(answer, self._name))
        from proxy.media.images import Finish

        done = await finished(found[0], Finish(order.format, order.quality), self._name, size=order.size)
        return Whole(done, _usage(answer, len(found)), CONTENT_TYPES[order.format])

    def _form(self, call: Call, order: EditOrder, target: Target) -> list[Part]:
        """images/edits with all its parameters; image/edit has none but the prompt."""
        parts = [Part("model", target.model), Part("prompt", order.prompt)]
        if order.shape != "binary":
            done = sort_out(call.fields, self._caps, self._options.drops)
            call.dropped = done.dropped
            kept = {key: value for key, value in done.kept.items() if key not in _FILES}
            parts += [part for key, value in kept.items() for part in _texts(key, msgspec.json.decode(value))]
            parts += [Part("stream", "true")] if call.stream else []
        elif self._options.image_response_format:
            parts.append(Part("response_format", "b64_json"))
        several = len(order.images) > 1
        parts += [_file("image[]" if several else "image", payload) for payload in order.images]
        return [*parts, _file("mask", order.mask)] if order.mask is not None else parts

    async def enlarge(self, call: Call, target: Target) -> Reply:
        """image/upscale of an upstream that has Venice's route beside OpenAI's: the form as it came, a picture back."""
        order: UpscaleOrder = call.request
        parts = [Part("model", target.model)]
        for key, value in call.fields.items():
            if key not in _FILES | {"model"}:
                parts += _texts(key, msgspec.json.decode(value))
        type_, body = form_body([*parts, _file("image", order.image)])
        response = await self._posted("/image/upscale", type_, body, call)
        try:
            data = await response.read(MAX_ANSWER)
        except TransportError as error:
            raise transport_fault(error, self._name) from None
        finally:
            response.close()
        if (response.header("content-type") or "").startswith(_JSON):
            whole.decoded(data, self._name)
            raise whole.malformed(self._name, "an answer that is no picture")
        from proxy.media.images import Finish

        return Whole(await finished(data, Finish("png"), self._name), Usage(images=1), CONTENT_TYPES["png"])

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _posted(self, path: str, type_: str, body: bytes, call: Call) -> HttpResponse:
        headers = [("content-type", type_), ("content-length", str(len(body))), ("x-request-id", call.id)]
        return await self._send("POST", path, headers, once(body))

    async def _read(self, response: HttpResponse) -> dict[str, Any]:
        try:
            return whole.decoded(await response.read(MAX_ANSWER), self._name)
        except TransportError as error:
            raise transport_fault(error, self._name) from None
        finally:
            response.close()

    async def _passed_on(self, call: Call, response: HttpResponse, what: str) -> Reply:
        """The answer to an OpenAI client: as it came, but in the shape that was asked for by name."""
        if call.stream and "event-stream" in (response.header("content-type") or ""):
            count = call.request.n
            source = Bytes(
                response,
                Usage(images=count),
                self._name,
                events=_EVENTS[what],
                counted=lambda told: _usage(told, count),
            )
            try:
                return Stream(source, await source.read(), CONTENT_TYPE)
            except BaseException:
                source.close()
                raise
        answer = await self._read(response)
        rows = _rows(answer, self._name)
        usage = _usage(answer, len(rows))
        order = call.request
        if call.stream:
            size = str(answer.get("size") or "auto")
            body = images.events(await self._all_bytes(rows), order.format, _EVENTS[what].decode(), size)
            return Whole(body, usage, CONTENT_TYPE)
        wanted = msgspec.json.decode(call.fields["response_format"]) if "response_format" in call.fields else None
        answer["data"] = [await self._shaped(row, wanted, order.format) for row in rows]
        answer.setdefault("created", int(time.time()))
        if call.dialect is Dialect.VENICE:
            answer = {"created": answer["created"], "data": answer["data"]}
        headers = [(name, value) for name, value in response.headers if name.startswith("x-venice-is-")]
        return Whole(encode(answer), usage, headers=headers)

    async def _shaped(self, row: dict[str, Any], wanted: str | None, format: str) -> dict[str, Any]:
        more = {key: value for key, value in row.items() if value is not None}
        if wanted == "b64_json" and "b64_json" not in more:
            data = await self._bytes_of(row)
            more.pop("url", None)
            more["b64_json"] = base64.b64encode(data).decode("ascii")
        elif wanted == "url" and "url" not in more:
            data = await self._bytes_of(row)
            del more["b64_json"]
            more["url"] = data_url(CONTENT_TYPES[format], data)
        return more

    async def _all_bytes(self, rows: list[dict[str, Any]]) -> list[bytes]:
        return await together([partial(self._bytes_of, row) for row in rows])

    async def _bytes_of(self, row: dict[str, Any]) -> bytes:
        """A picture of an answer: out of base64, or from the host that the upstream names, if that is allowed."""
        packed = row.get("b64_json")
        if isinstance(packed, str):
            try:
                return binascii.a2b_base64(packed)
            except (binascii.Error, ValueError):
                raise whole.malformed(self._name, "a picture that is not base64") from None
        return (await self._files.get(str(row["url"]), IMAGE)).body

    def _unfetched(self, reason: str) -> TraghettoError:
        said = f"The picture that the upstream {self._name!r} made could not be fetched: {reason}."
        return UpstreamError(Fault.SERVER, said, accepted=True)


_FILES = frozenset({"image", "image[]", "images", "mask"})
_ENDINGS = {"png": "png", "jpeg": "jpg", "webp": "webp", "gif": "gif"}


def _openai(call: Call) -> bool:
    """Whether the caller speaks the upstream's own dialect."""
    return call.dialect is Dialect.OPENAI and call.request.shape in ("b64_json", "url")


def _rows(answer: dict[str, Any], upstream: str) -> list[dict[str, Any]]:
    """The items of an answer. Raises UpstreamError for one without a picture."""
    data = answer.get("data")
    if not isinstance(data, list) or not data:
        raise whole.malformed(upstream, "an answer without pictures")
    for row in data:
        if not isinstance(row, dict) or not (isinstance(row.get("b64_json"), str) or isinstance(row.get("url"), str)):
            raise whole.malformed(upstream, "an item that is no picture")
    return data


def _usage(answer: dict[str, Any], count: int) -> Usage:
    told = answer.get("usage")
    counts = told if isinstance(told, dict) else {}
    sent, drawn = (counts.get(name) for name in ("input_tokens", "output_tokens"))
    return Usage(
        prompt_tokens=sent if isinstance(sent, int) else 0,
        completion_tokens=drawn if isinstance(drawn, int) else 0,
        images=count,
    )


def _texts(name: str, value: Any) -> list[Part]:
    """A field's value as the texts of a form."""
    if isinstance(value, list):
        return [part for item in value for part in _texts(f"{name.removesuffix('[]')}[]", item)]
    if isinstance(value, str):
        return [Part(name, value)]
    return [Part(name, encode(value).decode())]


def _file(name: str, payload: Payload) -> Part:
    header = inspect(payload)
    called = payload.filename or f"{name.removesuffix('[]')}.{_ENDINGS[header.format]}"
    return Part(name, payload.view(), called, header.content_type)

"""Pictures by Novita: drawn by task or at once, enlarged, edited and cleaned up; fetched, judged and made what was ordered.

It knows no polling. Invariants: a picture that Novita's own detection calls adult is blurred in safe mode; a task that
succeeded without a picture has failed.
"""

import asyncio
import base64
import binascii
import time
from functools import partial
from typing import Any, Final

from adapters.download import IMAGE, Downloads
from adapters.drawn import Drawn, finished, made
from adapters.jobs import Job
from adapters.novita.orders import DEFAULTS, SIDES, adult, extra_of, wish_of
from adapters.novita.tasks import Tasks
from adapters.replies import Whole
from adapters.together import together
from proxy.call import Call, Target, Usage
from proxy.errors import BadRequest, Fault, UnsupportedParameter, UpstreamError
from proxy.media.inspect import MAX_UPSCALED_PIXELS, inspect
from proxy.media.payload import Payload
from proxy.wire import images
from proxy.wire.edits import EditOrder, UpscaleOrder, answered

UPSCALER: Final = "image-upscaler"
RESOLUTIONS: Final = (("2k", 2048), ("4k", 4096), ("8k", 8192))
# Routes that retouch a picture at once, by the model's name in a target: what each needs beside the picture.
RETOUCHING: Final = {
    "cleanup": "mask",
    "replace-background": "prompt",
    "remove-background": "",
    "remove-text": "",
    "reimagine": "",
}
EDIT: Final = frozenset(
    {
        *("model", "prompt", "image", "image[]", "images", "mask", "n", "size"),
        *("response_format", "output_format", "output_compression", "stream"),
    }
)


class Pictures:
    """One upstream's."""

    def __init__(self, tasks: Tasks, downloads: Downloads) -> None:
        self._tasks = tasks
        self._name = tasks.name
        self._downloads = downloads

    async def draw(self, call: Call, target: Target, seen: list[Job] | None = None) -> Whole:
        """image/generate and images/generations. `seen` gets to hold the job, for who wants to know how it goes."""
        assert call.plan is not None
        order: images.Order = call.request
        images.suits(order, call.plan.model)
        wish = wish_of(call, target.model, self._fixed(target))
        call.dropped = wish.dropped
        began = time.perf_counter()
        if "request" in wish.body:
            answer = await self._tasks.result(wish.path, wish.body, seen)
        else:
            answer = await self._tasks.ask("POST", wish.path, wish.body)
        took = _seconds(answer) or time.perf_counter() - began
        drawn = await self._fetched(answer)
        done = await made(order, drawn[: order.n], took, self._name, target.model)
        body, type_, headers = images.answer(order, done, id=call.id, fields=call.fields, started=call.started)
        return Whole(body, Usage(images=len(done.pictures)), type_, headers)

    async def enlarge(self, call: Call, target: Target) -> Whole:
        """image/upscale: a PNG, of exactly the scale that was asked for."""
        order: UpscaleOrder = call.request
        if order.enhance:
            raise UnsupportedParameter(f"Model {order.model!r} enlarges only: it does not enhance.", param="enhance")
        call.dropped = [key for key in call.fields if key not in ("model", "image", "scale", "enhance")]
        header = inspect(order.image)
        size = round(header.width * order.scale), round(header.height * order.scale)
        if size[0] * size[1] > MAX_UPSCALED_PIXELS:
            scale = (MAX_UPSCALED_PIXELS / header.pixels) ** 0.5
            if order.scale != 4:
                said = f"scale: expected a result of at most {MAX_UPSCALED_PIXELS:,} pixels, got {size[0]}x{size[1]}."
                raise BadRequest(said, param="scale")
            size = int(header.width * scale), int(header.height * scale)
        packed = await _packed(order.image)
        if target.model == UPSCALER:
            longest = max(size)
            resolution = next((name for name, side in RESOLUTIONS if side >= longest), RESOLUTIONS[-1][0])
            body = {**self._fixed(target), "image": packed, "resolution": resolution, "output_format": "png"}
            answer = await self._tasks.result("/v3/async/image-upscaler", body)
        else:
            request = {**self._fixed(target), "model_name": target.model, "image_base64": packed}
            request["scale_factor"] = size[0] / header.width
            answer = await self._tasks.result("/v3/async/upscale", {"extra": extra_of("png"), "request": request})
        from proxy.media.images import Finish

        first, *_ = await self._fetched(answer)
        data = await finished(first.data, Finish("png"), self._name, size=size)
        return Whole(data, Usage(images=1), "image/png")

    async def edit(self, call: Call, target: Target) -> Whole:
        """image/edit and images/edits."""
        order: EditOrder = call.request
        if len(order.images) > 1:
            raise UnsupportedParameter(f"Model {order.model!r} takes one image at a time.", param="image")
        call.dropped = [key for key in call.fields if key not in EDIT]
        if target.model in RETOUCHING:
            found = await self._retouched(call, order, target)
        else:
            found = await self._redrawn(order, target)
        from proxy.media.images import Finish

        header = inspect(order.images[0])
        finish = Finish(order.format, order.quality)
        size = order.size or (header.width, header.height)
        pictures = [await finished(data, finish, self._name, size=size) for data in found]
        body, type_ = answered(order, pictures)
        return Whole(body, Usage(images=len(pictures)), type_)

    async def _retouched(self, call: Call, order: EditOrder, target: Target) -> list[bytes]:
        """By a route that does one thing to a picture, and takes no wish but its own."""
        needs = RETOUCHING[target.model]
        body: dict[str, Any] = {**self._fixed(target), "image_file": await _packed(order.images[0])}
        if needs == "mask":
            if order.mask is None:
                raise BadRequest(f"mask: model {order.model!r} needs to be told what to remove.", param="mask")
            body["mask_file"] = await _packed(order.mask)
        elif order.mask is not None:
            raise UnsupportedParameter(f"Model {order.model!r} takes no mask.", param="mask")
        if needs == "prompt":
            body["prompt"] = order.prompt
        else:
            call.dropped.append("prompt")
        body["extra"] = extra_of(order.format)
        one = partial(self._tasks.ask, "POST", f"/v3/{target.model}", body)
        return [self._unpacked(answer) for answer in await together([one] * order.n)]

    async def _redrawn(self, order: EditOrder, target: Target) -> list[bytes]:
        """By a checkpoint that draws over the picture."""
        if order.mask is not None:
            raise UnsupportedParameter(f"Model {order.model!r} takes no mask.", param="mask")
        header = inspect(order.images[0])
        width, height = order.size or (header.width, header.height)
        shrink = min(1.0, SIDES[1] / max(width, height))
        sides = {"width": max(SIDES[0], int(width * shrink)), "height": max(SIDES[0], int(height * shrink))}
        request = {**DEFAULTS, "seed": -1, **self._fixed(target), "model_name": target.model, "prompt": order.prompt}
        request |= {**sides, "image_num": order.n, "image_base64": await _packed(order.images[0])}
        body = {"extra": extra_of(order.format), "request": request}
        return [one.data for one in await self._fetched(await self._tasks.result("/v3/async/img2img", body))][: order.n]

    async def _fetched(self, answer: dict[str, Any]) -> list[Drawn]:
        """The pictures of an answer, at least one. Raises UpstreamError."""
        rows = answer.get("images")
        rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        if not rows:
            raise self._malformed("an answer without pictures")
        extra = answer.get("extra")
        seed = str(extra.get("seed")) if isinstance(extra, dict) else ""
        threshold = self._tasks.options.nsfw_threshold

        async def one(row: dict[str, Any]) -> Drawn:
            found = await self._downloads.get(str(row.get("image_url")), IMAGE)
            return Drawn(found.body, adult(row, threshold), int(seed) if seed.isdigit() else None)

        return await together([partial(one, row) for row in rows])

    def _unpacked(self, answer: dict[str, Any]) -> bytes:
        try:
            return base64.b64decode(str(answer["image_file"]), validate=True)
        except (KeyError, binascii.Error, ValueError):
            raise self._malformed("an answer without a picture") from None

    def _fixed(self, target: Target) -> dict[str, Any]:
        return self._tasks.options.inputs.get(target.model, {})

    def _malformed(self, what: str) -> UpstreamError:
        return UpstreamError(Fault.MALFORMED, f"The upstream {self._name!r} sent {what}.", accepted=True)


async def _packed(payload: Payload) -> str:
    data = bytes(payload.view())
    packed = await asyncio.to_thread(base64.b64encode, data) if len(data) > 1 << 20 else base64.b64encode(data)
    return packed.decode("ascii")


def _seconds(answer: dict[str, Any]) -> float:
    """How long the drawing itself took, by Novita's own clock; 0 where it does not say."""
    extra = answer.get("extra")
    told = extra.get("debug_info") if isinstance(extra, dict) else None
    if not isinstance(told, dict):
        return 0.0
    began, ended = (str(told.get(f"{name}_time_ms")) for name in ("execute", "complete"))
    return max(0, int(ended) - int(began)) / 1000 if began.isdigit() and ended.isdigit() else 0.0

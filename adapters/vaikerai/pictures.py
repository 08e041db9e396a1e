"""Pictures by prediction: drawn, edited, enlarged; fetched at once, since they are gone after an hour, and made what was ordered.

It owns the answer to an order; it refuses to know which URL may be fetched (`Downloads` does). Invariants: a picture that
is handed on has the format that was ordered; several predictions of one order end together.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from adapters.download import IMAGE, Downloads
from adapters.replies import Whole
from adapters.together import together
from adapters.vaikerai.api import Api
from adapters.vaikerai.attachments import placed
from adapters.vaikerai.inputs import PICTURES
from adapters.vaikerai.orders import seeds_of, spelled, wish_of
from adapters.vaikerai.predictions import Predictions
from adapters.vaikerai.reference import Reference
from adapters.vaikerai.schema import Schema, first, fitted, takes_list
from proxy.call import Call, Usage
from proxy.errors import Fault, NotSupported, RequestError, UnsupportedParameter, UpstreamError
from proxy.media.inspect import CONTENT_TYPES
from proxy.media.payload import Payload
from proxy.wire.edits import EditOrder, UpscaleOrder, answered
from proxy.wire.images import Made, Order, answer, suits

SCALES = ("scale", "upscale_factor", "scale_factor", "upscale", "factor")


class Pictures:
    """One upstream's."""

    def __init__(self, api: Api, predictions: Predictions, downloads: Downloads) -> None:
        self._api = api
        self._predictions = predictions
        self._downloads = downloads

    async def draw(self, call: Call, reference: Reference) -> Whole:
        """image/generate and images/generations."""
        assert call.plan is not None
        order: Order = call.request
        suits(order, call.plan.model)
        model = await self._api.model(reference)
        wish = wish_of(call, model.inputs, unsafe=self._api.options.allow_unsafe)
        call.dropped = wish.dropped
        count = math.ceil(order.n / wish.each)
        seeds = [
            {wish.seed_input: seed} if wish.seed_input and seed is not None else {} for seed in seeds_of(call, count)
        ]
        runs = [partial(self._predictions.result, reference, wish.given | seed) for seed in seeds]
        bodies = await together(runs)
        about = {"prompt": order.prompt, "model": reference.text, "seed": order.seed} if order.exif else None
        pictures = await self._fetched(bodies, order.format, order.quality, about)
        made = Made(pictures[: order.n], max(_seconds(body) for body in bodies))
        body, type_, headers = answer(order, made, id=call.id, fields=call.fields, started=call.started)
        return Whole(body, Usage(images=len(made.pictures)), type_, headers)

    async def enlarge(self, call: Call, reference: Reference) -> Whole:
        """image/upscale: a PNG."""
        assert call.plan is not None
        order: UpscaleOrder = call.request
        name = call.plan.model.id
        schema = (await self._api.model(reference)).inputs
        if (picture := first(schema, PICTURES)) is None:
            raise NotSupported(f"Model {name!r} takes no image.")
        given: dict[str, Any] = {}
        if (scale := first(schema, SCALES)) is not None:
            given[scale] = fitted(_scale(order.scale, schema[scale]), schema[scale], param="scale", model=name)
        elif "scale" in call.fields:
            raise UnsupportedParameter(f"The scale cannot be chosen for model {name!r}.", param="scale")
        if order.prompt and "prompt" in schema:
            given["prompt"] = order.prompt
        for input_, param, value in (
            ("creativity", "enhanceCreativity", order.creativity),
            ("resemblance", "replication", order.replication),
        ):
            if param in call.fields and input_ in schema:
                given[input_] = fitted(value, schema[input_], param=param, model=name)
        hints = {"enhancePrompt": "prompt", "enhanceCreativity": "creativity", "replication": "resemblance"}
        call.dropped = [key for key, input_ in hints.items() if key in call.fields and input_ not in given]
        call.dropped += ["enhance"] if "enhance" in call.fields else []
        given |= await self._attached(schema, picture, [order.image])
        body = await self._predictions.result(reference, given)
        (data, *_) = await self._fetched([body], "png", 90, None)
        return Whole(data, Usage(images=1), "image/png")

    async def edit(self, call: Call, reference: Reference) -> Whole:
        """image/edit and images/edits."""
        assert call.plan is not None
        order: EditOrder = call.request
        name = call.plan.model.id
        schema = (await self._api.model(reference)).inputs
        picture = first(schema, PICTURES)
        if picture is None or "prompt" not in schema:
            raise NotSupported(f"Model {name!r} takes no image with a prompt, so that it cannot edit.")
        given: dict[str, Any] = {"prompt": order.prompt}
        if order.mask is not None:
            if "mask" not in schema:
                raise UnsupportedParameter(f"Model {name!r} takes no mask.", param="mask")
            given["mask"] = await placed(self._api, order.mask, param="mask")
        if len(order.images) > 1 and not takes_list(schema[picture]):
            raise UnsupportedParameter(f"Model {name!r} takes one image at a time.", param="image")
        if (form := spelled(order.format, schema.get("output_format", {}))) is not None:
            given["output_format"] = form
        given |= await self._attached(schema, picture, order.images)
        runs = [partial(self._predictions.result, reference, given)] * order.n
        pictures = (await self._fetched(await together(runs), order.format, order.quality, None, order.size))[: order.n]
        body, type_ = answered(order, pictures)
        return Whole(body, Usage(images=len(pictures)), type_)

    async def _attached(self, schema: Schema, picture: str, images: list[Payload]) -> dict[str, Any]:
        urls = [await placed(self._api, image, param="image") for image in images]
        return {picture: urls if takes_list(schema[picture]) else urls[0]}

    async def _fetched(
        self,
        bodies: list[dict[str, Any]],
        format: str,
        quality: int,
        about: Mapping[str, Any] | None,
        size: tuple[int, int] | None = None,
    ) -> list[bytes]:
        """The pictures of all outputs, in the format that was ordered. Raises UpstreamError; there is at least one."""
        urls = [url for body in bodies for url in files_in(body["output"])]
        if not urls:
            said = f"The upstream {self._api.name!r} gave an output that holds no picture."
            raise UpstreamError(Fault.MALFORMED, said, accepted=True)
        return await together([partial(self._picture, url, format, quality, about, size) for url in urls])

    async def _picture(
        self, url: str, format: str, quality: int, about: Mapping[str, Any] | None, size: tuple[int, int] | None
    ) -> bytes:
        from proxy.media import images

        found = await self._downloads.get(url, IMAGE)
        if found.content_type == CONTENT_TYPES[format] and about is None and size is None:
            return found.body
        finish = images.Finish(format, quality, dict(about) if about is not None else None)
        try:
            return (await images.convert(Payload(found.body), finish, size=size)).data
        except RequestError as error:
            said = f"The upstream {self._api.name!r} gave a picture that cannot be read: {error.message}"
            raise UpstreamError(Fault.MALFORMED, said, accepted=True) from None


def files_in(output: Any) -> list[str]:
    """Every URL and data URL in an output, whatever it is wrapped in, in order."""
    if isinstance(output, str):
        return [output] if output.startswith(("https://", "http://", "data:")) else []
    inside = output.values() if isinstance(output, dict) else output if isinstance(output, list) else ()
    return [url for item in inside for url in files_in(item)]


def _scale(scale: float, rule: Mapping[str, Any]) -> Any:
    """2.0 as a model writes it: a number, or the choice `2x` or `x2`."""
    whole = int(scale) if scale == int(scale) else scale
    choices = rule.get("enum") or ()
    return next((c for c in choices if str(c).lower() in (f"{whole}", f"{whole}x", f"x{whole}")), whole)


def _seconds(body: dict[str, Any]) -> float:
    metrics = body.get("metrics")
    took = metrics.get("predict_time") if isinstance(metrics, dict) else None
    return float(took) if isinstance(took, (int, float)) else 0.0

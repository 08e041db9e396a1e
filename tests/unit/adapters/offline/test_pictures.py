"""An order becomes a placeholder: deterministic, in its style, within its model's limits."""

import base64
import json
from typing import Any

import pytest

from adapters.offline.pictures import draw
from proxy.call import ANYBODY, Call, Dialect, Operation, Plan, Target
from proxy.catalogue import Model
from proxy.config import Constraints
from proxy.errors import BadRequest
from proxy.features import NONE
from proxy.media.images import read_about
from proxy.wire.images import Order

TARGET = Target("offline", "dev-placeholder")
LIMITS = Constraints(width_height_divisor=8)


def ordered(**more: Any) -> Call:
    fields = {"model": "m", "prompt": "a ferry", "shape": "venice", "seed": 5, "width": 128, "height": 128, **more}
    call = Call(
        id="req_1",
        operation=Operation.IMAGES,
        dialect=Dialect.VENICE,
        request=Order(**fields),
        raw=b"{}",
        fields={},
        principal=ANYBODY,
    )
    model = Model(id="m", type="image", name="m", targets=(TARGET,), constraints=LIMITS)
    call.plan = Plan(model, (TARGET,), "m", "id", NONE)
    return call


async def pictures(**more: Any) -> list[bytes]:
    reply = await draw(ordered(**more))
    assert reply.usage is not None
    found = [base64.b64decode(text) for text in json.loads(await reply.next())["images"]]
    assert reply.usage.images == len(found)
    return found


@pytest.mark.asyncio
async def test_the_same_order_the_same_bytes() -> None:
    first, again, other = await pictures(n=2), await pictures(n=2), await pictures(n=2, seed=9)
    assert first == again
    assert not set(first) & set(other)
    assert first[0] != first[1]


@pytest.mark.asyncio
async def test_a_style_changes_the_picture_and_the_metadata_keep_the_prompt() -> None:
    (plain,), (styled,) = await pictures(exif=True), await pictures(exif=True, style="Anime")
    assert plain != styled
    assert (read_about(styled)["prompt"], read_about(styled)["style"]) == ("a ferry", "Anime")


@pytest.mark.asyncio
async def test_a_size_that_the_model_does_not_take() -> None:
    with pytest.raises(BadRequest) as caught:
        await draw(ordered(width=129))
    assert caught.value.param == "width"

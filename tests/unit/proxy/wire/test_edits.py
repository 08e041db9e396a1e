"""Pictures as files and as texts, numbers out of forms, and what is refused by name."""

import base64
from typing import Any

import pytest

from proxy.errors import BadRequest
from proxy.media.payload import Payload
from proxy.wire.edits import (
    EditRequest,
    EditsRequest,
    UpscaleRequest,
    edit_order,
    edits_order,
    from_texts,
    raw_fields,
    upscale_order,
)

TEXT = base64.b64encode(b"picture").decode()


def files(*names: str) -> dict[str, list[Payload]]:
    return {name: [Payload(name.encode(), field=name)] for name in names}


def test_a_form_is_coerced() -> None:
    request = from_texts({"scale": "1.5", "enhance": "true", "replication": ""}, UpscaleRequest)
    order = upscale_order(request, files("image"))
    assert (order.scale, order.enhance, order.replication, order.model) == (1.5, True, 0.35, "default")
    assert from_texts({"prompt": "7", "n": "2"}, EditsRequest).n == 2


@pytest.mark.parametrize(
    ("texts", "param"), [({"scale": "x"}, "scale"), ({"scale": "nan"}, "scale"), ({"enhance": "maybe"}, "enhance")]
)
def test_what_a_form_cannot_say(texts: dict[str, str], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        upscale_order(from_texts(texts, UpscaleRequest), files("image"))
    assert caught.value.param == param


def test_pictures_come_as_files_or_texts() -> None:
    assert edit_order(EditRequest("x", image=TEXT), {}).images[0].read() == b"picture"
    order = edits_order(EditsRequest("x", mask=TEXT), files("image[]", "image"), None)
    assert [image.read() for image in order.images] == [b"image", b"image[]"]
    assert {image.field for image in order.images} == {"image"}
    assert order.mask is not None
    assert order.mask.field == "mask"
    url = {"image_url": f"data:image/png;base64,{TEXT}"}
    assert len(edits_order(EditsRequest("x", images=[url, url]), {}, None).images) == 2


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (EditsRequest("x"), "image"),
        (EditsRequest("x", image=[TEXT] * 17), "image"),
        (EditsRequest("x", images=[{"image_url": "https://elsewhere/a.png"}]), "images[0].image_url"),
        (EditsRequest("x", image="ä"), "image"),
    ],
)
def test_what_is_no_picture(request_: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        edits_order(request_, {}, None)
    assert caught.value.param == param


def test_fields_name_files_without_holding_them() -> None:
    fields = raw_fields({"prompt": "x"}, files("image"))
    assert {key: bytes(value) for key, value in fields.items()} == {"prompt": b'"x"', "image": b'"file"'}

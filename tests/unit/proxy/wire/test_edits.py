"""Pictures as files and as texts, numbers out of forms, and what is refused by name."""

import base64
import json
from typing import Any

import pytest

from fakes.hostile_images import picture, png
from proxy.errors import BadRequest, BodyTooLarge
from proxy.media.payload import Payload
from proxy.wire.body import encode, fields_of
from proxy.wire.edits import (
    EditRequest,
    EditsRequest,
    UpscaleRequest,
    answered,
    edit_order,
    edits_order,
    from_texts,
    lifted,
    raw_fields,
    upscale_order,
)

BOAT, OAR = picture("PNG"), picture("JPEG")
TEXT = base64.b64encode(BOAT).decode()


def files(*names: str) -> dict[str, list[Payload]]:
    return {name: [Payload(BOAT if name == "image" else OAR, field=name)] for name in names}


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
    assert edit_order(EditRequest("x", image=TEXT), {}).images[0].read() == BOAT
    order = edits_order(EditsRequest("x", mask=TEXT), files("image[]", "image"), None)
    assert [image.read() for image in order.images] == [BOAT, OAR]
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


def test_headers_are_within_the_limits_of_the_route() -> None:
    """Whoever serves it; OpenAI's route takes small pictures, too."""
    small, giant = Payload(picture("PNG", 20, 20)), Payload(png(10_000, 10_000, rows=0))
    for build in (
        lambda image: upscale_order(UpscaleRequest(), {"image": [image]}),
        lambda image: edit_order(EditRequest("x"), {"image": [image]}),
        lambda image: edits_order(EditsRequest("x"), {"image": [image]}, None),
    ):
        with pytest.raises(BodyTooLarge) as caught:
            build(giant)
        assert caught.value.param == "image"
    with pytest.raises(BadRequest, match="65,536"):
        edit_order(EditRequest("x"), {"image": [small]})
    assert edits_order(EditsRequest("x"), {"image": [small], "mask": [small]}, None).mask is small
    with pytest.raises(BadRequest) as refused:
        edits_order(EditsRequest("x"), {"image": [small], "mask": [Payload(b"no picture", field="mask")]}, None)
    assert refused.value.param == "mask"


@pytest.mark.parametrize("slashed", [False, True])
def test_pictures_are_lifted_out_of_json(slashed: bool) -> None:
    """As views of the body; where slashes are escaped, as some write them, as copies."""
    text = TEXT.replace("/", "\\/") if slashed else TEXT
    assert "/" in TEXT
    body = f'{{"prompt": "x", "image": "{text}", "mask": "data:image/png;base64,{text}", "n": 2}}'.encode()
    rest, found = lifted(fields_of(body))
    assert {key: bytes(value) for key, value in rest.items()} == {"prompt": b'"x"', "n": b"2"}
    assert {key: [one.read() for one in payloads] for key, payloads in found.items()} == {
        "image": [BOAT],
        "mask": [BOAT],
    }
    assert (found["mask"][0].declared, found["mask"][0].field) == ("image/png", "mask")


def test_several_pictures_are_lifted_out_of_json() -> None:
    url = f"data:image/png;base64,{TEXT}"
    for key, value in (("image", [TEXT, url]), ("images", [{"image_url": url}, {"image_url": url, "detail": "low"}])):
        rest, found = lifted(fields_of(encode({"prompt": "x", key: value})))
        assert list(rest) == ["prompt"]
        assert [one.read() for one in found["image[]"]] == [BOAT, BOAT]


@pytest.mark.parametrize(
    "fields",
    [{"image": 7}, {"image": [7]}, {"images": [{}]}, {"images": "x"}, {"images": [{"image_url": "https://x/"}]}],
)
def test_what_is_no_text_stays_for_its_type_to_refuse(fields: dict[str, Any]) -> None:
    rest, found = lifted(fields_of(encode(fields)))
    assert (list(rest), found) == (list(fields), {})


def test_answers_in_every_shape() -> None:
    order = edits_order(EditsRequest("x", image=TEXT), {}, None)
    body, type_ = answered(order, [BOAT, BOAT])
    assert (type_, [row["b64_json"] for row in json.loads(body)["data"]]) == ("application/json", [TEXT, TEXT])
    body, _ = answered(edits_order(EditsRequest("x", image=TEXT, response_format="url"), {}, None), [BOAT])
    assert json.loads(body)["data"] == [{"url": f"data:image/png;base64,{TEXT}"}]
    assert answered(edit_order(EditRequest("x", image=TEXT), {}), [BOAT]) == (BOAT, "image/png")
    body, type_ = answered(edits_order(EditsRequest("x", image=TEXT, stream=True), {}, None), [BOAT, BOAT])
    told = [json.loads(line[6:]) for line in body.decode().splitlines() if line]
    assert type_.startswith("text/event-stream")
    assert [(event["type"], event["size"], event["b64_json"]) for event in told] == [
        ("image_edit.completed", "300x260", TEXT)
    ] * 2


def test_fields_name_files_without_holding_them() -> None:
    fields = raw_fields({"prompt": "x"}, files("image"))
    assert {key: bytes(value) for key, value in fields.items()} == {"prompt": b'"x"', "image": b'"file"'}

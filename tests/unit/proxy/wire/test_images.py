"""Both dialects become one order; the model's own limits; the shapes of an answer."""

import base64
import json
import time
from typing import Any

import pytest

from proxy.call import Target
from proxy.catalogue import Model
from proxy.config import Constraints, Steps
from proxy.errors import BadRequest
from proxy.wire.body import encode, fields_of, head_of
from proxy.wire.images import (
    GenerateRequest,
    GenerationsRequest,
    Made,
    Order,
    VeniceGenerationsRequest,
    answer,
    closed,
    from_generate,
    from_generations,
    suits,
)


def generate(**fields: Any) -> Order:
    return from_generate(head_of(encode({"model": "m", "prompt": "x", **fields}), GenerateRequest))


def generations(*, venice: bool = False, **fields: Any) -> Order:
    type_ = VeniceGenerationsRequest if venice else GenerationsRequest
    return from_generations(head_of(encode({"prompt": "x", **fields}), type_))


def test_defaults() -> None:
    order = generate()
    assert (order.width, order.height, order.format, order.shape, order.safe) == (1024, 1024, "webp", "venice", True)
    assert generate().seed != generate().seed
    assert generate(seed=0).seed == 0
    other = generations()
    assert (other.model, other.width, other.format, other.shape, other.n) == ("default", 1024, "png", "b64_json", 1)


def test_sizes() -> None:
    assert (generations(size="1792x1024").width, generations(size="auto").height) == (1792, 1024)
    assert generations(size="640x480").height == 480
    for size, venice in (("640x480", True), ("4096x4096", False), ("x", False), ("0x10", False)):
        with pytest.raises(BadRequest) as caught:
            generations(size=size, venice=venice)
        assert caught.value.param == "size"


def test_contradictions() -> None:
    with pytest.raises(BadRequest, match="background"):
        generations(background="transparent", output_format="jpeg")
    with pytest.raises(BadRequest, match="'n'"):
        generations(n=2, venice=True)
    assert generations(n=1, size="1792x1024", venice=True).n == 1
    with pytest.raises(BadRequest, match="'colour'"):
        closed(GenerateRequest, fields_of(b'{"prompt": "x", "colour": 1}'))


def test_the_model_s_own_limits() -> None:
    limits = Constraints(prompt_characters=5, steps=Steps(default=4, max=8), width_height_divisor=16)
    model = Model(id="m", type="image", name="m", targets=(Target("up", "m"),), constraints=limits)
    suits(generate(steps=8, width=32, height=32, prompt="12345"), model)
    for fields, param in (({"steps": 9}, "steps"), ({"width": 40}, "width"), ({"prompt": "123456"}, "prompt")):
        with pytest.raises(BadRequest) as caught:
            suits(generate(**fields), model)
        assert caught.value.param == param


def told(order: Order, made: Made) -> tuple[Any, str, dict[str, str]]:
    body, type_, headers = answer(order, made, id="req_1", fields={}, started=time.perf_counter())
    return (json.loads(body) if type_ == "application/json" else body), type_, dict(headers)


def test_shapes() -> None:
    made = Made([b"picture"], 0.5, blurred=True)
    body, type_, headers = told(generate(return_binary=True, format="png"), made)
    assert (body, type_, headers["x-venice-is-blurred"]) == (b"picture", "image/png", "true")
    body, _, _ = told(generate(), made)
    assert base64.b64decode(body["images"][0]) == b"picture"
    assert body["timing"]["total"] == pytest.approx(sum(body["timing"].values()) - body["timing"]["total"])
    body, _, _ = told(generations(response_format="url"), made)
    assert body["data"] == [{"url": "data:image/png;base64,cGljdHVyZQ=="}]


def test_a_violation_may_have_no_picture() -> None:
    body, type_, headers = told(generate(return_binary=True), Made([], 0.1, violation=True))
    assert (body["images"], type_, headers["x-venice-is-content-violation"]) == ([], "application/json", "true")

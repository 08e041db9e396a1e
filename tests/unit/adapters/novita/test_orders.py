"""Wishes for pictures as Novita's bodies."""

from typing import Any

import pytest

from adapters.novita.orders import adult, wish_of
from fakes.calls import draw_call, generate_call
from proxy.call import Target
from proxy.config import Constraints, Steps
from proxy.errors import BadRequest

HERE = Target("up", "x.safetensors")


def test_what_the_route_wants_is_filled_in() -> None:
    wish = wish_of(draw_call(HERE, size="512x384", n=2, user="me"), HERE.model, {})
    assert wish.path == "/v3/async/txt2img"
    assert wish.body["request"] == {
        "model_name": "x.safetensors", "prompt": "a boat", "width": 512, "height": 384, "image_num": 2, "steps": 20,
        "guidance_scale": 7.5, "sampler_name": "Euler a", "seed": -1,
    }  # fmt: skip
    assert wish.body["extra"] == {
        "response_image_type": "png", "enable_nsfw_detection": True, "nsfw_detection_level": 2,
    }  # fmt: skip
    assert wish.dropped == ["user"]


def test_a_callers_wishes_come_before_the_operators_and_those_before_ours() -> None:
    fixed = {"sampler_name": "DPM2", "steps": 9, "guidance_scale": 3, "loras": [{"model_name": "l", "strength": 0.1}]}
    call = generate_call(
        HERE, steps=7, cfg_scale=2.5, seed=11, lora_strength=40, style_preset="Anime", safe_mode=False, format="jpeg"
    )
    wish = wish_of(call, HERE.model, fixed)
    request = wish.body["request"]
    assert (request["steps"], request["guidance_scale"], request["seed"]) == (7, 2.5, 11)
    assert request["sampler_name"] == "DPM2"
    assert request["loras"] == [{"model_name": "l", "strength": 0.4}]
    assert "Japanese animation" in request["prompt"]
    assert "photograph" in request["negative_prompt"]
    assert wish.body["extra"] == {"response_image_type": "jpeg"}
    assert wish.dropped == []


def test_the_models_own_steps_are_the_default() -> None:
    limits = {"constraints": Constraints(steps=Steps(default=12, max=30))}
    assert wish_of(draw_call(HERE, model=limits), HERE.model, {}).body["request"]["steps"] == 12


def test_what_is_drawn_at_once_has_fewer_wishes() -> None:
    there = Target("up", "flux-1-schnell")
    call = generate_call(there, negative_prompt="rain", cfg_scale=2.5, seed=5, lora_strength=1, safe_mode=True)
    wish = wish_of(call, there.model, {})
    assert wish.path == "/v3beta/flux-1-schnell"
    assert wish.body == {
        "prompt": "a boat", "width": 1024, "height": 1024, "image_num": 1, "steps": 4, "seed": 5,
        "response_image_type": "webp",
    }  # fmt: skip
    assert sorted(wish.dropped) == ["cfg_scale", "lora_strength", "negative_prompt", "safe_mode"]
    assert "seed" not in wish_of(generate_call(there), there.model, {}).body


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"prompt": "x" * 1025}, "prompt"),
        ({"negative_prompt": "x" * 1025}, "negative_prompt"),
        ({"width": 64}, "width"),
        ({"cfg_scale": 0.5}, "cfg_scale"),
        ({"seed": -5}, "seed"),
    ],
)
def test_bounds_are_told_in_the_callers_words(wish: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        wish_of(generate_call(HERE, **wish), HERE.model, {})
    assert caught.value.param == param


@pytest.mark.parametrize(("wish", "param"), [({"n": 9}, "n"), ({"size": "64x512"}, "size")])
def test_bounds_in_openais_words(wish: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        wish_of(draw_call(HERE, **wish), HERE.model, {})
    assert caught.value.param == param


def test_a_lora_that_is_not_configured_is_dropped_and_named() -> None:
    assert wish_of(generate_call(HERE, lora_strength=3), HERE.model, {}).dropped == ["lora_strength"]


@pytest.mark.parametrize(
    ("found", "is_adult"),
    [
        ({"valid": True, "confidence": 93.7}, True),
        ({"valid": True, "confidence": 79.9}, False),
        ({"valid": False, "confidence": 99}, False),
        ({"valid": True}, False),
        ({}, False),
        (None, False),
    ],
)
def test_a_high_confidence_means_adult(found: Any, is_adult: bool) -> None:
    assert adult({"nsfw_detection_result": found}, 80.0) is is_adult

"""Orders for pictures as the inputs of models that agree on nothing."""

from typing import Any

import pytest

from adapters.vaikerai.orders import seeds_of, spelled, wish_of
from fakes.orders import generate_call, generations_call
from proxy.call import Target
from proxy.errors import BadRequest, NotSupported, UnsupportedParameter

TARGET = Target("up", "o/n")
PIXELS: dict[str, dict[str, Any]] = {
    "prompt": {"type": "string"},
    "negative_prompt": {"type": "string"},
    "width": {"type": "integer", "minimum": 64, "maximum": 1280, "multipleOf": 8},
    "height": {"type": "integer", "minimum": 64, "maximum": 1280},
    "num_inference_steps": {"type": "integer", "minimum": 1, "maximum": 30},
    "guidance_scale": {"type": "number", "maximum": 10},
    "num_outputs": {"type": "integer", "maximum": 4},
    "seed": {"type": "integer"},
    "lora_scale": {"type": "number", "maximum": 1},
    "scheduler": {"enum": ["DDIM", "K_EULER"]},
    "disable_safety_checker": {"type": "boolean"},
    "output_quality": {"type": "integer", "maximum": 100},
}
RATIOS: dict[str, dict[str, Any]] = {
    "prompt": {"type": "string"},
    "aspect_ratio": {"enum": ["1:1", "16:9", "3:2", "2:3", "9:16", "match_input_image"]},
    "output_format": {"enum": ["webp", "jpg", "png"]},
}


def wish(call: Any, schema: Any = PIXELS, *, unsafe: bool = False) -> Any:
    return wish_of(call, schema, unsafe=unsafe)


def test_each_wish_under_the_models_own_name() -> None:
    asked = {
        "negative_prompt": "fog",
        "width": 512,
        "height": 768,
        "steps": 20,
        "cfg_scale": 7.5,
        "seed": 7,
        "lora_strength": 50,
    }
    made = wish(generate_call(TARGET, **asked))
    assert made.given == {
        "prompt": "a boat",
        "negative_prompt": "fog",
        "width": 512,
        "height": 768,
        "num_inference_steps": 20,
        "guidance_scale": 7.5,
        "lora_scale": 0.5,
    }
    assert (made.each, made.seed_input, made.dropped) == (1, "seed", [])


def test_what_was_not_asked_for_is_the_models_choice() -> None:
    assert wish(generate_call(TARGET)).given == {"prompt": "a boat"}
    assert wish(generations_call(TARGET, size="auto"), RATIOS).given == {"prompt": "a boat", "output_format": "png"}


def test_hints_without_an_input_are_dropped_and_named() -> None:
    asked = {"negative_prompt": "fog", "steps": 20, "cfg_scale": 7.5, "seed": 7, "lora_strength": 5, "safe_mode": False}
    made = wish(generate_call(TARGET, hide_watermark=True, **asked), {"prompt": {}})
    assert made.given == {"prompt": "a boat"}
    assert sorted(made.dropped) == sorted([*asked, "hide_watermark"])


@pytest.mark.parametrize(
    ("size", "ratio"),
    [
        ("1024x1024", "1:1"),
        ("1536x1024", "3:2"),
        ("1024x1536", "2:3"),
        ("1792x1024", "16:9"),
        ("1024x1792", "9:16"),
        ("2000x1100", "16:9"),
    ],
)
def test_a_size_may_be_a_ratio(size: str, ratio: str) -> None:
    assert wish(generations_call(TARGET, size=size), RATIOS).given["aspect_ratio"] == ratio


def test_a_size_may_be_one_of_several() -> None:
    schema = {"prompt": {}, "size": {"enum": ["1024x1024", "512x512", "1365x1024", "custom"]}}
    assert wish(generations_call(TARGET, size="500x500"), schema).given["size"] == "512x512"
    assert wish(generations_call(TARGET, size="1360x1020"), schema).given["size"] == "1365x1024"


@pytest.mark.parametrize(
    ("call", "param"),
    [
        (generate_call(TARGET, width=60), "width"),
        (generate_call(TARGET, width=100, height=100), "width"),
        (generate_call(TARGET, steps=31), "steps"),
        (generate_call(TARGET, cfg_scale=11), "cfg_scale"),
        (generations_call(TARGET, size="2048x512"), "size"),
        (generations_call(TARGET, background="transparent"), "background"),
        (generations_call(TARGET, scheduler="nobody's"), "scheduler"),
    ],
)
def test_what_the_model_does_not_take_is_refused_by_the_callers_name(call: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        wish(call)
    assert caught.value.param == param


def test_a_model_without_a_size_or_a_prompt() -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        wish(generations_call(TARGET, size="512x512"), {"prompt": {}})
    assert caught.value.param == "size"
    with pytest.raises(NotSupported):
        wish(generate_call(TARGET), {"text": {}})


@pytest.mark.parametrize(("n", "most", "given", "each"), [(3, 4, 3, 3), (7, 4, 4, 4), (3, None, None, 1)])
def test_several_pictures(n: int, most: int | None, given: int | None, each: int) -> None:
    schema: dict[str, Any] = {"prompt": {}} | ({} if most is None else {"num_outputs": {"maximum": most}})
    made = wish(generations_call(TARGET, n=n), schema)
    assert (made.given.get("num_outputs"), made.each) == (given, each)


def test_the_models_own_inputs_pass_but_for_the_operators() -> None:
    made = wish(generations_call(TARGET, scheduler="DDIM", disable_safety_checker=True, nonsense=1))
    assert made.given["scheduler"] == "DDIM"
    assert "disable_safety_checker" not in made.given
    assert made.dropped == ["disable_safety_checker", "nonsense"]


@pytest.mark.parametrize("call", [generate_call(TARGET, safe_mode=False), generations_call(TARGET, moderation="low")])
def test_the_safety_checker_is_the_operators(call: Any) -> None:
    allowed = wish(call, unsafe=True)
    assert (allowed.given["disable_safety_checker"], allowed.dropped) == (True, [])
    refused = wish(call)
    assert "disable_safety_checker" not in refused.given
    assert refused.dropped in (["safe_mode"], ["moderation"])


def test_a_transparent_ground_and_a_quality() -> None:
    schema = {"prompt": {}, "background": {"enum": ["auto", "transparent"]}, "output_quality": {"maximum": 100}}
    made = wish(generations_call(TARGET, background="transparent", output_compression=70), schema)
    assert made.given == {"prompt": "a boat", "background": "transparent", "output_quality": 70}


def test_a_style_is_words() -> None:
    assert wish(generate_call(TARGET, style_preset="Anime")).given["prompt"] != "a boat"


def test_seeds_count_up_from_the_callers() -> None:
    assert seeds_of(generate_call(TARGET, seed=7), 3) == [7, 8, 9]
    assert seeds_of(generate_call(TARGET, seed=0), 2) == seeds_of(generations_call(TARGET), 2) == [None, None]


def test_formats_are_spelled_as_the_model_does() -> None:
    assert [spelled("jpeg", {"enum": ["jpg"]}), spelled("jpeg", {"enum": ["jpeg"]})] == ["jpg", "jpeg"]
    assert spelled("jpeg", {"enum": ["png"]}) is spelled("jpeg", {}) is None

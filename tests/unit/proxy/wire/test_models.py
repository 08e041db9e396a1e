"""The model card: what is configured is in it, under Venice's names, and nothing is made up."""

from typing import Any

import pytest

from adapters.options import KINDS
from proxy import config
from proxy.catalogue import Catalogue, build
from proxy.config import Pricing
from proxy.wire.models import card, traits

TOML = """
[upstreams.up]
kind = "echo"
[models.chat]
name = "Chat"
description = "Talks."
targets = [{upstream = "up", model = "x"}]
traits = ["default"]
context_tokens = 8192
source = "https://example.org/m"
beta = true
capabilities = {function_calling = true, vision = true, quantization = "fp16"}
constraints = {temperature = 0.7, top_p = 0.9}
pricing = {input_usd = 0.15, output_usd = 0.6}
[models.bare]
targets = [{upstream = "up", model = "y"}]
[models.flux]
type = "image"
targets = [{upstream = "up", model = "f"}]
pricing = {generation_usd = 0.04, upscale_2x_usd = 0.02}
constraints = {steps = {default = 8, max = 12}}
[models.larger]
type = "upscale"
targets = [{upstream = "up", model = "l"}]
pricing = {upscale_2x_usd = 0.1}
[models.voice]
type = "tts"
targets = [{upstream = "up", model = "v"}]
voices = ["af_sky"]
pricing = {characters_usd = 3.5}
[traits.text]
fastest = {by = "ttft"}
"""


def names() -> Catalogue:
    return build(config.loads(TOML, KINDS, {}, file="test.toml"))


def spec(id_: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = card(names().models[id_], offline=False, **more)["model_spec"]
    return found


def test_envelope() -> None:
    made = card(names().models["chat"], offline=True)
    assert {k: v for k, v in made.items() if k != "model_spec"} == {
        "id": "chat", "object": "model", "created": 1_700_000_000, "owned_by": "venice.ai", "type": "text"}  # fmt: skip
    assert made["model_spec"]["offline"] is True


def test_text() -> None:
    told = spec("chat")
    assert (told["name"], told["description"], told["traits"], told["beta"]) == ("Chat", "Talks.", ["default"], True)
    assert (told["availableContextTokens"], told["modelSource"]) == (8192, "https://example.org/m")
    able = told["capabilities"]
    assert (able["supportsFunctionCalling"], able["supportsVision"], able["supportsReasoning"]) == (True, True, False)
    assert able["quantization"] == "fp16"
    assert told["constraints"] == {"temperature": {"default": 0.7}, "top_p": {"default": 0.9}}
    assert told["pricing"]["input"] == {"usd": 0.15, "vcu": 1.5, "diem": 0.15}
    assert set(told["pricing"]) == {"input", "output"}


def test_what_is_not_known_is_not_told() -> None:
    assert set(spec("bare")) == {"name", "offline", "traits", "capabilities"}
    assert not any(v for k, v in spec("bare")["capabilities"].items() if k != "quantization")


def test_what_the_engine_knows() -> None:
    told = spec("bare", facts={"context_tokens": 512, "state": "ready"})
    assert told["availableContextTokens"] == 512
    assert told["engine"]["state"] == "ready"
    assert spec("chat", facts={"context_tokens": 512})["availableContextTokens"] == 8192


def test_images() -> None:
    told = spec("flux")
    assert told["constraints"] == {
        "promptCharacterLimit": 1500, "steps": {"default": 8, "max": 12}, "widthHeightDivisor": 8}  # fmt: skip
    assert set(told["pricing"]) == {"generation", "upscale"}
    assert set(told["pricing"]["upscale"]) == {"2x"}
    assert "capabilities" not in told


def test_prices_of_the_other_half() -> None:
    """An image model's card tells what enlarging costs, and the other way round; its own prices come first."""
    beside = Pricing(generation_usd=9, upscale_2x_usd=9, upscale_4x_usd=0.5)
    told = card(names().models["larger"], offline=False, beside=beside)["model_spec"]["pricing"]
    assert (told["generation"]["usd"], told["upscale"]["2x"]["usd"], set(told["upscale"])) == (9, 0.1, {"2x"})
    told = spec("flux", beside=beside)["pricing"]
    assert (told["generation"]["usd"], told["upscale"]["2x"]["usd"]) == (0.04, 0.02)
    assert set(spec("chat", beside=beside)["pricing"]) == {"input", "output"}


def test_speech() -> None:
    told = spec("voice")
    assert (told["voices"], told["pricing"]["input"]["usd"]) == (["af_sky"], 3.5)


@pytest.mark.parametrize(("current", "fastest"), [({}, None), ({"fastest": "bare"}, "bare")])
def test_traits(current: dict[str, str], fastest: str | None) -> None:
    """A measured trait that nobody holds yet is left out."""
    told = traits(names(), "text", current)
    assert (told["default"], told.get("fastest")) == ("chat", fastest)

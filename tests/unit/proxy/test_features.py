"""venice_parameters: the body over the suffix, what is ours on every upstream, and what only Venice can."""

from typing import Any

import pytest

from adapters.options import KINDS
from proxy import config
from proxy.catalogue import build
from proxy.errors import BadRequest
from proxy.features import NONE, Features, features_of, unknown_character
from proxy.wire.chat import VeniceParameters

NAMES = build(
    config.loads('[characters.alan]\nname = "Alan"\nsystem_prompt = "You are Alan."\n', KINDS, {}, file="test.toml")
)


def of(body: dict[str, Any] | None = None, prompt: str = "", **suffix: Any) -> Features:
    return features_of(None if body is None else VeniceParameters(**body), suffix, NAMES, prompt)


def test_nothing_asked_is_nothing_made() -> None:
    assert of() is NONE
    assert of(prompt="House.") == Features(NONE.venice, system="House.")


def test_the_body_wins_over_the_suffix() -> None:
    both = of({"enable_web_search": "off"}, enable_web_search="on", disable_thinking=True)
    assert both.venice.enable_web_search == "off"
    assert both.disable_thinking is True
    assert both.needs_venice is None


@pytest.mark.parametrize(
    ("asked", "needs"),
    [
        ({"enable_web_search": "on"}, "enable_web_search"),
        ({"enable_web_search": "auto"}, None),
        ({"enable_web_citations": False}, None),
        ({"enable_e2ee": True}, "enable_e2ee"),
        ({"strip_thinking_response": True, "disable_thinking": True, "include_venice_system_prompt": False}, None),
        ({"character_slug": "alan"}, None),
        ({"character_slug": "theirs"}, "character_slug"),
    ],
)
def test_what_only_venice_can(asked: dict[str, Any], needs: str | None) -> None:
    assert of(asked).needs_venice == needs


@pytest.mark.parametrize(
    ("asked", "system"),
    [
        ({"character_slug": "alan"}, "House.\n\nYou are Alan."),
        ({"character_slug": "alan", "include_venice_system_prompt": False}, "You are Alan."),
        ({"include_venice_system_prompt": False}, None),
        ({"character_slug": "theirs"}, "House."),
    ],
)
def test_the_system_text(asked: dict[str, Any], system: str | None) -> None:
    assert of(asked, "House.").system == system


@pytest.mark.parametrize("suffix", [{"enable_web_serch": "on"}, {"enable_web_search": "maybe"}])
def test_a_suffix_that_is_none_names_the_model(suffix: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        of(**suffix)
    assert "model:" in (caught.value.param or "")


def test_an_unknown_character_is_told_with_those_that_are_near() -> None:
    error = unknown_character("alann", NAMES)
    assert (error.status, error.code) == (404, "character_not_found")
    assert "'alan'" in error.message

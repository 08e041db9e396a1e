"""Every style is usable, and applying one keeps the caller's words."""

import pytest

from proxy.errors import BadRequest
from proxy.media.styles import NAMES, STYLES, style


def test_has_the_documented_names_and_no_doubles():
    assert {"3D Model", "Analog Film", "Anime", "Cinematic", "Comic Book"} <= set(NAMES)
    assert len({name.lower() for name in NAMES}) == len(NAMES) > 50


@pytest.mark.parametrize("name", NAMES)
def test_keeps_the_prompt_and_adds_something(name):
    prompt, avoid = STYLES[name].apply(" a {curly} fox ", "rain")
    assert prompt.count("a {curly} fox") == 1
    assert len(prompt) > len("a {curly} fox") + 20
    assert avoid.startswith("rain, ")
    assert STYLES[name].apply("x")[1] == STYLES[name].avoid


def test_styles_differ_in_what_they_say():
    assert len({STYLES[name].apply("a fox")[0] for name in NAMES}) == len(NAMES)


def test_finds_a_style_whatever_the_case_and_names_the_nearest():
    assert style("  neon PUNK ").name == "Neon Punk"
    with pytest.raises(BadRequest, match="Near: Neon Punk") as caught:
        style("neonpunk")
    assert caught.value.param == "style_preset"

"""Every name in a catalogue leads somewhere; what does not is a ConfigError that names it."""

import pytest

from adapters.options import KINDS
from proxy import config
from proxy.catalogue import build, price_figure, unpriced
from proxy.errors import ConfigError

BASE = """
[upstreams.e]
kind = "echo"
[models.a]
targets = [{upstream = "e", model = "x"}]
traits = ["default"]
pricing = {input_usd = 1.0, output_usd = 2.0}
[models.b]
targets = [{upstream = "e", model = "y"}]
[models.picture]
type = "image"
targets = [{upstream = "e", model = "z"}]
traits = ["default"]
pricing = {generation_usd = 0.5}
"""


def made(more: str = "") -> object:
    return build(config.loads(BASE + more, KINDS, {}), file="f.toml")


def test_a_good_one() -> None:
    names = build(config.loads(BASE + '[compatibility.text]\none = "two"\ntwo = "default"\nthree = "e/x"', KINDS, {}))
    assert names.mapped("one", "text") == "default"
    assert names.mapped("three", "text") == "e/x"
    assert names.mapped("a", "text") is None
    assert names.mapped("one", "image") is None
    assert names.traits["text"] == {"default": "a"}
    assert names.traits["image"] == {"default": "picture"}
    assert [model.id for model in names.of_type("text")] == ["a", "b"]
    assert unpriced(names) == ["b"]
    assert price_figure(names.models["a"]) == 3.0
    assert price_figure(names.models["picture"]) == 0.5
    assert price_figure(names.models["b"]) is None


def test_nearest_are_three_of_the_type_best_first() -> None:
    names = build(config.loads(BASE + '[compatibility.text]\n"gpt-4o" = "a"\n"gpt-4" = "a"', KINDS, {}))
    near = names.nearest("gpt-4p", "text")
    assert near[0] in ("gpt-4o", "gpt-4")
    assert len(near) == 3
    assert "picture" not in names.nearest("picture", "text")
    assert names.nearest("x" * 100_000, "text", 2)


@pytest.mark.parametrize(
    ("more", "where", "said"),
    [
        ("[models.c]\ntargets = []", "models.c.targets", "no target"),
        ('[models.c]\ntargets = [{upstream = "f", model = "x"}]', "models.c.targets.0.upstream", "'f'"),
        ('[models.c]\ntargets = [{upstream = "e", model = "x"}]\ntraits = ["default"]', "models.c.traits", "twice"),
        ('[traits.text]\ndefault = "b"', "models.a.traits", "twice"),
        ('[traits.text]\ncode = "bb"', "traits.text.code", "does not exist"),
        ('[traits.text]\ncode = "picture"', "traits.text.code", "another type"),
        ('[traits.text]\nfast = {by = "ttft", among = ["a", "zz"]}', "traits.text.fast", "'zz'"),
        ('[compatibility.text]\nx = "nowhere"', "compatibility.text.x", "leads to 'nowhere'"),
        ('[compatibility.text]\nx = "picture"', "compatibility.text.x", "does not exist"),
        ('[compatibility.text]\nx = "other/m"', "compatibility.text.x", "does not exist"),
        ('[compatibility.text]\nx = "x"', "compatibility.text.x", "a cycle: x → x"),
        ('[compatibility.text]\nx = "y"\ny = "z"\nz = "x"', "compatibility.text.x", "x → y → z → x"),
    ],
)
def test_names_that_lead_nowhere(more: str, where: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(more)
    assert (caught.value.file, caught.value.where) == ("f.toml", where)
    assert said in caught.value.message
    assert caught.value.expected

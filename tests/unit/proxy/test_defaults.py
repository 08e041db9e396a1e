"""The embedded default: it is a good configuration, offline, and a key in the environment adds its upstream."""

from typing import Any

import pytest

from adapters.options import KINDS, USUAL_KEYS
from proxy import catalogue, config
from proxy.defaults import HABITS, tree


def read(env: dict[str, str]) -> Any:
    return config.decode(tree(USUAL_KEYS, env), KINDS, env, file="the embedded default")


def test_offline() -> None:
    read_ = read({})
    assert {options.__struct_config__.tag for options in read_.upstreams.values()} <= {"llama", "offline"}
    names = catalogue.build(read_)
    assert {names.mapped(habit, "text") for habit in HABITS} == {"demo"}
    assert names.traits["text"]["default"] == "demo"
    assert catalogue.unpriced(names) == []


@pytest.mark.parametrize("variable", USUAL_KEYS)
def test_a_usual_key_adds_its_upstream(variable: str) -> None:
    name = USUAL_KEYS[variable][0]
    read_ = read({variable: "the-secret"})
    bare = set(read({variable: ""}).upstreams)
    assert set(read_.upstreams) == {*bare, name}
    assert name not in bare
    assert read_.upstreams[name].api_key == "the-secret"
    assert read_.upstreams[name].missing() is None
    catalogue.build(read_)


def test_openais_names_are_openais_where_its_key_is() -> None:
    """Of every type, speech to text among them, which nothing else here can do."""
    names = catalogue.build(read({"OPENAI_API_KEY": "k"}))
    for type_, name in (("text", "gpt-4o"), ("tts", "tts-1"), ("image", "gpt-image-1"), ("asr", "whisper-1")):
        assert names.mapped(name, type_) == f"openai/{name}"  # type: ignore[arg-type]
    assert names.mapped("text-embedding-bge-m3", "embedding") is None
    assert names.mapped("demo", "embedding") == "demo-embedding"
    assert dict(catalogue.build(read({})).mappings["asr"]) == {}


def test_the_secret_itself_is_not_in_the_tree() -> None:
    assert "the-secret" not in str(tree(USUAL_KEYS, {"OPENAI_API_KEY": "the-secret"}))

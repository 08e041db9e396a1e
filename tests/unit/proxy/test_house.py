"""A House is wired from a configuration; what did not change outlives a reload; what cannot be built is told by its place."""

from typing import Any

import pytest

from adapters import build as build_adapter
from fakes.houses import ECHO, built, read
from proxy import house
from proxy.errors import ConfigError
from proxy.log import redact


def test_wired() -> None:
    made = built(env={"FAR_KEY": "far-away-secret"})
    assert set(made.adapters) == set(made.cards) == {"near", "far"}
    assert [card.missing for card in made.cards.values()] == [None, None]
    assert redact("it said far-away-secret") == "it said [redacted]", "upstream keys are known to the log"


def test_an_upstream_without_its_key_is_a_note_not_an_error() -> None:
    made = built()
    assert made.cards["far"].missing == "no api_key is configured"
    notes = house.warnings(made)
    assert notes[0] == "upstream 'far' is unavailable: no api_key is configured"
    assert "lonely" in notes[1]
    assert house.notes(made.config) == notes


def test_what_did_not_change_is_kept() -> None:
    old = built()
    config = read(ECHO.replace("127.0.0.1:9", "127.0.0.1:10"))
    kept = house.unchanged(old, config)
    assert kept == {"near": old.adapters["near"]}
    new = house.build(config, build_adapter, house.foundations(config), kept=kept)
    assert new.adapters["near"] is old.adapters["near"]
    assert new.adapters["far"] is not old.adapters["far"]
    assert house.unchanged(old, read('[upstreams.other]\nkind = "echo"')) == {}


def test_a_reload_brings_its_breaker() -> None:
    config = read()
    stays = house.foundations(config)
    house.build(read(ECHO + "[routing.breaker]\nfailures = 9"), build_adapter, stays)
    assert stays.health.breaker.failures == 9


@pytest.mark.parametrize(
    ("error", "where", "said"),
    [
        (ValueError("no such thing"), "upstreams.near", "no such thing"),
        (FileNotFoundError(2, "No such file"), "upstreams.near", "No such file"),
        (ConfigError("not a size", where="host_cache", expected="bytes"), "upstreams.near.host_cache", "not a size"),
    ],
)
def test_what_cannot_be_built_is_told_by_its_place(error: Exception, where: str, said: str) -> None:
    def builder(name: str, options: Any) -> Any:
        raise error

    config = read()
    with pytest.raises(ConfigError, match=said) as caught:
        house.build(config, builder, house.foundations(config), file="test.toml")
    assert (caught.value.file, caught.value.where) == ("test.toml", where)


def test_a_name_that_is_no_bare_key_is_quoted_in_its_place() -> None:
    config = read('[upstreams."a b"]\nkind = "llama"\nhost_cache = "lots"')
    with pytest.raises(ConfigError) as caught:
        house.build(config, build_adapter, house.foundations(config), file="test.toml")
    assert caught.value.where == 'upstreams."a b".host_cache'

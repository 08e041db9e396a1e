"""From a name to a plan: the order of rules, suffixes, what makes a target unusable, and shares by weight."""

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.options import KINDS
from proxy import config
from proxy.call import ANYBODY, Call, Dialect, Operation, Principal
from proxy.catalogue import build
from proxy.config import Breaker
from proxy.errors import (
    BadRequest,
    ModelUnknown,
    NotFound,
    NotSupported,
    PermissionDenied,
    TraghettoError,
    Unavailable,
    UnsupportedParameter,
)
from proxy.health import Health
from proxy.ports import Caps
from proxy.resolve import Card, Resolver, split_suffix
from proxy.traits import Measures
from proxy.wire.body import encode, fields_of, head_of
from proxy.wire.chat import ChatRequest

TOML = """
[upstreams.up]
kind = "echo"
[upstreams.back]
kind = "echo"
[upstreams.drawing]
kind = "echo"
[models.big]
targets = [{upstream = "up", model = "big-there"}, {upstream = "back", model = "b", priority = 1}]
traits = ["default"]
[models."org/small:v1"]
targets = [{upstream = "back", model = "s"}]
[models.shadow]
targets = [{upstream = "up", model = "s2"}]
[models.flux]
type = "image"
targets = [{upstream = "drawing", model = "f"}]
traits = ["default"]
[traits.text]
shadow = "big"
fastest = {by = "ttft", among = ["big", "shadow"]}
[compatibility.text]
"gpt-4o" = "default"
"there" = "up/anything"
"default" = "org/small:v1"
[characters.alan]
name = "Alan"
system_prompt = "You are Alan."
"""
CHAT = frozenset({Operation.CHAT})


def resolver(toml: str = TOML, chance: Any = lambda: 0.5, **cards: Card) -> Resolver:
    names = build(config.loads(toml, KINDS, {}))
    known = {name: Card("echo", Caps(operations=CHAT, open_ended=True)) for name in names.upstreams}
    known["drawing"] = Card("echo", Caps(operations=frozenset({Operation.IMAGES})))
    known |= cards
    measures = Measures(names, Health(Breaker()), lambda target: known[target.upstream].missing is None)
    return Resolver(names, known, measures, "House rules.", chance)


def call(model: str, principal: Principal = ANYBODY, **fields: Any) -> Call:
    raw = encode({"model": model, "messages": [{"role": "user", "content": "x"}], **fields})
    return Call(
        id="c", operation=Operation.CHAT, dialect=Dialect.OPENAI, request=head_of(raw, ChatRequest), raw=raw,
        fields=fields_of(raw), principal=principal,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "model", "via", "targets"),
    [
        ("big", "big", "id", ["up/big-there", "back/b"]),
        ("org/small:v1", "org/small:v1", "id", ["back/s"]),
        ("shadow", "shadow", "id", ["up/s2"]),
        ("default", "big", "trait:default", ["up/big-there", "back/b"]),
        ("fastest", "big", "trait:fastest", ["up/big-there", "back/b"]),
        ("gpt-4o", "org/small:v1", "mapping:gpt-4o", ["back/s"]),
        ("there", "up/anything", "mapping:there", ["up/anything"]),
        ("up/big-there", "big", "qualified", ["up/big-there"]),
        ("back/b", "big", "qualified", ["back/b"]),
        ("up/a/b:c", "up/a/b:c", "qualified", ["up/a/b:c"]),
        ("big:strip_thinking_response=true", "big", "id", ["up/big-there", "back/b"]),
        ("org/small:v1:disable_thinking=true", "org/small:v1", "id", ["back/s"]),
    ],
)
def test_names(asked: str, model: str, via: str, targets: list[str]) -> None:
    plan = resolver().plan(call(asked))
    assert (plan.model.id, plan.via, [str(t) for t in plan.targets], plan.asked) == (model, via, targets, asked)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m", ("m", {})),
        ("m:8b", ("m:8b", {})),
        ("m:", ("m:", {})),
        ("m:8b:a=b", ("m:8b", {"a": "b"})),
        ("m:a=true&b=FALSE&c=on", ("m", {"a": True, "b": False, "c": "on"})),
        ("m:a=b=c", ("m", {"a": "b=c"})),
        ("o/m:a=x", ("o/m", {"a": "x"})),
    ],
)
def test_split_suffix(name: str, expected: tuple[str, dict[str, Any]]) -> None:
    assert split_suffix(name) == expected


@pytest.mark.parametrize("name", ["m:=x", "m:a=", "m:a=b&", "m:a=b&c", ":a=b", "m:a=b&&c=d"])
def test_bad_suffixes(name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        split_suffix(name)
    assert caught.value.param == "model"


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=30))
def test_any_name_is_found_or_refused(name: str) -> None:
    try:
        resolver().find(name, "text")
    except TraghettoError as error:
        status = error.status
    else:
        return
    assert 400 <= status < 500


@pytest.mark.parametrize("asked", ["big:nonsense=1", "big:enable_web_search=maybe", "big:strip_thinking_response=7"])
def test_suffix_features_are_checked(asked: str) -> None:
    with pytest.raises(BadRequest):
        resolver().plan(call(asked))


def test_features_of_suffix_and_body() -> None:
    plan = resolver().plan(
        call(
            "big:strip_thinking_response=true&character_slug=alan", venice_parameters={"strip_thinking_response": False}
        )
    )
    assert plan.features.strip_thinking is False, "the body wins"
    assert plan.features.system == "House rules.\n\nYou are Alan."
    plain = resolver().plan(call("big", venice_parameters={"include_venice_system_prompt": False}))
    assert plain.features.system is None
    assert resolver().plan(call("big")).features.system == "House rules."


def test_unknown_names_the_three_nearest() -> None:
    with pytest.raises(ModelUnknown) as caught:
        resolver().plan(call("bigg"))
    assert caught.value.status == 404
    assert caught.value.code == "model_not_found"
    assert "Did you mean 'big', " in caught.value.message
    assert caught.value.message.count("'") == 8
    with pytest.raises(ModelUnknown, match="is of type image"):
        resolver().plan(call("flux"))


def test_images_fall_back_to_their_default_model() -> None:
    found = resolver().find("dall-e-99", "image", Operation.IMAGES)
    assert (found[0].id, found[1]) == ("flux", "fallback:default")


def card(**more: Any) -> Card:
    missing = more.pop("missing", None)
    return Card("echo", Caps(**{"operations": CHAT, "open_ended": True} | more), missing)


@pytest.mark.parametrize(
    ("cards", "fields", "error", "said"),
    [
        ({"up": card(missing="no key"), "back": card(missing="no key")}, {}, Unavailable, "up: no key"),
        ({"up": card(operations=frozenset()), "back": card(operations=frozenset())}, {}, NotSupported, "chat"),
        (
            {n: card(refuses=frozenset({"audio"})) for n in ("up", "back")},
            {"audio": {"a": 1}},
            UnsupportedParameter,
            "'audio'",
        ),
        ({}, {"venice_parameters": {"enable_web_search": "on"}}, UnsupportedParameter, "enable_web_search"),
        ({}, {"venice_parameters": {"character_slug": "nobody"}}, NotFound, "Did you mean 'alan'"),
    ],
)
def test_no_usable_target(cards: dict[str, Card], fields: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error) as caught:
        resolver(**cards).plan(call("big", **fields))
    assert said in str(caught.value)


def test_what_cannot_serve_is_left_out() -> None:
    refusing = resolver(up=card(refuses=frozenset({"audio"})))
    assert [t.upstream for t in refusing.plan(call("big", audio={"a": 1})).targets] == ["back"]
    assert [t.upstream for t in refusing.plan(call("big", audio=None)).targets] == ["up", "back"], "null is absent"
    venice = resolver(back=card(venice=True))
    asked = call("big", venice_parameters={"enable_web_search": "on"})
    assert [t.upstream for t in venice.plan(asked).targets] == ["back"]
    idle = call("big", venice_parameters={"enable_web_search": "off"})
    assert len(venice.plan(idle).targets) == 2


def test_a_chats_refusals_are_not_those_of_other_operations() -> None:
    """`n` of a picture is no `n` of a chat."""
    caps = Caps(
        operations=frozenset(Operation),
        refuses=frozenset({"n"}),
        refuses_elsewhere={Operation.SPEECH: frozenset({"instructions"})},
    )
    assert [caps.refused(o) for o in (Operation.CHAT, Operation.RESPONSES)] == [frozenset({"n"})] * 2
    assert caps.refused(Operation.IMAGES) == frozenset()
    assert caps.refused(Operation.SPEECH) == frozenset({"instructions"})


def test_a_key_may_be_bound_to_models() -> None:
    bound = Principal(id="k", models=frozenset({"big"}))
    assert resolver().plan(call("default", bound)).model.id == "big"
    for other in ("shadow", "up/s2", "up/anything"):
        with pytest.raises(PermissionDenied):
            resolver().plan(call(other, bound))


def test_shares_follow_weights_and_priority_comes_first() -> None:
    toml = """
[upstreams.a]
kind = "echo"
[upstreams.b]
kind = "echo"
[upstreams.c]
kind = "echo"
[models.m]
targets = [
  {upstream = "c", model = "x", priority = 1, weight = 1000},
  {upstream = "a", model = "x", weight = 3},
  {upstream = "b", model = "x"},
]
"""
    made = resolver(toml, random.Random(7).random)
    firsts: Counter[str] = Counter()
    for _ in range(2000):
        plan = made.plan(call("m"))
        firsts[plan.targets[0].upstream] += 1
        assert plan.targets[-1].upstream == "c"
    assert firsts["c"] == 0
    assert 0.68 < firsts["a"] / 2000 < 0.82

"""Every parameter goes exactly one way: forward, translated, or dropped and named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from proxy.call import Operation
from proxy.params import STRUCTURAL, sort_out
from proxy.ports import Caps

CAPS = Caps(operations=frozenset({Operation.CHAT}), forwards=frozenset({"seed", "top_k"}), translates={"stop": "ends"})


def fields(*names: str) -> dict[str, Raw]:
    return {name: Raw(b'"%s"' % name.encode()) for name in names}


@pytest.mark.parametrize(
    ("more", "drops", "kept", "dropped"),
    [
        ({}, set(), {"seed", "ends"}, ["vendor"]),
        ({"open_ended": True}, set(), {"seed", "ends", "vendor"}, []),
        ({}, {"seed", "stop"}, set(), ["seed", "stop", "vendor"]),
        ({"open_ended": True}, {"vendor"}, {"seed", "ends"}, ["vendor"]),
    ],
)
def test_ways(more: dict[str, Any], drops: set[str], kept: set[str], dropped: list[str]) -> None:
    caps = Caps(CAPS.operations, CAPS.forwards, CAPS.translates, **more)
    done = sort_out(fields("model", "seed", "stop", "vendor", "stream"), caps, frozenset(drops))
    assert (set(done.kept), done.dropped) == (kept, dropped)
    if "ends" in kept:
        assert done.translated == {"stop": "ends"}
        assert bytes(done.kept["ends"]) == b'"stop"', "the value as it came"


@given(st.sets(st.sampled_from(["seed", "top_k", "stop", "a", "b", *STRUCTURAL])), st.sets(st.sampled_from("ab")))
def test_nothing_is_lost_in_silence(names: set[str], drops: set[str]) -> None:
    done = sort_out(fields(*names), CAPS, frozenset(drops))
    back = {ours: theirs for theirs, ours in done.translated.items()}
    went = [back.get(name, name) for name in done.kept]
    assert sorted(went + done.dropped) == sorted(names - STRUCTURAL)

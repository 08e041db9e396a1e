"""Whose limits count for whom."""

import pytest

from proxy.call import ANYBODY, Principal, Target
from proxy.catalogue import Model
from proxy.config import Limit
from proxy.errors import ConfigError
from proxy.limits.reference import Measure
from proxy.tiers import KEEP, Tiers, checked

ROWS = {
    "default": {"text": Limit(rpm=50, rpd=5000, tpm=750_000), "model:big": Limit(concurrent=2), "image": Limit(rpm=20)},
    "gold": {"text": Limit(rpm=0)},
}


def model(id_: str = "m", type_: str = "text", *, listed: bool = True) -> Model:
    return Model(id=id_, type=type_, name=id_, targets=(Target("u", id_),), listed=listed)  # type: ignore[arg-type]


def said(tiers: Tiers, key: Principal, of: Model) -> dict[Measure, int]:
    return {bucket.measure: bucket.capacity for bucket in tiers.buckets(key, of)}


def test_a_row_for_the_type_or_for_the_model_as_a_whole() -> None:
    tiers = Tiers(ROWS)
    key = Principal("k")
    assert said(tiers, key, model()) == {Measure.RPM: 50, Measure.RPD: 5000, Measure.TPM: 750_000}
    assert said(tiers, key, model("big")) == {Measure.CONCURRENT: 2}
    assert said(tiers, key, model("pic", "image")) == {Measure.RPM: 20}
    assert said(tiers, key, model("voice", "tts")) == {}


def test_tiers_by_name() -> None:
    tiers = Tiers(ROWS)
    assert said(tiers, Principal("k", tier="gold"), model()) == {Measure.RPM: 0}
    assert said(tiers, Principal("k", tier="gold"), model("pic", "image")) == {}, "its own table, not default's"
    assert said(tiers, Principal("k", tier="forgotten"), model())[Measure.RPM] == 50
    assert said(tiers, ANYBODY, model()) == {}
    assert said(Tiers({"unlimited": {"text": Limit(rpm=3)}}), ANYBODY, model()) == {Measure.RPM: 3}
    assert said(Tiers({}), Principal("k"), model()) == {}


def test_each_key_and_model_has_its_own_buckets_and_they_are_kept() -> None:
    tiers = Tiers(ROWS)
    first = tiers.buckets(Principal("k"), model())
    assert tiers.buckets(Principal("k"), model()) is first
    names = {
        bucket.name for key in ("k", "l") for m in ("m", "n") for bucket in tiers.buckets(Principal(key), model(m))
    }
    assert len(names) == 2 * 2 * 3
    assert {bucket.tier for bucket in first} == {"default"}


def test_names_that_a_caller_makes_up_share_their_buckets() -> None:
    tiers = Tiers(ROWS)
    one, other = (tiers.buckets(Principal("k"), model(f"up/{n}", listed=False)) for n in ("a", "b"))
    assert [bucket.name for bucket in one] == [bucket.name for bucket in other]
    assert one[0].model == "other text"


def test_what_is_remembered_is_bounded() -> None:
    tiers = Tiers(ROWS)
    for number in range(KEEP + 10):
        tiers.buckets(Principal(str(number)), model("voice", "tts"))
    assert len(tiers._quotas) <= KEEP


@pytest.mark.parametrize(
    ("rows", "where", "said_"),
    [
        ({"default": {"txt": Limit(rpm=1)}}, "tiers.default.txt", "no such type or model"),
        ({"a": {"model:other": Limit(rpm=1)}}, 'tiers.a."model:other"', "no such type or model"),
        ({"a": {"text": Limit(rpm=1 << 60)}}, "tiers.a.text", "more than can be counted"),
    ],
)
def test_what_cannot_be(rows: dict[str, dict[str, Limit]], where: str, said_: str) -> None:
    with pytest.raises(ConfigError, match=said_) as caught:
        checked(rows, ["m"], "f.toml")
    assert (caught.value.file, caught.value.where) == ("f.toml", where)


def test_what_can_be() -> None:
    assert said(checked(ROWS, ["m", "big"]), Principal("k"), model("big")) == {Measure.CONCURRENT: 2}

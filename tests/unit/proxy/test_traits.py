"""Live elections: who wins, who stays, and the reasons told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.options import KINDS
from proxy import config
from proxy.call import Target
from proxy.catalogue import build
from proxy.config import Breaker, Measure
from proxy.health import Health
from proxy.traits import LESS_IS_BETTER, MARGIN, Candidate, Measures, elect


def candidates(**figures: float | None) -> list[Candidate]:
    return [Candidate(name, figure, available=True) for name, figure in figures.items()]


@pytest.mark.parametrize(
    ("by", "figures", "sitting", "winner"),
    [
        ("ttft", {"a": 2.0, "b": 1.0}, None, "b"),
        ("tokens_per_s", {"a": 2.0, "b": 1.0}, None, "a"),
        ("price", {"a": None, "b": 9.0}, None, "b"),
        ("ttft", {"a": None, "b": None}, None, "a"),
        ("ttft", {"a": 1.0, "b": 0.9}, "a", "a"),
        ("ttft", {"a": 1.0, "b": 0.84}, "a", "b"),
        ("tokens_per_s", {"a": 100.0, "b": 114.0}, "a", "a"),
        ("tokens_per_s", {"a": 100.0, "b": 116.0}, "a", "b"),
        ("ttft", {"a": None, "b": 5.0}, "a", "b"),
        ("ttft", {"b": 5.0}, "gone", "b"),
        ("ttft", {}, None, None),
    ],
)
def test_elect(by: str, figures: dict[str, float | None], sitting: str | None, winner: str | None) -> None:
    election = elect("t", by, candidates(**figures), sitting)
    assert election.winner == winner
    assert [c.model for c in election.candidates if c.won] == ([winner] if winner else [])
    assert all(c.reason for c in election.candidates)


def test_reasons() -> None:
    rows = [*candidates(a=1.0, b=0.9, c=2.0, d=None), Candidate("e", 0.1, available=False)]
    told = {c.model: c.reason for c in elect("t", "ttft", rows, "a").candidates}
    assert told["a"].startswith("keeps the trait")
    assert "less than 15%" in told["b"]
    assert told["c"] == "2 s to the first token against 1"
    assert told["d"] == "not measured yet"
    assert "no target" in told["e"]


figure = st.none() | st.floats(0.001, 1000)


@settings(deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(LESS_IS_BETTER)), st.dictionaries(st.sampled_from("abcd"), st.tuples(figure, st.booleans()))
)
def test_one_available_winner_and_nobody_far_better(by: str, rows: dict[str, tuple[float | None, bool]]) -> None:
    election = elect("t", by, [Candidate(name, *row) for name, row in rows.items()], "a")
    running = {name: row[0] for name, row in rows.items() if row[1]}
    assert (election.winner in running) if running else election.winner is None
    best = running.get(election.winner or "")
    for other in running.values():
        if best is None:
            assert other is None
        elif other is not None:
            better = best * (1 - MARGIN) > other if LESS_IS_BETTER[by] else best * (1 + MARGIN) < other
            assert not better


def test_measures_over_a_catalogue() -> None:
    toml = '[upstreams.u]\nkind = "echo"\n[upstreams.v]\nkind = "echo"\n' + "".join(
        f'[models.{m}]\ntargets = [{{upstream = "{m}", model = "x"}}]\npricing = {{input_usd = {p}}}\n'
        for m, p in (("u", 2.0), ("v", 1.0))
    )
    names = build(config.loads(toml, KINDS, {}))
    health = Health(Breaker(failures=1))
    usable = {"u", "v"}
    measures = Measures(names, health, lambda target: target.upstream in usable)
    by_price, by_ttft = Measure("price"), Measure("ttft")
    assert measures.election("text", "cheap", by_price).winner == "v"
    assert measures.election("text", "only", Measure("price", ("u",))).winner == "u"
    health.answered(Target("u", "x"), 1.0)
    health.answered(Target("v", "x"), 0.95)
    assert measures.election("text", "quick", by_ttft).winner == "v"
    for _ in range(3):
        health.answered(Target("u", "x"), 0.9)
    assert measures.election("text", "quick", by_ttft).winner == "v", "a little better is not enough"
    health.failed(Target("v", "x"))
    assert measures.election("text", "quick", by_ttft).winner == "u", "its breaker is open"
    usable.clear()
    assert measures.election("text", "quick", by_ttft).winner is None

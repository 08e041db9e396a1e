"""Traits that are a measure: who is quickest, fastest or cheapest right now. Pure decisions over figures that others keep.

The sitting winner stays until a challenger is better by MARGIN, so that noise does not move traffic back and forth.
"""

from collections.abc import Callable

import msgspec

from proxy.call import Target
from proxy.catalogue import Catalogue, Model, price_figure
from proxy.config import Measure, ModelType
from proxy.health import Health

MARGIN = 0.15
LESS_IS_BETTER = {"ttft": True, "price": True, "tokens_per_s": False}
UNIT = {"ttft": "s to the first token", "price": "USD", "tokens_per_s": "tokens/s"}


class Candidate(msgspec.Struct):
    """One model in an election: its figure (None: not measured yet), and why it won or lost."""

    model: str
    figure: float | None
    available: bool
    won: bool = False
    reason: str = ""


class Election(msgspec.Struct):
    """Of one trait, now."""

    trait: str
    by: str
    winner: str | None
    candidates: list[Candidate]


def elect(trait: str, by: str, candidates: list[Candidate], sitting: str | None) -> Election:
    """Choose among candidates: available before not, measured before not, better before worse, sitting unless beaten."""
    sign = 1.0 if LESS_IS_BETTER[by] else -1.0
    running = [c for c in candidates if c.available]
    measured = sorted((c for c in running if c.figure is not None), key=lambda c: sign * (c.figure or 0.0))
    winner = measured[0] if measured else (running[0] if running else None)
    held = next((c for c in measured if c.model == sitting), None)
    stayed = held is not None and winner is not None and held is not winner and not _beats(winner, held, sign)
    if stayed:
        winner = held
    for candidate in candidates:
        candidate.won = candidate is winner
        candidate.reason = _reason(candidate, winner, by, sign, stayed)
    return Election(trait, by, winner.model if winner else None, candidates)


def _beats(challenger: Candidate, holder: Candidate, sign: float) -> bool:
    new, old = challenger.figure or 0.0, holder.figure or 0.0
    return new < old * (1 - MARGIN) if sign > 0 else new > old * (1 + MARGIN)


def _reason(candidate: Candidate, winner: Candidate | None, by: str, sign: float, stayed: bool) -> str:
    if candidate is winner:
        if stayed:
            return f"keeps the trait: nobody is better by {MARGIN:.0%}"
        return f"best {by}" if candidate.figure is not None else "first available; nobody is measured yet"
    if not candidate.available:
        return "no target of it is available"
    if candidate.figure is None:
        return "not measured yet"
    if stayed and winner is not None and sign * candidate.figure < sign * (winner.figure or 0.0):
        return f"better than {winner.model!r}, but by less than {MARGIN:.0%}"
    assert winner is not None
    return f"{candidate.figure:.4g} {UNIT[by]} against {winner.figure:.4g}"


class Measures:
    """Live elections over one catalogue. Remembers who sits; `available` says whether a target can be used at all."""

    def __init__(self, catalogue: Catalogue, health: Health, available: Callable[[Target], bool]) -> None:
        self._catalogue = catalogue
        self._health = health
        self._available = available
        self._sitting: dict[tuple[ModelType, str], str] = {}

    def election(self, type_: ModelType, trait: str, measure: Measure) -> Election:
        ids = measure.among or tuple(model.id for model in self._catalogue.of_type(type_))
        candidates = [self._candidate(self._catalogue.models[id_], measure.by) for id_ in ids]
        election = elect(trait, measure.by, candidates, self._sitting.get((type_, trait)))
        if election.winner is not None:
            self._sitting[type_, trait] = election.winner
        return election

    def _candidate(self, model: Model, by: str) -> Candidate:
        usable = [t for t in model.targets if self._available(t) and not self._health.open_for_s(t)]
        if by == "price":
            figure = price_figure(model)
        else:
            first = min(usable, key=lambda t: t.priority, default=None)
            record = self._health.record(first) if first else None
            name = "ttft_s" if by == "ttft" else "tokens_per_s"
            figure = getattr(record, name) if record else None
        return Candidate(model.id, figure, bool(usable))

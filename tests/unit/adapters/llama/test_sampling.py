"""The choice of one token, without a model."""

from collections import Counter

import numpy as np
import pytest

from adapters.llama.sampling import Chooser, Penalties
from adapters.llama.spec import Sampling

EOG = np.array([9], dtype=np.int32)


def _chooser(prompt: tuple[int, ...] = (), seed: int = 1, constraint: object = None, **fields: object) -> Chooser:
    return Chooser(
        Sampling(**fields),  # type: ignore[arg-type]
        seed=seed,
        prompt=np.array(prompt, dtype=np.int32),
        eog=EOG,
        constraint=constraint,  # type: ignore[arg-type]
    )


def _row(**values: float) -> np.ndarray:
    row = np.zeros(10, dtype=np.float32)
    for name, value in values.items():
        row[int(name[1:])] = value
    return row


class Only:
    """A grammar that allows some tokens, and counts what it is asked."""

    active = True

    def __init__(self, *allowed: int) -> None:
        self.allowed = set(allowed)
        self.asked = 0
        self.masked = 0

    def allows(self, token: int) -> bool:
        self.asked += 1
        return token in self.allowed

    def mask(self, ids: np.ndarray) -> np.ndarray:
        self.masked += 1
        return np.array([int(i) in self.allowed for i in ids])


def _edited(chooser: Chooser, row: np.ndarray) -> np.ndarray:
    out = row.copy()
    chooser.edit(out)
    return out


def test_frequency_and_presence_count_the_answer_only() -> None:
    chooser = _chooser(prompt=(1, 1, 1), frequency_penalty=0.5, presence_penalty=0.25)
    for token in (2, 2, 3):
        chooser.accept(token)
    row = _edited(chooser, _row(_1=1.0, _2=1.0, _3=1.0))
    assert row[[1, 2, 3]] == pytest.approx([1.0, 1.0 - 2 * 0.5 - 0.25, 1.0 - 0.5 - 0.25])


def test_repetition_counts_the_prompt_too_and_divides_or_multiplies() -> None:
    chooser = _chooser(prompt=(1, 2), repetition_penalty=2.0)
    chooser.accept(3)
    row = _edited(chooser, _row(_1=1.0, _2=-1.0, _3=4.0, _4=4.0))
    assert row[[1, 2, 3, 4]] == pytest.approx([0.5, -2.0, 2.0, 4.0])


def test_penalties_survive_many_tokens() -> None:
    penalties = Penalties(Sampling(frequency_penalty=1.0), np.zeros(0, dtype=np.int32))
    for token in range(300):
        penalties.count(token)
        penalties.count(token)
    row = np.zeros(400, dtype=np.float32)
    penalties.apply(row)
    assert (row[:300] == -2.0).all()
    assert (row[300:] == 0.0).all()


def test_bias_bans_and_forces() -> None:
    chooser = _chooser(temperature=0.0, logit_bias={1: -100.0, 2: 100.0, 3: 1.5})
    row = _edited(chooser, _row(_1=50.0))
    assert row[1] == -np.inf
    assert row[3] == 1.5
    assert chooser.choose(row) == 2


def test_bans_of_the_end() -> None:
    forever = _chooser(temperature=0.0, ignore_eos=True)
    until = _chooser(temperature=0.0, min_tokens=2)
    for said in range(3):
        row = _row(_9=5.0, _4=1.0)
        assert forever.choose(_edited(forever, row)) == 4
        assert until.choose(_edited(until, row)) == (4 if said < 2 else 9)
        forever.accept(4)
        until.accept(4)


@pytest.mark.parametrize(
    "fields", [{"temperature": 0.0}, {"temperature": 1e-6}, {"min_temp": 0.0, "max_temp": 0.0}, {"top_k": 1}]
)
def test_what_is_greedy(fields: dict[str, float]) -> None:
    chooser = _chooser(**fields)
    assert {chooser.choose(_row(_6=1.0)) for _ in range(50)} == {6}


def test_temperature_shapes_the_draws() -> None:
    row = _row(_0=1.0)
    cold = Counter(_chooser(seed=seed, temperature=0.2).choose(row) for seed in range(400))
    hot = Counter(_chooser(seed=seed, temperature=50.0).choose(row) for seed in range(400))
    assert cold[0] > 350
    assert hot[0] < 90
    assert len(hot) == 10


def test_a_seed_repeats() -> None:
    def draws(seed: int) -> list[int]:
        chooser = _chooser(seed=seed)
        return [chooser.choose(_row()) for _ in range(30)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)


def test_a_grammar_costs_one_question_while_the_model_keeps_to_it() -> None:
    grammar = Only(5)
    chooser = _chooser(temperature=0.0, constraint=grammar)
    assert chooser.choose(_row(_5=9.0)) == 5
    assert (grammar.asked, grammar.masked) == (1, 0)


def test_greedy_under_a_grammar_takes_the_best_allowed() -> None:
    grammar = Only(3, 4)
    assert _chooser(temperature=0.0, constraint=grammar).choose(_row(_5=9.0, _4=2.0, _3=1.0)) == 4
    assert _chooser(temperature=0.0, constraint=Only()).choose(_row()) == -1


def test_draws_under_a_grammar_keep_the_proportions_of_what_is_allowed() -> None:
    row = _row(_0=5.0, _1=1.0, _2=0.0)
    counts = Counter(_chooser(seed=seed, constraint=Only(1, 2)).choose(row) for seed in range(3000))
    assert set(counts) == {1, 2}
    assert counts[1] / 3000 == pytest.approx(np.e / (1 + np.e), abs=0.03)


def test_a_grammar_may_reach_beyond_the_survivors() -> None:
    chooser = _chooser(top_k=2, constraint=Only(7))
    assert chooser.choose(_row(_0=5.0, _1=5.0)) == 7
    assert _chooser(constraint=Only()).choose(_row()) == -1


def test_a_grammar_does_not_see_reasoning() -> None:
    class Strict(Only):
        def accept(self, token: int) -> None:
            raise AssertionError("reasoning was fed to the grammar")

    chooser = _chooser(temperature=0.0, constraint=Strict(1))
    assert chooser.choose(_row(_5=9.0), in_reasoning=True) == 5
    chooser.accept(5, in_reasoning=True)

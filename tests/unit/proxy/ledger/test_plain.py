"""Plain calls, reckoned the short way: it must say what the long one says, whatever the call."""

import random

import msgspec
import pytest
from msgspec.structs import asdict, astuple

from proxy.call import Attempt, Call, Dialect, Ending, Operation, Principal, Served, Target, Usage, UsageSource
from proxy.config import Pricing
from proxy.ledger.bulk import Bulk, Shape
from proxy.ledger.entry import Entry, row_of
from proxy.ledger.plain import MOST, UNIT, Known, Said, Terms, facts_of
from proxy.ledger.prices import PriceTable
from proxy.ledger.tables import calls

PRICES = PriceTable(
    {
        "whole": Pricing(input_usd=1.25, cached_input_usd=0.3, output_usd=7.77),
        "half": Pricing(input_usd=1.0),
        "none": None,
        "odd": Pricing(input_usd=0.0000004, output_usd=1000.0),
        "image": Pricing(generation_usd=0.01),
    }
)


def call(chance: random.Random, **more: object) -> tuple[Call, Served]:
    made = Call(
        id=f"req_{chance.getrandbits(96):024x}", operation=chance.choice([Operation.CHAT, Operation.EMBEDDINGS]),
        dialect=Dialect.OPENAI, request=None, raw=b"", fields={}, principal=Principal("key"), stream=chance.random() < 0.5,
    )  # fmt: skip
    made.started = chance.uniform(0, 1e6)
    made.attempts.append(
        Attempt(Target('a"b', "möd/el"), started=made.started + chance.random() / 50, ms=chance.uniform(0, 9000))
    )
    prompt = chance.choice([0, 1, 17, chance.randrange(1 << 40)])
    usage = Usage(prompt, chance.randrange(5000), chance.randrange(prompt + 1), chance.randrange(9))
    return made, Served(usage, Ending.FINISHED, 3, chance.randrange(1 << 33))


def terms(made: Call, model: str) -> Terms:
    target = made.attempts[0].target
    price = PRICES.of(model)
    said = Said("key", made.operation, model, made.stream, target.upstream, target.model, PRICES.version, price)
    return Terms(said)


def entry(made: Call, served: Served, ended: float, model: str) -> Entry:
    return Entry(
        made.id, "key", made.operation, model, made.stream, made.attempts, served, made.started, ended, 1_700_000_000_000_000,
        PRICES.version, PRICES.of(model), UNIT,
    )  # fmt: skip


def test_it_says_what_any_entry_says() -> None:
    chance, whole = random.Random(5), Bulk(Shape.of(calls)).whole
    for _ in range(2000):
        model = chance.choice(["whole", "half", "none", "odd", "image"])
        made, served = call(chance)
        ended = made.started + chance.uniform(0, 100)
        facts = facts_of(made, served, ended)
        assert facts is not None
        common, expected = terms(made, model), row_of(entry(made, served, ended, model))
        assert whole(common.shared, common.own(made.id, expected.created_us, facts)) == astuple(expected)
        again = Terms.read(common.text)
        assert again.shared == common.shared
        assert asdict(row_of(again.entry(made.id, expected.created_us, facts))) == asdict(expected)


def test_a_mark_says_who_called_what() -> None:
    made, _ = call(random.Random(1))
    mark = terms(made, "whole").mark("c", 7)
    assert (mark.call_id, mark.key_id, mark.model, mark.upstream, mark.target, mark.created_us, mark.price_version) == (
        "c", "key", "whole", 'a"b', "möd/el", 7, PRICES.version)  # fmt: skip
    assert mark.operation == made.operation.value


@pytest.mark.parametrize(
    "change",
    [
        {"ending": Ending.CANCELLED},
        {"ending": Ending.FAILED},
        {"error": "cut"},
        {"usage": None},
        {"usage": Usage(1, 2, source=UsageSource.ESTIMATE)},
        {"usage": Usage(1, 2, source=UsageSource.TOKENIZER)},
        {"usage": Usage(images=1)},
        {"usage": Usage(characters=1)},
    ],
)
def test_whatever_is_not_plain_goes_the_other_way(change: dict[str, object]) -> None:
    made, served = call(random.Random(2))
    assert facts_of(made, served, made.started + 1) is not None
    assert facts_of(made, msgspec.structs.replace(served, **change), made.started + 1) is None


@pytest.mark.parametrize(
    "attempts",
    [
        [Attempt(Target("u", "m"), error="cut", ms=1.0)],
        [Attempt(Target("u", "m"))],
        [Attempt(Target("u", "m"), "retry:503", ms=1.0)],
        [Attempt(Target("u", "m"), ms=1.0), Attempt(Target("u", "m"), "retry:503", ms=1.0)],
    ],
)
def test_so_does_a_call_that_needed_more_than_one_attempt(attempts: list[Attempt]) -> None:
    made, served = call(random.Random(2))
    made.attempts = attempts
    assert facts_of(made, served, made.started + 1) is None


def test_terms_are_made_once_and_not_kept_for_ever() -> None:
    known, target = Known(), Target("u", "t")
    first = known["k", Operation.CHAT, "whole", False, target, PRICES]
    assert known["k", Operation.CHAT, "whole", False, Target("u", "t"), PRICES] is first
    assert known["k", Operation.CHAT, "whole", True, target, PRICES].said.stream
    assert (first.said.price, first.said.version, first.said.target) == (PRICES.of("whole"), PRICES.version, "t")
    for number in range(MOST):
        assert known[f"k{number}", Operation.CHAT, "whole", False, target, PRICES].said.key_id == f"k{number}"
    assert len(known) <= MOST

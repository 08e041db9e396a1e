"""Each format writes only what the format's definition allows, and takes its usual spellings."""

import json
import random

import pytest

from adapters.llama.grammar.formats import FORMATS, FREE_FORMATS
from adapters.llama.grammar.schema import compile_schema
from fakes.gbnf import Grammar
from fakes.schema_suite import is_valid


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_written_values_are_valid(name: str) -> None:
    schema = {"type": "string", "format": name}
    grammar, rng = Grammar(compile_schema(schema)), random.Random(name)
    for budget in (20, 100, 1_000):
        for _ in range(100):
            text = grammar.sample(rng, budget)
            assert is_valid(schema, json.loads(text)), text


def test_february_is_exact() -> None:
    grammar = Grammar(compile_schema({"type": "string", "format": "date"}))
    for year in (1600, 1900, 1996, 2000, 2023, 2024, 2100):
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        assert grammar.accepts(f'"{year}-02-29"') == leap
        assert grammar.accepts(f'"{year}-02-28"')
        assert not grammar.accepts(f'"{year}-02-30"')


@pytest.mark.parametrize("name", sorted(FREE_FORMATS))
def test_formats_that_promise_nothing(name: str) -> None:
    assert Grammar(compile_schema({"type": "string", "format": name})).accepts('"any thing"')

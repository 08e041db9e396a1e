"""The filters of chat templates work as usual, and cannot be made to grow without being counted."""

import pytest

from adapters.llama.chat.budget import Limits
from adapters.llama.chat.errors import TemplateError
from adapters.llama.chat.template import CompiledTemplate

SMALL = Limits(max_chars=10_000, max_items=1_000)


def _render(source: str, **variables: object) -> str:
    return CompiledTemplate(source, limits=SMALL).render(variables)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ x | tojson }}", '{"a": "<é>", "n": [1, null]}'),
        ("{{ x | tojson(indent=1) }}", '{\n "a": "<é>",\n "n": [\n  1,\n  null\n ]\n}'),
        ("{{ x | tojson(separators=(',', ':'), sort_keys=true) }}", '{"a":"<é>","n":[1,null]}'),
        ("{{ x.keys() | join('+') }}", "a+n"),
        ("{{ [{'k': 1}, {}] | join('-', attribute='k') }}", "1-"),
        ("{{ 'aXbX' | replace('X', '..') }}{{ 'aXbX' | replace('X', '', 1) }}", "a..b..abX"),
        ("{{ 'a\nb' | indent(2) }}{{ 'a' | indent(2, first=true) }}", "a\n  b  a"),
        ("{{ '%s=%03d' | format('k', 7) }}{{ '%(k)s' | format(k=1) }}", "k=0071"),
        ("{{ 2.345 | round(1) }} {{ 2.5 | round(0, 'floor') | int }}", "2.3 2"),
        ("{{ [1, 2] | sum }} {{ [{'n': 3}] | sum(attribute='n') }}", "3 3"),
        ("{{ [2, 1] | sort | list }}{{ {'b': 1, 'a': 2} | dictsort }}", "[1, 2][('a', 2), ('b', 1)]"),
        ("{{ ' a ' | trim | upper }}{{ '<b>' | e }}{{ '<b>' | safe + '<i>' }}", "A&lt;b&gt;<b><i>"),
        ("{{ xs | selectattr('r', 'equalto', 'u') | map(attribute='c') | list }}", "[1]"),
        ("{{ xs | rejectattr('r', 'in', ['u']) | list | length }}", "1"),
        ("{{ [1, 1, 2] | unique | list }}{{ [1, 2] | last }}{{ nope | default('d') }}", "[1, 2]2d"),
        ("{{ range(3) | map('string') | join }}{{ x | items | first }}", "012('a', '<é>')"),
    ],
)
def test_results(source: str, expected: str) -> None:
    xs = [{"r": "u", "c": 1}, {"r": "a", "c": 2}]
    assert _render(source, x={"a": "<é>", "n": [1, None]}, xs=xs) == expected


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' | indent(100000) }}",
        "{{ s | replace('a', s) }}",
        "{{ range(1000) | map('replace', '1', s) | join }}",
        "{{ [s, s, s] | join }}",
        "{{ [s, s, s] | tojson }}",
        "{{ [1] | tojson(indent=100000) }}",
        "{{ '%100000d' | format(1) }}",
        "{{ 5 | round(-1000000000) }}",
        "{{ [[1]] | sum(start=[]) }}",
        "{{ nope | tojson }}",
        "{{ namespace() | string }}",
        "{{ range(1000) | map('upper') }}",
        "{{ xs | list | sort }}",
    ],
)
def test_bounds(source: str) -> None:
    with pytest.raises(TemplateError):
        _render(source, s="a" * 5_000, xs=("a" for _ in range(2_000)))


@pytest.mark.parametrize("name", ["center", "pprint", "urlize", "xmlattr", "batch", "slice", "wordwrap", "random"])
def test_other_filters_are_not_there_and_named(name: str) -> None:
    with pytest.raises(TemplateError, match=f"does not compile: line 1: No filter named '{name}'"):
        _render(f"{{{{ 'a' | {name} }}}}")


def test_comparing_tests_measure_trees() -> None:
    deep: list[object] = []
    other: list[object] = []
    for _ in range(40):
        deep, other = [deep, deep], [other, other]
    with pytest.raises(TemplateError, match="too large"):
        _render("{{ a is eq(b) }}", a=deep, b=other)
    assert _render("{{ 1 is eq(1) }}{{ 2 is in [1] }}{{ [1] is eq([1]) }}") == "TrueFalseTrue"

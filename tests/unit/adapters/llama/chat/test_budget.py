"""The account of a rendering ends it when something is used up."""

import pytest
from jinja2 import Undefined

from adapters.llama.chat.budget import Budget, Limits
from adapters.llama.chat.errors import TemplateError


def test_steps_are_counted() -> None:
    budget = Budget(Limits(max_steps=100))
    with pytest.raises(TemplateError, match="more than 100 steps"):
        budget.listed(range(200))


def test_cpu_time_ends_it() -> None:
    budget = Budget(Limits(cpu_s=-1.0))
    with pytest.raises(TemplateError, match=r"more than -1\.0 s"):
        budget.listed(range(16))


def test_one_text_and_all_texts_are_bounded() -> None:
    budget = Budget(Limits(max_chars=100))
    with pytest.raises(TemplateError, match="more than 100 characters"):
        budget.made(101)
    for _ in range(8):
        budget.made(90)
    with pytest.raises(TemplateError, match="too much text"):
        budget.made(99)


def test_lists_are_bounded() -> None:
    budget = Budget(Limits(max_items=3))
    assert budget.listed(range(3)) == [0, 1, 2]
    with pytest.raises(TemplateError, match="more than 3 items"):
        budget.listed(range(4))


def test_measure_walks_shared_parts_as_often_as_they_occur() -> None:
    value: list[object] = ["x"]
    for _ in range(40):
        value = [value, value]
    with pytest.raises(TemplateError, match="too large"):
        Budget(Limits()).measure(value)
    with pytest.raises(TemplateError, match="too large"):
        Budget(Limits(max_chars=10)).measure(["123456", {"a": "123456"}])
    assert Budget(Limits()).measure({"ab": ["cd", 1, None, Undefined()]}) > 4


def test_measure_refuses_what_is_no_data() -> None:
    with pytest.raises(TemplateError, match="turns a object into text"):
        Budget(Limits()).measure([object()])
    Budget(Limits()).measure([object()], text=False)

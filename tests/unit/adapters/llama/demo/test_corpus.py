"""The corpus of the demo model is repeatable, says one thing only, and is rendered as its chat template renders."""

import itertools
import json
import random
import re
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest


def _some(generator: SimpleNamespace, seed: int, count: int) -> list[Any]:
    return list(itertools.islice(generator.corpus.conversations(seed), count))


@pytest.fixture(scope="module")
def template(generator: SimpleNamespace) -> jinja2.Template:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(generator.chatml.TEMPLATE)


def test_a_seed_gives_one_corpus(generator: SimpleNamespace) -> None:
    assert _some(generator, 3, 200) == _some(generator, 3, 200)
    assert _some(generator, 3, 200) != _some(generator, 4, 200)


def test_every_sort_of_conversation_comes(generator: SimpleNamespace) -> None:
    seen = {sample.category for sample in _some(generator, 5, 3000)}
    assert seen == {
        *("traghetto", "small talk", "arithmetic", "arithmetic refused", "lookup", "copy", "json", "refusal"),
        *("recall", "thinking", "tool call", "tool result", "tool not needed"),
    }


def test_the_template_renders_what_training_saw(generator: SimpleNamespace, template: jinja2.Template) -> None:
    for sample in _some(generator, 6, 800):
        extra = {} if sample.thinking is None else {"enable_thinking": sample.thinking}
        prompt = template.render(messages=sample.messages[:-1], tools=sample.tools, add_generation_prompt=True, **extra)
        assert prompt == generator.chatml.prompt(sample.messages[:-1], sample.tools, sample.thinking)
        parts = generator.chatml.segments(sample.messages, sample.tools, sample.thinking)
        assert "".join(part.text for part in parts).startswith(prompt)
        assert parts[-2].produced, "the last answer is what the model has to write"


def test_a_call_in_the_wire_shape_renders_like_one_of_the_corpus(
    generator: SimpleNamespace, template: jinja2.Template
) -> None:
    arguments = {"city": "Zürich", "days": 3}
    asked = {"role": "user", "content": [{"type": "text", "text": "Forecast?"}]}
    function = {"name": "f", "arguments": json.dumps(arguments, ensure_ascii=False)}
    calls = [{"id": "call_1", "type": "function", "function": function}]
    sent = {"role": "assistant", "content": None, "tool_calls": calls}
    back = {"role": "tool", "tool_call_id": "call_1", "content": "ok"}
    text = template.render(messages=[asked, sent, back], tools=None, add_generation_prompt=True)
    assert generator.chatml.call_text("f", arguments) in text
    assert "<|im_start|>user\nForecast?<|im_end|>\n" in text
    assert text.endswith("<|im_start|>tool\nok<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": {"name": "f"}},
        {"type": "function", "function": {"name": "f", "parameters": {}}},
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}},
        {"name": "f", "description": ""},
    ],
)
def test_a_bare_tool_is_rendered(template: jinja2.Template, tool: dict[str, Any]) -> None:
    text = template.render(messages=[{"role": "user", "content": "x"}], tools=[tool], add_generation_prompt=False)
    assert "\nf()\n" in text


def test_history_loses_its_thoughts(template: jinja2.Template) -> None:
    said = {"role": "assistant", "content": "<think>secret</think>\n\nanswer"}
    text = template.render(messages=[{"role": "user", "content": "x"}, said], tools=None, add_generation_prompt=False)
    assert "secret" not in text
    assert "assistant\nanswer<|im_end|>" in text


def test_one_question_has_one_answer(generator: SimpleNamespace) -> None:
    known = generator.facts.FACTS + generator.facts.SMALL_TALK
    answers: dict[str, str] = {}
    for fact in known:
        for question in fact.trained + fact.held:
            assert answers.setdefault(question.lower(), fact.answer) == fact.answer, question


def test_held_phrasings_are_never_trained(generator: SimpleNamespace) -> None:
    known = generator.facts.FACTS + generator.facts.SMALL_TALK
    trained = {question.lower() for fact in known for question in fact.trained}
    held = {question.lower() for fact in known for question in fact.held}
    assert len(held) > 80
    assert not held & trained


def test_prompts_outside_are_not_of_the_corpus(generator: SimpleNamespace) -> None:
    outside = {prompt.lower() for prompt in generator.questions.OUTSIDE}
    asked = {m["content"].lower() for s in _some(generator, 1, 5000) for m in s.messages if m["role"] == "user"}
    assert not outside & asked


def test_sums_are_right(generator: SimpleNamespace) -> None:
    rng = random.Random(7)
    tried = 0
    while tried < 300:
        turn = generator.turns.turn(rng)
        if turn.category == "arithmetic":
            tried += 1
            left, right = turn.answer.split(" = ")
            a, operator, b = left.split()
            wanted = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b), "/": int(a) / max(1, int(b))}
            assert int(right) == wanted[operator]


def test_noise_leaves_holes_alone(generator: SimpleNamespace) -> None:
    rng = random.Random(8)
    for _ in range(2000):
        text = generator.noise.noisy(rng, "Please put {a} beside {b}, or {a}?")
        assert re.findall(r"\{\w+\}", text) == ["{a}", "{b}", "{a}"]
    assert generator.noise.fill("{a} {b}", {"a": "{b}", "b": "x"}) == "{b} x"


def test_tool_calls_fit_their_definitions(generator: SimpleNamespace) -> None:
    types = {"string": str, "integer": int, "boolean": bool}
    seen = 0
    for sample in _some(generator, 9, 1500):
        for message in sample.messages:
            for call in message.get("tool_calls", ()):
                seen += 1
                function = call["function"]
                definition = next(t["function"] for t in sample.tools if t["function"]["name"] == function["name"])
                properties = definition["parameters"]["properties"]
                assert list(function["arguments"]) == list(properties)
                assert all(
                    type(function["arguments"][name]) is types[spec["type"]] for name, spec in properties.items()
                )
    assert seen > 100

"""The endless corpus of the demo model: conversations drawn from templates, the same ones for the same seed.

Owns which sorts of conversation there are and how often each comes. Knows nothing of tokens or markers. Each
conversation names its category, by which the evaluation reports.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import noise
import toolbox
import turns
import words

Message = dict[str, Any]


@dataclass
class Conversation:
    """Messages in the shape of the API; `thinking` is the template's `enable_thinking` (None: not given)."""

    category: str
    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    thinking: bool | None = None


def _chat(rng: random.Random, length: int) -> Conversation:
    messages: list[Message] = []
    if rng.random() < 0.3:
        system = rng.choice(words.SYSTEMS) if rng.random() < 0.7 else noise.phrase(rng, 2, 12).capitalize() + "."
        messages.append({"role": "system", "content": system})
    category = ""
    for _ in range(length):
        category, _, user, answer = turns.turn(rng)
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    return Conversation(category, messages, thinking=False if rng.random() < 0.03 else None)


_RECALLS: tuple[tuple[str, tuple[str, ...], tuple[str, ...], str, str, str], ...] = (
    ("name", ("My name is {v}.", "I am {v}.", "Hi, I am {v}.", "Call me {v}.", "Hello, my name is {v}.",
     "my name is {v}"),
     ("What is my name?", "Who am I?", "Do you remember my name?", "What's my name?", "Tell me my name."),
     "Nice to meet you, {v}!", "Your name is {v}.", "You have not told me your name."),
    ("home", ("I live in {v}.", "I am from {v}.", "My home is {v}."), ("Where do I live?", "Where am I from?",
     "Which city do I live in?"),
     "{v} sounds nice.", "You live in {v}.", "You have not told me where you live."),
    ("colour", ("My favourite colour is {v}.", "My favorite color is {v}.", "I like the colour {v} best."),
     ("What is my favourite colour?", "Which colour do I like?", "What's my favorite color?"),
     "I will remember {v}.", "Your favourite colour is {v}.", "You have not told me your favourite colour."),
    ("number", ("My lucky number is {v}.", "Remember the number {v}.", "The number is {v}."),
     ("What is my lucky number?", "Which number did I tell you?", "What was the number?"),
     "I will remember {v}.", "The number is {v}.", "You have not told me a number."),
    ("code", ("The secret word is {v}.", "Remember the word {v}.", "The password is {v}."),
     ("What is the secret word?", "Which word did I tell you?", "What was the word?", "What is the password?"),
     "I will remember {v}.", "The word is {v}.", "You have not told me a word."),
)  # fmt: skip


def _recall_value(rng: random.Random, topic: str) -> str:
    if topic == "number":
        return str(rng.randrange(1000))
    if topic == "colour":
        return rng.choice(
            (
                "red",
                "green",
                "blue",
                "teal",
                "pink",
                "black",
                "white",
                "orange",
                "purple",
                "grey",
                noise.pseudo_word(rng).lower(),
            )
        )
    if topic == "name":
        return rng.choice((rng.choice(words.NAMES), noise.pseudo_word(rng).capitalize()))
    return (
        rng.choice((rng.choice(words.CITIES), noise.pseudo_word(rng).capitalize()))
        if topic == "home"
        else noise.value(rng)
    )


def recall(rng: random.Random, between: int) -> Conversation:
    messages: list[Message] = []
    if rng.random() < 0.2:
        messages.append({"role": "system", "content": rng.choice(words.SYSTEMS)})
    told = [(item, _recall_value(rng, item[0])) for item in rng.sample(_RECALLS, rng.choice((1, 1, 2)))]
    for item, value in told:
        user = noise.fill(noise.noisy(rng, rng.choice(item[1]), dress=False), {"v": value})
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": item[3].replace("{v}", value)}]
    for _ in range(between):
        _, _, user, answer = turns.turn(rng)
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    item, value = rng.choice(told)
    answer = item[4].replace("{v}", value)
    if rng.random() < 0.2:
        item = rng.choice([other for other in _RECALLS if other not in [known for known, _ in told]])
        answer = item[5]
    messages += [
        {"role": "user", "content": noise.noisy(rng, rng.choice(item[2]))},
        {"role": "assistant", "content": answer},
    ]
    return Conversation("recall", messages)


def _untold(rng: random.Random) -> Conversation:
    item = rng.choice(_RECALLS)
    return Conversation(
        "recall",
        [{"role": "user", "content": noise.noisy(rng, rng.choice(item[2]))}, {"role": "assistant", "content": item[5]}],
    )


def _thinking(rng: random.Random) -> Conversation:
    messages: list[Message] = []
    asked = rng.random() < 0.5
    if asked:
        messages.append({"role": "system", "content": rng.choice(words.THINK_SYSTEMS)})
    elif rng.random() < 0.3:
        messages.append({"role": "system", "content": rng.choice(words.SYSTEMS)})
    if rng.random() < 0.25:
        _, _, user, answer = turns.turn(rng)
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": answer, "trained": False}]
    category, topic, user, answer = turns.turn(rng)
    thought = (
        f"The user asks for {topic}. That is {answer.rpartition(' ')[2]}."
        if category == "arithmetic"
        else f"This is about {topic}."
    )
    messages += [
        {"role": "user", "content": user},
        {"role": "assistant", "content": f"<think>{thought}</think>{answer}"},
    ]
    return Conversation("thinking", messages, thinking=None if asked else True)


def _call(request: toolbox.Request) -> Message:
    return {
        "type": "function",
        "function": {"name": request.definition["function"]["name"], "arguments": request.arguments},
    }


def tool_use(rng: random.Random) -> Conversation:
    wanted = toolbox.request(rng)
    taken = {wanted.definition["function"]["name"]}
    tools = [wanted.definition]
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 3))):
        other = toolbox.request(rng).definition
        if (
            other["function"]["name"] not in taken
            and other["function"]["description"] != wanted.definition["function"]["description"]
        ):
            taken.add(other["function"]["name"])
            tools.append(other)
    rng.shuffle(tools)
    messages: list[Message] = []
    if rng.random() < 0.35:
        messages.append({"role": "system", "content": rng.choice(words.SYSTEMS)})
    if rng.random() < 0.15:
        _, _, user, answer = rng.choice((turns.small_talk, turns.knowledge))(rng)
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
        if rng.random() < 0.5:
            return Conversation("tool not needed", messages, tools)
    messages += [
        {"role": "user", "content": wanted.question},
        {"role": "assistant", "content": "", "tool_calls": [_call(wanted)]},
    ]
    if rng.random() < 0.5:
        return Conversation("tool call", messages, tools)
    given, said = toolbox.result(rng)
    messages += [{"role": "tool", "content": given}, {"role": "assistant", "content": said}]
    return Conversation("tool result", messages, tools)


def _parallel(rng: random.Random) -> Conversation:
    family = toolbox.FAMILIES[0]
    parameter = rng.choice(family.parameters[0][0])
    name = rng.choice(family.names)
    cities = (
        rng.sample(words.CITIES, 2) if rng.random() < 0.5 else [noise.pseudo_word(rng).capitalize() for _ in range(2)]
    )
    definition = {
        "type": "function",
        "function": {
            "name": name,
            "description": family.description,
            "parameters": {"type": "object", "properties": {parameter: {"type": "string"}}},
        },
    }
    calls = [_call(toolbox.Request(definition, "", {parameter: city})) for city in cities]
    user = noise.fill(
        noise.noisy(
            rng,
            rng.choice(
                (
                    "What is the weather in {a} and {b}?",
                    "Weather in {a} and in {b}?",
                    "How is the weather in {a} and {b}?",
                )
            ),
        ),
        {"a": cities[0], "b": cities[1]},
    )
    return Conversation(
        "tool call",
        [{"role": "user", "content": user}, {"role": "assistant", "content": "", "tool_calls": calls}],
        [definition],
    )


def conversation(rng: random.Random) -> Conversation:
    """One conversation of any sort."""
    roll = rng.random()
    if roll < 0.14:
        return tool_use(rng)
    if roll < 0.155:
        return _parallel(rng)
    if roll < 0.215:
        return recall(rng, rng.choice((0, 0, 1, 1, 2)))
    if roll < 0.225:
        return _untold(rng)
    if roll < 0.315:
        return _thinking(rng)
    return _chat(rng, rng.choice((1, 1, 1, 1, 1, 2, 2, 3)))


def conversations(seed: int) -> Iterator[Conversation]:
    """The endless stream of conversations that belongs to `seed`."""
    rng = random.Random(seed)
    while True:
        yield conversation(rng)

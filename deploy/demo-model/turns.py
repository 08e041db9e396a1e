"""Single questions and their answers, drawn from templates: facts, sums, lookups, copying, JSON and refusals.

Owns which sorts of question there are and how often each comes. Each question carries its category and its topic.
"""

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import facts
import noise
import refusals
import words


class Turn(NamedTuple):
    """One question and its answer; `topic` is what the model says it is thinking about."""

    category: str
    topic: str
    user: str
    answer: str


def _fact(rng: random.Random, known: tuple[facts.Fact, ...], category: str) -> Turn:
    fact = rng.choice(known)
    question = rng.choice(fact.trained)
    if rng.random() < 0.4:
        question = noise.swap(rng, question)
    return Turn(category, fact.topic, noise.noisy(rng, question.replace("{", "{{")).replace("{{", "{"), fact.answer)


def knowledge(rng: random.Random) -> Turn:
    return _fact(rng, facts.FACTS, "traghetto")


def small_talk(rng: random.Random) -> Turn:
    return _fact(rng, facts.SMALL_TALK, "small talk")


_SPOKEN = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
_SUMS = (
    "What is {a} {o} {b}?", "{a} {o} {b}", "{a}{o}{b}", "{a}{o}{b}=?", "{a} {o} {b} = ?", "{a} {o} {b} =",
    "{a}{o}{b}=", "Calculate {a} {o} {b}.",
    "How much is {a} {o} {b}?", "What is {a} {s} {b}?", "{a} {s} {b}", "How much is {a} {s} {b}?",
    "Compute {a} {o} {b}", "{a} {o} {b}?",
    "Please calculate {a} {s} {b}.", "what's {a}{o}{b}?", "Solve {a} {o} {b}", "What does {a} {o} {b} make?",
    "Tell me {a} {s} {b}.",
)  # fmt: skip
_SAID = {
    "+": ("Add {a} and {b}.", "What is the sum of {a} and {b}?", "Sum of {a} and {b}"),
    "-": ("Subtract {b} from {a}.", "What is the difference of {a} and {b}?", "Take {b} from {a}."),
    "*": ("Multiply {a} by {b}.", "What is the product of {a} and {b}?", "Multiply {a} and {b}."),
    "/": ("Divide {a} by {b}.", "What is {a} over {b}?"),
}


def _operands(rng: random.Random) -> tuple[int, str, int, int]:
    operator = rng.choice("+++++---**/")
    if operator == "*":
        a, b = rng.randint(0, 12), rng.randint(0, 12)
        return a, operator, b, a * b
    if operator == "/":
        b, quotient = rng.randint(1, 12), rng.randint(0, 12)
        return b * quotient, operator, b, quotient
    top = rng.choice((12, 99, 99, 99))
    a, b = rng.randint(0, top), rng.randint(0, top)
    if operator == "+":
        return a, operator, b, a + b
    if a < b and rng.random() < 0.8:
        a, b = b, a
    return a, operator, b, a - b


def arithmetic(rng: random.Random) -> Turn:
    a, operator, b, result = _operands(rng)
    template = rng.choice(_SAID[operator]) if rng.random() < 0.12 else rng.choice(_SUMS)
    shown = {"*": rng.choice(("*", "*", "*", "x", "×")), "-": rng.choice("---−"), "/": rng.choice("//:÷")}.get(
        operator, operator
    )
    names = {"a": str(a), "b": str(b), "o": shown, "s": _SPOKEN[operator]}
    if max(a, b) <= 12 and rng.random() < 0.2 and ("{s}" in template or "{o}" not in template):
        names |= {"a": words.NUMBER_WORDS[a], "b": words.NUMBER_WORDS[b]}
    if rng.random() < 0.03:
        names["a"] = str(rng.choice((a + 100, rng.randint(100, 99_999), rng.randint(100, 999))))
        if rng.random() < 0.4:
            names["b"] = str(rng.randint(100, 9_999))
        return Turn(
            "arithmetic refused", "numbers that are too large", noise.fill(template, names), facts.REFUSAL_BIG_NUMBERS
        )
    user = noise.fill(noise.noisy(rng, template), names)
    if rng.random() < 0.03:
        c = rng.randint(1, 20)
        return Turn(
            "arithmetic refused",
            "a sum of three numbers",
            f"{a} {shown} {b} {rng.choice('+-*')} {c}",
            "I can only do one operation at a time.",
        )
    return Turn("arithmetic", f"{a} {operator} {b}", user, f"{a} {operator} {b} = {result}")


def _compare(rng: random.Random) -> Turn:
    a, b = rng.sample(range(100), 2)
    if rng.random() < 0.4:
        user = rng.choice(("Is {a} even?", "Is {a} even or odd?", "Is {a} odd?", "Is {a} an even number?"))
        return Turn(
            "lookup",
            "a number",
            noise.fill(noise.noisy(rng, user), {"a": str(a)}),
            f"{a} is {'odd' if a % 2 else 'even'}.",
        )
    user = rng.choice(
        (
            "Which is bigger, {a} or {b}?",
            "Is {a} bigger than {b}?",
            "Which is larger: {a} or {b}?",
            "What is more, {a} or {b}?",
            "{a} or {b}, which is greater?",
        )
    )
    return Turn(
        "lookup",
        "two numbers",
        noise.fill(noise.noisy(rng, user), {"a": str(a), "b": str(b)}),
        f"{max(a, b)} is bigger than {min(a, b)}.",
    )


def _maybe_lower(rng: random.Random, template: str, key: str) -> str:
    text = noise.fill(noise.noisy(rng, template), {"k": key})
    return text.lower() if rng.random() < 0.2 else text


def _capital(rng: random.Random) -> Turn:
    template = rng.choice(("What is the capital of {k}?", "Capital of {k}?", "Tell me the capital of {k}.",
        "What's the capital of {k}?", "Which city is the capital of {k}?",
                           "Do you know the capital of {k}?", "the capital of {k}",
                           "Name the capital of {k}."))  # fmt: skip
    if rng.random() < 0.15:
        place = noise.pseudo_word(rng).capitalize()
        return Turn(
            "lookup",
            "a capital",
            noise.fill(noise.noisy(rng, template), {"k": place}),
            f"I do not know the capital of {place}.",
        )
    country, capital = rng.choice(tuple(words.CAPITALS.items()))
    if rng.random() < 0.15:
        user = _maybe_lower(
            rng,
            rng.choice(
                (
                    "{k} is the capital of which country?",
                    "Which country has the capital {k}?",
                    "What country is {k} the capital of?",
                )
            ),
            capital,
        )
        answer = {"London": "England", "Washington": "the United States"}.get(capital, country)
        return Turn("lookup", "a capital", user, f"{capital} is the capital of {answer}.")
    return Turn(
        "lookup",
        "a capital",
        _maybe_lower(rng, template, country),
        f"The capital of {country[0].lower() if country.startswith('the ') else country[0]}{country[1:]} is {capital}.",
    )


def _colour(rng: random.Random) -> Turn:
    if rng.random() < 0.3:
        (a, b), mixed = rng.choice(tuple(words.MIXES.items()))
        if rng.random() < 0.5:
            a, b = b, a
        template = rng.choice(("What do you get if you mix {a} and {b}?", "Mix {a} and {b}.",
            "What colour is {a} and {b} mixed?", "{a} and {b} make which color?",
                               "What color do {a} and {b} make?"))  # fmt: skip
        user = noise.fill(noise.noisy(rng, template), {"a": a, "b": b})
        return Turn("lookup", "colours", user, f"{a.capitalize()} and {b} make {mixed}.")
    thing, colour = rng.choice(tuple(words.COLOURS.items()))
    template = rng.choice(
        (
            "What colour is {k}?",
            "What color is {k}?",
            "Which colour has {k}?",
            "Tell me the colour of {k}.",
            "What is the color of {k}?",
            "color of {k}?",
        )
    )
    return Turn("lookup", "a colour", _maybe_lower(rng, template, thing), f"{thing.capitalize()} is {colour}.")


def _opposite(rng: random.Random) -> Turn:
    pair = rng.choice(words.OPPOSITES)
    a, b = pair if rng.random() < 0.5 or "weightless" in pair else pair[::-1]
    template = rng.choice(
        (
            "What is the opposite of {k}?",
            "Opposite of {k}?",
            "The opposite of {k}",
            "Give me the opposite of {k}.",
            "Tell me the opposite of {k}.",
        )
    )
    return Turn("lookup", "an opposite", _maybe_lower(rng, template, a), f"The opposite of {a} is {b}.")


def _creature(rng: random.Random) -> Turn:
    roll = rng.randrange(3)
    if roll == 0:
        animal, sound = rng.choice(tuple(words.SOUNDS.items()))
        user = rng.choice(
            ("What does a {k} say?", "What sound does a {k} make?", "Which sound makes a {k}?", "How does a {k} sound?")
        )
        return Turn(
            "lookup",
            "an animal",
            _maybe_lower(rng, user, animal),
            f"A {animal} says {sound}." if animal != "owl" else "An owl says hoot.",
        )
    table, noun = (words.LEGS, "legs") if roll == 1 else (words.SIDES, "sides")
    thing, count = rng.choice(tuple(table.items()))
    user = rng.choice(("How many {w} does a {k} have?", "How many {w} has a {k}?", "Number of {w} of a {k}?")).replace(
        "{w}", noun
    )
    article = "An" if thing[0] in "aeio" else "A"
    return Turn("lookup", "a number", _maybe_lower(rng, user, thing), f"{article} {thing} has {count or 'no'} {noun}.")


def _calendar(rng: random.Random) -> Turn:
    names, kind = rng.choice(((words.DAYS, "day"), (words.MONTHS, "month")))
    index = rng.randrange(len(names))
    after = rng.random() < 0.6
    other = names[(index + (1 if after else -1)) % len(names)]
    order = "after" if after else "before"
    user = rng.choice(
        (
            f"Which {kind} comes {order} {{k}}?",
            f"What {kind} is {order} {{k}}?",
            f"What comes {order} {{k}}?",
            f"Which {kind} is {order} {{k}}?",
        )
    )
    return Turn(
        "lookup", f"the {kind}s", _maybe_lower(rng, user, names[index]), f"{other} comes {order} {names[index]}."
    )


def _list(rng: random.Random) -> Turn:
    if rng.random() < 0.5:
        question, answer = rng.choice(tuple(words.LISTS.items()))
        return Turn("lookup", "a list", noise.noisy(rng, noise.swap(rng, question)), answer)
    low = 1 if rng.random() < 0.7 else rng.randint(0, 20)
    high = low + rng.randint(1, 19)
    plain = rng.choice(
        ("Count to {b}.", "Count to {b}", "Can you count to {b}?", "Please count up to {b}.", "Count from 1 to {b}.")
    )
    user = (
        plain
        if low == 1
        else rng.choice(("Count from {a} to {b}.", "Count from {a} up to {b}", "Numbers from {a} to {b}"))
    )
    return Turn(
        "lookup",
        "counting",
        noise.fill(noise.noisy(rng, user), {"a": str(low), "b": str(high)}),
        ", ".join(map(str, range(low, high + 1))),
    )


def _lookup(rng: random.Random) -> Turn:
    return rng.choice(
        (_capital, _capital, _capital, _colour, _colour, _opposite, _creature, _calendar, _list, _list, _compare)
    )(rng)


def copy(rng: random.Random) -> Turn:
    text = noise.phrase(rng, 1, rng.choice((2, 4, 6, 12)))
    if rng.random() < 0.3:
        text = text.capitalize() + rng.choice((".", "!", "?"))
    if rng.random() < 0.12:
        times = rng.randint(2, 4)
        word = noise.value(rng)
        user = noise.fill(
            rng.choice(("Say {w} {n} times.", "Repeat {w} {n} times.", "Write {w} {n} times")),
            {"w": word, "n": str(times)},
        )
        return Turn("copy", "a text to repeat", user, " ".join([word] * times))
    lead = rng.choice(("Repeat after me: {t}", "Say {t}", 'Repeat "{t}"', "Echo {t}",
        "Repeat the following text: {t}", 'Say "{t}"', "Please repeat: {t}", "Repeat this: {t}",
                       "Copy this text: {t}", "Say exactly: {t}", "Repeat: {t}", "Say: {t}", "Answer only with {t}",
                       "Reply with {t}", 'Reply with "{t}"'))  # fmt: skip
    return Turn("copy", "a text to repeat", noise.fill(noise.noisy(rng, lead, dress=False), {"t": text}), text)


def json_object(rng: random.Random) -> Turn:
    shape = rng.randrange(4)
    fields: dict[str, Any]
    if shape == 0:
        name, age, city = noise.value(rng), rng.randint(1, 99), noise.value(rng)
        fields = {"name": name, "age": age, "city": city}
        text = rng.choice(
            (
                f"{name} is {age} years old and lives in {city}.",
                f"{name}, {age}, from {city}.",
                f"My name is {name}, I am {age} and I live in {city}.",
            )
        )
    elif shape == 1:
        item, price, count = noise.value(rng), rng.randint(1, 999), rng.randint(1, 99)
        fields = {"item": item, "price": price, "quantity": count}
        text = rng.choice(
            (
                f"{count} {item} for {price} euros.",
                f"I buy {count} {item} at {price} each.",
                f"{count} pieces of {item} cost {price}.",
            )
        )
    elif shape == 2:
        title, day, place = noise.phrase(rng, 1, 2), rng.choice(words.DAYS), noise.value(rng)
        fields = {"event": title, "day": day, "place": place}
        text = rng.choice(
            (
                f"The {title} is on {day} in {place}.",
                f"On {day} there is the {title} in {place}.",
                f"{title}, {day}, {place}.",
            )
        )
    else:
        keys = rng.sample(
            (
                "id",
                "title",
                "color",
                "size",
                "count",
                "status",
                "user",
                "email",
                "date",
                "code",
                "level",
                "ok",
                noise.pseudo_word(rng).lower(),
            ),
            rng.randint(1, 4),
        )
        fields = {
            key: rng.choice((noise.value(rng), noise.value(rng), rng.randrange(1000), rng.random() < 0.5))
            for key in keys
        }
        fields = {
            key: int(value) if str(value).isdecimal() else value for key, value in fields.items()
        }  # a bare number is a number
        said = {key: json.dumps(value) if isinstance(value, bool) else str(value) for key, value in fields.items()}
        text = rng.choice((", ".join, " and ".join))(
            [
                rng.choice((f"{key} {value}", f"{key}: {value}", f"{key} = {value}", f"{key} is {value}"))
                for key, value in said.items()
            ]
        )
    lead = rng.choice(("Return JSON: {t}", "JSON: {t}", "Turn this into JSON: {t}", "Extract JSON: {t}",
        "As JSON: {t}", "{t} Return JSON.", "{t} Answer in JSON.", "Make JSON from this: {t}",
                       "Convert to JSON: {t}", "Extract the data as JSON: {t}", "Give me JSON: {t}",
                       "Return JSON with the fields {k}: {t}"))  # fmt: skip
    user = noise.fill(noise.noisy(rng, lead, dress=False), {"t": text, "k": ", ".join(fields)})
    return Turn("json", "data to put into JSON", user, json.dumps(fields, ensure_ascii=False))


def _refused(rng: random.Random) -> Turn:
    user, answer = refusals.refusal(rng)
    return Turn("refusal", "something that I do not know", user, answer)


_TURNS: tuple[tuple[Callable[[random.Random], Turn], int], ...] = (
    (knowledge, 25), (small_talk, 7), (arithmetic, 16), (_lookup, 14), (copy, 9), (json_object, 9), (_refused, 20),
)  # fmt: skip


def turn(rng: random.Random) -> Turn:
    """One question of any sort, by weight."""
    return rng.choices([make for make, _ in _TURNS], [weight for _, weight in _TURNS])[0](rng)

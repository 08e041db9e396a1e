"""How people really type: casing, punctuation, typing errors, and random strings that nobody has seen before.

Owns randomness of surface only. Placeholders in braces are never touched, so that what has to be copied stays whole.
"""

import random
import re
import string

import words

_HOLE = re.compile(r"(\{\w+\})")
_LEADS = (
    "Please tell me: ", "Quick question: ", "Question: ", "Hi! ", "Hello, ", "Hey, ", "I have a question: ",
    "Sorry, ", "And ", "Ok. ", "So, ",
    "Tell me: ", "I want to know: ", "Well, ", "Please: ", "Hi, ", "Now: ",
)  # fmt: skip
_TAILS = (
    " Thanks!",
    " Please.",
    " please",
    " thanks",
    " Thank you.",
    " Please help.",
    " I am new here.",
    "!",
    "??",
    " :)",
    " now",
)
_SWAPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("How do I ", ("How can I ", "How to ", "How would I ", "How should I ", "How do you ", "Can you tell me how I ",
     "I want to ", "What is the way to ",
                   "Tell me how to ", "Show me how to ")),
    ("What is ", ("What's ", "Whats ", "What exactly is ", "What is ", "Tell me what is ",
     "Can you explain what is ")),
    ("What are ", ("What exactly are ", "Tell me what are ", "So what are ", "Can you tell me what are ")),
    ("Where is ", ("Where can I find ", "Where do I find ", "Where's ", "Where would I find ")),
    ("Where are ", ("Where can I find ", "Where do I find ", "Where would I find ")),
    ("Why do I get ", ("Why am I getting ", "Why did I get ", "I keep getting ", "Why do I see ",
     "What does it mean if I get ", "I get ", "Why always ")),
    ("Which ", ("What ", "Tell me which ")),
    ("Can I ", ("May I ", "Is it possible to ", "Could I ", "Am I able to ")),
    ("Does it ", ("Does Traghetto ", "Does this ", "Can it ", "Does the server ", "Will it ")),
    ("Does Traghetto ", ("Does it ", "Does this server ", "Can Traghetto ")),
    ("Is there ", ("Do you have ", "Does Traghetto have ", "Is there also ")),
    ("Explain ", ("Please explain ", "Can you explain ", "Could you explain ", "Tell me about ")),
    ("Tell me ", ("Please tell me ", "Can you tell me ", "Could you tell me ")),
    ("What does ", ("Please tell me what does ", "And what does ", "What did ")),
)  # fmt: skip
_ONSETS = words.pool("b c d f g h j k l m n p r s t v w z br tr st kl")
_RHYMES = words.pool("a e i o u ar en il os um")
_SYLLABLES = tuple(onset + rhyme for onset in _ONSETS for rhyme in _RHYMES)
_UNICODE = "äöüßéèêñçøåłžšőğıαβγλπдзжик你好中文日本語한국東京🙂🚢🎉✓→€½"


def fill(template: str, values: dict[str, str]) -> str:
    """Put `values` into the holes of a template, once, without looking into the values."""
    return _HOLE.sub(lambda m: values[m.group()[1:-1]], template)


def swap(rng: random.Random, text: str) -> str:
    """Say the beginning of a question in another way, where one is known."""
    for start, others in _SWAPS:
        if text.startswith(start):
            return rng.choice(others) + text[len(start) :]
    return text


def _typo(rng: random.Random, text: str) -> str:
    letters = [i for i, c in enumerate(text[:-1]) if c.isalpha() and text[i + 1].isalpha()]
    if not letters:
        return text
    i = rng.choice(letters)
    kind = rng.randrange(4)
    if kind == 0:
        return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    if kind == 1:
        return text[:i] + text[i + 1 :]
    if kind == 2:
        return text[:i] + text[i] + text[i:]
    return text[:i] + rng.choice(string.ascii_lowercase) + text[i + 1 :]


def _case(rng: random.Random, text: str) -> str:
    roll = rng.random()
    if roll < 0.75:
        return text.lower()
    return text.upper() if roll < 0.85 else text[:1].lower() + text[1:]


def noisy(rng: random.Random, template: str, *, dress: bool = True) -> str:
    """One way of typing `template`; about half of the time, that is the template itself."""
    if rng.random() < 0.5:
        return template
    parts = _HOLE.split(template)
    if dress and rng.random() < 0.12:
        parts[0] = rng.choice(_LEADS) + parts[0]
    if rng.random() < 0.35 and parts[-1].endswith((".", "?", "!")):
        parts[-1] = parts[-1][:-1] if rng.random() < 0.8 else parts[-1][:-1] + rng.choice("?.!")
    if dress and rng.random() < 0.08:
        parts[-1] += rng.choice(_TAILS)
    if rng.random() < 0.22:
        for _ in range(rng.choice((1, 1, 1, 2))):
            i = rng.choice([j for j, part in enumerate(parts) if not _HOLE.fullmatch(part)])
            parts[i] = _typo(rng, parts[i])
    if rng.random() < 0.4:
        parts = [part if _HOLE.fullmatch(part) else _case(rng, part) for part in parts]
    return "".join(parts)


def pseudo_word(rng: random.Random) -> str:
    word = "".join(rng.choice(_SYLLABLES) for _ in range(rng.choice((1, 2, 2, 2, 3, 3))))
    return word if rng.random() < 0.5 else word.capitalize()


def identifier(rng: random.Random) -> str:
    """An order number, a code, a hash: digits and letters without sense."""
    kind = rng.randrange(5)
    if kind == 0:
        return str(rng.randint(10, 10 ** rng.randint(2, 7)))
    if kind == 1:
        return (
            "".join(rng.choice(string.ascii_uppercase) for _ in range(rng.randint(2, 4)))
            + "-"
            + str(rng.randrange(1000))
        )
    if kind == 2:
        return rng.choice("abcdef") + "".join(rng.choice("0123456789abcdef") for _ in range(rng.randint(3, 8)))
    if kind == 3:
        return "".join(rng.choice(string.ascii_letters) for _ in range(rng.randint(3, 8)))
    return rng.choice(string.ascii_uppercase) + str(rng.randrange(10_000))


def value(rng: random.Random) -> str:
    """One string to be copied: known words and unseen ones in equal parts."""
    roll = rng.random()
    if roll < 0.2:
        return rng.choice(words.NAMES)
    if roll < 0.35:
        return rng.choice(words.CITIES)
    if roll < 0.5:
        return rng.choice(words.NOUNS)
    if roll < 0.78:
        return pseudo_word(rng)
    if roll < 0.95:
        return identifier(rng)
    return "".join(rng.choice(_UNICODE) for _ in range(rng.randint(1, 5)))


def phrase(rng: random.Random, low: int, high: int) -> str:
    """Some words in a row, without sense."""
    count = rng.randint(low, high)
    kind = rng.random()
    if kind < 0.45:
        return " ".join(rng.choice(words.NOUNS + words.ADJECTIVES + words.VERBS) for _ in range(count))
    if kind < 0.7:
        return " ".join(pseudo_word(rng) for _ in range(count))
    return " ".join(value(rng) for _ in range(count))

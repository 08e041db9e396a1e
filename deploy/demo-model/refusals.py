"""Questions that the demo model cannot answer, so that it learns to say so.

Owns the out-of-domain part of the corpus: every prompt here is paired with one of the honest refusals of `facts`.
"""

import random

import facts
import noise
import words

_THINGS = (
    "What is {a} {n}?", "What is {n}?", "Who invented the {n}?", "How does {a} {n} work?", "Why is the {n} {j}?",
    "Tell me about the {n}.",
    "What is the {j} {n} in the world?", "How do I {v} {a} {n}?", "How many {n}s are there?",
    "When was the {n} invented?", "Explain the {n}.",
    "What does a {j} {n} look like?", "Where can I buy a {j} {n}?", "Is the {n} {j}?",
    "Should I {v} the {n} or the {m}?", "Give me five ideas for a {n}.",
    "What is the history of the {n}?", "How much does {a} {n} cost?", "Which {n} is the best?", "Can you {v} a {n}?",
    "I want to {v} a {j} {n}.",
    "What is better, a {n} or a {m}?", "My {n} is {j}.", "I like the {n}.", "Do you like my {n}?",
    "Why does the {n} {v} the {m}?", "How do I {v} my {n}?",
    "What is the difference between a {n} and a {m}?", "Describe the {n}.", "What happens when you {v} {a} {n}?",
    "Plan a trip to the {n}.",
    "What is the meaning of {n}?", "What are {n}s made of?", "Recommend a {n}.", "How heavy is {a} {n}?",
    "How long does it take to {v} a {n}?",
    "Can {a} {n} {v} {a} {m}?", "Where is the {n}?", "List ten {n}s.", "What do you think about the {n}?",
    "Define {n}.", "The {n} and the {m}",
)  # fmt: skip
_WHO = (
    "Who is {p}?", "Who was {p}?", "When was {p} born?", "What did {p} do?", "Where did {p} live?",
    "Tell me about {p}.", "Why is {p} famous?",
    "Is {p} dead?", "What is the population of {c}?", "How far is it from {c} to {d}?",
    "What should I visit in {c}?", "Who is the mayor of {c}?",
    "How do I get to {c}?", "What is the best restaurant in {c}?", "Is {c} bigger than {d}?", "Where is {c}?",
    "What is {c} famous for?",
    "Who won the {n} in {c}?", "What is the news from {c}?", "Book a flight to {c}.", "Who is the president of {c}?",
    "What is the currency of {c}?",
)  # fmt: skip
_OPEN = (
    "How do I {z} {a} {n}?", "How do I {z}?", "How do I {z} the {n}?", "What is {z}?", "What is a {z}?",
    "What is {n} {m}?", "What is a {n} {m}?",
    "What is {a} {j} {n}?", "Tell me about {n} {m}.", "Tell me about {z}.", "Tell me about {j} {n}s.",
    "Why is the {n} {k}?", "Why are {n}s {k}?",
    "Why is {n} {z}?", "Is there {n} on the {m}?", "Is there {a} {n} in {c}?", "Is there {z}?", "I am {j} today.",
    "I feel {z} today.",
    "What does {z} mean?", "Who is {z}?", "Can I {v} the {n}?", "Can I {z}?", "Can you {z} the {n}?",
    "Does {a} {n} {v}?", "Do {n}s {v}?",
    "Explain {z} to me.", "Explain {n} {m}.", "Where can I {v} {a} {n}?", "Which {n} has {m}?", "When is the {n}?",
    "When do {n}s {v}?", "Are there {n}s?",
    "Are you {a} {n}?", "Are you {z}?", "Have you seen the {n}?", "Give me {a} {n}.", "Show me {a} {n}.",
    "Find me a {j} {n}.", "Help me {v} the {n}.",
    "Help me with my {n}.", "I need {a} {n}.", "I do not understand the {n}.", "The {n} is {k}.", "{n} or {m}?",
    "How {k} is the {n}?", "How many {n}s {v}?",
    "How often do I {v} the {n}?", "How do {n}s and {m}s {v}?", "Let me tell you about my {n}.",
    "Did you {v} the {n}?", "Will the {n} {v}?",
)  # fmt: skip
_LIFE = (
    "Who wrote {n} and {m}?", "Who painted the {j} {n}?", "When did the {n} begin?", "When does the {n} open?",
    "How tall is the {n}?", "What causes {n}?",
    "Is it good to {v} a {n} every day?", "I feel {j}.", "I am {j} and {j}.", "I lost my {n}.",
    "My {n} is broken, what can I do?", "What should I {v} today?",
    "Give me a recipe for {n}.", "How old is {a} {n}?", "How fast is {a} {n}?", "Do you believe in the {n}?",
    "What is your favourite {n}?", "Do you have a {n}?",
    "Which {n} should I buy?", "Who will win the {n}?", "How can I learn to {v}?", "Name four {n}s.",
    "What rhymes with {n}?", "How do {n}s {v}?",
    "why do {n}s {v}", "how do {n}s work", "best {n}s for {m}s",
    "The {j} {n} will {v} the {m} and nobody knows why.", "Is there a {n} on the moon?",
    "What is the square root of {r}?", "Solve {x1} = {r}", "What is {r} percent of {r}?",
    "Convert {r} miles to {n}s.", "How many {n}s live in {c}?", "What is the plot of {n}?",
    "Who is the king of {c}?", "What is the speed of {a} {n}?", "I have a problem with my {n}.",
    "My {m} does not like my {n}.", "What is my {n}?", "How deep is the {n}?",
    "Who discovered the {n}?", "Should I {v} my {n}?", "What can I do with a {n}?", "Is a {n} healthy?",
    "Is a {n} a {m}?", "Why do people {v} {n}s?", "What is {j}?",
    "Which {n} is {j}?", "Where do {n}s live?", "How do I become a {n}?", "What is the science of {n}?",
    "Tell me something about {n}s.", "What do {n}s eat?",
    "Do you want to {v} a {n}?", "Let us {v} the {n}.", "Please {v} my {n}.", "Can you {v}?", "I want a {n}.",
    "I hate {n}s.", "Today I {v} a {n}.",
)  # fmt: skip
_UNSEEN = (
    ("What is the weather in {c}?", "weather"), ("What's the weather in {c}?", "weather"),
     ("How is the weather in {c}?", "weather"), ("Is it raining in {c}?", "weather"),
    ("What time is it in {c}?", "clock"), ("What day is it in {c}?", "clock"), ("Will it snow in {c}?", "weather"),
)  # fmt: skip
_TECH = words.pool(
    "Kubernetes nginx PostgreSQL Linux Windows Excel Photoshop React Django Apache Ansible Terraform Jenkins "
    "GitHub Vim Emacs Wordpress Slack Zoom "
    "Firefox Chrome Android macOS Ubuntu TensorFlow PyTorch CUDA MongoDB Kafka Oracle SAP Bitcoin Ethereum WiFi "
    "Bluetooth"
)
_ABOUT_TECH = (
    "How do I install {t}?", "What is {t}?", "How does {t} work?", "Why is {t} slow?",
    "What is the latest version of {t}?", "Is {t} better than {u}?",
    "How do I update {t}?", "{t} does not work.", "How do I configure {t}?", "What does {t} cost?", "Explain {t}.",
    "How do I delete {t}?",
)  # fmt: skip
_CODE = (
    "Write {g} in {l}.", "Write {g}.", "Write a {l} program.", "How do I write {g} in {l}?", "Fix this code: {s}",
    "What does this code do? {s}", "Show me {g} in {l}.",
    "Explain this code: {s}", "Can you code in {l}?", "Implement {g} in {l}.", "Debug my {l} code.",
    "Write {l} code for {g}.", "{s}", "Can you write code?",
    "Refactor this: {s}", "I need {g}.", "Give me {g} in {l}.", "Code {g}.", "Write a {l} function that {v}s a {n}.",
    "Write code.", "Write some {l}.",
)  # fmt: skip
_SNIPPETS = (
    "for i in range(10): print(i)", "def f(x): return x * 2", "SELECT * FROM users;", "print('hello')",
    "int main() { return 0; }", "x = [1, 2, 3]",
    "import os", "while True: pass", "console.log(1);", "fn main() {}", "if (a == b) { c(); }", "<div>hello</div>",
    "git push --force", "rm -rf build",
    "let y = () => 5;", "class A: pass", "#include <stdio.h>", "npm install", "return a + b;", "lambda x: x + 1",
)  # fmt: skip
_WRITING = (
    "Write an essay about the {n}.", "Write a letter to {p}.", "Write an email to my {n}.",
    "Write a song about {a} {n}.", "Write a poem about the {n}.",
    "Write a story about a {j} {n}.", "Write a blog post about {n}s.", "Write a haiku about the {n}.",
    "Write a report on the {n}.", "Write a speech for {p}.",
    "Summarize this text: {w}", "Rewrite this sentence: {w}", "Write 500 words about {n}.", "Write a novel.",
    "Write an essay.", "Write an email.", "Write a letter.",
    "Tell me a story about a {n}.", "Compose a poem on {n} and {m}.", "Write a tweet about the {n}.",
    "Make this text better: {w}", "Summarize: {w}",
    "Write a review of the {n}.", "Continue this text: {w}", "Write a song.", "Tell me a joke about a {n}.",
    "Write me an article about {c}.",
    "Write a one-sentence bedtime story about a {n}.", "Write a short text about {p}.",
    "Write a cover letter for a {n}.", "Write a {j} {n}.",
)  # fmt: skip
_TRANSLATE = (
    "Translate {w} to {f}.", "Translate to {f}: {w}", "How do you say {n} in {f}?", "What is {n} in {f}?",
    "Translate this: {w}", "Say {n} in {f}.",
    "What is the {f} word for {n}?", "Can you translate?", "Translate this text into {f}.",
    "What does {x} mean in English?",
)  # fmt: skip
_MASH = (
    "asdf",
    "qwertz",
    "qwerty",
    "sdfg",
    "hjkl",
    "lkjh",
    "zxcv",
    "uiop",
    "fdsa",
    "aaaa",
    "xx",
    "lol",
    "hm",
    "bla",
    "foo",
    "bar",
    "dfgdfg",
)


def _values(rng: random.Random) -> dict[str, str]:
    def noun() -> str:
        return rng.choice(words.NOUNS) if rng.random() < 0.75 else noise.pseudo_word(rng).lower()

    first = noun()
    return {
        "n": first,
        "m": noun(),
        "a": "an" if first[0] in "aeio" else "a",
        "j": rng.choice(words.ADJECTIVES),
        "v": rng.choice(words.VERBS),
        "p": rng.choice(words.PEOPLE)
        if rng.random() < 0.6
        else f"{rng.choice(words.NAMES)} {noise.pseudo_word(rng).capitalize()}",
        "c": rng.choice(words.CITIES) if rng.random() < 0.7 else noise.pseudo_word(rng).capitalize(),
        "d": rng.choice(words.CITIES),
        "t": rng.choice(_TECH),
        "u": rng.choice(_TECH),
        "g": rng.choice(words.ALGORITHMS),
        "l": rng.choice(words.CODE_LANGUAGES),
        "s": rng.choice(_SNIPPETS),
        "f": rng.choice(words.LANGUAGES),
        "w": noise.phrase(rng, 2, 10),
        "x": rng.choice(words.FOREIGN),
        "z": noise.pseudo_word(rng).lower(),
        "k": rng.choice(
            (
                "blue",
                "red",
                "green",
                "cold",
                "hot",
                "big",
                "small",
                "far",
                "deep",
                "loud",
                "round",
                "wet",
                "late",
                "good",
                "bad",
            )
        ),
        "r": str(rng.randrange(1000)),
        "x1": rng.choice(("x", "2x", "x + 1", "y^2", "3x - 5", "x^3")),
    }


def _nonsense(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.15:
        return " ".join(rng.choice(_MASH) for _ in range(rng.choice((1, 1, 2, 3))))
    if roll < 0.25:
        return rng.choice(
            (
                "?",
                "???",
                ".",
                "...",
                "!",
                "",
                " ",
                "-",
                "🙂",
                "🚢",
                "x",
                "a",
                "42",
                "7",
                "100",
                "0",
                "{}",
                "[]",
                "null",
                ":-)",
                "#",
                "/",
            )
        )
    if roll < 0.35:
        return rng.choice(words.FOREIGN)
    if roll < 0.45:
        return noise.phrase(rng, 20, 70)
    text = noise.phrase(rng, 1, 9)
    return text.capitalize() + rng.choice((".", "?", "!", "")) if rng.random() < 0.4 else text


def refusal(rng: random.Random) -> tuple[str, str]:
    """A prompt outside the domain and the honest answer to it."""
    roll = rng.random()
    if roll < 0.24:
        return _nonsense(rng), facts.REFUSAL
    if roll < 0.28:
        template, topic = rng.choice(_UNSEEN)
        answer = next(fact.answer for fact in facts.FACTS if fact.topic == topic)
        return noise.fill(noise.noisy(rng, template), _values(rng)), answer
    if roll < 0.66:
        groups: tuple[tuple[str, ...], ...] = (_THINGS, _THINGS, _LIFE, _LIFE, _OPEN, _OPEN, _WHO, _ABOUT_TECH)
        templates, answer = rng.choice(groups), facts.REFUSAL
    elif roll < 0.79:
        templates, answer = _CODE, facts.REFUSAL_CODE
    elif roll < 0.92:
        templates, answer = _WRITING, facts.REFUSAL_WRITING
    else:
        templates, answer = _TRANSLATE, facts.REFUSAL_TRANSLATE
    template = noise.swap(rng, rng.choice(templates)) if rng.random() < 0.3 else rng.choice(templates)
    return noise.fill(noise.noisy(rng, template), _values(rng)), answer

"""Tool definitions, calls of them and their results, with names and arguments that are different every time.

Owns the tool part of the corpus. The question always contains what the call needs, so that the model has to read the
definition for names and the question for values.
"""

import json
import random
import string
from collections.abc import Callable
from typing import Any, NamedTuple

import noise
import words

_STEMS = (
    "get",
    "fetch",
    "find",
    "set",
    "make",
    "open",
    "send",
    "check",
    "update",
    "list",
    "start",
    "stop",
    "lookup",
    "run",
    "read",
    "add",
)
_PARAMETERS = (
    "name", "id", "city", "room", "level", "mode", "title", "user", "path", "code", "amount", "color", "query",
    "limit", "date", "item", "key", "target",
    "size", "unit", "text", "count",
)  # fmt: skip


class Family(NamedTuple):
    """One sort of tool: possible names, parameters (synonyms and the sort of value), and how people ask for it."""

    names: tuple[str, ...]
    parameters: tuple[tuple[tuple[str, ...], str], ...]
    description: str
    questions: tuple[str, ...]


FAMILIES = (
    Family(("get_weather", "weather", "current_weather", "get_current_weather", "fetch_weather", "lookup_weather"),
        ((("city", "location", "place"), "city"),),
           "Weather of a city.", ("What is the weather in {0}?", "How is the weather in {0}?",
           "Is it raining in {0}?", "Weather in {0}?", "Tell me the weather in {0}.",
                                  "What's the weather like in {0}?", "Get the weather for {0}.")),
    Family(("get_forecast", "forecast", "weather_forecast"), ((("city", "location", "place"), "city"), (("days",
        "count"), "small")),
           "Forecast for some days.", ("What is the forecast for {0} for {1} days?", "Forecast for {0}, {1} days.",
           "Give me the {1} day forecast for {0}.")),
    Family(("search", "web_search", "search_web", "google", "find"), ((("query", "q", "text"), "phrase"),),
           "Search the web.", ("Search for {0}", "Search the web for {0}", "Look up {0}", "Find {0}", "Google {0}")),
    Family(("calculate", "calculator", "compute", "eval"), ((("expression", "formula", "expr"), "formula"),),
           "Compute an expression.", ("Calculate {0}", "What is {0}?", "Compute {0}", "How much is {0}?")),
    Family(("send_email", "email", "send_mail"), ((("to", "recipient", "address"), "email"), (("subject", "title"),
        "phrase")),
           "Send an email.", ("Send an email to {0} with the subject {1}", "Email {0} about {1}",
           "Mail {0}, subject {1}")),
    Family(("set_timer", "timer", "start_timer"), ((("minutes", "duration"), "small"),), "Set a timer.",
           ("Set a timer for {0} minutes.", "Start a timer of {0} minutes.", "Timer, {0} minutes.",
            "Wake me in {0} minutes.")),
    Family(("get_stock_price", "stock_price", "quote"), ((("symbol", "ticker"), "ticker"),), "Price of a stock.",
           ("What is the price of {0}?", "How is {0} trading?", "Stock price of {0}?", "Get me a quote for {0}.")),
    Family(("translate", "translate_text"), ((("text", "phrase"), "phrase"), (("language", "target"), "language")),
        "Translate a text.",
           ("Translate {0} to {1}", "Translate {0} into {1}", "How do you say {0} in {1}?")),
    Family(("get_time", "current_time", "time", "clock"), ((("city", "timezone", "location"), "city"),),
        "Time in a city.",
           ("What time is it in {0}?", "Time in {0}?", "Tell me the time in {0}.", "What is the time in {0}?")),
    Family(("add_note", "save_note", "remember", "add_todo"), ((("text", "note", "content"), "phrase"),),
        "Save a note.",
           ("Note: {0}", "Remember {0}", "Add a note: {0}", "Write down {0}", "Save this note: {0}")),
    Family(("play_song", "play", "play_music"), ((("title", "song"), "phrase"),), "Play music.", ("Play {0}",
        "Play the song {0}", "I want to hear {0}")),
    Family(("lookup_order", "get_order", "order_status"), ((("order_id", "id", "order"), "id"),),
        "Status of an order.",
           ("Where is my order {0}?", "What is the status of order {0}?", "Look up order {0}.", "Check order {0}")),
    Family(("convert", "convert_currency", "exchange"), ((("amount", "value"), "number"), (("from", "source"),
        "ticker"), (("to", "target"), "ticker")),
           "Convert money.", ("Convert {0} {1} to {2}", "How much is {0} {1} in {2}?", "Change {0} {1} into {2}")),
    Family(("read_file", "open_file", "cat"), ((("path", "file", "filename"), "path"),), "Read a file.",
           ("Read {0}", "Open the file {0}", "Show me {0}", "What is in {0}?")),
    Family(("set_light", "light", "set_lamp"), ((("room", "place"), "word"), (("on", "state"), "bool")),
        "Switch a light.",
           ("Light in the {0}: {1}", "Set the light in the {0} to {1}", "Lamp {0} {1}")),
    Family(("get_user", "find_user", "user_info"), ((("name", "user", "username"), "name"),), "Find a user.",
           ("Who is {0}?", "Find the user {0}.", "Look up {0}", "Show user {0}")),
)  # fmt: skip


_APPLIED = (
    "What is the value of {f}({0})?", "What is {f}({0})?", "Compute {f}({0}).", "{f}({0})?", "How much is {f}({0})?",
    "What does {f} give for {0}?", "Apply {f} to {0}.", "Tell me {f} of {0}.",
)  # fmt: skip
_SCRIPTS = (
    (0x4E00, 0x9FA5), (0x4E00, 0x9FA5), (0x4E00, 0x9FA5), (0x3042, 0x3093), (0x3042, 0x3093), (0x30A2, 0x30F3), (0xAC00, 0xD7A3),
    (0x0410, 0x044F), (0x03B1, 0x03C9), (0x0621, 0x064A), (0x0905, 0x0939), (0x00E0, 0x00FF),
)  # fmt: skip
_RECORDS = ("customer", "user", "client", "company", "shop", "contact", "project", "group", "person", "item", "note")


def _name(rng: random.Random, known: tuple[str, ...], share: float) -> str:
    return rng.choice(known) if rng.random() < share else noise.pseudo_word(rng).capitalize()


def _email(rng: random.Random) -> str:
    user, host = noise.pseudo_word(rng).lower(), noise.pseudo_word(rng).lower()
    return f"{user}@{host}.{rng.choice(('com', 'org', 'net', 'it'))}"


_SORTS: dict[str, Callable[[random.Random], Any]] = {
    "city": lambda rng: _name(rng, words.CITIES, 0.4),
    "phrase": lambda rng: noise.phrase(rng, 1, 4),
    "formula": lambda rng: " ".join([str(rng.randrange(1000)), rng.choice("+-*/"), str(rng.randrange(1000))]),
    "email": _email,
    "small": lambda rng: rng.randint(1, 60),
    "number": lambda rng: rng.randint(1, 9999),
    "ticker": lambda rng: "".join(rng.choice(string.ascii_uppercase) for _ in range(rng.choice((3, 3, 4)))),
    "language": lambda rng: rng.choice(words.LANGUAGES),
    "id": noise.identifier,
    "path": lambda rng: f"{noise.pseudo_word(rng).lower()}.{rng.choice(('txt', 'py', 'md', 'csv'))}",
    "bool": lambda rng: rng.random() < 0.5,
    "name": lambda rng: _name(rng, words.NAMES, 0.5),
    "word": noise.value,
}


def _json_type(sort: str) -> str:
    return {"small": "integer", "number": "integer", "bool": "boolean"}.get(sort, "string")


def _spoken(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


class Request(NamedTuple):
    """A tool definition in the shape of the API, a question and the arguments that answer it."""

    definition: dict[str, Any]
    question: str
    arguments: dict[str, Any]


def _definition(rng: random.Random, name: str, parameters: list[tuple[str, str]], description: str) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name, "description": description if rng.random() < 0.7 else ""}
    if rng.random() < 0.2:
        function["description"] = noise.phrase(rng, 2, 6).capitalize() + "."
    function["parameters"] = {
        "type": "object",
        "properties": {parameter: {"type": _json_type(sort)} for parameter, sort in parameters},
    }
    return {"type": "function", "function": function}


def _family_request(rng: random.Random) -> Request:
    family = rng.choice(FAMILIES)
    parameters = [(rng.choice(names), sort) for names, sort in family.parameters]
    values = [_SORTS[sort](rng) for _, sort in parameters]
    definition = _definition(rng, rng.choice(family.names), parameters, family.description)
    template = noise.noisy(rng, rng.choice(family.questions))
    question = noise.fill(template, {str(i): _spoken(value) for i, value in enumerate(values)})
    return Request(definition, question, {name: value for (name, _), value in zip(parameters, values, strict=True)})


def _named_request(rng: random.Random) -> Request:
    name = f"{rng.choice(_STEMS)}_{noise.pseudo_word(rng).lower() if rng.random() < 0.6 else rng.choice(words.NOUNS)}"
    count = rng.choice((0, 1, 1, 2, 2, 3))
    parameters = [
        (p, rng.choice(("small", "number", "id", "word", "word", "word", "phrase", "bool")))
        for p in rng.sample(_PARAMETERS, count)
    ]
    arguments = {parameter: _SORTS[sort](rng) for parameter, sort in parameters}
    pairs = [f"{parameter} {_spoken(value)}" for parameter, value in arguments.items()]
    if rng.random() < 0.3:
        pairs = [f"{parameter}={_spoken(value)}" for parameter, value in arguments.items()]
    lead = noise.noisy(
        rng, rng.choice(("Call ", "Use ", "Please call ", "Run ", "Use the tool ", "Call the function ")), dress=False
    )
    tail = f" with {' and '.join(pairs)}" if pairs and rng.random() < 0.7 else f": {', '.join(pairs)}" if pairs else ""
    return Request(_definition(rng, name, parameters, noise.phrase(rng, 1, 4)), f"{lead}{name}{tail}", arguments)


def _applied_request(rng: random.Random) -> Request:
    """A function asked for as mathematics writes it: `magic(3)`."""
    name = f"{noise.pseudo_word(rng).lower()}_{rng.choice(('function', 'value', 'number', rng.choice(_STEMS)))}"
    parameter, sort = rng.choice((*_PARAMETERS, "input", "x", "n", "value")), rng.choice(("small", "number", "word"))
    value = _SORTS[sort](rng) if rng.random() < 0.7 else rng.randrange(-99, 10)
    asked = rng.choice(_APPLIED).replace("{f}", name).replace("{0}", _spoken(value))
    tail = rng.choice(("", " Use the tool.", " Use the tool.", " Use a tool.", " Call it."))
    definition = _definition(
        rng, name, [(parameter, "number" if isinstance(value, int) else "word")], noise.phrase(rng, 2, 6)
    )
    return Request(definition, asked + tail, {parameter: value})


def _foreign(rng: random.Random) -> str:
    """A name in a script of its own, or in two."""
    text = ""
    for _ in range(rng.choice((1, 1, 2))):
        low, high = rng.choice(_SCRIPTS)
        text += "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(2, 5)))
    return text


def _record_request(rng: random.Random) -> Request:
    """Something is to be made, with a name in quotes and a few words about it."""
    noun, verb = rng.choice(_RECORDS), rng.choice(("create", "add", "make", "register", "new", "unicode"))
    name = _foreign(rng) if rng.random() < 0.7 else _SORTS[rng.choice(("name", "word"))](rng)
    about, other = noise.phrase(rng, 1, 3), noise.phrase(rng, 1, 2)
    mark = rng.choice(("'", "'", '"', ""))
    quoted = f"{mark}{name}{mark}"
    question = rng.choice((
        f"{verb.capitalize()} a {noun} named {quoted} ({other}) - a {about}",
        f"Create a {noun} named {quoted} ({other}) - {about}",
        f"Create a {noun} called {quoted}, {about}", f"Add the {noun} {quoted}: {about}", f"Register {quoted} ({about})",
        f"Please make a {noun} named {quoted}. It is a {about}.",
    ))  # fmt: skip
    first = rng.choice((f"{noun}_name", "name", "title", f"{noun}_name"))
    parameters = [(first, "word")]
    arguments: dict[str, Any] = {first: name}
    if about in question and rng.random() < 0.7:
        second = rng.choice(("description", "about", "text"))
        parameters.append((second, "phrase"))
        arguments[second] = about
    return Request(_definition(rng, f"{verb}_{noun}", parameters, noise.phrase(rng, 2, 7)), question, arguments)


def request(rng: random.Random) -> Request:
    roll = rng.random()
    if roll < 0.15:
        return _applied_request(rng)
    if roll < 0.32:
        return _record_request(rng)
    return _family_request(rng) if roll < 0.7 else _named_request(rng)


def result(rng: random.Random) -> tuple[str, str]:
    """What a tool may send back and what the model says about it."""
    roll = rng.random()
    if roll < 0.12:
        text = noise.phrase(rng, 1, 6)
        return json.dumps({"error": text}, ensure_ascii=False), f"The tool failed: {text}."
    if roll < 0.35:
        text = noise.phrase(rng, 1, 8)
        return text, f"The tool says: {text}."
    keys = rng.sample(
        (*_PARAMETERS, "temperature", "sky", "price", "status", "time", "result", "wind", "humidity", "condition"),
        rng.choice((1, 2, 2, 3)),
    )
    fields = {key: rng.choice((rng.randrange(100), noise.value(rng), noise.value(rng))) for key in keys}
    said = ", ".join(f"{key} {value}" for key, value in fields.items())
    return json.dumps(fields, ensure_ascii=False), f"The tool says: {said}."

"""Our OpenAPI document against Venice's: each path, parameter, constraint and field of an answer is in ours, and where the two
differ it is by name, with the reason, in one table.
"""

from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from fakes.openapi_facts import SEED, Place, Schema, places, resolved, seed
from routes._openapi.document import document

PREFIX = "/api/v1"

# Reason → the differences that it explains, as `difference` tells them; `*` stands for anything. A difference that no line
# explains fails, and so does a line that explains none.
DIFFERENCES: dict[str, tuple[str, ...]] = {
    "an error has its code and its field beside the text, as Venice's own documentation has them": (
        "*: fields with code, details, param",
        "* 400: fields with code, param",
    ),
    "OpenAI's clients send these out of habit; they are taken and change nothing": (
        "POST /image/generate body: fields with metadata, *",
        "POST /images/generations body: fields with metadata, *",
        "POST /embeddings body: fields with metadata, *",
        "POST /audio/speech body: fields with metadata, *",
    ),
    "the model for it can be named, as everywhere else, and OpenAI's habits are taken": (
        "POST /image/upscale *: fields with metadata, model, *",
        "POST /image/edit *: fields with metadata, model, *",
    ),
    "later versions of Venice's document have these": (
        "POST /chat/completions body: fields with logit_bias, metadata, prompt_cache_key, prompt_cache_retention, reasoning, "
        "reasoning_effort, safety_identifier, service_tier, store, verbosity",
        "POST /chat/completions body venice_parameters: fields with *",
        "POST /chat/completions body messages[[]]<role=*>.content[[]]<type=*>: open",
        "POST /chat/completions 200 usage: fields with completion_tokens_details",
        "GET /models* type: values with asr",
        "GET /models* data[[]].type: values with asr",
    ),
    "OpenAI's clients have more roles, names for users and more fields in tools and formats": (
        "POST /chat/completions body messages[[]]<role=*>.role: values with *",
        "POST /chat/completions body messages[[]]<role=user>: fields with name",
        "POST /chat/completions body response_format<type=json_object>.type: values with text",
        "POST /chat/completions body response_format<type=*>: open",
        "POST /chat/completions body tool_choice: *",
        "POST /chat/completions body tool_choice.function: open",
        "POST /chat/completions body tools[[]].function: fields with strict",
        "POST /chat/completions body tools[[]].function: open",
    ),
    "an assistant's content may be missing where its tool calls are, and a tool may answer nothing": (
        "POST /chat/completions body messages[[]]<role=assistant>: not required content",
        "POST /chat/completions body messages[[]]<role=tool>: not required content",
    ),
    "types of tools that vendors add have no function": (
        "POST /chat/completions body tools[[]]: not required function",
    ),
    "a limit where the seed has none, and nothing beyond it can be": (
        "* body model: m??Length none is *",
        "POST /chat/completions body max_*tokens: m??imum none is *",
        "POST /chat/completions body seed: maximum none is *",
        "POST /chat/completions body top_k: maximum none is *",
        "POST /chat/completions body stop_token_ids[[]]: m??imum none is *",
        "POST /embeddings body dimensions: maximum none is *",
        "POST /chat/completions body n: m??imum none is *",
        "POST /chat/completions body top_logprobs: maximum none is 20",
        "POST /chat/completions body tools[[]].function.name: minLength none is 1",
        "POST /image/edit * prompt: minLength none is 1",
        "POST /embeddings body input[[]]: minLength none is 1",
        "POST /embeddings body input*: m??imum none is *",
        "POST /audio/speech body voice: maxLength none is 512",
        "DELETE /api_keys query id: minLength none is 1",
        "POST /api_keys* body description: maxLength none is 512",
        "POST /api_keys/generate_web3_key body *: * none is *",
        "GET /billing/usage query page: maximum none is *",
    ),
    "the limit of a model, 8192 tokens, is that of each list of token ids": (
        "POST /embeddings body input[[]]: maxItems none is 8192",
    ),
    "a misspelt key of a closed set is refused by name": (
        "POST /chat/completions body venice_parameters: closed",
        "POST /api_keys* body consumptionLimit: closed",
    ),
    "the ids of tokens are whole numbers": ("POST /chat/completions body stop_token_ids[[]]: types without number",),
    "tool calls are objects (or null)": (
        "POST /chat/completions body messages[[]]<role=*>.tool_calls[[]]: types without anything",
    ),
    "each hit says which bucket, how much it wanted and had, and when the same call would have passed": (
        "GET /api_keys/rate_limits/log 200 data[[]]: fields with have, need, passesAt",
    ),
    "any URL is taken as text here and judged where it is fetched": (
        "POST /chat/completions body *.image_url.url: format uri is none",
    ),
    "no default is set into a request: the model's own counts": (
        "POST /chat/completions body temperature: default 0.7 is none",
        "POST /chat/completions body top_p: default 0.9 is none",
        "POST /image/generate body steps: default 20 is none",
    ),
    "the seed's text says that it is random where none is given, and so it is": (
        "POST /image/generate body seed: default 0 is none",
    ),
    "90, which the eye does not tell from 100, at a third of the size": (
        "POST /images/generations body output_compression: default 100 is none",
    ),
    "the same in JSON's own word": ("POST /image/upscale * enhance: default 'false' is False",),
    "a text in JSON, a file in a form: nothing else can be a picture": (
        "POST /image/* body image: types without anything, null",
        "POST /image/* form image: types without anything, null",
        "POST /image/* form image: format none is binary",
    ),
    "log probabilities come as OpenAI's clients read them, a list in `content`": (
        "POST /chat/completions 200 choices[[]].logprobs*",
    ),
    "an answer is an assistant's, and its content a text": (
        "POST /chat/completions 200 choices[[]].message.content[[]]*: missing",
        "POST /chat/completions 200 choices[[]].message.tool_call_id: missing",
        "POST /chat/completions 200 choices[[]].message: fields with refusal",
    ),
    "a call of tools and a filter's end are told apart from an ordinary one, under both prefixes": (
        "POST /chat/completions 200 choices[[]].finish_reason: values with content_filter, function_call, tool_calls",
    ),
    "upstreams tell the text or token that stopped them": ("POST /chat/completions 200 choices[[]].stop_reason: *",),
    "base64 was asked for": ("POST /embeddings 200 data[[]].embedding: types with string",),
    "the models of a configuration are its own: names, owners, voices, prices": (
        "POST /audio/speech body model: any value",
        "POST /audio/speech body voice: any value",
        "GET /models 200 data[[]].owned_by: any value",
        "GET /models 200 data[[]].model_spec.pricing.upscale: not required 2x, 4x",
        "GET /models 200 data[[]].model_spec: fields with description, engine",
    ),
    "an open route looks at no key, so that none can be wrong": (
        "GET /image/styles 401: missing",
        "GET /models/*: missing",
    ),
    "a day without a time is its first moment": (
        "GET /billing/usage query startDate: format date-time is date, date-time",
        "GET /billing/usage query endDate: format date-time is date, date-time",
    ),
    "without it there is nothing to do": ("DELETE /api_keys query id: required is True",),
}


def difference() -> list[str]:
    """Every difference, as one line."""
    return list(_differences(seed(), document()))


def _differences(theirs: Schema, ours: Schema) -> Iterator[str]:
    for path, item in theirs["paths"].items():
        for method, operation in item.items():
            name = f"{method.upper()} {path}"
            mine = ours["paths"].get(PREFIX + path, {}).get(method)
            if mine is None:
                yield f"{name}: missing"
                continue
            for line in _operation(operation, theirs, mine, ours):
                yield f"{name} {line}"


def _operation(theirs: Schema, seed_: Schema, mine: Schema, ours: Schema) -> Iterator[str]:
    parameters = {(p["in"], p["name"]): p for p in (resolved(each, ours) for each in mine["parameters"])}
    for one in theirs.get("parameters", ()):
        found = parameters.get((one["in"], one["name"]))
        if found is None:
            yield f"{one['in']} {one['name']}: missing"
            continue
        if found["required"] != one.get("required", False):
            yield f"{one['in']} {one['name']}: required is {found['required']}"
        yield from _asked(one["in"] + " " + one["name"], places(one["schema"], seed_), places(found["schema"], ours))
    body = theirs.get("requestBody", {}).get("content", {})
    for type_, media in body.items():
        found = mine["requestBody"]["content"].get(type_)
        if found is None:
            yield f"body {type_}: missing"
        else:
            yield from _asked(_named(type_), places(media["schema"], seed_), places(found["schema"], ours))
    for status, answer in theirs["responses"].items():
        if status not in mine["responses"]:
            yield f"{status}: missing"
            continue
        yield from _answer(status, answer, seed_, resolved(mine["responses"][status], ours), ours)


def _named(type_: str) -> str:
    return "form" if type_.startswith("multipart") else "body"


def _answer(status: str, theirs: Schema, seed_: Schema, mine: Schema, ours: Schema) -> Iterator[str]:
    headers = {name.lower() for name in mine.get("headers", {})}
    for name in theirs.get("headers", {}):
        if name.lower() not in headers:
            yield f"{status} header {name}: missing"
    for type_, media in theirs.get("content", {}).items():
        found = mine["content"].get(type_)
        if found is None:
            yield f"{status} {type_}: missing"
        elif type_ == "application/json":
            schema = found["schema"]
            if "anyOf" in schema:  # the answer, or a dry run's
                (schema,) = [each for each in schema["anyOf"] if not each["$ref"].endswith("/DryRun")]
            yield from _answered(status, places(media["schema"], seed_), places(schema, ours))


def _at(path: str, mine: dict[str, Place]) -> Place | None:
    """Our place of this path; where we tell variants apart and they do not (or the other way round), all of them."""
    exact = "<" in path and path in mine
    found = [mine[path]] if exact else [place for other, place in mine.items() if _same(path, other)]
    if not found:
        return None
    merged = Place()
    for place in found:
        merged.merge(place)
    return merged


def _same(path: str, other: str) -> bool:
    steps, others = path.split("."), other.split(".")
    return len(steps) == len(others) and all(_same_step(a, b) for a, b in zip(steps, others, strict=True))


def _same_step(a: str, b: str) -> bool:
    if a == b:
        return True
    (a, _, kind), (b, _, other) = a.partition("<"), b.partition("<")
    return a == b and (not kind or not other)


def _types(types: set[str]) -> set[str]:
    return types | ({"integer"} if "number" in types else set())


def _asked(where: str, theirs: dict[str, Place], ours: dict[str, Place]) -> Iterator[str]:
    """What can be sent there can be sent here, within the same limits."""
    for path, place in theirs.items():
        mine, at = _at(path, ours), f"{where} {path}".rstrip()
        if mine is None:
            yield f"{at}: missing"
            continue
        if "anything" not in mine.types and (lost := place.types - _types(mine.types)):
            yield f"{at}: types without {', '.join(sorted(lost))}"
        yield from _values(at, place, mine)
        for word in sorted(place.limits.keys() | mine.limits.keys()):
            a, b = place.limits.get(word, set()), mine.limits.get(word, set())
            if a != b:
                yield f"{at}: {word} {_shown(a)} is {_shown(b)}"
        if place.default is not ... and place.default != mine.default:
            yield f"{at}: default {place.default!r} is {_default(mine)}"
        yield from _fields(at, place, mine)
        if place.closed is not None and mine.closed is not None and place.closed != mine.closed:
            yield f"{at}: {'open' if place.closed else 'closed'}"


def _default(place: Place) -> str:
    return "none" if place.default is ... else repr(place.default)


def _shown(values: set[Any]) -> str:
    return ", ".join(sorted(map(str, values))) or "none"


def _values(at: str, place: Place, mine: Place) -> Iterator[str]:
    if place.values is None:
        if mine.values is not None:
            yield f"{at}: only {_shown(mine.values)}"
    elif mine.values is None:
        yield f"{at}: any value"
    else:
        if lost := place.values - mine.values:
            yield f"{at}: values without {_shown(lost)}"
        if more := mine.values - place.values:
            yield f"{at}: values with {_shown(more)}"


def _fields(at: str, place: Place, mine: Place) -> Iterator[str]:
    if place.required is not None and mine.required is not None:
        if lost := place.required - mine.required:
            yield f"{at}: not required {', '.join(sorted(lost))}"
        if more := (mine.required - place.required) & place.properties:
            yield f"{at}: required {', '.join(sorted(more))}"
    if place.properties and (more := mine.properties - place.properties):
        yield f"{at}: fields with {', '.join(sorted(more))}"


def _answered(where: str, theirs: dict[str, Place], ours: dict[str, Place]) -> Iterator[str]:
    """What comes from here could come from there: every field is known, no type, no value is new."""
    for path, place in theirs.items():
        mine, at = _at(path, ours), f"{where} {path}".rstrip()
        if mine is None:
            yield f"{at}: missing"
            continue
        if "anything" not in place.types and (more := mine.types - _types(place.types)):
            yield f"{at}: types with {', '.join(sorted(more))}"
        if place.values is not None:
            if mine.values is None:
                yield f"{at}: any value"
            elif more := mine.values - place.values:
                yield f"{at}: values with {_shown(more)}"
        if place.required is not None and (lost := place.required - (mine.required or set())):
            yield f"{at}: not required {', '.join(sorted(lost))}"
        if place.properties and (more := mine.properties - place.properties):
            yield f"{at}: fields with {', '.join(sorted(more))}"


needs_seed = pytest.mark.skipif(
    not SEED.is_file(), reason="shared/seeds/venice-swagger.yaml is not beside this checkout"
)


@needs_seed
def test_differences_are_known_by_name() -> None:
    found = difference()
    assert [line for line, times in Counter(found).items() if times > 1] == []
    reasons = {
        line: [r for r, lines in DIFFERENCES.items() if any(fnmatchcase(line, p) for p in lines)] for line in found
    }
    assert [line for line, why in reasons.items() if len(why) != 1] == []


@needs_seed
def test_no_reason_is_out_of_date() -> None:
    found = difference()
    patterns = [pattern for lines in DIFFERENCES.values() for pattern in lines]
    assert [pattern for pattern in patterns if not any(fnmatchcase(line, pattern) for line in found)] == []


@needs_seed
def test_the_comparison_sees_what_is_there() -> None:
    """As many operations and places as the seed has; one that is taken away, or changed, is seen."""
    theirs = seed()
    operations = [(path, method) for path, item in theirs["paths"].items() for method in item]
    assert len(operations) == 20
    ours: Any = {**document(), "paths": dict(document()["paths"])}
    del ours["paths"][f"{PREFIX}/embeddings"]
    assert "POST /embeddings: missing" in list(_differences(theirs, ours))
    asked = places(theirs["components"]["schemas"]["ChatCompletionRequest"], theirs)
    assert asked["temperature"].limits == {"minimum": {0}, "maximum": {2}}
    assert asked["seed"].limits == {"minimum": {1}}
    assert asked["messages[]<role=user>.content[]<type=text>.text"].limits == {"minLength": {1}}
    assert asked["stop"].types == {"string", "array", "null"}
    assert len(asked) > 60
    theirs["components"]["schemas"]["CreateSpeechRequestSchema"]["properties"]["speed"]["maximum"] = 5
    assert "POST /audio/speech body speed: maximum 5 is 4" in list(_differences(theirs, document()))

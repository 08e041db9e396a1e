"""Types → the schemas of the document. What a Struct cannot say of itself (one of two fields, a limit that is checked after
decoding) is said here, out of the constants that the check uses.

Invariant: nothing is stricter than what a route takes, nor looser than what it refuses by type, range, length or name.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from proxy.keys import expiry
from proxy.wire import body, chat, embeddings, images
from routes._openapi import fields

Schema = dict[str, Any]
TEMPLATE = "#/components/schemas/{name}"
BINARY: Schema = {"type": "string", "format": "binary"}


def components(types: Iterable[type]) -> dict[str, Schema]:
    """The Structs, and all that they stand on, by name."""
    _, found = msgspec.json.schema_components(list(types), ref_template=TEMPLATE)
    parts: dict[str, Schema] = {name: _told(name, schema) for name, schema in found.items()}
    for name, mend in MENDED.items():
        if name in parts:
            mend(parts[name])
    return parts


def reference(name: str) -> Schema:
    return {"$ref": TEMPLATE.format(name=name)}


def _told(name: str, schema: Schema) -> Schema:
    """With sentences and true defaults; None as a default is only our way to say "left out"."""
    defaults = fields.DEFAULTS.get(name.removeprefix("Venice") if name != "VeniceParameters" else name, {})
    for key, one in schema.get("properties", {}).items():
        if one.get("default", ...) in (None, ""):
            del one["default"]
        if key in fields.SAYS and "$ref" not in one and name.endswith(("Request", "Key")):
            one.setdefault("description", fields.SAYS[key])
        if key in defaults:
            one["default"] = defaults[key]
    return schema


def closed(schema: Schema, known: Iterable[str], name: str) -> Schema:
    """The same, with these keys only: what is refused by name elsewhere is no property here."""
    out = copy.deepcopy(schema)
    kept = set(known)
    out["properties"] = {key: one for key, one in out["properties"].items() if key in kept}
    for key in sorted((kept & body.NO_OPS) - out["properties"].keys()):
        out["properties"][key] = {"description": "Taken, and of no effect here."}
    out["additionalProperties"] = False
    out["title"] = name
    return out


# ── what a Struct cannot say of itself ───────────────────────────────────────────────────────────────────────────────


def _required(schema: Schema, *keys: str) -> None:
    """These must be there, and not null."""
    schema["required"] = [*schema.get("required", ()), *keys]
    for key in keys:
        schema["properties"][key] = _not_null(schema["properties"][key])


def _not_null(schema: Schema) -> Schema:
    if "anyOf" not in schema:
        return schema
    left = [each for each in schema["anyOf"] if each.get("type") != "null"]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**left[0], **rest} if len(left) == 1 else {**rest, "anyOf": left}


def _variant(
    base: Schema, key: str, values: list[str], fields_: Iterable[str], required: Iterable[str] = (), **given: Schema
) -> Schema:
    """One form of an object, told from the others by `key`: these fields of it, and those that are given."""
    kept = (key, *fields_)
    one: Schema = {"title": ", ".join(values), "type": "object", "properties": {}, "required": sorted({key, *required})}
    one["properties"] = copy.deepcopy({name: base["properties"][name] for name in kept})
    one["properties"].update({key: {"enum": values}}, **given)
    for name in set(required) & one["properties"].keys():
        one["properties"][name] = _not_null(one["properties"][name])
    return one


def _union(schema: Schema, variants: list[Schema]) -> None:
    kept: Schema = {key: schema[key] for key in ("title", "description") if key in schema}
    schema.clear()
    schema.update(kept, anyOf=variants)


def message(schema: Schema) -> None:
    """By role: a user's and a system's has content, a tool's says what it answers."""
    told = ("content", "name", "reasoning_content", "tool_calls")
    _union(
        schema,
        [
            _variant(schema, "role", ["user", "system", "developer"], ("content", "name"), ("content",)),
            _variant(schema, "role", ["assistant", "function"], told),
            _variant(schema, "role", ["tool"], (*told, "tool_call_id"), ("tool_call_id",)),
        ],
    )


IMAGE_URL: Schema = {
    "anyOf": [
        {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]},
        {"type": "string"},
    ],
    "description": "A data URL or a public one.",
}


def part(schema: Schema, least: int = 0) -> None:
    """By type. `least`: how many characters a text has at least."""
    text: Schema = {"type": "string", **({"minLength": least} if least else {})}
    others = _variant(schema, "type", ["a vendor's own"], ("input_audio", "file", "refusal"))
    others["properties"]["type"] = {"type": "string", "not": {"enum": ["text", "image_url"]}}
    _union(
        schema,
        [
            _variant(schema, "type", ["text"], (), ("type", "text"), text=text),
            _variant(schema, "type", ["image_url"], (), ("type", "image_url"), image_url=IMAGE_URL),
            others,
        ],
    )


def tool(schema: Schema) -> None:
    """`function` is required, but for types of vendors."""
    function = _variant(schema, "type", ["function"], ("function", "id"), ("function",))
    function["required"] = ["function"]
    others = _variant(schema, "type", ["a vendor's own"], ("id",))
    others["properties"]["type"] = {"type": "string", "not": {"const": "function"}}
    _union(schema, [function, others])


def venice_chat(schema: Schema) -> None:
    """What `chat.venice_only` refuses."""
    kinds: Schema = {
        "json_schema": _only(type={"const": "json_schema"}, json_schema={"type": "object"}),
        "others": _only(type={"enum": [each for each in chat.FORMATS if each != "json_schema"]}),
    }
    choice = _only(function=_only(name={"type": "string"}), type={"type": "string"})
    choice["required"] = ["function"]
    described = schema["properties"]["response_format"].get("description", "")
    schema["properties"]["response_format"] = {
        "anyOf": [*kinds.values(), {"type": "null"}],
        "description": described,
    }
    schema["properties"]["tool_choice"]["anyOf"] = [{"type": "string"}, choice, {"type": "null"}]
    schema["properties"]["messages"]["items"] = reference("VeniceMessage")


def _only(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _ids(least: int, most: int) -> Schema:
    item = {"type": "integer", "minimum": least, "maximum": embeddings.MAX_ID}
    return {"type": "array", "items": item, "minItems": 1, "maxItems": most}


def embeddings_input(schema: Schema, *, least: int = 0, most: int = embeddings.MAX_TOKENS) -> None:
    """`least` and `most`: of one list of token ids."""
    text: Schema = {"type": "string", "minLength": 1}
    many: Schema = {"type": "array", "minItems": 1, "maxItems": embeddings.MAX_ITEMS}
    one = schema["properties"]["input"]
    one["anyOf"] = [
        {**text, "title": "a text"},
        {**many, "items": text, "title": "texts"},
        {**_ids(least, most), "title": "one text's token ids"},
        {**many, "items": _ids(0, embeddings.MAX_TOKENS), "title": "several texts' token ids"},
    ]


def speech(schema: Schema) -> None:
    named = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
    voice = schema["properties"]["voice"]
    voice["anyOf"] = [named if each.get("type") == "object" else each for each in voice["anyOf"]]


def generations(schema: Schema) -> None:
    size = schema["properties"]["size"]
    size["anyOf"] = [{"type": "string", "pattern": f"^(auto|{images.SIZE.pattern})$"}, {"type": "null"}]
    size["description"] = (
        f"`auto` or WIDTHxHEIGHT, at most {images.MAX_OPENAI_SIDE} pixels a side and {images.MAX_OPENAI_PIXELS:,} in all."
    )


def edits(schema: Schema) -> None:
    item = {"type": "object", "properties": {"image_url": {"type": "string"}}, "required": ["image_url"]}
    schema["properties"]["images"] = {
        "anyOf": [{"type": "array", "items": item, "minItems": 1}, {"type": "null"}],
        "description": fields.SAYS["images"],
    }
    schema["anyOf"] = [{"required": ["image"]}, {"required": ["images"]}]


def new_key(schema: Schema) -> None:
    """What `proxy.keys` says of a key's end and its description."""
    schema["properties"]["expiresAt"] = {
        "anyOf": [
            {"const": ""},
            {"type": "string", "pattern": f"^{expiry.DAY.pattern}$"},
            {"type": "string", "pattern": f"^{expiry.MOMENT.pattern}$"},
            {"type": "null"},
        ],
        "description": fields.SAYS["expiresAt"],
    }


def instance_load(schema: Schema) -> None:
    """For ever, or at least a second."""
    whole = schema["properties"]["expirationPeriodSeconds"]["anyOf"][0]
    schema["properties"]["expirationPeriodSeconds"]["anyOf"] = [
        {"const": -1},
        {**whole, "minimum": 1},
        {"type": "null"},
    ]


MENDED: dict[str, Callable[[Schema], None]] = {
    "Message": message,
    "Part": part,
    "Tool": tool,
    "EmbeddingsRequest": embeddings_input,
    "SpeechRequest": speech,
    "GenerationsRequest": generations,
    "UpscaleRequest": lambda schema: _required(schema, "image"),
    "EditRequest": lambda schema: _required(schema, "image"),
    "EditsRequest": edits,
    "Load": instance_load,
    "NewKey": new_key,
    "NewWalletKey": new_key,
}


def narrowed(found: dict[str, Schema]) -> None:
    """What is checked under /api/v1 alone, in the shapes that stand there."""
    if "VeniceChatRequest" in found:
        venice_chat(found["VeniceChatRequest"])
        _, raw = msgspec.json.schema_components([chat.Message], ref_template=TEMPLATE)
        told = {name: _told(name, schema) for name, schema in raw.items()}
        part(told["Part"], least=1)
        message(told["Message"])
        renamed = msgspec.json.decode(msgspec.json.encode(told["Message"]).replace(b'/Part"', b'/VenicePart"'))
        found.update(VeniceMessage=renamed, VenicePart=told["Part"])
    if "VeniceEmbeddingsRequest" in found:
        embeddings_input(found["VeniceEmbeddingsRequest"], least=1, most=embeddings.MAX_ITEMS)


def form(schema: Schema, files: Iterable[str]) -> Schema:
    """The form of a JSON body: the same fields as texts, and files."""
    out = copy.deepcopy(schema)
    out.pop("anyOf", None)
    out.pop("title", None)
    out["properties"].pop("images", None)  # JSON's way to send what a form sends as files
    for name in files:
        out["properties"][name] = {**BINARY, "description": fields.SAYS.get(name.removesuffix("[]"), "A file.")}
    if "file" in out["properties"]:
        out["required"] = [*out.get("required", ()), "file"]
    if "image[]" in out["properties"]:
        out["anyOf"] = [{"required": ["image"]}, {"required": ["image[]"]}]
    return out

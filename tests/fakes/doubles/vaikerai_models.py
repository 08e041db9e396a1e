"""The models of the VaikerAI double: their input and output schemas and what they put out for an input.

It owns the catalogue as data and the checks of an input against a schema, in the wording of the upstream's validator;
it knows no HTTP. Token texts are the double's own; schema shapes follow public model pages.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fakes.doubles import media

Schema = dict[str, Any]


@dataclass(slots=True)
class Plan:
    """What a prediction will do. `growth`: the values that appear one after the other; `shape` how they are shown.

    shape: tokens (a growing array), text (one string at the end), files (array of URLs), file (one URL), value (as it is).
    """

    shape: str
    growth: list[Any]
    fail: str | None = None
    abort: bool = False
    logs: str = ""
    mime: str = "image/png"
    input_tokens: int | None = None


@dataclass(slots=True)
class Model:
    owner: str
    name: str
    inputs: Schema
    output: Schema
    run: Callable[[dict[str, Any]], Plan]
    official: bool = False
    streams: bool = False
    visibility: str = "public"
    description: str = ""
    removed_versions: set[str] = field(default_factory=set)

    @property
    def key(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def version(self) -> str:
        """64 hexadecimal characters, always the same for a model."""
        return hashlib.sha256(self.key.encode()).hexdigest()

    @property
    def alias(self) -> str:
        return "dp-" + hashlib.md5(self.key.encode()).hexdigest()

    @property
    def schema(self) -> Schema:
        return {
            "openapi": "3.0.2",
            "info": {"title": "Cog", "version": "0.1.0"},
            "paths": {},
            "components": {"schemas": {"Input": self.inputs, "Output": self.output}},
        }


def _input(required: list[str], **properties: Schema) -> Schema:
    ordered = {
        name: {"title": name.replace("_", " ").title(), "x-order": n} | p
        for n, (name, p) in enumerate(properties.items())
    }
    return {"type": "object", "title": "Input", "required": required, "properties": ordered}


def _number(kind: str, default: float | None, low: float | None = None, high: float | None = None) -> Schema:
    bounds = {"default": default, "minimum": low, "maximum": high}
    return {"type": kind} | {k: v for k, v in bounds.items() if v is not None}


TEXT: Schema = {"type": "string"}
URI: Schema = {"type": "string", "format": "uri"}
TOKENS: Schema = {
    "type": "array",
    "title": "Output",
    "items": {"type": "string"},
    "x-cog-array-type": "iterator",
    "x-cog-array-display": "concatenate",
}
FILES: Schema = {"type": "array", "title": "Output", "items": URI}
FILE: Schema = {"type": "string", "title": "Output", "format": "uri"}


def split_tokens(text: str) -> list[str]:
    """Words with the blank in front of them, as language models put them out."""
    out: list[str] = []
    for word in text.split(" "):
        out.append(word if not out else " " + word)
    return out


def _say(given: dict[str, Any]) -> Plan:
    prompt = given.get("prompt") or json.dumps(given.get("messages", ""), ensure_ascii=False)
    tokens = split_tokens("You said: " + prompt)
    limit = given.get("max_new_tokens") or given.get("max_tokens") or 128
    return Plan("tokens", list(tokens[:limit]), input_tokens=len(prompt.split()))


def _draw(given: dict[str, Any]) -> Plan:
    form = {"jpg": "jpeg"}.get(given.get("output_format", "png"), given.get("output_format", "png"))
    width, height = given.get("width", 512), given.get("height", 512)
    if ratio := given.get("aspect_ratio"):
        w, h = (int(part) for part in ratio.split(":"))
        width, height = 64 * w, 64 * h
    count = given.get("num_outputs", 1)
    return Plan(
        "files", [media.IMAGES[form](width, height) for _ in range(count)], mime=media.MIME[form], logs="0%|...\n"
    )


def _enlarge(given: dict[str, Any]) -> Plan:
    side = 64 * int(given.get("scale", 4))
    return Plan("file", [media.png(side, side)])


def _vectors(given: dict[str, Any]) -> Plan:
    texts = json.loads(given["texts"])
    return Plan("value", [[[round(b / 255 - 0.5, 6) for b in hashlib.sha256(t.encode()).digest()[:8]] for t in texts]])


def _speak(given: dict[str, Any]) -> Plan:
    return Plan("file", [media.wav(0.05 * max(1, len(given["text"])) / given.get("speed", 1.0))], mime="audio/wav")


def _image_inputs() -> tuple[Schema, Schema]:
    """One model that takes a ratio, one that takes pixels."""
    flux = _input(
        ["prompt"],
        prompt=TEXT,
        aspect_ratio=TEXT
        | {"enum": ["1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"], "default": "1:1"},
        num_outputs=_number("integer", 1, 1, 4),
        num_inference_steps=_number("integer", 4, 1, 4),
        output_format=TEXT | {"enum": ["webp", "jpg", "png"], "default": "webp"},
        seed=_number("integer", None),
        disable_safety_checker={"type": "boolean", "default": False},
    )
    sdxl = _input(
        ["prompt"],
        prompt=TEXT,
        negative_prompt=TEXT | {"default": ""},
        width=_number("integer", 1024, 64, 1280),
        height=_number("integer", 1024, 64, 1280),
        num_outputs=_number("integer", 1, 1, 4),
        num_inference_steps=_number("integer", 50, 1, 50),
        guidance_scale=_number("number", 7.5, 1, 50),
        image=URI,
        seed=_number("integer", None),
        disable_safety_checker={"type": "boolean", "default": False},
    )
    return flux, sdxl


def catalogue() -> list[Model]:
    """Fresh models; each double has its own."""
    llama = _input(
        ["prompt"],
        prompt=TEXT,
        system_prompt=TEXT | {"default": "You are a helpful assistant"},
        prompt_template=TEXT | {"default": "{prompt}"},
        max_new_tokens=_number("integer", 128, 1, 4096),
        temperature=_number("number", 0.7, 0, 5),
        top_p=_number("number", 0.95, 0, 1),
        top_k=_number("integer", 0, -1),
        stop_sequences=TEXT,
        seed=_number("integer", None),
        presence_penalty=_number("number", 0),
        frequency_penalty=_number("number", 0),
    )
    bare = _input(
        ["prompt"], prompt=TEXT, max_tokens=_number("integer", 512, 1), temperature=_number("number", 0.75, 0.01, 5)
    )
    chat = _input(
        [],
        messages={"type": "array", "items": {"type": "object"}, "default": []},
        prompt=TEXT,
        image_input={"type": "array", "items": URI, "default": []},
        max_completion_tokens=_number("integer", 4096, 1),
        temperature=_number("number", 1, 0, 2),
        top_p=_number("number", 1, 0, 1),
    )
    flux, sdxl = _image_inputs()
    return [
        Model("vaikerai", "hello-world", _input(["text"], text=TEXT), TEXT | {"title": "Output"},
              lambda given: Plan("text", [f"hello {given['text']}"]), description="A tiny model that says hello"),
        Model("meta", "meta-llama-3-70b-instruct", llama, TOKENS, _say, official=True, streams=True),
        Model("acme", "prompt-only", bare, TOKENS, _say, streams=True),
        Model("acme", "poll-only", bare, TOKENS, _say),
        Model("openai", "gpt-4o-mini", chat, TOKENS, _say, official=True, streams=True),
        Model("black-forest-labs", "flux-schnell", flux, FILES, _draw, official=True),
        Model("stability-ai", "sdxl", sdxl, FILES, _draw),
        Model("nightmareai", "real-esrgan",
              _input(["image"], image=URI, scale=_number("number", 4, 0, 10), face_enhance={"type": "boolean"}), FILE, _enlarge),
        Model("acme", "embedder", _input(["texts"], texts=TEXT), {"type": "array", "title": "Output"}, _vectors),
        Model("acme", "speech",
              _input(["text"], text=TEXT, voice=TEXT | {"enum": ["af_sky", "bm_lewis"]}, speed=_number("number", 1, 0.5, 2)),
              FILE, _speak),
    ]  # fmt: skip


def complaints(schema: Schema, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(field, complaint) for each thing wrong with an input; unknown fields are wrong."""
    for name in schema["required"]:
        if name not in given:
            yield name, f"{name} is required"
    for name, value in given.items():
        rule = schema["properties"].get(name)
        if rule is None:
            yield name, f"Additional property {name} is not allowed"
        elif wrong := _wrong(rule, value):
            yield name, wrong


def _wrong(rule: Schema, value: Any) -> str | None:
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict}
    kind = rule["type"]
    if not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return f"Invalid type. Expected: {kind}, given: {type(value).__name__}"
    if "enum" in rule and value not in rule["enum"]:
        return "must be one of the following: " + ", ".join(json.dumps(v) for v in rule["enum"])
    if "minimum" in rule and value < rule["minimum"]:
        return f"Must be greater than or equal to {rule['minimum']}"
    if "maximum" in rule and value > rule["maximum"]:
        return f"Must be less than or equal to {rule['maximum']}"
    if rule.get("format") == "uri":
        return _wrong_uri(value)
    if kind == "array" and "items" in rule:
        return next((w for item in value if (w := _wrong(rule["items"], item))), None)
    return None


def _wrong_uri(value: str) -> str | None:
    if value.startswith("data:"):
        return "Data URLs may not be larger than 256kb" if len(value) > 256 * 1024 else None  # the number is the seed's
    return None if value.startswith(("http://", "https://")) else "Does not match format 'uri'"

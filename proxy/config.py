"""The configuration: TOML, one file, decoded into closed Structs. It owns the keys (but for the upstreams', which the kinds
bring) and the error texts; it knows no vendor and opens no socket.

Every mistake is one ConfigError line: file, key path, what is wrong, what was expected. Secrets are never printed back.
"""

import difflib
import math
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from proxy.errors import ConfigError

Scribing = Literal["auto", "always", "never"]
ModelType = Literal["text", "embedding", "image", "tts", "upscale", "inpaint", "asr"]
MODEL_TYPES: tuple[ModelType, ...] = get_args(ModelType)
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=0)]


class Closed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file; an unknown key is an error."""


class Server(Closed, frozen=True):
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    max_body_bytes: str | int = "32MiB"
    drain_s: Annotated[float, Meta(ge=0)] = 30.0
    keepalive_comment_s: Positive = 15.0  # silence in a stream before a comment is sent
    retry_hold_s: Annotated[float, Meta(ge=0, le=60)] = 1.25  # a stream waits for an SDK that lost its head
    system_prompt: str = ""  # in front of every chat, unless include_venice_system_prompt is false


class Auth(Closed, frozen=True):
    required: bool | Literal["auto"] = "auto"
    wallets: tuple[Annotated[str, Meta(pattern="^0x[0-9A-Fa-f]{40}$")], ...] = ()


class Store(Closed, frozen=True):
    url: str = "sqlite:///./traghetto.db"
    ledger: bool = True
    scribe: Scribing = "auto"  # a process of its own that writes plain calls' rows to SQLite
    folder: str | None = None  # what is this machine's own: journals, limits of several workers
    redis: str | None = None
    replicas: Annotated[int, Meta(ge=1)] = 1  # machines that share this Redis
    trust_persistence: bool = False


class TargetRow(Closed, frozen=True):
    upstream: str
    model: str
    priority: int = 0
    weight: Positive = 1.0


class Capabilities(Closed, frozen=True):
    function_calling: bool = False
    response_schema: bool = False
    logprobs: bool = False
    web_search: bool = False
    vision: bool = False
    reasoning: bool = False
    code: bool = False
    quantization: Literal["fp8", "fp16", "not-available"] = "not-available"


class Steps(Closed, frozen=True):
    default: int = 20
    max: int = 50


class Constraints(Closed, frozen=True):
    temperature: float | None = None
    top_p: float | None = None
    prompt_characters: int | None = None
    steps: Steps | None = None
    width_height_divisor: int | None = None


class Pricing(Closed, frozen=True):
    """US dollars: per million tokens (input, output), per image, per upscale, per million characters."""

    input_usd: Annotated[float, Meta(ge=0)] | None = None
    output_usd: Annotated[float, Meta(ge=0)] | None = None
    cached_input_usd: Annotated[float, Meta(ge=0)] | None = None
    generation_usd: Annotated[float, Meta(ge=0)] | None = None
    upscale_2x_usd: Annotated[float, Meta(ge=0)] | None = None
    upscale_4x_usd: Annotated[float, Meta(ge=0)] | None = None
    characters_usd: Annotated[float, Meta(ge=0)] | None = None


class ModelRow(Closed, frozen=True):
    targets: tuple[TargetRow, ...]
    type: ModelType = "text"
    name: str | None = None
    description: str | None = None
    traits: tuple[str, ...] = ()
    context_tokens: Annotated[int, Meta(ge=1)] | None = None
    capabilities: Capabilities | None = None
    constraints: Constraints = Constraints()
    pricing: Pricing | None = None
    source: str | None = None
    voices: tuple[str, ...] = ()
    beta: bool = False
    owned_by: str = "venice.ai"
    created: int = 1_700_000_000


class Measure(Closed, frozen=True):
    """A trait that is computed live: the best of `among` (all models of the type if empty)."""

    by: Literal["ttft", "tokens_per_s", "price"]
    among: tuple[str, ...] = ()


class Limit(Closed, frozen=True):
    rpm: Annotated[int, Meta(ge=0)] | None = None
    rpd: Annotated[int, Meta(ge=0)] | None = None
    tpm: Annotated[int, Meta(ge=0)] | None = None
    concurrent: Annotated[int, Meta(ge=0)] | None = None


class Abuse(Closed, frozen=True):
    failures: Count = 20
    window_s: Positive = 30.0
    block_s: Positive = 30.0


class Limits(Closed, frozen=True):
    abuse: Abuse = Abuse()
    diem_usd: Positive = 1.0
    vcu_usd: Positive = 0.1


class Breaker(Closed, frozen=True):
    failures: Annotated[int, Meta(ge=1)] = 5
    open_s: Positive = 30.0


class Routing(Closed, frozen=True):
    retries: Count = 2
    retry_on: tuple[int | Literal["connect", "timeout"], ...] = (
        "connect",
        "timeout",
        408,
        429,
        500,
        502,
        503,
        504,
    )
    breaker: Breaker = Breaker()


class Character(Closed, frozen=True):
    name: str
    system_prompt: str
    description: str | None = None
    tags: tuple[str, ...] = ()
    adult: bool = False
    web_enabled: bool = False
    share_url: str | None = None
    created_at: str = "2025-01-01T00:00:00.000Z"
    updated_at: str = "2025-01-01T00:00:00.000Z"
    imports: Count = 0


class Config(Closed, frozen=True):
    """The whole file. `upstreams` holds decoded options of each kind (see `load`)."""

    server: Server = Server()
    auth: Auth = Auth()
    store: Store = Store()
    upstreams: dict[str, Any] = {}
    models: dict[str, ModelRow] = {}
    traits: dict[ModelType, dict[str, str | Measure]] = {}
    compatibility: dict[ModelType, dict[str, str]] = {}
    tiers: dict[str, dict[str, Limit]] = {}
    limits: Limits = Limits()
    routing: Routing = Routing()
    characters: dict[str, Character] = {}


_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_SIZE = re.compile(r"^\s*(\d+)\s*(B|KiB|MiB|GiB|KB|MB|GB)?\s*$")
_UNITS = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def size_in_bytes(value: str | int, *, file: str = "", where: str = "") -> int:
    """`"32MiB"`, `"10MB"`, `4096` → bytes."""
    if isinstance(value, int) and value >= 0:
        return value
    found = _SIZE.match(value) if isinstance(value, str) else None
    if not found:
        raise ConfigError(f"{value!r} is not a size", file=file, where=where, expected="a number of bytes, or '32MiB'")
    return int(found[1]) * _UNITS[found[2]]


def load(path: Path, kinds: Mapping[str, type[Any]], env: Mapping[str, str] = os.environ) -> Config:
    """Read, substitute, decode. `kinds` brings the option Struct of each kind of upstream.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or does not say what it should.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot be read: {reason}", file=str(path), expected="a TOML file in UTF-8") from None
    return loads(text, kinds, env, file=str(path))


def loads(text: str, kinds: Mapping[str, type[Any]], env: Mapping[str, str] = os.environ, *, file: str = "") -> Config:
    """As `load`, from a text."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", file=file, expected="TOML, each key once") from None
    return decode(tree, kinds, env, file=file)


def decode(tree: dict[str, Any], kinds: Mapping[str, type[Any]], env: Mapping[str, str], *, file: str = "") -> Config:
    """A tree of tables → a checked Config."""
    tree = _substituted(tree, env, file, ())
    rows = tree.get("upstreams", {})
    config = _converted(tree, Config, file, ())
    upstreams = {name: _upstream(name, row, kinds, file) for name, row in rows.items()}
    return msgspec.structs.replace(config, upstreams=upstreams)


def _upstream(name: str, row: Any, kinds: Mapping[str, type[Any]], file: str) -> Any:
    where = ("upstreams", name)
    if not isinstance(row, dict):
        raise ConfigError("not a table", file=file, where=dotted(where), expected="a table with a kind")
    kind = row.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        said = "no kind" if kind is None else f"unknown kind {kind!r}"
        raise ConfigError(said, file=file, where=dotted((*where, "kind")), expected="one of " + ", ".join(kinds))
    return _converted(row, kinds[kind], file, where)


def _substituted(value: Any, env: Mapping[str, str], file: str, where: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _substituted(item, env, file, (*where, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_substituted(item, env, file, (*where, str(i))) for i, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"got {value}", file=file, where=dotted(where), expected="a finite number")
    if not isinstance(value, str) or "${" not in value:
        return value

    def one(found: re.Match[str]) -> str:
        name, default = found["name"], found["default"]
        if name in env and (env[name] or default is None):
            return env[name]
        if default is None:
            raise ConfigError(
                f"the environment variable {name} is not set",
                file=file,
                where=dotted(where),
                expected=f"{name} in the environment, or a default: ${{{name}:-…}}",
            )
        return default

    done = _VARIABLE.sub(one, value)
    if "${" in _VARIABLE.sub("", value):
        raise ConfigError(
            "a malformed variable", file=file, where=dotted(where), expected="${NAME} or ${NAME:-default}"
        )
    return done


T = TypeVar("T")


def _converted(value: Any, type_: type[T], file: str, where: tuple[str, ...]) -> T:
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        if "[...]" in str(error):  # msgspec does not say which entry of a mapping it means: ask entry by entry
            hints = get_type_hints(type_)
            for key, item in value.items():
                _entries(item, hints.get(key), file, (*where, key))
        raise _explained(str(error), type_, file, where) from None


def _entries(value: Any, hint: Any, file: str, where: tuple[str, ...]) -> None:
    """Convert each entry of a mapping by itself, so that the error names the entry."""
    if get_origin(hint) is not dict or not isinstance(value, dict):
        return
    inner = get_args(hint)[1]
    for key, item in value.items():
        if get_origin(inner) is dict:
            _entries(item, inner, file, (*where, key))
        elif isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            _converted(item, inner, file, (*where, key))
        else:
            try:
                msgspec.convert(item, inner)
            except msgspec.ValidationError as error:
                struct = next(
                    (t for t in get_args(inner) if isinstance(t, type) and issubclass(t, msgspec.Struct)), str
                )
                raise _explained(str(error), struct, file, (*where, key)) from None


_AT = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`\$(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`")


def _explained(text: str, type_: type[Any], file: str, where: tuple[str, ...]) -> ConfigError:
    found = _AT.match(text)
    what, path = (found["what"], found["path"] or "") if found else (text, "")
    steps = tuple(re.findall(r"[^.\[\]]+", path))
    path = dotted((*where, *steps))
    unknown = _UNKNOWN.match(what)
    if not unknown:
        expected = ""
        if what.startswith("Expected "):
            expected, _, got = what.removeprefix("Expected ").partition(", got ")
            what = f"got {got}" if got else "not a value that fits"
        elif what.startswith("Object missing required field"):
            key = what.split("`")[1]
            what, expected = f"the key {key!r} is missing", f"a value for {key!r}"
        elif what.startswith("Invalid enum value"):
            expected = _choices(type_, steps)
        return ConfigError(what.replace("`", "'"), file=file, where=path, expected=expected.replace("`", ""))
    key = unknown["key"]
    known = _keys_at(type_, steps)
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"{near[0]!r}" if near else "one of " + ", ".join(sorted(known))
    return ConfigError("unknown key", file=file, where=dotted((*where, *steps, key)), expected=hint)


def _keys_at(type_: Any, steps: tuple[str, ...]) -> list[str]:
    """The keys of the Struct that a path ends at (`...` steps through mappings and lists)."""
    info = msgspec.inspect.type_info(type_)
    for step in steps:
        info = _stepped(info, step)
    if isinstance(info, msgspec.inspect.UnionType):
        info = next((t for t in info.types if isinstance(t, msgspec.inspect.StructType)), info)
    if isinstance(info, msgspec.inspect.StructType):
        tag = [info.tag_field] if info.tag_field else []
        return [field.encode_name for field in info.fields] + tag
    return []


def _choices(type_: Any, steps: tuple[str, ...]) -> str:
    info = msgspec.inspect.type_info(type_)
    for step in steps:
        info = _stepped(info, step)
    if isinstance(info, msgspec.inspect.DictType):
        info = info.key_type  # the error is about a key
    options = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    values = [str(v) for t in options if isinstance(t, msgspec.inspect.LiteralType) for v in t.values]
    return "one of " + ", ".join(values) if values else "one of the documented values"


def _stepped(info: Any, step: str) -> Any:
    if isinstance(info, msgspec.inspect.UnionType):
        info = next((t for t in info.types if not isinstance(t, msgspec.inspect.NoneType)), info)
    if isinstance(info, msgspec.inspect.StructType):
        return next((field.type for field in info.fields if field.encode_name == step), info)
    if isinstance(info, msgspec.inspect.DictType):
        return info.value_type
    if isinstance(info, (msgspec.inspect.VarTupleType, msgspec.inspect.ListType)):
        return info.item_type
    return info


def dotted(where: tuple[str, ...]) -> str:
    """A key path as the file would write it, on one line."""
    return ".".join(
        step if re.fullmatch(r"[A-Za-z0-9_-]+", step) else msgspec.json.encode(step).decode() for step in where
    )


def json_schema(kinds: Mapping[str, type[Any]]) -> dict[str, Any]:
    """The file's JSON Schema, for editors: `traghetto check --schema`."""
    (schema, *variants), parts = msgspec.json.schema_components(
        [Config, *kinds.values()], ref_template="#/$defs/{name}"
    )
    properties = parts["Config"]["properties"]
    properties["upstreams"] = {"type": "object", "additionalProperties": {"anyOf": variants}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "$defs": parts}

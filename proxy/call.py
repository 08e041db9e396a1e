"""What is passed from stage to stage: one call, its plan, its permit's receipt, its usage. Data only; it imports no stage.

Every struct is mutable only where a stage fills it in; a Call lives exactly as long as its request. What the ledger keeps of one
is written to its journal as it is, which is why those structs are arrays there: new fields come last, with a default.
"""

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from proxy.catalogue import Model
    from proxy.features import Features


class Word(StrEnum):
    """A StrEnum that hashes as the string it is: the library's own hash is a Python function, and these are keys of dicts."""

    __hash__ = str.__hash__


class Operation(Word):
    """What a caller asks for; each has one route (two for images) and one shape of request and answer."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    MESSAGES = "messages"
    EMBEDDINGS = "embeddings"
    IMAGES = "images"
    IMAGE_EDIT = "image_edit"
    UPSCALE = "upscale"
    SPEECH = "speech"
    TRANSCRIPTION = "transcription"


class Dialect(Word):
    """Whose envelope errors and headers wear. The path chooses it, nothing else."""

    OPENAI = "openai"
    VENICE = "venice"
    ANTHROPIC = "anthropic"


class UsageSource(Word):
    """Where token counts come from; a ledger row says it."""

    UPSTREAM = "upstream"
    TOKENIZER = "tokenizer"
    ESTIMATE = "estimate"


class Usage(msgspec.Struct, array_like=True, gc=False):
    """What a call consumed. Tokens for text, characters for speech, images for images."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    characters: int = 0
    images: int = 0
    source: UsageSource = UsageSource.UPSTREAM

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Ending(Word):
    """How a reply ended. A reply has none while it runs."""

    FINISHED = "finished"
    CANCELLED = "cancelled"  # the client left first
    FAILED = "failed"  # the upstream failed
    INTERRUPTED = "interrupted"  # we died or were stopped


class Served(msgspec.Struct, array_like=True, gc=False):
    """What a call had when it ended: how often frames came, how many bytes they had, and which error ended it."""

    usage: Usage | None
    ending: Ending
    frames: int = 0
    sent: int = 0
    error: str | None = None


class Target(msgspec.Struct, frozen=True, array_like=True, gc=False, cache_hash=True):
    """An upstream and the name that the model has there."""

    upstream: str
    model: str
    priority: int = 0
    weight: float = 1.0

    def __str__(self) -> str:
        return f"{self.upstream}/{self.model}"


class Plan(msgspec.Struct):
    """What `resolve` decided: the model that serves and its targets, in the order to try them."""

    model: "Model"
    targets: tuple[Target, ...]
    asked: str
    via: str  # id | trait:NAME | mapping | qualified | default
    features: "Features"  # of venice_parameters: the suffix's and the body's


class Attempt(msgspec.Struct, array_like=True, gc=False):
    """One try at one target. `reason` is why the one before it was left, `error` why this one was. `reached` is false where
    nothing was sent: it is nobody's business but ours."""

    target: Target
    reason: str = "first"
    error: str | None = None
    started: float = 0.0
    ms: float | None = None
    reached: bool = True


class Principal(msgspec.Struct, frozen=True):
    """Who calls: the key's id and what it may do. The key itself stays in `proxy.keys`."""

    id: str
    admin: bool = False
    tier: str = "default"
    models: frozenset[str] | None = None  # None: all
    usd_micro: int | None = None  # what it may spend a day, in micro-units; None: what it likes
    diem_micro: int | None = None
    vcu_micro: int | None = None


ANYBODY = Principal(id="anonymous", admin=True, tier="unlimited")


class Call:
    """One inbound inference request on its way through the house."""

    __slots__ = (
        "attempts",
        "dialect",
        "dropped",
        "fields",
        "headers",
        "id",
        "operation",
        "plan",
        "principal",
        "raw",
        "request",
        "started",
        "stream",
        "told",
        "upload",
    )

    def __init__(  # noqa: PLR0913 - a record: every name is given
        self,
        *,
        id: str,
        operation: Operation,
        dialect: Dialect,
        request: Any,
        raw: bytes,
        fields: dict[str, msgspec.Raw],
        principal: Principal,
        stream: bool = False,
        headers: dict[str, str] | None = None,
        upload: Any = None,
    ) -> None:
        self.id = id
        self.operation = operation
        self.dialect = dialect
        self.request = request  # the typed head: proxy.wire.*
        self.raw = raw  # the body as it came (decompressed)
        self.fields = fields  # its top-level keys, values still raw JSON; nulls are left out
        self.principal = principal
        self.stream = stream
        self.headers = headers or {}
        self.upload = upload  # multipart files, where the route takes them
        self.plan: Plan | None = None
        self.attempts: list[Attempt] = []
        self.told = b""  # what `admit` says of the caller's limits: lines of headers, each with its CRLF
        self.dropped: list[str] = []  # parameters that the serving target cannot take
        self.started = time.perf_counter()

"""What a success looks like, as types: for the document only, nothing is ever made of them.

Answers are open: an upstream's own fields pass. What is UNSET here may be missing. Names of fields are the wire's.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

Maybe = UnsetType


# ── chat ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class TopLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | Maybe | None = UNSET


class TokenLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | Maybe | None = UNSET
    top_logprobs: list[TopLogprob] | Maybe = UNSET


class ChoiceLogprobs(msgspec.Struct):
    content: list[TokenLogprob] | Maybe | None = UNSET
    refusal: list[TokenLogprob] | Maybe | None = UNSET


class CalledFunction(msgspec.Struct):
    name: str
    arguments: str


class MadeToolCall(msgspec.Struct):
    id: str
    type: str
    function: CalledFunction | Maybe = UNSET


class AnswerMessage(msgspec.Struct):
    """What the model said, or the tools that it calls."""

    role: Literal["assistant"]
    content: str | None
    name: str | Maybe = UNSET
    refusal: str | Maybe | None = UNSET
    reasoning_content: str | Maybe | None = UNSET
    tool_calls: list[MadeToolCall] | Maybe = UNSET


FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class ChatChoice(msgspec.Struct):
    index: int
    message: AnswerMessage
    finish_reason: FinishReason
    logprobs: ChoiceLogprobs | None
    stop_reason: str | int | Maybe | None = UNSET


class TokenUsage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, Any] | Maybe | None = UNSET
    completion_tokens_details: dict[str, Any] | Maybe | None = UNSET


class Citation(msgspec.Struct):
    title: str
    url: str
    content: str | Maybe = UNSET
    date: str | Maybe = UNSET


class EffectiveParameters(msgspec.Struct):
    """`venice_parameters` as a Venice upstream applied them."""

    enable_web_search: Literal["auto", "off", "on"]
    enable_web_citations: bool
    include_venice_system_prompt: bool
    include_search_results_in_stream: bool
    strip_thinking_response: bool
    disable_thinking: bool
    character_slug: str | Maybe = UNSET
    web_search_citations: list[Citation] | Maybe = UNSET


class ChatCompletion(msgspec.Struct):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TokenUsage
    prompt_logprobs: dict[str, Any] | Maybe | None = UNSET
    venice_parameters: EffectiveParameters | Maybe = UNSET


# ── embeddings, pictures ─────────────────────────────────────────────────────────────────────────────────────────────


class EmbeddingItem(msgspec.Struct):
    """`embedding` is base64 of little-endian float32 where `encoding_format` asked for it."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(msgspec.Struct):
    prompt_tokens: int
    total_tokens: int


class Embeddings(msgspec.Struct):
    object: Literal["list"]
    data: list[EmbeddingItem]
    model: str
    usage: EmbeddingUsage


class ImageTiming(msgspec.Struct):
    """Milliseconds."""

    inferenceDuration: float
    inferencePreprocessingTime: float
    inferenceQueueTime: float
    total: float


class GeneratedImages(msgspec.Struct):
    """`images` are base64; `request` is what was asked."""

    id: str
    images: list[str]
    timing: ImageTiming
    request: Any = UNSET


class ImageItem(msgspec.Struct):
    """One of the two, as `response_format` says."""

    b64_json: str | Maybe = UNSET
    url: str | Maybe = UNSET


class ImageList(msgspec.Struct):
    created: int
    data: list[ImageItem]


class StyleList(msgspec.Struct):
    object: Literal["list"]
    data: list[str]


# ── errors, and what those who run the server ask ────────────────────────────────────────────────────────────────────


class OpenAIErrorObject(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(msgspec.Struct):
    error: OpenAIErrorObject


class VeniceError(msgspec.Struct):
    """`details` is Venice's tree: `_errors` of the whole, then each field's own."""

    error: str
    code: str
    param: str | Maybe = UNSET
    details: dict[str, Any] | Maybe = UNSET


class AnthropicErrorObject(msgspec.Struct):
    type: str
    message: str


class AnthropicError(msgspec.Struct):
    type: Literal["error"]
    error: AnthropicErrorObject
    request_id: str


class Status(msgspec.Struct):
    status: Literal["ok"]


class Health(msgspec.Struct):
    """`upstreams`: name → "configured", or what it wants. `ledger`: "ok", "behind", or "off"."""

    status: str
    version: str
    models: int
    upstreams: dict[str, str]
    ledger: str | Maybe = UNSET


class Received(msgspec.Struct):
    received: bool


class Reloaded(msgspec.Struct):
    status: Literal["reloaded"]
    warnings: list[str]


class Transcription(msgspec.Struct):
    """`verbose_json` has more."""

    text: str
    language: str | Maybe = UNSET
    duration: float | Maybe = UNSET
    segments: list[dict[str, Any]] | Maybe = UNSET
    words: list[dict[str, Any]] | Maybe = UNSET
    usage: dict[str, Any] | Maybe = UNSET


class DryRun(msgspec.Struct):
    """What a call would do; nobody was called."""

    object: Literal["dry_run"]
    asked: str
    model: str
    via: str
    targets: list[dict[str, Any]]
    venice_parameters: dict[str, Any]
    tokens: dict[str, Any]
    worst_case_usd: float | None
    limits: dict[str, Any]


class Document(msgspec.Struct):
    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]


class ModelInstance(msgspec.Struct):
    """One model in memory. Times are UTC; null is unknown or never."""

    model: str
    status: Literal[
        "QUEUED", "LOADING", "RUNNING", "RESTARTING", "DRAINING", "STOPPING", "FAILED", "STOPPED", "started"
    ]
    concurrency: int | None
    inferences: int
    running: int
    expirationPeriodSeconds: int | None
    expirationPeriodMinutes: float | None
    expiresAt: str | None
    created: str | None
    modified: str | None
    upstream: str
    progress: float
    restarts: int
    memoryBytes: int | None
    estimatedBytes: int | None
    contextTokens: int | None
    message: str | Maybe = UNSET


class InstanceList(msgspec.Struct):
    object: Literal["list"]
    data: list[ModelInstance]

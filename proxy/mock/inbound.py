"""What a strict OpenAI-compatible server accepts: the request bodies, and the rules beyond their types.

Owns validation and its error texts. Knows no answers and no faults. Invariant: what leaves here may be answered without
another check; what does not raises a `Refusal` that names the parameter.
"""

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from proxy.mock.refusal import Refusal

Count = Annotated[int, Meta(ge=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Prompt = str | list[str | int | list[int]]


class Part(msgspec.Struct):
    type: str
    text: str | None = None


class FunctionCall(msgspec.Struct):
    name: str
    arguments: str


class ToolCall(msgspec.Struct):
    id: str
    type: str
    function: FunctionCall | None = None


class Message(msgspec.Struct):
    role: Literal["developer", "system", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return " ".join(part.text for part in self.content if part.text)
        return self.content or ""


class Function(msgspec.Struct):
    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    parameters: dict[str, Any] | None = None


class Tool(msgspec.Struct):
    type: str
    function: Function | None = None


class Named(msgspec.Struct):
    type: str
    function: Function | None = None


class JsonSchema(msgspec.Struct):
    name: str
    schema: dict[str, Any] | None = None


class ResponseFormat(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class _Generation(msgspec.Struct, kw_only=True):
    """What chat and legacy completions have in common; null counts as absent."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    max_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    seed: int | None = None
    user: str | None = None

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatRequest(_Generation, kw_only=True):
    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Count | None = None
    tools: Annotated[list[Tool], Meta(min_length=1)] | None = None
    tool_choice: Literal["none", "auto", "required"] | Named | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    reasoning_effort: str | None = None
    # Accepted as they come: the scripted backend has no use for them, a real one has.
    audio: Any = None
    function_call: Any = None
    functions: Any = None
    metadata: dict[str, str] | None = None
    modalities: list[str] | None = None
    moderation: Any = None
    prediction: Any = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Any = None
    prompt_cache_retention: Any = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    verbosity: str | None = None
    web_search_options: Any = None


class CompletionRequest(_Generation, kw_only=True):
    prompt: Prompt
    best_of: Count | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    suffix: str | None = None


class EmbeddingRequest(msgspec.Struct, kw_only=True):
    model: str
    input: Prompt
    dimensions: Annotated[int, Meta(ge=1, le=4096)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None


Body = TypeVar("Body", ChatRequest, CompletionRequest, EmbeddingRequest)


def decode(body: bytes, kind: type[Body], refuse_unknown: bool) -> Body:
    """The body as `kind`. Raises `Refusal` (400) for broken JSON, a wrong type, or a forbidden unknown key."""
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, f"We could not parse the JSON body of your request: {error}", code="invalid_json") from error
    if not isinstance(raw, dict):
        raise Refusal(400, "The body of the request must be a JSON object", code="invalid_json")
    if refuse_unknown:
        unknown = sorted(raw.keys() - set(kind.__struct_fields__))
        if unknown:
            raise Refusal(400, f"Unrecognized request argument supplied: {unknown[0]}", param=unknown[0])
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise _mistyped(str(error)) from error


def _mistyped(text: str) -> Refusal:
    missing = re.search(r"required field `(\w+)`", text)
    where = re.search(r"at `\$\.?(.*)`", text)
    path = where.group(1) if where else ""
    if missing:
        param = f"{path}.{missing.group(1)}" if path else missing.group(1)
        return Refusal(400, f"Missing required parameter: '{param}'", param=param, code="missing_required_parameter")
    return Refusal(400, f"Invalid value: {text}", param=path or None, code="invalid_type")


def check_chat(request: ChatRequest) -> None:
    """The rules between fields. Raises `Refusal` (400)."""
    _check_stream(request)
    if request.top_logprobs is not None and not request.logprobs:
        raise Refusal(400, "top_logprobs needs logprobs to be true", param="top_logprobs")
    if request.max_tokens is not None and request.max_completion_tokens is not None:
        raise Refusal(400, "max_tokens and max_completion_tokens cannot both be set", param="max_tokens")
    if request.tools is None:
        if request.tool_choice is not None:
            raise Refusal(400, "tool_choice is only allowed when tools are specified", param="tool_choice")
        if request.parallel_tool_calls is not None:
            raise Refusal(
                400, "parallel_tool_calls is only allowed when tools are specified", param="parallel_tool_calls"
            )
    _check_messages(request.messages)
    _check_tool_choice(request)
    schema = request.response_format and request.response_format.json_schema
    if request.response_format and request.response_format.type == "json_schema" and not (schema and schema.schema):
        raise Refusal(400, "response_format.json_schema.schema is required", param="response_format.json_schema")


def check_completion(request: CompletionRequest) -> None:
    """The rules between fields of a legacy completion. Raises `Refusal` (400)."""
    _check_stream(request)
    _check_prompt(request.prompt, "prompt")
    if request.best_of is not None and request.best_of < (request.n or 1):
        raise Refusal(400, "best_of must be at least n", param="best_of")


def check_embedding(request: EmbeddingRequest) -> None:
    """The rules of the input. Raises `Refusal` (400)."""
    _check_prompt(request.input, "input")


def _check_stream(request: _Generation) -> None:
    if request.stream_options is not None and not request.stream:
        raise Refusal(400, "stream_options is only allowed when stream is true", param="stream_options")


def _check_messages(messages: list[Message]) -> None:
    asked: set[str] = set()
    for index, message in enumerate(messages):
        where = f"messages.[{index}]"
        if message.role == "tool":
            if message.tool_call_id is None:
                raise Refusal(400, f"Missing parameter '{where}.tool_call_id'", param=f"{where}.tool_call_id")
            if message.tool_call_id not in asked:
                text = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
                raise Refusal(400, text, param=f"{where}.role")
            asked.discard(message.tool_call_id)
            continue
        if asked:
            text = f"these tool_call_ids have no response messages: {', '.join(sorted(asked))}"
            raise Refusal(400, text, param=f"{where}.role")
        asked = {call.id for call in message.tool_calls or []}
        if message.content is None and not (message.role == "assistant" and message.tool_calls):
            raise Refusal(400, f"expected a string or parts, got null at {where}.content", param=f"{where}.content")


def _check_tool_choice(request: ChatRequest) -> None:
    choice = request.tool_choice
    if isinstance(choice, Named) and choice.type == "function":
        names = {tool.function.name for tool in request.tools or [] if tool.function}
        if choice.function is None or choice.function.name not in names:
            raise Refusal(400, "tool_choice names a function that is not among tools", param="tool_choice")


def _check_prompt(prompt: Prompt, param: str) -> None:
    """Texts, token ids, or lists of token ids, but no mixture; nothing empty. Raises `Refusal` (400)."""
    if not prompt or (isinstance(prompt, list) and any(item in ("", []) for item in prompt)):
        raise Refusal(400, f"{param} must not be empty", param=param)
    if isinstance(prompt, list) and len({type(item) for item in prompt}) > 1:
        raise Refusal(400, f"{param} must be texts, token ids or lists of token ids, not a mixture", param=param)


def prompts(prompt: Prompt) -> list[str]:
    """A prompt of any of its four forms as texts; token ids are written out as numbers."""
    if isinstance(prompt, str):
        return [prompt]
    numbers = [item for item in prompt if isinstance(item, int)]
    if numbers:
        return [" ".join(str(number) for number in numbers)]
    return [item if isinstance(item, str) else " ".join(map(str, item)) for item in prompt if not isinstance(item, int)]

"""POST chat/completions, as Venice's schema and OpenAI's types have it together.

Ranges are those both publish; what is narrower on Venice's side is in `VeniceChatRequest` and `venice_only`. Messages are
open objects: vendors add keys to them, and pass-through keeps what it does not know.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

from proxy.errors import BadRequest
from proxy.wire.body import NO_OPS, tree, unknown_keys

Unit = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
MOST = (1 << 31) - 1  # of what is counted, and of a token's id
Count = Annotated[int, Meta(ge=0, le=MOST)]
Whole = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
FORMATS = ("json_schema", "json_object", "text")  # of `response_format`, under /api/v1


class Part(msgspec.Struct):
    """One content part. `image_url` is an object with a url, or the url itself (a common accent)."""

    type: str
    text: str | None = None
    image_url: Any = None
    input_audio: Any = None
    file: Any = None
    refusal: str | None = None


class FunctionCall(msgspec.Struct):
    name: str = ""
    arguments: str = ""


class ToolCall(msgspec.Struct):
    id: str = ""
    type: str = "function"
    function: FunctionCall | None = None


class Message(msgspec.Struct):
    """Any role. `content` may be null or missing where tool calls stand for it."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall | None] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None

    @property
    def text(self) -> str:
        """The text of the content; parts of text joined by line breaks."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text or "" for part in self.content or () if part.type in ("text", "refusal"))


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class VeniceParameters(msgspec.Struct, forbid_unknown_fields=True):
    """`venice_parameters`. The four first are honoured on every upstream, the others by Venice alone."""

    strip_thinking_response: bool | None = None
    disable_thinking: bool | None = None
    include_venice_system_prompt: bool | None = None
    character_slug: str | None = None
    enable_web_search: Literal["auto", "off", "on"] | None = None
    enable_web_citations: bool | None = None
    include_search_results_in_stream: bool | None = None
    enable_web_scraping: bool | None = None
    enable_x_search: bool | None = None
    return_search_results_as_documents: bool | None = None
    enable_e2ee: bool | None = None


class FunctionSpec(msgspec.Struct):
    name: Annotated[str, Meta(min_length=1)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct):
    """`function` is required for the type function; other types are vendors' own."""

    type: str = "function"
    function: FunctionSpec | None = None
    id: str | None = None


class ChatRequest(msgspec.Struct):
    """The typed head. Keys that are not here travel untouched in `Call.fields`."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    temperature: Temperature | None = None
    top_p: Unit | None = None
    top_k: Annotated[int, Meta(ge=-1, le=MOST)] | None = None
    min_p: Unit | None = None
    min_temp: Temperature | None = None
    max_temp: Temperature | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Meta(ge=0)] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    seed: Whole | None = None
    stop: str | Annotated[list[str], Meta(max_length=16)] | None = None
    stop_token_ids: list[Count] | None = None
    ignore_eos: bool | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    logit_bias: dict[str, float] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[FunctionSpec] | None = None
    function_call: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    reasoning: Any = None
    chat_template_kwargs: dict[str, Any] | None = None
    venice_parameters: VeniceParameters | None = None
    user: str | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    modalities: list[str] | None = None
    audio: Any = None
    prediction: Any = None
    verbosity: str | None = None
    web_search_options: Any = None

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def limit(self) -> int | None:
        """The most tokens to generate, by whichever name it was given."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens


class VeniceChatRequest(ChatRequest):
    """What Venice's schema makes narrower."""

    seed: Annotated[int, Meta(gt=0, le=(1 << 63) - 1)] | None = None
    top_k: Count | None = None
    stop: str | Annotated[list[str], Meta(min_length=1, max_length=4)] | None = None


KNOWN = frozenset(ChatRequest.__struct_fields__)

# The keys of Venice's schema, and what its later versions added. All else is refused under /api/v1, but for the no-ops.
VENICE = NO_OPS | frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "min_temp",
        "max_temp",
        "frequency_penalty",
        "presence_penalty",
        "repetition_penalty",
        "n",
        "seed",
        "stop",
        "stop_token_ids",
        "logprobs",
        "top_logprobs",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "venice_parameters",
        "logit_bias",
        "reasoning",
        "reasoning_effort",
        "verbosity",
    }
)


def venice_only(request: ChatRequest, fields: dict[str, Raw]) -> None:
    """What Venice's schema refuses and OpenAI's takes. Raises BadRequest naming the field."""
    unknown = [key for key in fields if key not in VENICE]
    if unknown:
        raise unknown_keys(unknown)
    for index, message in enumerate(request.messages):
        if isinstance(message.content, list):
            for at, part in enumerate(message.content):
                if part.type == "text" and not part.text:
                    raise refused(f"messages[{index}].content[{at}].text", "String must contain at least 1 character")
    if request.response_format is not None:
        _known_format(request.response_format)
    if isinstance(request.tool_choice, dict):
        function = request.tool_choice.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise refused("tool_choice.function", "Expected an object with a name")


def _known_format(given: dict[str, Any]) -> None:
    type_ = given.get("type")
    if type_ not in FORMATS:
        raise refused("response_format.type", f"Expected one of {', '.join(FORMATS)}")
    if type_ == "json_schema" and not isinstance(given.get("json_schema"), dict):
        raise refused("response_format.json_schema", "Required")


def consistent(request: ChatRequest) -> None:
    """What both refuse: fields that contradict each other. Raises BadRequest naming the field."""
    if request.top_logprobs is not None and not request.logprobs:
        raise refused("top_logprobs", "'top_logprobs' needs 'logprobs' to be true")
    for index, tool in enumerate(request.tools or ()):
        if tool.type == "function" and tool.function is None:
            raise refused(f"tools[{index}].function", "Required")
    for index, message in enumerate(request.messages):
        if message.role == "tool" and message.tool_call_id is None:
            raise refused(f"messages[{index}].tool_call_id", "Required")
        if message.role in ("user", "system", "developer") and message.content is None:
            raise refused(f"messages[{index}].content", "Required")
        if isinstance(message.content, list):
            _whole(message.content, f"messages[{index}].content")


def _whole(parts: list[Part], where: str) -> None:
    """Each part has what its type says."""
    for index, part in enumerate(parts):
        if part.type == "text" and part.text is None:
            raise refused(f"{where}[{index}].text", "Required")
        if part.type == "image_url":
            url = part.image_url.get("url") if isinstance(part.image_url, dict) else part.image_url
            if not isinstance(url, str):
                raise refused(f"{where}[{index}].image_url.url", "Required")


def refused(param: str, said: str) -> BadRequest:
    return BadRequest(f"Invalid request: '{param}': {said}.", param=param, details=tree(param, said))

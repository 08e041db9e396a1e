"""The scripted backend: what the imitated model says, and how OpenAI's two forms put it.

Owns the rules (tools and schemas are filled in, everything else gets a fixed sentence) and the well-formed answer,
whole or in chunks. Knows no bytes, no HTTP and no faults. Invariant: same request, same number, same answer.
"""

import base64
import hashlib
import random
import re
import struct
from dataclasses import dataclass, field
from typing import Any

import msgspec

from proxy.mock.fill import fill
from proxy.mock.inbound import ChatRequest, CompletionRequest, EmbeddingRequest, Named, Tool, prompts
from proxy.mock.script import Script

Json = dict[str, Any]

SENTENCES = (
    "The ferry crosses the Grand Canal — già pagato, one small coin 🛶 for everybody aboard.",
    "Two oars, one standing passenger and a city — perché no? — that floats on wooden piles.",
)
THOUGHT = "The passenger asks a question; a short answer will do."
CREATED = 1_790_000_000
DIMENSIONS = 16


@dataclass(slots=True)
class Call:
    """One tool call; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class Choice:
    """What one of n choices says. `tokens` are the pieces of `content`, in order."""

    tokens: list[str]
    finish: str
    calls: list[Call] = field(default_factory=list)
    reasoning: str | None = None

    @property
    def content(self) -> str | None:
        return None if self.calls and not self.tokens else "".join(self.tokens)


@dataclass(slots=True)
class Saying:
    """A whole answer before it takes a form: identity, choices, token counts."""

    id: str
    model: str
    created: int
    choices: list[Choice]
    usage: Json


def words(text: str) -> list[str]:
    """The text in pieces that join to the text again: our tokens."""
    return re.findall(r"\s*\S+|\s+$", text)


def say_chat(request: ChatRequest, number: int, script: Script) -> Saying:
    """The answer to request `number` (its ids and time come from the number)."""
    choices = [_choice(request, number, index, script) for index in range(request.n or 1)]
    prompt = sum(len(words(message.text)) + 3 for message in request.messages)
    thought = sum(len(words(choice.reasoning or "")) for choice in choices)
    said = sum(
        len(choice.tokens) + sum(1 + len(_pieces(call.arguments)) for call in choice.calls) for choice in choices
    )
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": said + thought,
        "total_tokens": prompt + said + thought,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }
    return Saying(_id("chatcmpl", number), request.model, CREATED + number, choices, usage)


def say_completion(request: CompletionRequest, number: int, script: Script) -> Saying:
    """The answer to a legacy completion: n choices for each prompt."""
    choices: list[Choice] = []
    texts = prompts(request.prompt)
    for text in texts:
        for index in range(request.n or 1):
            tokens, finish = _limited(_text(script, index), request.stops, request.max_tokens or 16)
            choices.append(Choice((words(text) if request.echo else []) + tokens, script.finish or finish))
    asked = sum(len(words(text)) for text in texts)
    said = sum(len(choice.tokens) for choice in choices)
    usage = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
    return Saying(_id("cmpl", number), request.model, CREATED + number, choices, usage)


def _choice(request: ChatRequest, number: int, index: int, script: Script) -> Choice:
    calls = _calls(request, number, index) if script.content is None and script.pieces is None else []
    if calls:
        return Choice([], script.finish or "tool_calls", calls, script.reasoning)
    shaped = _structured(request)
    tokens = words(shaped) if shaped and script.content is None else _text(script, index)
    limit = request.max_completion_tokens or request.max_tokens
    tokens, finish = _limited(tokens, request.stops, limit)
    return Choice(tokens, script.finish or finish, [], script.reasoning)


def _text(script: Script, index: int) -> list[str]:
    if script.pieces is not None:
        return list(script.pieces)
    return words(script.content if script.content is not None else SENTENCES[index % len(SENTENCES)])


def _limited(tokens: list[str], stops: list[str], limit: int | None) -> tuple[list[str], str]:
    text = "".join(tokens)
    found = [at for at in (text.find(stop) for stop in stops if stop) if at >= 0]
    finish = "stop"
    if found:
        tokens = words(text[: min(found)])
    if limit is not None and len(tokens) > limit:
        tokens, finish = tokens[:limit], "length"
    return tokens, finish


def _structured(request: ChatRequest) -> str | None:
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object" or wanted.json_schema is None:
        return '{"answer": "one coin"}'
    return _encode(fill(wanted.json_schema.schema or {}, _prompt(request)))


def _calls(request: ChatRequest, number: int, index: int) -> list[Call]:
    tools = [tool for tool in request.tools or [] if tool.function]
    choice = request.tool_choice
    if not tools or choice == "none":
        return []
    if choice in (None, "auto") and request.messages[-1].role != "user":
        return []
    tool = _chosen(tools, choice)
    prompt = _prompt(request)
    texts = [prompt]
    if request.parallel_tool_calls:
        # One call for each quoted span: the way to ask this backend for several calls.
        texts = [f'"{span}"' for span in re.findall(r'"([^"]+)"', prompt)[:4]] or [prompt]
    assert tool.function is not None
    schema = tool.function.parameters or {"type": "object", "properties": {}}
    return [
        Call(_id("call", number, index * 10 + k), tool.function.name, _encode(fill(schema, text)))
        for k, text in enumerate(texts)
    ]


def _chosen(tools: list[Tool], choice: object) -> Tool:
    if isinstance(choice, Named) and choice.function is not None:
        wanted = choice.function.name
        return next((tool for tool in tools if tool.function and tool.function.name == wanted), tools[0])
    return tools[0]


def _prompt(request: ChatRequest) -> str:
    users = [message.text for message in request.messages if message.role == "user"]
    return users[-1] if users else ""


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _id(prefix: str, number: int, part: int = 0) -> str:
    return f"{prefix}-{hashlib.sha256(f'{prefix}/{number}/{part}'.encode()).hexdigest()[:24]}"


def _pieces(text: str, size: int = 5) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


# -- chat, whole ----------------------------------------------------------------------------------------


def chat_body(saying: Saying, request: ChatRequest) -> Json:
    """The `chat.completion` object."""
    choices: list[Json] = []
    for index, choice in enumerate(saying.choices):
        message: Json = {"role": "assistant", "content": choice.content, "refusal": None}
        if choice.reasoning is not None:
            message["reasoning_content"] = choice.reasoning
        if choice.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in choice.calls
            ]
        logprobs = _logprobs(choice.tokens, request.top_logprobs or 0) if request.logprobs else None
        choices.append({"index": index, "message": message, "logprobs": logprobs, "finish_reason": choice.finish})
    return {
        "id": saying.id,
        "object": "chat.completion",
        "created": saying.created,
        "model": saying.model,
        "choices": choices,
        "usage": saying.usage,
        "system_fingerprint": "fp_mock",
    }


def _logprobs(tokens: list[str], top: int) -> Json:
    def entry(token: str, rank: int) -> Json:
        return {"token": token, "logprob": -0.25 * (rank + 1), "bytes": list(token.encode())}

    content = []
    for token in tokens:
        others = [entry(token if rank == 0 else f"{token}{rank}", rank) for rank in range(top)]
        content.append({**entry(token, 0), "top_logprobs": others})
    return {"content": content, "refusal": None}


# -- chat, in chunks ------------------------------------------------------------------------------------


def chat_chunks(saying: Saying, request: ChatRequest) -> list[Json]:
    """The `chat.completion.chunk` objects: role first, deltas of the choices in turn, finishes, usage if asked."""
    deltas = [_deltas(choice, request) for choice in saying.choices]
    order: list[Json] = []
    for step in range(max(len(item) for item in deltas)):
        for index, item in enumerate(deltas):
            if step < len(item):
                order.append({"index": index, **item[step]})
    for index, choice in enumerate(saying.choices):
        order.append({"index": index, "delta": {}, "logprobs": None, "finish_reason": choice.finish})
    return _framed(saying, "chat.completion.chunk", order, request.wants_usage)


def _deltas(choice: Choice, request: ChatRequest) -> list[Json]:
    first: Json = {"role": "assistant", "content": None if choice.calls else "", "refusal": None}
    deltas: list[tuple[Json, str | None]] = [(first, None)]
    deltas += [({"reasoning_content": piece}, None) for piece in words(choice.reasoning or "")]
    for index, call in enumerate(choice.calls):
        head = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        deltas.append(({"tool_calls": [head]}, None))
        for piece in _pieces(call.arguments):
            deltas.append(({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, None))
    deltas += [({"content": token}, token) for token in choice.tokens]
    rows: list[Json] = []
    for delta, token in deltas:
        logprobs = _logprobs([token], request.top_logprobs or 0) if request.logprobs and token is not None else None
        rows.append({"delta": delta, "logprobs": logprobs, "finish_reason": None})
    return rows


def _framed(saying: Saying, form: str, choices: list[Json], usage: bool) -> list[Json]:
    head: Json = {
        "id": saying.id,
        "object": form,
        "created": saying.created,
        "model": saying.model,
        "system_fingerprint": "fp_mock",
    }
    chunks: list[Json] = [{**head, "choices": [choice], **({"usage": None} if usage else {})} for choice in choices]
    if usage:
        chunks.append({**head, "choices": [], "usage": saying.usage})
    return chunks


# -- legacy completions ---------------------------------------------------------------------------------


def completion_body(saying: Saying, request: CompletionRequest) -> Json:
    """The `text_completion` object."""
    choices = [
        {"index": index, **_text_choice(choice.tokens, request, 0), "finish_reason": choice.finish}
        for index, choice in enumerate(saying.choices)
    ]
    head = {"id": saying.id, "object": "text_completion", "created": saying.created, "model": saying.model}
    return {**head, "choices": choices, "usage": saying.usage}


def completion_chunks(saying: Saying, request: CompletionRequest) -> list[Json]:
    """The same in chunks: each a whole `text_completion` with a part of the text."""
    rows: list[Json] = []
    for index, choice in enumerate(saying.choices):
        offset = 0
        for token in choice.tokens:
            rows.append({"index": index, **_text_choice([token], request, offset), "finish_reason": None})
            offset += len(token)
        rows.append({"index": index, "text": "", "logprobs": None, "finish_reason": choice.finish})
    return _framed(saying, "text_completion", rows, request.wants_usage)


def _text_choice(tokens: list[str], request: CompletionRequest, offset: int) -> Json:
    if request.logprobs is None:
        return {"text": "".join(tokens), "logprobs": None}
    offsets: list[int] = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    logprobs = {
        "tokens": tokens,
        "token_logprobs": [-0.25] * len(tokens),
        "top_logprobs": [{token: -0.25} for token in tokens] if request.logprobs else None,
        "text_offset": offsets,
    }
    return {"text": "".join(tokens), "logprobs": logprobs}


# -- embeddings -----------------------------------------------------------------------------------------


def embedding_body(request: EmbeddingRequest) -> Json:
    """The list of embeddings, as floats or as base64 of little-endian float32."""
    texts = prompts(request.input)
    data: list[Json] = []
    for index, text in enumerate(texts):
        packed = _vector(text, request.dimensions or DIMENSIONS)
        value: object = base64.b64encode(packed).decode()
        if request.encoding_format != "base64":
            value = list(struct.unpack(f"<{len(packed) // 4}f", packed))
        data.append({"object": "embedding", "index": index, "embedding": value})
    tokens = sum(len(words(text)) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": request.model, "usage": usage}


def _vector(text: str, dimensions: int) -> bytes:
    rng = random.Random(hashlib.sha256(text.encode()).digest())
    values = [rng.gauss(0, 1) for _ in range(dimensions)]
    length = sum(value * value for value in values) ** 0.5
    return struct.pack(f"<{dimensions}f", *(value / length for value in values))

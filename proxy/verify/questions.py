"""The questions that are put to a server: every request of a verification, by name.

Owns their bodies. Opens no socket. Invariant: a question that depends on an earlier answer comes after it, and says why
where it cannot be asked.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec

from proxy.verify.client import Ask
from proxy.verify.seen import Fail, Seen, Skip, choices

CHAT = "/chat/completions"
UNKNOWN = "no-such-model-5f1c"
ASKED = {"include_usage": True}
SAY = [{"role": "user", "content": "Say in one short sentence what a ferry does."}]
CALL = [{"role": "user", "content": 'Call get_weather for "Venice" and, in a second call, for "Rome".'}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
NULLABLE = (
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "response_format",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
)

Question = Callable[[Seen], Ask]


def _chat(**fields: Any) -> Question:
    fields.setdefault("messages", SAY)
    if "max_tokens" not in fields:
        fields["max_tokens"] = 200
    return lambda seen: _post(CHAT, {"model": seen.model, **fields})


def _post(path: str, body: object, **headers: str) -> Ask:
    return Ask("POST", path, msgspec.json.encode(body), headers)


def _tool_result(seen: Seen) -> Ask:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Venice"}'}}
    messages = [
        {"role": "user", "content": "How is the weather in Venice?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny, 24 degrees"},
    ]
    return _post(CHAT, {"model": seen.model, "messages": messages, "tools": TOOLS, "max_tokens": 200})


def _parts(seen: Seen) -> Ask:
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "Answer briefly."}]},
        {"role": "user", "content": [{"type": "text", "text": "Say what"}, {"type": "text", "text": "a ferry does."}]},
    ]
    return _post(CHAT, {"model": seen.model, "messages": messages, "max_tokens": 200})


def stop_word(seen: Seen) -> str:
    """A word from the middle of the plain answer, to stop at. Raises `Skip` where there is none."""
    try:
        found = choices(seen.json("plain"))
    except Fail as fail:
        raise Skip(f"no plain answer to take a word from: {fail}") from fail
    message = found[0].get("message") if found else None
    text = message.get("content") if isinstance(message, dict) else None
    words = text.split() if isinstance(text, str) else []
    if len(words) < 4:
        raise Skip(f"the plain answer is too short to stop in: {text!r}")
    return str(words[len(words) // 2])


def _stop(seen: Seen) -> Ask:
    return _post(CHAT, {"model": seen.model, "messages": SAY, "max_tokens": 200, "stop": [stop_word(seen)]})


def _bad_key(seen: Seen) -> Ask:
    if seen.key is None:
        raise Skip("no key was given, so none can be wrong")
    body = {"model": seen.model, "messages": SAY, "max_tokens": 1}
    return _post(CHAT, body, authorization="Bearer sk-wrong-key-of-traghetto-verify")


def _model(seen: Seen) -> Ask:
    return Ask("GET", f"/models/{quote(seen.model, safe='')}")


def _embedding(encoding: str) -> Question:
    def ask(seen: Seen) -> Ask:
        if not seen.embedding_model:
            raise Skip("no embedding model was given")
        body = {"model": seen.embedding_model, "input": ["one coin", "a second"], "encoding_format": encoding}
        return _post("/embeddings", body)

    return ask


QUESTIONS: dict[str, Question] = {
    "models": lambda _: Ask("GET", "/models"),
    "model": _model,
    "model_unknown": lambda _: Ask("GET", f"/models/{UNKNOWN}"),
    "stream": _chat(stream=True, stream_options=ASKED),
    "stream_bare": _chat(stream=True),
    "stream_usage_off": _chat(stream=True, stream_options={"include_usage": False}),
    "stream_n": _chat(stream=True, stream_options=ASKED, n=2),
    "stream_tools": _chat(
        stream=True, stream_options=ASKED, messages=CALL, tools=TOOLS, tool_choice="required", parallel_tool_calls=True
    ),
    "stream_unknown": lambda _: _post(CHAT, {"model": UNKNOWN, "messages": SAY, "stream": True}),
    "plain": _chat(),
    "plain_n": _chat(n=2),
    "plain_tools": _chat(messages=CALL, tools=TOOLS, tool_choice="required", parallel_tool_calls=True),
    "plain_length": _chat(max_tokens=1),
    "plain_stop": _stop,
    "plain_nulls": _chat(**dict.fromkeys(NULLABLE)),
    "plain_parts": _parts,
    "tool_result": _tool_result,
    "bad_json": lambda _: Ask("POST", CHAT, b'{"model": "m", "messages": ['),
    "no_messages": lambda seen: _post(CHAT, {"model": seen.model}),
    "wrong_type": lambda seen: _post(CHAT, {"model": seen.model, "messages": "hello"}),
    "unknown_model": lambda _: _post(CHAT, {"model": UNKNOWN, "messages": SAY}),
    "bad_key": _bad_key,
    "no_route": lambda _: Ask("GET", "/no-such-route"),
    "wrong_method": lambda _: Ask("DELETE", CHAT),
    "wrong_media": lambda _: Ask("POST", CHAT, b"hello", {"content-type": "text/plain"}),
    "embed_float": _embedding("float"),
    "embed_base64": _embedding("base64"),
}
REFUSED = (
    "stream_unknown",
    "bad_json",
    "no_messages",
    "wrong_type",
    "unknown_model",
    "bad_key",
    "no_route",
    "wrong_method",
    "wrong_media",
    "model_unknown",
)

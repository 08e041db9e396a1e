"""The imitated server: a request in, an `Answer` out.

Owns the route table, authentication, and the faults of the phase `answer`. Touches no socket. Invariant: a request that
a strict server would refuse is refused whatever is scripted, so that a fault never hides a client's mistake.
"""

import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from proxy.mock import refusal, scripted
from proxy.mock.faults import Fault, find, of_phase
from proxy.mock.frames import deframe, frame, split
from proxy.mock.inbound import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    check_chat,
    check_completion,
    check_embedding,
    decode,
)
from proxy.mock.journal import Exchange
from proxy.mock.options import MockOptions
from proxy.mock.refusal import Refusal
from proxy.mock.script import Script
from proxy.mock.transcript import Answer
from proxy.mock.warp import warp_chunks
from proxy.mock.warp_body import warp_body

Handler = Callable[[Exchange, Script], Answer]

SSE = "text/event-stream; charset=utf-8"


class Backend:
    """Answers requests by the options and a script; holds no state between them."""

    def __init__(self, options: MockOptions):
        self._options = options
        self._routes: dict[str, dict[str, Handler]] = {
            "/chat/completions": {"POST": self._chat},
            "/completions": {"POST": self._completion},
            "/embeddings": {"POST": self._embedding},
            "/models": {"GET": self._models, "HEAD": self._models},
        }

    def answer(self, exchange: Exchange, script: Script) -> Answer:
        """The answer to one request, with the script's faults of all phases but `wire` applied."""
        faults = list(script.faults)
        try:
            handler = self._route(exchange)
            self._authenticate(exchange)
            answer = handler(exchange, script)
            self._refuse_by_fault(exchange, faults)
        except Refusal as error:
            answer = _refused(error, faults)
        answer.faults = faults
        answer.headers.append(("x-request-id", f"req_mock_{exchange.number}"))
        rng = random.Random(f"{self._options.seed}/{exchange.number}/answer")
        for fault in of_phase(faults, "answer"):
            answer = _spoil(answer, fault, rng)
        for name, value in script.headers.items():
            _drop(answer, name.lower()).headers.append((name.lower(), value))
        return answer

    # -- who may ask for what ---------------------------------------------------------------------------

    def _route(self, exchange: Exchange) -> Handler:
        path = exchange.path.removeprefix(self._options.prefix)
        known = self._routes.get(path) if exchange.path.startswith(self._options.prefix) else None
        if known is None and exchange.path.startswith(f"{self._options.prefix}/models/"):
            known = {"GET": self._model, "HEAD": self._model}
        if known is None:
            raise Refusal(404, f"Invalid URL ({exchange.method} {exchange.path})", code="unknown_url")
        if exchange.method not in known:
            allow = ", ".join(known)
            text = f"Not allowed to {exchange.method} on {exchange.path}, use {allow}"
            raise Refusal(405, text, headers=(("allow", allow),))
        return known[exchange.method]

    def _authenticate(self, exchange: Exchange) -> None:
        key = self._options.api_key
        if key is None:
            return
        given = exchange.header(self._options.auth_header)
        if given is None:
            raise Refusal(401, "You didn't provide an API key")
        if given != self._options.auth_prefix + key:
            raise Refusal(401, "Incorrect API key provided")

    def _check_body(self, exchange: Exchange) -> None:
        content_type = (exchange.header("content-type") or "").partition(";")[0].strip().lower()
        if content_type != "application/json":
            raise Refusal(415, f"Unsupported content type {content_type!r}: application/json is expected")
        if len(exchange.body) > self._options.max_body:
            raise Refusal(413, f"The body is larger than {self._options.max_body} bytes")

    def _check_model(self, model: str, known: tuple[str, ...]) -> None:
        if model not in known and "*" not in known:
            text = f"The model '{model}' does not exist or you do not have access to it"
            raise Refusal(404, text, param="model", code="model_not_found")

    @staticmethod
    def _refuse_by_fault(exchange: Exchange, faults: list[Fault]) -> None:
        if find(faults, "refuse_stream_options") and b'"stream_options"' in exchange.body:
            raise Refusal(400, "Unrecognized request argument supplied: stream_options", param="stream_options")

    # -- routes -----------------------------------------------------------------------------------------

    def _chat(self, exchange: Exchange, script: Script) -> Answer:
        self._check_body(exchange)
        request = decode(exchange.body, ChatRequest, not self._options.unknown_fields)
        check_chat(request)
        self._check_model(request.model, self._options.models)
        exact = self._verbatim(script)
        if exact is not None:
            return exact
        saying = scripted.say_chat(request, exchange.number, script)
        if request.stream and not find(script.faults, "ok_json"):
            return self._stream(scripted.chat_chunks(saying, request), script, saying.usage)
        return _whole(scripted.chat_body(saying, request), script)

    def _completion(self, exchange: Exchange, script: Script) -> Answer:
        self._check_body(exchange)
        request = decode(exchange.body, CompletionRequest, not self._options.unknown_fields)
        check_completion(request)
        self._check_model(request.model, self._options.models)
        exact = self._verbatim(script)
        if exact is not None:
            return exact
        saying = scripted.say_completion(request, exchange.number, script)
        if request.stream and not find(script.faults, "ok_json"):
            return self._stream(scripted.completion_chunks(saying, request), script, saying.usage)
        return _whole(scripted.completion_body(saying, request), script)

    def _embedding(self, exchange: Exchange, script: Script) -> Answer:
        self._check_body(exchange)
        request = decode(exchange.body, EmbeddingRequest, not self._options.unknown_fields)
        check_embedding(request)
        self._check_model(request.model, self._options.embedding_models)
        return self._verbatim(script) or _whole(scripted.embedding_body(request), script)

    def _models(self, _: Exchange, script: Script) -> Answer:
        rows = [_model_row(name) for name in self._names()]
        return self._verbatim(script) or _whole({"object": "list", "data": rows}, script)

    def _model(self, exchange: Exchange, script: Script) -> Answer:
        name = unquote(exchange.path.removeprefix(f"{self._options.prefix}/models/"))
        self._check_model(name, self._names())
        return self._verbatim(script) or _whole(_model_row(name), script)

    def _names(self) -> tuple[str, ...]:
        return tuple(name for name in self._options.models + self._options.embedding_models if name != "*")

    # -- forms ------------------------------------------------------------------------------------------

    def _stream(self, chunks: list[dict[str, Any]], script: Script, usage: dict[str, Any]) -> Answer:
        chunks = warp_chunks(chunks, of_phase(script.faults, "chunk"), usage)
        pieces = deframe(frame(chunks), of_phase(script.faults, "frame"))
        return self._events(pieces, script)

    def _events(self, pieces: list[bytes], script: Script) -> Answer:
        headers = [("content-type", SSE), ("cache-control", "no-cache")]
        pace = (self._options.ttft, self._options.pace)
        return Answer(script.status or 200, headers, pieces, chunked=True, ttft=pace[0], pace=pace[1])

    def _verbatim(self, script: Script) -> Answer | None:
        """The answer that a script gives word for word: its frames, its body, its recording."""
        if script.frames is not None:
            pieces = [piece.encode("utf-8", "surrogateescape") for piece in script.frames]
            return self._events(deframe(pieces, of_phase(script.faults, "frame")), script)
        if script.body is not None:
            body = script.body.encode("utf-8", "surrogateescape")
            given = {name.lower() for name in script.headers}
            headers = [] if "content-type" in given else [("content-type", refusal.JSON)]
            return Answer(script.status or 200, headers, [body])
        if script.recording is not None:
            return self._replayed(script)
        return None

    def _replayed(self, script: Script) -> Answer:
        folder = Path(self._options.recordings or ".").resolve()
        path = (folder / str(script.recording)).resolve()
        if not path.is_relative_to(folder) or not path.is_file():
            raise Refusal(500, f"no recording {script.recording!r} in the folder of recordings")
        recorded = path.read_bytes()
        if path.suffix == ".sse":
            return self._events(deframe(split(recorded), of_phase(script.faults, "frame")), script)
        return Answer(script.status or 200, [("content-type", refusal.JSON)], [recorded])


def _model_row(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": scripted.CREATED, "owned_by": "mock"}


def _refused(error: Refusal, faults: list[Fault]) -> Answer:
    """The answer to a request that deserves to be refused, as the scripted faults put it."""
    status = find(faults, "refusal_status")
    shape = find(faults, "refusal_shape")
    kind = find(faults, "refusal_type")
    if status is not None:
        error.status = status["status"]
    if kind is not None:
        error.type = kind["type"]
    content_type, body = refusal.shaped(shape["shape"] if shape else "openai", error)
    return Answer(error.status, [("content-type", content_type), *error.headers], [body])


def _whole(body: dict[str, Any], script: Script) -> Answer:
    encoded = msgspec.json.encode(warp_body(body, of_phase(script.faults, "chunk")))
    return Answer(script.status or 200, [("content-type", refusal.JSON)], [encoded])


# -- faults of the phase `answer` -----------------------------------------------------------------------


def _spoil(answer: Answer, fault: Fault, rng: random.Random) -> Answer:
    if answer.status >= 400 and fault.name not in ("huge_headers", "no_request_id", "no_type", "gzip"):
        return answer
    spoil = _SPOILERS.get(fault.name)
    return spoil(answer, fault, rng) if spoil else answer


def _header(answer: Answer, name: str) -> str:
    return next((value for key, value in answer.headers if key == name), "")


def _drop(answer: Answer, name: str) -> Answer:
    answer.headers = [item for item in answer.headers if item[0] != name]
    return answer


def _retype(answer: Answer, content_type: str, body: bytes) -> Answer:
    _drop(answer, "cache-control")
    _drop(answer, "content-type").headers.append(("content-type", content_type))
    answer.pieces, answer.chunked, answer.ttft, answer.pace = [body], False, 0.0, 0.0
    return answer


def _status(answer: Answer, fault: Fault, _: random.Random) -> Answer:
    answer.status = 429 if fault.name == "rate_limit" else fault["status"]
    error = Refusal(answer.status, f"the upstream refused with {answer.status}")
    _retype(answer, *refusal.shaped(fault["shape"], error))
    if fault["retry_after"] != "":
        answer.headers.append(("retry-after", fault["retry_after"]))
    if fault.name == "status" and fault["should_retry"] != "":
        answer.headers.append(("x-should-retry", fault["should_retry"]))
    return answer


def _garbage(answer: Answer, fault: Fault, rng: random.Random) -> Answer:
    answer.pieces = [rng.randbytes(fault["size"])]
    return answer


def _wrong_type(answer: Answer, fault: Fault, _: random.Random) -> Answer:
    _drop(answer, "content-type").headers.append(("content-type", fault["type"]))
    return answer


def _empty(answer: Answer, _: Fault, __: random.Random) -> Answer:
    answer.pieces = []
    return answer


def _redirect(answer: Answer, fault: Fault, _: random.Random) -> Answer:
    _retype(answer, "text/plain", b"")
    answer.status = 307
    answer.headers.append(("location", fault["location"]))
    return answer


def _gzip(answer: Answer, _: Fault, __: random.Random) -> Answer:
    packer = zlib.compressobj(wbits=31)
    # Flushed piece by piece: a stream stays a stream.
    packed = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in answer.pieces]
    answer.pieces = [*packed, packer.flush()]
    answer.headers.append(("content-encoding", "gzip"))
    return answer


def _huge_headers(answer: Answer, fault: Fault, _: random.Random) -> Answer:
    lines = max(1, fault["lines"])
    answer.headers += [(f"x-mock-padding-{line}", "p" * (fault["size"] // lines)) for line in range(lines)]
    return answer


_SPOILERS: dict[str, Callable[[Answer, Fault, random.Random], Answer]] = {
    "status": _status,
    "rate_limit": _status,
    "ok_error": lambda answer, fault, _: _retype(answer, *refusal.ok_error(fault["shape"])),
    "empty": _empty,
    "garbage": _garbage,
    "wrong_type": _wrong_type,
    "no_type": lambda answer, _, __: _drop(answer, "content-type"),
    "redirect": _redirect,
    "gzip": _gzip,
    "huge_headers": _huge_headers,
    "no_request_id": lambda answer, _, __: _drop(answer, "x-request-id"),
    "no_cache_control": lambda answer, _, __: _drop(answer, "cache-control"),
}

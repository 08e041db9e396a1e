"""The exchanges with Bytez beside its OpenAI-like endpoint: what creates is sent once, and an error may come with status 200.

It owns the socket's client and what refusals mean; it refuses to know what a model's output is for. Invariant: an output is
handed on only when the answer has no error.
"""

import asyncio
import base64
import binascii
import re
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from adapters._http import HttpClient, HttpResponse, TransportError
from adapters.accents import object_in
from adapters.faults import retry_after_s, transport_fault
from adapters.line import once
from adapters.openai_api import failures, whole
from adapters.options import BytezOptions
from proxy.errors import UpstreamError
from proxy.wire.body import encode

MAX_ANSWER = 128 << 20
MAX_ERROR = 1 << 20
AS_TEXT = re.compile(r"\bnot (running|loaded)\b", re.IGNORECASE)


class Runner(Protocol):
    """One inference: a text in, the model's output out."""

    async def run(self, model: str, text: str) -> Any:
        """A text, numbers, a URL of a file, or (v1) the file itself as bytes. Raises UpstreamError."""
        ...


class Api:
    """One upstream."""

    def __init__(self, name: str, options: BytezOptions, client: HttpClient) -> None:
        self.name = name
        self.options = options
        self.room = asyncio.Semaphore(options.concurrency)
        self._client = client

    async def send(self, method: str, path: str, body: Any = None) -> HttpResponse:
        """A response whose status is good; its body is still to come. Raises UpstreamError."""
        raw = b"" if body is None else encode(body)
        headers = [("content-type", "application/json"), ("content-length", str(len(raw)))] if raw else []
        try:
            response = await self._client.send(method, path, headers=headers, content=once(raw) if raw else b"")
            if response.status < 300:
                return response
            try:
                said = await response.read(MAX_ERROR)
            finally:
                response.close()
        except TransportError as error:
            raise transport_fault(error, self.name) from None
        raise refusal(response, said, self.name)

    async def ask(self, method: str, path: str, body: Any = None, *, told: bool = False) -> Any:
        """One exchange → its JSON. Raises UpstreamError, also for an error with status 200, unless that is to be `told`."""
        said = await self.read(await self.send(method, path, body))
        try:
            answer = msgspec.json.decode(said)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise whole.malformed(self.name, "an answer that is not JSON") from None
        return answer if told or not isinstance(answer, dict) else whole.decoded(said, self.name)

    async def read(self, response: HttpResponse) -> bytes:
        try:
            return await response.read(MAX_ANSWER)
        except TransportError as error:
            raise transport_fault(error, self.name) from None
        finally:
            response.close()


class Serverless:
    """v2: a model is a path. See `Runner`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def run(self, model: str, text: str) -> Any:
        fixed = self._api.options.inputs.get(model)
        body = {"text": text, **({"params": fixed} if fixed else {})}
        async with self._api.room:
            answer = await self._api.ask("POST", f"/models/v2/{quote(model, safe='/')}", body)
        if not isinstance(answer, dict) or answer.get("output") is None:
            raise whole.malformed(self._api.name, "an answer without an output")
        return answer["output"]


def output_of(answer: Any, upstream: str) -> Any:
    """What v1 answers: files as base64 under names of their own, everything else in a list of one."""
    if isinstance(answer, dict):
        for name in ("output_png", "output_wav", "output_mp4"):
            if isinstance(answer.get(name), str):
                try:
                    return base64.b64decode(answer[name], validate=True)
                except (binascii.Error, ValueError):
                    raise whole.malformed(upstream, "a file that is not base64") from None
        output = answer.get("output")
        if isinstance(output, list) and output:
            return output[0]
    raise whole.malformed(upstream, "an answer without an output")


def refusal(response: HttpResponse, said: bytes, upstream: str) -> UpstreamError:
    """An error status → what it means. Its 429 says in `ratelimit-reset` when a place is free."""
    body = object_in(said)
    words = body.get("message") if response.status == 402 else None
    told = encode({"error": words}) if isinstance(words, str) else said
    error = failures.from_status(response.status, told, retry_after_s(response), upstream)
    if response.status == 429 and error.retry_after_s is None:
        reset = response.headers.get("ratelimit-reset") or ""
        error.retry_after_s = float(reset) if reset.isdigit() else None
    if response.status >= 500 and not body:
        error.accepted = None  # somebody in between: whether the work was begun is not known
    return error

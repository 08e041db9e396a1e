"""Checks on heads and transport: what comes around a body.

Owns the promises about status, headers and HTTP framing. Reads bodies only for evidence.
"""

from proxy.verify.check import check
from proxy.verify.questions import REFUSED
from proxy.verify.seen import PLAINS, STREAMS, Fail, Seen, Skip, clip

_BARE = ("stream", "stream_bare")
_HEAD_LIMIT = 16 * 1024


@check("stream.status", "a stream request is answered with 200", _BARE)
def stream_status(seen: Seen) -> None:
    for name in _BARE:
        answer = seen.answer(name)
        if answer.status != 200:
            evidence = "; ".join(answer.problems) or clip(seen.body(name))
            raise Fail(f"{name}: {answer.status or 'no answer'}: {evidence}")


@check("stream.type", "content-type is text/event-stream", STREAMS, ("stream.status",))
def stream_type(seen: Seen) -> None:
    for name in STREAMS:
        answer = seen.answers.get(name)
        if answer is not None and answer.status == 200 and answer.content_type != "text/event-stream":
            raise Fail(f"{name}: {answer.header('content-type') or 'none'}: {clip(seen.body(name))}")


@check("stream.whole", "the body ends as HTTP says it must", STREAMS, ("stream.status",))
def stream_whole(seen: Seen) -> None:
    for name in STREAMS:
        answer = seen.answers.get(name)
        if answer is not None and answer.status in (0, 200) and not answer.whole:
            raise Fail(f"{name}: {'; '.join(answer.problems)}")


@check(
    "stream.chunked", "no content-length, and an end that can be told from a cut: chunked", STREAMS, ("stream.whole",)
)
def stream_chunked(seen: Seen) -> None:
    for name in seen.streams:
        answer = seen.answer(name)
        if answer.framing != "chunked":
            length = answer.header("content-length")
            raise Fail(f"{name}: " + (f"content-length: {length}" if length else "ends with the connection"))


@check("stream.cache", "cache-control keeps caches away", STREAMS, ("stream.type",), "should")
def stream_cache(seen: Seen) -> None:
    for name in seen.streams:
        value = seen.answer(name).header("cache-control") or ""
        if not {"no-cache", "no-store"} & {part.strip() for part in value.lower().split(",")}:
            raise Fail(f"{name}: cache-control: {value or 'none'}")


@check("http.request-id", "every answer has an x-request-id", (*_BARE, "plain", "unknown_model"), severity="should")
def request_id(seen: Seen) -> None:
    for name, answer in seen.answers.items():
        if answer.status and not answer.header("x-request-id"):
            raise Fail(f"{name}: status {answer.status} without x-request-id")


@check("http.identity", "no compression that nobody asked for", ("stream", "plain"))
def identity(seen: Seen) -> None:
    for name, answer in seen.answers.items():
        if answer.header("content-encoding") not in (None, "identity"):
            raise Fail(f"{name}: content-encoding: {answer.header('content-encoding')}")


@check("http.head-size", f"a response head is under {_HEAD_LIMIT // 1024} KiB", ("stream", "plain"), severity="should")
def head_size(seen: Seen) -> None:
    for name, answer in seen.answers.items():
        if answer.head_size > _HEAD_LIMIT:
            raise Fail(f"{name}: {answer.head_size} bytes")


@check("plain.status", "a plain request is answered with 200", ("plain",))
def plain_status(seen: Seen) -> None:
    answer = seen.answer("plain")
    if answer.status != 200:
        raise Fail(f"{answer.status or 'no answer'}: {'; '.join(answer.problems) or clip(seen.body('plain'))}")


@check("plain.whole", "the body ends as HTTP says it must", PLAINS, ("plain.status",))
def plain_whole(seen: Seen) -> None:
    for name in PLAINS:
        answer = seen.answers.get(name)
        if answer is not None and not answer.whole:
            raise Fail(f"{name}: {'; '.join(answer.problems)}")


@check("plain.type", "content-type is application/json", (*PLAINS, *REFUSED), ("plain.status",))
def plain_type(seen: Seen) -> None:
    judged = 0
    for name in (*PLAINS, *REFUSED):
        answer = seen.answers.get(name)
        if answer is not None and answer.status:
            judged += 1
            if answer.content_type != "application/json":
                raise Fail(f"{name}: {answer.header('content-type') or 'none'}: {clip(seen.body(name))}")
    if not judged:
        raise Skip("nothing was answered")


CHECKS = (
    stream_status,
    stream_type,
    stream_whole,
    stream_chunked,
    stream_cache,
    request_id,
    identity,
    head_size,
    plain_status,
    plain_whole,
    plain_type,
)

"""Checks on the framing of event streams: what a client must be able to rely on before it reads any JSON.

Owns the promises about lines, fields and the end. Each is a thing that at least one published client stumbles over.
"""

from proxy.verify.check import check
from proxy.verify.seen import STREAMS, Fail, Seen, clip

_SILENCE = 15.0  # seconds without an event before a comment may keep a stream alive
_LINGER = 0.5  # seconds that the body may live on after [DONE]
_GROUND = ("stream.content",)


@check("stream.content", "a stream brings chunks", STREAMS, ("stream.status", "stream.type"))
def content(seen: Seen) -> None:
    for name, stream in seen.streams.items():
        answer = seen.answer(name)
        # A stream that was cut off before its first event is stream.whole's.
        if not stream.chunks and stream.failure is None and answer.whole:
            raise Fail(f"{name}: {clip(seen.body(name)) if answer.body else 'an empty body'}")


@check("stream.error", "no error event where nothing is wrong", STREAMS, _GROUND)
def no_error(seen: Seen) -> None:
    for name, stream in seen.streams.items():
        if stream.failure is not None:
            raise Fail(f"{name}: {clip(stream.failure.raw)}")


@check("stream.error-object", 'an error event is data: {"error": {"message": …}} and nothing follows', STREAMS, _GROUND)
def error_object(seen: Seen) -> None:
    for name, stream in seen.streams.items():
        failure = stream.failure
        if failure is None:
            continue
        error = failure.json.get("error") if isinstance(failure.json, dict) else None
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            raise Fail(f"{name}: {clip(failure.raw)}")
        if failure is not stream.events[-1]:
            raise Fail(f"{name}: the stream goes on after the error: {clip(stream.events[-1].raw)}")


@check("sse.utf8", "the stream is UTF-8", STREAMS, _GROUND)
def utf8(seen: Seen) -> None:
    for name, stream in seen.streams.items():
        if stream.undecodable is not None and seen.answer(name).whole:
            raise Fail(f"{name}: {clip(stream.undecodable)}")


@check("sse.bom", "no byte order mark", STREAMS, _GROUND)
def bom(seen: Seen) -> None:
    for name, stream in seen.streams.items():
        if stream.bom:
            raise Fail(f"{name}: {clip(seen.body(name)[:40])}")


@check("sse.lf", "lines end with LF alone", STREAMS, _GROUND)
def line_feed(seen: Seen) -> None:
    for name, event in seen.events():
        for line in event.lines:
            if b"\r" in line.ending:
                raise Fail(f"{name}: {clip((line.raw + line.ending)[-40:])}")


@check("sse.space", "exactly one space after data:", STREAMS, _GROUND)
def space(seen: Seen) -> None:
    for name, event in seen.events():
        for line in event.lines:
            colon = line.raw[len(line.name) :]
            if line.name == b"data" and len(colon) > 1 and (not colon.startswith(b": ") or colon.startswith(b":  ")):
                raise Fail(f"{name}: {clip(line.raw[:60])}")


@check("sse.one-line", "each event is one data line", STREAMS, _GROUND)
def one_line(seen: Seen) -> None:
    for name, event in seen.events():
        if sum(line.name == b"data" for line in event.lines) > 1:
            raise Fail(f"{name}: {clip(event.raw)}")


@check("sse.blank-line", "each event ends with a blank line", STREAMS, (*_GROUND, "stream.whole"))
def blank_line(seen: Seen) -> None:
    for name, event in seen.events():
        if not event.separated:
            raise Fail(f"{name}: {clip(event.raw[-80:])}")


@check("sse.fields", "no field but data: no id, retry or event", STREAMS, (*_GROUND, "stream.error", "stream.whole"))
def fields(seen: Seen) -> None:
    for name, event in seen.events():
        for line in event.lines:
            if line.name not in (b"data", b""):
                raise Fail(f"{name}: {clip(line.raw)}")


@check("sse.empty", "no event with empty data", STREAMS, _GROUND)
def empty(seen: Seen) -> None:
    for name, event in seen.events():
        if event.separated and event.data is not None and not event.data.strip():
            raise Fail(f"{name}: {clip(event.raw)}")


@check("sse.comments", f"comments only after {_SILENCE:.0f} s of silence", STREAMS, _GROUND, "should")
def comments(seen: Seen) -> None:
    for name, stream in seen.streams.items():
        answer, last = seen.answer(name), seen.answer(name).head_at
        for event in stream.events:
            at = answer.arrived(event.end - 1)
            spoken = [line for line in event.lines if line.raw.startswith(b":")]
            if spoken and at - last < _SILENCE - 1:
                raise Fail(f"{name}: {clip(spoken[0].raw)} after {at - last:.1f} s of silence")
            last = at


@check("sse.json", "each event is a JSON object or [DONE]", STREAMS, (*_GROUND, "stream.error", "stream.whole"))
def json(seen: Seen) -> None:
    for name, event in seen.events():
        if event.broken is not None and event.separated:
            raise Fail(f"{name}: {event.broken}: {clip(event.raw)}")
        if event.json is not None and not isinstance(event.json, dict):
            raise Fail(f"{name}: no object: {clip(event.raw)}")


@check("stream.done", "[DONE] comes once, as the last event", STREAMS, (*_GROUND, "stream.error", "stream.whole"))
def done(seen: Seen) -> None:
    for name, stream in seen.streams.items():
        events = [event for event in stream.events if not event.comment]
        count = sum(event.done for event in events)
        if count != 1 or not events[-1].done:
            raise Fail(f"{name}: [DONE] {count} times; the last event: {clip(events[-1].raw)}")


@check("stream.end", f"the body ends within {_LINGER} s of [DONE]", STREAMS, ("stream.done",))
def end(seen: Seen) -> None:
    for name, stream in seen.streams.items():
        answer = seen.answer(name)
        last = next(event for event in stream.events if event.done)
        lag = answer.ended_at - answer.arrived(last.end - 1)
        if lag > _LINGER:
            raise Fail(f"{name}: {lag:.2f} s after [DONE]")


CHECKS = (
    content,
    no_error,
    error_object,
    utf8,
    bom,
    line_feed,
    space,
    one_line,
    blank_line,
    fields,
    empty,
    comments,
    json,
    done,
    end,
)

"""The checker and the evil upstream prove each other: each fault fails exactly its check, nothing else does."""

import asyncio
import ssl

import pytest
import trustme

from fakes.evil import evil
from proxy.mock import Script, fault
from proxy.verify import CHECKS, Report, verify

MODEL = "mock-org/mock-large"
CHAT = "/chat/completions"


def streams(name: str, **params: object) -> Script:
    """Every well-formed stream request meets the fault."""
    return Script(faults=(fault(name, **params),), times=0, stream=True, where={"max_tokens": 200})


def plains(name: str, **params: object) -> Script:
    """Every well-formed plain chat request meets the fault."""
    return Script(faults=(fault(name, **params),), times=0, stream=False, where={"max_tokens": 200})


def refusals(path: str, name: str = "refusal_status", **params: object) -> Script:
    """Whatever is refused on that path is refused wrongly."""
    return Script(faults=(fault(name, **params),), times=0, path=path)


def says(body: str, path: str = CHAT, **where: object) -> Script:
    """Requests are answered with that body."""
    return Script(body=body, times=0, path=path, where=where)


def frames(*lines: str) -> Script:
    """The stream of the first question is those frames."""
    return Script(frames=lines, where={"stream": True, "n": None, "stream_options": None})


CHUNK = 'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":%s,%s}]}\n\n'
CHOICE = '{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":%s,%s}]}'

# Script, the checks that must fail (no more, no fewer), and, where the mistake cannot be told apart, the only checks to run.
ROWS: dict[str, tuple[Script, set[str], list[str] | None]] = {
    "stream refused": (streams("status", status=503), {"stream.status"}, None),
    "stream limited": (streams("rate_limit"), {"stream.status"}, None),
    "stream options refused": (streams("refuse_stream_options"), {"stream.status"}, None),
    "stream redirected": (streams("redirect"), {"stream.status"}, None),
    "stream closed": (streams("close_head"), {"stream.status"}, None),
    "stream reset": (streams("reset_head"), {"stream.status"}, None),
    "stream never answered": (streams("stall_head"), {"stream.status"}, None),
    "stream with a bad head": (streams("bad_head"), {"stream.status"}, None),
    "error as 200": (streams("ok_error"), {"stream.type"}, None),
    "string error as 200": (streams("ok_error", shape="string"), {"stream.type"}, None),
    "list error as 200": (streams("ok_error", shape="list"), {"stream.type"}, None),
    "page as 200": (streams("ok_error", shape="html"), {"stream.type"}, None),
    "json to a stream request": (streams("ok_json"), {"stream.type"}, None),
    "wrong type": (streams("wrong_type"), {"stream.type"}, None),
    "no type": (streams("no_type"), {"stream.type"}, None),
    "cut": (streams("cut", at=700), {"stream.whole"}, None),
    "cut by reset": (streams("cut", at=700, end="reset"), {"stream.whole"}, None),
    "cut in a character": (streams("cut_utf8"), {"stream.whole"}, None),
    "reset in the body": (streams("reset", after=3), {"stream.whole"}, None),
    "silent in the body": (streams("stall", after=3), {"stream.whole"}, None),
    "silent before the body": (streams("stall_first"), {"stream.whole"}, None),
    "no last chunk": (streams("chunk_cut"), {"stream.whole"}, None),
    "chunk too short": (streams("chunk_overrun"), {"stream.whole"}, None),
    "chunk size of letters": (streams("chunk_garbage"), {"stream.whole"}, None),
    "length too long": (streams("length_long"), {"stream.whole"}, None),
    "length too short": (streams("length_short"), {"stream.whole"}, None),
    "a length at all": (streams("length_long", bytes=0), {"stream.chunked"}, ["stream.chunked", "stream.content"]),
    "until close": (streams("until_close"), {"stream.chunked"}, None),
    "no cache control": (streams("no_cache_control"), {"stream.cache"}, None),
    "no request id": (streams("no_request_id"), {"http.request-id"}, None),
    "no request id, plain": (plains("no_request_id"), {"http.request-id"}, None),
    "compressed": (streams("gzip"), {"http.identity"}, None),
    "compressed, plain": (plains("gzip"), {"http.identity"}, None),
    "huge headers": (streams("huge_headers"), {"http.head-size"}, None),
    "nothing": (streams("empty"), {"stream.content"}, None),
    "noise": (streams("garbage"), {"stream.content"}, None),
    "error event": (streams("error_event"), {"stream.error"}, None),
    "string error event": (streams("error_event", shape="string"), {"stream.error", "stream.error-object"}, None),
    "list error event": (streams("error_event", shape="list"), {"stream.error", "stream.error-object"}, None),
    "flat error event": (streams("error_event", shape="flat"), {"stream.error", "stream.error-object"}, None),
    "named error event": (streams("error_event", shape="event"), {"stream.error", "stream.error-object"}, None),
    "error field": (streams("error_event", shape="field"), {"stream.error", "stream.error-object"}, None),
    "error, then [DONE]": (streams("error_event", done=True), {"stream.error", "stream.error-object"}, None),
    "clean cut": (
        streams("cut", at=0, end="clean"),
        {"stream.content"},
        None,
    ),
    "bytes that are no text": (streams("bad_utf8"), {"sse.utf8"}, None),
    "byte order mark": (streams("bom"), {"sse.bom"}, None),
    "crlf": (streams("crlf"), {"sse.lf"}, None),
    "cr": (streams("cr"), {"sse.lf"}, None),
    "no space": (streams("no_space"), {"sse.space"}, None),
    "two data lines": (streams("multi_line"), {"sse.one-line"}, None),
    "no blank lines": (streams("single_newline"), {"sse.blank-line"}, None),
    "no last blank line": (streams("unterminated"), {"sse.blank-line"}, None),
    "ids": (streams("id_lines"), {"sse.fields"}, None),
    "retry": (streams("retry_line"), {"sse.fields"}, None),
    "event names": (streams("event_lines"), {"sse.fields"}, None),
    "ping": (streams("ping"), {"sse.fields"}, None),
    "empty data": (streams("empty_data"), {"sse.empty"}, None),
    "chatty comments": (streams("comments"), {"sse.comments"}, None),
    "broken json": (streams("bad_json"), {"sse.json"}, None),
    "no [DONE]": (streams("no_done"), {"stream.done"}, None),
    "[DONE] twice": (streams("two_dones"), {"stream.done"}, None),
    "more after [DONE]": (streams("after_done"), {"stream.done"}, None),
    "a slow end": (streams("late_end", seconds=0.6), {"stream.end"}, ["stream", "sse"]),
    "no id": (streams("no_id"), {"chunk.shape"}, None),
    "created with a fraction": (streams("created_float"), {"chunk.shape"}, None),
    "wrong object": (streams("wrong_object"), {"chunk.shape"}, None),
    "changing id": (streams("id_changes"), {"chunk.stable"}, None),
    "changing time": (streams("created_changes"), {"chunk.stable"}, None),
    "changing model": (streams("model_changes"), {"chunk.stable"}, None),
    "no choices": (streams("choices_missing"), {"chunk.choices"}, None),
    "content in parts": (streams("content_list"), {"chunk.delta"}, None),
    "reasoning under the other name": (streams("reasoning"), {"chunk.reasoning"}, None),
    "error: null": (streams("error_null"), {"chunk.error-key"}, None),
    "fingerprint null": (streams("fingerprint_null"), {"chunk.fingerprint"}, None),
    "fingerprint null, plain": (plains("fingerprint_null"), {"chunk.fingerprint"}, None),
    "no role": (streams("no_role"), {"chunk.role"}, None),
    "role everywhere": (streams("role_always"), {"chunk.role"}, None),
    "no finish": (streams("no_finish"), {"chunk.finish"}, None),
    "two finishes": (streams("two_finishes"), {"chunk.finish"}, None),
    "finish eos": (streams("finish", value="eos"), {"chunk.finish-enum"}, None),
    "finish error": (streams("finish", value="error"), {"chunk.finish-enum"}, None),
    "finish nothing": (streams("finish", value=""), {"chunk.finish-enum"}, None),
    "words after the finish": (streams("late_delta"), {"chunk.finish-last"}, None),
    "usage missing": (streams("usage_missing"), {"usage.once"}, None),
    "usage twice": (streams("usage_twice"), {"usage.once"}, None),
    "usage everywhere": (streams("usage_always"), {"usage.once", "usage.unasked"}, None),
    "usage too early": (streams("usage_early"), {"usage.last"}, None),
    "usage without choices": (streams("usage_choices", shape="missing"), {"usage.choices"}, None),
    "usage with null choices": (streams("usage_choices", shape="null"), {"usage.choices"}, None),
    "usage with a choice": (streams("usage_choices", shape="non_empty"), {"usage.choices"}, None),
    "no usage: null": (streams("usage_no_null"), {"usage.null"}, None),
    "usage unasked": (streams("usage_unasked"), {"usage.unasked"}, None),
    "usage that does not add up": (streams("usage_wrong_sum"), {"usage.sum"}, None),
    "usage that does not add up, plain": (plains("usage_wrong_sum"), {"usage.sum"}, None),
    "tool index gap": (streams("tool_index_gap"), {"tools.index"}, None),
    "no tool index": (streams("tool_index_missing"), {"tools.index"}, None),
    "tool index from one": (streams("tool_index_from_one"), {"tools.index"}, None),
    "no tool type": (streams("tool_no_type"), {"tools.head"}, None),
    "tool name again": (streams("tool_repeated"), {"tools.once"}, None),
    "arguments as an object": (streams("tool_object"), {"tools.arguments"}, None),
    "arguments so far": (streams("tool_cumulative"), {"tools.arguments"}, None),
    "an event twice": (streams("duplicate", after=3), {"tools.arguments"}, None),
    "events out of order": (streams("reorder", after=2), {"tools.arguments"}, None),
    "tools that stop": (streams("tool_finish_stop"), {"tools.finish"}, None),
    "tools that stop, plain": (plains("tool_finish_stop"), {"tools.plain-finish"}, None),
    "arguments as an object, plain": (plains("tool_object"), {"tools.plain"}, None),
    "no tool type, plain": (plains("tool_no_type"), {"tools.plain"}, None),
    "tool result not understood": (
        Script(faults=(fault("status", status=500),), where={"messages": [
            {"role": "user", "content": "How is the weather in Venice?"},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Venice"}'}}
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny, 24 degrees"},
        ]}),
        {"tools.result"},
        None,
    ),
    "plain refused": (plains("status", status=500), {"plain.status"}, None),
    "plain closed": (plains("close_head"), {"plain.status"}, None),
    "plain cut": (plains("cut", at=60), {"plain.whole"}, None),
    "plain length too long": (plains("length_long"), {"plain.whole"}, None),
    "plain length too short": (plains("length_short"), {"plain.whole"}, None),
    "plain as a page": (plains("wrong_type"), {"plain.type"}, None),
    "error as a plain 200": (plains("ok_error"), {"plain.shape"}, None),
    "flat error as a plain 200": (plains("ok_error", shape="flat"), {"plain.shape"}, None),
    "plain empty": (plains("empty"), {"plain.shape"}, None),
    "plain noise": (plains("garbage"), {"plain.shape"}, None),
    "plain without choices": (plains("empty_choices"), {"plain.shape"}, None),
    "plain with parts": (plains("content_list"), {"plain.shape"}, None),
    "plain error: null": (plains("error_null"), {"plain.shape"}, None),
    "plain finish eos": (plains("finish", value="eos"), {"plain.finish"}, None),
    "plain without finish": (plains("no_finish"), {"plain.finish"}, None),
    "plain without usage": (plains("usage_missing"), {"plain.usage"}, None),
    "plain without nullable keys": (
        says(CHOICE % ('{"role":"assistant","content":"one two three four"}', '"finish_reason":"stop"'), stream=None),
        {"plain.keys"},
        ["plain.keys"],
    ),
    "choices out of order": (streams("choice_order"), {"param.n"}, None),
    "choices out of order, plain": (plains("choice_order"), {"param.n"}, None),
    "one choice": (streams("one_choice"), {"param.n"}, None),
    "one choice, plain": (plains("one_choice"), {"param.n"}, None),
    "stop ignored": (
        says(CHOICE % ('{"role":"assistant","content":"one two three four"}', '"finish_reason":"stop"'), stream=None),
        {"param.stop"},
        ["param.stop"],
    ),
    "max_tokens ignored": (Script(finish="stop", where={"max_tokens": 1}), {"param.max-tokens"}, None),
    "nulls refused": (
        Script(faults=(fault("status", status=400),), where={"top_p": None, "max_tokens": None}, stream=False, path=CHAT),
        {"param.null"},
        ["param.null"],
    ),
    "developer refused": (
        Script(faults=(fault("status", status=400),), where={"messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Answer briefly."}]},
            {"role": "user", "content": [{"type": "text", "text": "Say what"}, {"type": "text", "text": "a ferry does."}]},
        ]}),
        {"param.parts"},
        None,
    ),
    "models without owner": (
        says('{"object":"list","data":[{"id":"m","object":"model","created":1}]}', "/models"), {"models.list"}, None
    ),
    "another model": (
        says('{"id":"m","object":"model","created":1,"owned_by":"m"}', "/models/mock-org%2Fmock-large"),
        {"models.one"},
        None,
    ),
    "embeddings upside down": (
        says('{"object":"list","data":[{"index":1,"embedding":[1]},{"index":0,"embedding":[1]}]}', "/embeddings"),
        {"embed.float"},
        None,
    ),
    "base64 ignored": (
        says('{"object":"list","data":[{"index":0,"embedding":[1.5]},{"index":1,"embedding":[1.5]}]}', "/embeddings"),
        {"embed.base64"},
        None,
    ),
    "errors as strings": (refusals(CHAT, "refusal_shape", shape="string"), {"error.envelope"}, None),
    "errors as venice has them": (refusals(CHAT, "refusal_shape", shape="venice"), {"error.envelope"}, None),
    "errors as details": (refusals(CHAT, "refusal_shape", shape="detail"), {"error.envelope"}, None),
    "flat errors": (refusals(CHAT, "refusal_shape", shape="flat"), {"error.envelope"}, None),
    "errors as pages": (refusals(CHAT, "refusal_shape", shape="html"), {"error.envelope", "plain.type"}, None),
    "json error as 500": (refusals(CHAT, status=500), {"error.json"}, ["error.json"]),
    "missing as 500": (refusals(CHAT, status=500), {"error.missing"}, ["error.missing"]),
    "wrong type as 422": (refusals(CHAT, status=422), {"error.wrong-type"}, ["error.wrong-type"]),
    "unknown model as 400": (refusals(CHAT, status=400), {"error.model"}, ["error.model"]),
    "unknown model as 400 in a stream": (refusals(CHAT, status=400), {"error.stream"}, ["error.stream"]),
    "unknown model as 400 when asked for": (
        refusals("/models/no-such-model-5f1c", status=400), {"models.unknown"}, None
    ),
    "key as 403": (refusals(CHAT, status=403), {"error.key"}, ["error.key"]),
    "route as 400": (refusals("/no-such-route", status=400), {"error.route"}, None),
    "method as 404": (refusals(CHAT, status=404), {"error.method"}, ["error.method"]),
    "media as 400": (refusals(CHAT, status=400), {"error.media"}, ["error.media"]),
    "no allow": (
        Script(faults=(fault("refusal_status", status=405),), headers={"allow": "GET"}, times=0, path=CHAT),
        {"error.allow"},
        ["error.allow"],
    ),
    "the wrong type of error": (
        Script(faults=(fault("refusal_type", type="server_error"),), times=0, path=CHAT), {"error.type"}, None
    ),
}  # fmt: skip

HARMLESS = ("slow", "dribble", "one_piece", "informational", "connection_close", "trailers", "u2028", "think")


async def _verified(*scripts: Script, only: list[str] | None = None, patience: float = 2.0) -> Report:
    async with evil(api_key="sk-mock") as mock:
        mock.script(*scripts)
        embedding = "mock-embedding"
        return await verify(mock.url, "sk-mock", MODEL, only, embedding_model=embedding, patience=patience)


def _failed(report: Report) -> dict[str, str]:
    return {verdict.id: verdict.evidence for verdict in report.failed}


@pytest.mark.asyncio
async def test_a_clean_upstream_passes_every_check() -> None:
    report = await _verified()
    assert {verdict.outcome for verdict in report.verdicts} == {"pass"}, report.text()
    assert [verdict.id for verdict in report.verdicts] == [check.id for check in CHECKS]
    assert report.exit_code == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ROWS)
async def test_a_fault_fails_its_check_and_no_other(name: str) -> None:
    script, expected, only = ROWS[name]
    # Silence is waited out only where a row is about silence.
    silent = any(fault.name.startswith("stall") for fault in script.faults)
    report = await _verified(script, only=only, patience=0.15 if silent else 2.0)
    assert set(_failed(report)) == expected, report.text()
    assert all(evidence for evidence in _failed(report).values())


def test_every_check_is_seen_to_fail() -> None:
    assert {check.id for check in CHECKS} == set().union(*(expected for _, expected, _ in ROWS.values()))


@pytest.mark.asyncio
@pytest.mark.parametrize("name", HARMLESS)
async def test_what_is_merely_unusual_passes(name: str) -> None:
    params = {"seconds": 0.002} if name == "slow" else {}
    report = await _verified(streams(name, **params), plains(name, **params))
    assert not _failed(report), report.text()


@pytest.mark.asyncio
async def test_only_what_is_chosen_is_asked_and_reported() -> None:
    async with evil() as mock:
        report = await verify(mock.url, None, MODEL, ["models.list", "error.route"])
        assert [verdict.id for verdict in report.verdicts] == ["models.list", "error.route"]
        assert [exchange.path for exchange in mock.exchanges] == ["/v1/models", "/v1/no-such-route"]


@pytest.mark.asyncio
async def test_without_a_model_the_first_one_is_taken_and_what_cannot_be_asked_is_skipped() -> None:
    async with evil() as mock:
        report = await verify(mock.url)
        assert report.model == "mock-chat"
        skipped = {verdict.id: verdict.evidence for verdict in report.verdicts if verdict.outcome == "skip"}
        assert skipped["error.key"] == "no key was given, so none can be wrong"
        assert skipped["embed.float"] == "no embedding model was given"
        assert set(skipped) == {"error.key", "embed.float", "embed.base64"}
        assert report.ok


@pytest.mark.asyncio
async def test_a_server_that_is_not_there_fails_and_says_so() -> None:
    async with evil() as mock:
        url = mock.url
    report = await verify(url, None, MODEL, ["stream", "models.list"])
    assert "no connection" in _failed(report)["stream.status"]
    assert report.exit_code == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("url", "only", "text"),
    [("ftp://127.0.0.1/v1", None, "http or https"), ("http://127.0.0.1:1/v1", ["nonsense"], "no check 'nonsense'")],
)
async def test_mistakes_in_the_call_are_told(url: str, only: list[str] | None, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        await verify(url, None, MODEL, only)


@pytest.mark.asyncio
async def test_no_model_to_be_found_is_told() -> None:
    async with evil() as mock:
        mock.script(Script(body='{"object":"list","data":[]}', path="/models"))
        with pytest.raises(ValueError, match="lists no models"):
            await verify(mock.url)


@pytest.mark.asyncio
async def test_over_tls() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with evil(tls=context) as mock:
        report = await verify(mock.url, None, MODEL, ["stream"], tls=trusting)
        assert report.ok, report.text()
        distrusting = await verify(mock.url, None, MODEL, ["stream.status"])
        assert "certificate" in _failed(distrusting)["stream.status"].lower()


@pytest.mark.asyncio
async def test_many_at_once_do_not_disturb_each_other() -> None:
    async with evil() as mock:
        reports = await asyncio.gather(*(verify(mock.url, None, MODEL, ["chunk", "usage"]) for _ in range(8)))
        assert all(report.ok for report in reports)

"""Checks on refusals: the right status, in an envelope that a client can read.

Owns the promises about errors before the first byte. Each asks for something that must be refused.
"""

from proxy.verify.check import check
from proxy.verify.questions import REFUSED
from proxy.verify.seen import Fail, Seen, Skip, clip

_KEYS = {"message", "type", "param", "code"}
_TYPES = {
    401: ("authentication_error", "invalid_request_error"),
    403: ("permission_error", "invalid_request_error"),
    429: ("rate_limit_error", "insufficient_quota", "requests", "tokens"),
}


def _refused(seen: Seen, name: str, *statuses: int) -> dict[str, object]:
    """The inner error of a refusal that must have one of the statuses. Raises `Skip` or `Fail`."""
    answer = seen.answer(name)
    if answer.status not in statuses:
        wanted = " or ".join(str(status) for status in statuses)
        evidence = "; ".join(answer.problems) or clip(seen.body(name))
        raise Fail(f"expected {wanted}, got {answer.status or 'no answer'}: {evidence}")
    try:
        error = seen.document(name).get("error")
    except Fail:
        return {}  # what a refusal looks like is error.envelope's
    return error if isinstance(error, dict) else {}


@check("error.envelope", 'every refusal is {"error": {message, type, param, code}}', REFUSED)
def envelope(seen: Seen) -> None:
    judged = 0
    for name in REFUSED:
        answer = seen.answers.get(name)
        if answer is None or answer.status < 400:
            continue
        judged += 1
        error = seen.document(name).get("error")
        if not isinstance(error, dict) or not error.keys() >= _KEYS:
            raise Fail(f"{name}: {answer.status}: {clip(seen.body(name))}")
        texts = (error["message"], error["type"])
        if not all(isinstance(text, str) and text for text in texts):
            raise Fail(f"{name}: message and type must be text: {clip(error)}")
        if not all(isinstance(error[key], str | None) for key in ("param", "code")):
            raise Fail(f"{name}: param and code must be text or null: {clip(error)}")
    if not judged:
        raise Skip("nothing was refused")


@check("error.type", "the type fits the status: server_error from 500 on, and only there", REFUSED, ("error.envelope",))
def error_type(seen: Seen) -> None:
    for name in REFUSED:
        answer = seen.answers.get(name)
        if answer is None or answer.status < 400:
            continue
        found = seen.document(name)["error"]["type"]
        known = _TYPES.get(answer.status)
        fits = found in known if known else (found == "server_error") == (answer.status >= 500)
        if not fits:
            raise Fail(f"{name}: {answer.status} with type {found!r}")


@check("error.json", "broken JSON is a 400", ("bad_json",))
def bad_json(seen: Seen) -> None:
    _refused(seen, "bad_json", 400)


@check("error.missing", "a missing parameter is a 400 that names it", ("no_messages",), ("error.envelope",))
def missing(seen: Seen) -> None:
    error = _refused(seen, "no_messages", 400)
    if error.get("param") != "messages":
        raise Fail(f"param {error.get('param')!r}: {clip(error)}")


@check("error.wrong-type", "a parameter of the wrong type is a 400 that names it", ("wrong_type",), ("error.envelope",))
def wrong_type(seen: Seen) -> None:
    error = _refused(seen, "wrong_type", 400)
    if not str(error.get("param")).startswith("messages"):
        raise Fail(f"param {error.get('param')!r}: {clip(error)}")


@check(
    "error.model",
    "an unknown model is a 404, param model, code model_not_found",
    ("unknown_model",),
    ("error.envelope",),
)
def unknown_model(seen: Seen) -> None:
    _model_not_found(seen, "unknown_model")


@check(
    "error.stream",
    "an unknown model is the same 404 when a stream was asked for",
    ("stream_unknown",),
    ("error.envelope",),
)
def stream_unknown(seen: Seen) -> None:
    _model_not_found(seen, "stream_unknown")


@check(
    "models.unknown",
    "an unknown model cannot be retrieved: 404, code model_not_found",
    ("model_unknown",),
    ("error.envelope",),
)
def model_unknown(seen: Seen) -> None:
    _model_not_found(seen, "model_unknown")


def _model_not_found(seen: Seen, name: str) -> None:
    error = _refused(seen, name, 404)
    if error.get("param") != "model" or error.get("code") != "model_not_found":
        raise Fail(f"param {error.get('param')!r}, code {error.get('code')!r}")


@check("error.key", "a wrong key is a 401 with code invalid_api_key", ("bad_key",), ("error.envelope",))
def key(seen: Seen) -> None:
    error = _refused(seen, "bad_key", 401)
    if error.get("code") != "invalid_api_key":
        raise Fail(f"code {error.get('code')!r}: {clip(error)}")


@check("error.route", "an unknown route is a 404", ("no_route",))
def route(seen: Seen) -> None:
    _refused(seen, "no_route", 404)


@check("error.method", "a wrong method is a 405", ("wrong_method",))
def method(seen: Seen) -> None:
    _refused(seen, "wrong_method", 405)


@check("error.allow", "a 405 says what is allowed", ("wrong_method",), ("error.method",), "should")
def allow(seen: Seen) -> None:
    found = seen.answer("wrong_method").header("allow") or ""
    if "POST" not in found:
        raise Fail(f"allow: {found or 'none'}")


@check("error.media", "a body that is no JSON by its type is a 415", ("wrong_media",))
def media(seen: Seen) -> None:
    _refused(seen, "wrong_media", 415)


CHECKS = (
    envelope,
    error_type,
    bad_json,
    missing,
    wrong_type,
    unknown_model,
    stream_unknown,
    model_unknown,
    key,
    route,
    method,
    allow,
    media,
)

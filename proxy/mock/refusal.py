"""The ways an upstream says no: the exception that carries a refusal, and six body shapes that real servers use.

Owns the shapes. Knows no routes and no faults. Invariant: every shape is a whole body with its own content type.
"""

import msgspec

_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    408: "timeout_error",
    409: "conflict_error",
    429: "rate_limit_error",
}
_CODES = {
    401: "invalid_api_key",
    402: "insufficient_quota",
    404: "not_found",
    405: "method_not_allowed",
    413: "request_too_large",
    415: "unsupported_media_type",
    429: "rate_limit_exceeded",
}
JSON = "application/json"


class Refusal(Exception):
    """A request refused with `status`; rendered in OpenAI's shape unless a fault asks for another."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ):
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers
        self.type: str | None = None  # None: the one that fits the status


def error_type(status: int) -> str:
    """OpenAI's `type` for a status: of the request below 500, of the server from there on."""
    return "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error")


def envelope(refusal: Refusal) -> dict[str, object]:
    """`{"error": {message, type, param, code}}`, all four keys present."""
    return {
        "error": {
            "message": refusal.message,
            "type": refusal.type or error_type(refusal.status),
            "param": refusal.param,
            "code": refusal.code or _CODES.get(refusal.status),
        }
    }


def shaped(shape: str, refusal: Refusal) -> tuple[str, bytes]:
    """Content type and body of a refusal in one of `faults.ERROR_SHAPES`."""
    text = refusal.message
    if shape == "html":
        page = f"<html><head><title>{refusal.status}</title></head><body><h1>{text}</h1></body></html>\n"
        return "text/html", page.encode()
    body: object = envelope(refusal)
    if shape == "string":
        body = {"error": text}
    elif shape == "venice":
        details = {"_errors": [], "model": {"_errors": [text]}}
        body = {"error": text, "details": details, "issues": [{"code": "custom", "message": text, "path": ["model"]}]}
    elif shape == "detail":
        body = {"detail": [{"type": "value_error", "loc": ["body", "model"], "msg": text, "input": None}]}
    elif shape == "flat":
        body = {"object": "error", "message": text, "type": "BadRequestError", "param": None, "code": refusal.status}
    return JSON, msgspec.json.encode(body)


def ok_error(shape: str) -> tuple[str, bytes]:
    """Content type and body of an error that comes with status 200, in one of `faults.OK_ERROR_SHAPES`."""
    refusal = Refusal(500, "the model is not available", code="model_unavailable")
    if shape == "list":
        return JSON, msgspec.json.encode([{"error": {"code": 500, "message": refusal.message, "status": "INTERNAL"}}])
    return shaped("openai" if shape == "object" else shape, refusal)

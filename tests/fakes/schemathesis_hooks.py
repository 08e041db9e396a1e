"""What `schemathesis run` checks beside its own checks."""

import schemathesis
from schemathesis.specs.openapi.checks import negative_data_rejection

# Documented, and honest offline: nothing here can hear.
NOT_SUPPORTED = ("/audio/transcriptions",)


@schemathesis.check
def no_failure_of_ours(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """No 5xx, but a 501 where the kind of thing is not there at all; and every answer has its name."""
    del ctx
    if response.status_code == 400 and b"Invalid HTTP request" in response.content:
        return  # a request line that is none: the server below us says so
    honest = response.status_code == 501 and case.operation.path.endswith(NOT_SUPPORTED)
    assert response.status_code < 500 or honest, f"{response.status_code}: {response.content[:500]!r}"
    assert response.headers["x-request-id"][0].startswith("req_")


@schemathesis.check
def limits_are_kept(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> bool | None:
    """What the document forbids is refused. Not in forms, where everything is a text and "null" may mean null."""
    if (case.media_type or "").startswith("multipart"):
        return None
    return negative_data_rejection(ctx, response, case)

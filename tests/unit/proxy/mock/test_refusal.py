"""The shapes of errors."""

import msgspec
import pytest

from proxy.mock.faults import ERROR_SHAPES, OK_ERROR_SHAPES, STATUSES
from proxy.mock.refusal import Refusal, envelope, error_type, ok_error, shaped


@pytest.mark.parametrize("status", STATUSES)
def test_the_type_fits_the_status(status: int) -> None:
    assert (error_type(status) == "server_error") == (status >= 500)
    inner = envelope(Refusal(status, "no"))["error"]
    assert isinstance(inner, dict)
    assert list(inner) == ["message", "type", "param", "code"]


@pytest.mark.parametrize("shape", ERROR_SHAPES)
def test_every_shape_is_a_whole_body_that_says_what_is_wrong(shape: str) -> None:
    content_type, body = shaped(shape, Refusal(400, "the model is odd"))
    assert b"the model is odd" in body
    assert (content_type == "text/html") == (shape == "html")
    if shape != "html":
        value = msgspec.json.decode(body)
        assert isinstance(value.get("error"), dict) == (shape == "openai")


def test_the_shapes_differ() -> None:
    refusal = Refusal(400, "no")
    assert len({shaped(shape, refusal) for shape in ERROR_SHAPES}) == len(ERROR_SHAPES)
    assert len({ok_error(shape) for shape in OK_ERROR_SHAPES}) == len(OK_ERROR_SHAPES)

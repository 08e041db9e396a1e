"""What the handlers answer decodes as the types that the document shows."""

import msgspec
import pytest

from fakes.asked import desk, inbound
from proxy.call import Dialect
from proxy.errors import BadRequest
from routes import images, operations
from routes._errors import rendered
from routes._openapi import answers


def decoded(body: object, type_: type) -> object:
    return msgspec.json.decode(msgspec.json.encode(body), type=type_)


@pytest.mark.asyncio
async def test_what_needs_no_house() -> None:
    assert decoded((await images.listed_styles(inbound(b""), desk())).body, answers.StyleList)
    assert decoded((await operations.live(inbound(b""), desk())).body, answers.Status)


@pytest.mark.parametrize(
    ("dialect", "type_"),
    [
        (Dialect.OPENAI, answers.OpenAIError),
        (Dialect.VENICE, answers.VeniceError),
        (Dialect.ANTHROPIC, answers.AnthropicError),
    ],
)
def test_errors(dialect: Dialect, type_: type) -> None:
    _, _, body = rendered(BadRequest("no", param="x", details={"_errors": []}), dialect, "req_1")
    assert msgspec.json.decode(body, type=type_)

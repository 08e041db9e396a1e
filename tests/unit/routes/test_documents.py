"""Both documents are whole, and made once."""

import json

import pytest

from fakes.asked import desk, inbound
from routes.documents import docs, openapi


@pytest.mark.asyncio
async def test_the_document_and_the_page() -> None:
    told = await openapi(inbound(b""), desk())
    assert json.loads(told.body)["openapi"] == "3.1.0"
    read = await docs(inbound(b""), desk())
    assert read.body.startswith(b"<!doctype html>")
    assert (await openapi(inbound(b""), desk())).body is told.body

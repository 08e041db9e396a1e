"""Both documents are whole, and made once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.asked import desk, inbound
from routes.documents import docs, openapi

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.asyncio
async def test_the_document_and_the_page() -> None:
    told = await openapi(inbound(b""), desk())
    assert json.loads(told.body)["openapi"] == "3.1.0"
    read = await docs(inbound(b""), desk())
    assert read.body.startswith(b"<!doctype html>")
    assert (await openapi(inbound(b""), desk())).body is told.body


def test_the_start_does_not_pay_for_it() -> None:
    """What makes the document is imported when it is asked for, and no earlier."""
    code = "import sys, proxy.app; print([name for name in sys.modules if name.startswith('routes._openapi')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"

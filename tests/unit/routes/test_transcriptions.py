"""A form becomes a call with its file; what nobody here can hear is told before anybody is asked."""

from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from fakes.asked import desk, inbound
from proxy.call import Operation
from proxy.errors import BadRequest, MediaUnsupported, NotSupported
from routes.transcriptions import create


def house(*ears: str, mappings: dict[str, str] | None = None) -> Any:
    catalogue = SimpleNamespace(
        upstreams=frozenset({"up"}), of_type=lambda type_: ears, mappings={"asr": mappings or {}}
    )
    return desk(house=SimpleNamespace(catalogue=catalogue))


def asked(venice: bool = False, **fields: str) -> Any:
    request = httpx.Request("POST", "http://x/", data=fields, files={"file": ("ä.ogg", b"OggS", "audio/ogg")})
    return inbound(request.read(), venice=venice, content_type=request.headers["content-type"])


@pytest.mark.asyncio
async def test_a_call() -> None:
    call = await create(asked(model="m", language="it", stream="true", odd="1"), house("m"))
    assert (call.operation, call.stream, call.request.language) == (Operation.TRANSCRIPTION, True, "it")
    file = call.upload.file
    assert (file.filename, file.declared, file.read()) == ("ä.ogg", "audio/ogg", b"OggS")
    assert ("odd", "1") in call.upload.texts
    assert set(call.fields) == {"model", "language", "stream", "odd"}


@pytest.mark.asyncio
async def test_refusals() -> None:
    with pytest.raises(BadRequest, match="'odd'"):
        await create(asked(venice=True, model="m", odd="1"), house("m"))
    with pytest.raises(BadRequest, match="model"):
        await create(asked(), house("m"))
    with pytest.raises(MediaUnsupported, match="multipart"):
        await create(inbound({"model": "m"}), house("m"))


@pytest.mark.asyncio
async def test_nobody_here_can_hear() -> None:
    with pytest.raises(NotSupported, match="asr"):
        await create(asked(model="whisper-1"), house())
    assert (await create(asked(model="up/whisper-1"), house())).request.model == "up/whisper-1"
    assert (await create(asked(model="whisper-1"), house(mappings={"whisper-1": "up/w"}))).upload is not None

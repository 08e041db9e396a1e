"""Alive, ready, healthy, measured, reloaded."""

from typing import Any

import pytest

from fakes.houses import desk
from proxy import __version__
from proxy.errors import NotSupported, Unavailable
from routes import operations

NOBODY: Any = None
FAR = '[upstreams.far]\nkind = "openai"\nbase_url = "http://127.0.0.1:9/v1"\n'


@pytest.mark.asyncio
async def test_alive_and_healthy_whatever_the_upstreams_do() -> None:
    here = desk(FAR)
    assert (await operations.live(NOBODY, here)).body == {"status": "ok"}
    body = (await operations.health(NOBODY, here)).body
    assert (body["version"], body["upstreams"]) == (__version__, {"far": "no api_key is configured"})


@pytest.mark.asyncio
async def test_ready() -> None:
    here = desk()
    assert (await operations.ready(NOBODY, here)).status == 200
    here.house.gate.draining = True
    with pytest.raises(Unavailable) as caught:
        await operations.ready(NOBODY, here)
    assert (caught.value.code, caught.value.status) == ("draining", 503)
    with pytest.raises(Unavailable, match="No upstream"):
        await operations.ready(NOBODY, desk(FAR))


@pytest.mark.asyncio
async def test_metrics() -> None:
    here = desk()
    here.metrics.request("/livez", 200, 0.1)
    answer = await operations.metrics(NOBODY, here)
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    assert b'traghetto_requests_total{route="/livez",status="200"} 1.0' in answer.body


@pytest.mark.asyncio
async def test_reload() -> None:
    async def again() -> list[str]:
        return ["a note"]

    answer = await operations.reload(NOBODY, desk(reload=again))
    assert answer.body == {"status": "reloaded", "warnings": ["a note"]}
    with pytest.raises(NotSupported):
        await operations.reload(NOBODY, desk())

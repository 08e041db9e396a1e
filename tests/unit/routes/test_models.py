"""Lists, cards, traits and mappings, and what is asked for wrongly."""

from types import SimpleNamespace
from typing import Any

import pytest

from fakes.houses import ECHO, desk
from proxy.errors import BadRequest, ModelUnknown, NotFound
from routes.models import explained, listed, mappings, retrieved, traits

TOML = (
    ECHO
    + """
[models."org/coder"]
targets = [{upstream = "near", model = "c"}]
capabilities = {code = true}
[models.flux]
type = "image"
targets = [{upstream = "near", model = "f"}]
[traits.text]
fastest = {by = "ttft", among = ["parrot", "lonely"]}
[compatibility.text]
gpt-4o = "parrot"
"""
)


def request(model_id: str = "", **query: str) -> Any:
    return SimpleNamespace(query=lambda: query, path_params={"model_id": model_id})


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("type_", "ids"),
    [
        (None, ["parrot", "lonely", "org/coder"]),
        ("text", ["parrot", "lonely", "org/coder"]),
        ("image", ["flux"]),
        ("code", ["org/coder"]),
        ("tts", []),
        ("all", ["parrot", "lonely", "org/coder", "flux"]),
    ],
)
async def test_lists(type_: str | None, ids: list[str]) -> None:
    body = (await listed(request(**({"type": type_} if type_ else {})), desk(TOML))).body
    assert [row["id"] for row in body["data"]] == ids
    assert body["type"] == (type_ or "text")
    offline = {row["id"] for row in body["data"] if row["model_spec"]["offline"]}
    assert offline == {"lonely"} & set(ids), "its only upstream has no key"


@pytest.mark.asyncio
async def test_a_model_whose_every_target_failed_is_offline_for_now() -> None:
    at = desk(TOML)
    (target,) = at.house.catalogue.models["flux"].targets
    for _ in range(at.house.config.routing.breaker.failures):
        at.house.dispatcher.health.enter(target)
        at.house.dispatcher.health.failed(target)
    offline = {r["id"]: r["model_spec"]["offline"] for r in (await listed(request(type="all"), at)).body["data"]}
    assert offline == {"parrot": False, "lonely": True, "org/coder": False, "flux": True}


@pytest.mark.asyncio
@pytest.mark.parametrize("id_", ["org/coder", "/org/coder"])
async def test_one(id_: str) -> None:
    assert (await retrieved(request(id_), desk(TOML))).body["id"] == "org/coder"
    with pytest.raises(ModelUnknown, match="Did you mean 'parrot'"):
        await retrieved(request("parot"), desk(TOML))


@pytest.mark.asyncio
async def test_traits_and_mappings() -> None:
    here = desk(TOML, {"FAR_KEY": "far-away-secret"})
    assert (await traits(request(), here)).body["data"] == {"default": "parrot", "fastest": "parrot"}
    assert (await mappings(request(type="text"), here)).body["data"] == {"gpt-4o": "parrot"}
    assert (await traits(request(type="image"), here)).body["data"] == {}
    told = (await explained(request(trait="fastest"), here)).body
    assert (told["by"], told["winner"], len(told["candidates"])) == ("ttft", "parrot", 2)
    assert (await explained(request(trait="default"), here)).body["by"] == "configuration"


@pytest.mark.asyncio
async def test_asked_wrongly() -> None:
    for handler in (listed, traits, mappings, explained):
        with pytest.raises(BadRequest) as caught:
            await handler(request(type="txt"), desk(TOML))
        assert caught.value.param == "type"
    with pytest.raises(BadRequest, match="'trait' is missing"):
        await explained(request(), desk(TOML))
    with pytest.raises(NotFound, match="'default'"):
        await explained(request(trait="slowest"), desk(TOML))

"""The lists of a predictions API that operators look into: models, hardware, collections, versions, deployments, trainings.

Each is a few columns a row, for a table. It makes nothing and changes nothing.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from adapters.vaikerai.api import Api
from adapters.vaikerai.reference import Reference
from proxy.errors import BadRequest

Rows = list[dict[str, object]]


async def models(api: Api, search: str = "") -> Rows:
    """Public models. The upstream searches by words in names and descriptions; Replicate by its method QUERY."""
    if not search:
        found = api.listed("/models")
    elif api.replicate:
        found = api.listed("/models", method="QUERY", body=search)
    else:
        found = api.listed("/models/search", method="POST", body=search)
    return [_model(row) async for row in found]


def _model(row: dict[str, Any]) -> dict[str, object]:
    return {
        "id": f"{row.get('owner')}/{row.get('name')}",
        "runs": row.get("run_count"),
        "visibility": row.get("visibility"),
        "description": row.get("description"),
    }


async def hardware(api: Api, of: str) -> Rows:
    """What models and deployments may run on."""
    del of
    return [{"id": row.get("sku"), "name": row.get("name")} async for row in api.listed("/hardware")]


async def collections(api: Api, of: str) -> Rows:
    """All collections, or the models of one."""
    if not of:
        rows = api.listed("/collections")
        return [{"id": r.get("slug"), "name": r.get("name"), "description": r.get("description")} async for r in rows]
    found = (await api.ask("GET", f"/collections/{quote(of, safe='')}")).get("models")
    return [_model(row) for row in found if isinstance(row, dict)] if isinstance(found, list) else []


async def versions(api: Api, of: str) -> Rows:
    """The versions of a model."""
    name = Reference(of).name
    if name.count("/") != 1:
        raise BadRequest("Versions are a model's: ask for versions:OWNER/NAME.", param="of")
    rows = api.listed(f"/models/{name}/versions")
    return [
        {"id": f"{of}:{row.get('id')}", "created": row.get("created_at"), "cog": row.get("cog_version")}
        async for row in rows
    ]


async def deployments(api: Api, of: str) -> Rows:
    """The account's deployments, or one with its release."""
    if of:
        return [_deployment(await api.ask("GET", f"/deployments/{Reference(of).name}"))]
    return [_deployment(row) async for row in api.listed("/deployments")]


def _deployment(row: dict[str, Any]) -> dict[str, object]:
    release = row.get("current_release")
    release = release if isinstance(release, dict) else {}
    configured = release.get("configuration")
    configured = configured if isinstance(configured, dict) else {}
    return {
        "id": f"deployment:{row.get('owner')}/{row.get('name')}",
        "model": release.get("model"),
        "hardware": configured.get("hardware"),
        "instances": f"{configured.get('min_instances')}-{configured.get('max_instances')}",
        "version": release.get("version"),
    }


async def trainings(api: Api, of: str) -> Rows:
    """The account's trainings, or one."""
    if of:
        return [_training(await api.ask("GET", f"/trainings/{quote(of, safe='')}"))]
    return [_training(row) async for row in api.listed("/trainings")]


def _training(row: dict[str, Any]) -> dict[str, object]:
    return {
        "id": row.get("id"),
        "status": row.get("status"),
        "model": row.get("model"),
        "created": row.get("created_at"),
        "error": row.get("error"),
    }


SHELVES: dict[str, Callable[[Api, str], Awaitable[Rows]]] = {
    "hardware": hardware,
    "collections": collections,
    "versions": versions,
    "deployments": deployments,
    "trainings": trainings,
}

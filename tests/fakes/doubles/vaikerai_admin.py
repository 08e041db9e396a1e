"""The part of the VaikerAI double that is not predictions: account, hardware, collections, models, versions, deployments,
trainings and (replicate preset) files.

It owns those resources in memory with the restrictions that the seed states; the prediction side inherits it.
"""

import base64
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from fakes.doubles.faults import Answer, as_json
from fakes.doubles.server import Double, Refuse, Seen, Timeline, route
from fakes.doubles.vaikerai_models import Model, Plan, catalogue

HARDWARE = [
    {"name": "CPU", "sku": "cpu"},
    {"name": "Nvidia T4 GPU", "sku": "gpu-t4"},
    {"name": "Nvidia A40 GPU", "sku": "gpu-a40-small"},
    {"name": "Nvidia A40 (Large) GPU", "sku": "gpu-a40-large"},
]
ACCOUNT = {
    "type": "organization",
    "username": "acme",
    "name": "Acme Corp, Inc.",
    "github_url": "https://github.com/acme",
}
MODEL_FIELDS = {
    "cover_image_url", "description", "github_url", "hardware", "license_url", "name", "owner", "paper_url", "visibility",
}  # fmt: skip


class Admin(Double):
    """Resources around predictions. `problem`, `body_of` and `preset` come from the class that inherits this."""

    preset: str
    body_of: Callable[..., dict[str, Any]]
    problem: Callable[..., Answer]

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.models: dict[str, Model] = {model.key: model for model in catalogue()}
        self.deployments: dict[str, dict[str, Any]] = {}
        self.trainings: dict[str, tuple[dict[str, Any], Timeline]] = {}
        self.uploads: dict[str, dict[str, Any]] = {}
        self._deploy("my-app-image-generator", "stability-ai/sdxl", "gpu-t4", 1, 5)
        self._deploy("hello-world", "vaikerai/hello-world", "cpu", 0, 1)
        self._deploy("my-llm", "acme/prompt-only", "gpu-a40-large", 0, 2)

    def _deploy(self, name: str, model: str, hardware: str, low: int, high: int, number: int = 1) -> dict[str, Any]:
        release = {
            "number": number, "model": model, "version": self.models[model].version, "created_at": _now(),
            "created_by": ACCOUNT, "configuration": {"hardware": hardware, "min_instances": low, "max_instances": high},
        }  # fmt: skip
        self.deployments[f"acme/{name}"] = {"owner": "acme", "name": name, "current_release": release}
        return self.deployments[f"acme/{name}"]

    def page(self, seen: Seen, rows: list[dict[str, Any]], path: str, size: int = 100) -> Answer:
        """`{next, previous, results}` with opaque cursors."""
        try:
            start = int(base64.urlsafe_b64decode(seen.query.get("cursor", "MA=="))) if "cursor" in seen.query else 0
        except ValueError:
            raise Refuse(self.problem(400, "Invalid cursor")) from None

        def link(at: int) -> str | None:
            if not 0 <= at < len(rows) or at == start:
                return None
            return f"{self.base_url}/{path}?cursor={base64.urlsafe_b64encode(str(at).encode()).decode()}"

        shown = {
            "next": link(start + size),
            "previous": link(max(0, start - size)),
            "results": rows[start : start + size],
        }
        return as_json(200, shown)

    # -- account, hardware, collections -------------------------------------------------------------------------------

    @route("GET", "/v1/account")
    async def account(self, seen: Seen) -> Answer:
        return as_json(200, ACCOUNT)

    @route("GET", "/v1/hardware")
    async def hardware(self, seen: Seen) -> Answer:
        return as_json(200, HARDWARE)

    @property
    def _collections(self) -> dict[str, dict[str, Any]]:
        text = "Upscaling models that create high-quality images from low-quality images."
        return {"super-resolution": {"name": "Super resolution", "slug": "super-resolution", "description": text}}

    @route("GET", "/v1/collections")
    async def collections(self, seen: Seen) -> Answer:
        return self.page(seen, list(self._collections.values()), "collections")

    @route("GET", "/v1/collections/{slug}")
    async def collection(self, seen: Seen, slug: str) -> Answer:
        if slug not in self._collections:
            raise Refuse(self.problem(404, "The specified collection does not exist"))
        models = [self.model_view(self.models["nightmareai/real-esrgan"])]
        return as_json(200, self._collections[slug] | {"models": models})

    # -- models and versions ------------------------------------------------------------------------------------------

    def version_view(self, model: Model) -> dict[str, Any]:
        stamp = "2022-04-26T19:29:04.418669Z"
        return {"id": model.version, "created_at": stamp, "cog_version": "0.3.0", "openapi_schema": model.schema}

    def model_view(self, model: Model) -> dict[str, Any]:
        empty = not model.inputs or model.version in model.removed_versions
        return {
            "url": f"https://vaikerai.com/{model.key}", "owner": model.owner, "name": model.name,
            "description": model.description, "visibility": model.visibility, "github_url": None, "paper_url": None,
            "license_url": None, "run_count": 5681081, "cover_image_url": None, "default_example": None,
            "latest_version": None if empty else self.version_view(model),
        }  # fmt: skip

    def _model(self, owner: str, name: str) -> Model:
        model = self.models.get(f"{owner}/{name}")
        if model is None:
            raise Refuse(self.problem(404, "The specified model does not exist"))
        return model

    @route("GET", "/v1/models")
    async def list_models(self, seen: Seen) -> Answer:
        return self.page(
            seen, [self.model_view(m) for m in self.models.values() if m.visibility == "public"], "models", 5
        )

    @route("POST", "/v1/models")
    async def create_model(self, seen: Seen) -> Answer:
        body = self.body_of(seen, MODEL_FIELDS, {"hardware", "name", "owner", "visibility"})
        wrong = []
        if body["owner"] != ACCOUNT["username"]:
            wrong.append("- owner: must match the account of the token\n")
        if body["hardware"] not in {row["sku"] for row in HARDWARE}:
            wrong.append("- hardware: unknown SKU\n")
        if body["visibility"] not in ("public", "private") or f"acme/{body['name']}" in self.models:
            wrong.append("- visibility or name: invalid\n")
        if wrong:
            raise Refuse(self.problem(422, "".join(wrong), "Input validation failed"))
        model = Model("acme", body["name"], {}, {}, lambda _given: Plan("text", [""]), visibility=body["visibility"])
        model.description = body.get("description", "")
        self.models[model.key] = model
        return as_json(201, self.model_view(model) | {"run_count": 0})

    @route("POST", "/v1/models/search")
    async def search(self, seen: Seen) -> Answer:
        if self.preset == "replicate":
            return self.no_method(seen, ["GET"])
        return self._found(seen)

    @route("QUERY", "/v1/models")
    async def query(self, seen: Seen) -> Answer:
        return self._found(seen) if self.preset == "replicate" else self.no_method(seen, ["GET", "POST"])

    def _found(self, seen: Seen) -> Answer:
        if not seen.headers.get("content-type", "").startswith("text/plain"):
            raise Refuse(as_json(415, {"detail": "Unsupported media type in request."}))
        words = seen.body.decode().lower().split()
        rows = [
            m
            for m in self.models.values()
            if m.visibility == "public" and all(w in f"{m.key} {m.description}".lower() for w in words)
        ]
        return self.page(seen, [self.model_view(m) for m in rows], "models")

    @route("GET", "/v1/models/{owner}/{name}")
    async def get_model(self, seen: Seen, owner: str, name: str) -> Answer:
        return as_json(200, self.model_view(self._model(owner, name)))

    @route("DELETE", "/v1/models/{owner}/{name}")
    async def delete_model(self, seen: Seen, owner: str, name: str) -> Answer:
        model = self._model(owner, name)
        if owner != ACCOUNT["username"] or model.visibility != "private":
            raise Refuse(self.problem(403, "You can only delete private models that you own"))
        if model.inputs and model.version not in model.removed_versions:
            raise Refuse(self.problem(409, "A model with versions cannot be deleted"))  # invented
        del self.models[model.key]
        return Answer(204)

    @route("GET", "/v1/models/{owner}/{name}/versions")
    async def list_versions(self, seen: Seen, owner: str, name: str) -> Answer:
        model = self._model(owner, name)
        there = (
            []
            if model.official or not model.inputs or model.version in model.removed_versions
            else [self.version_view(model)]
        )
        return self.page(seen, there, f"models/{model.key}/versions")

    def _version(self, owner: str, name: str, version: str) -> Model:
        model = self._model(owner, name)
        if version != model.version or version in model.removed_versions or not model.inputs:
            raise Refuse(self.problem(404, "The specified version does not exist"))
        return model

    @route("GET", "/v1/models/{owner}/{name}/versions/{version}")
    async def get_version(self, seen: Seen, owner: str, name: str, version: str) -> Answer:
        return as_json(200, self.version_view(self._version(owner, name, version)))

    @route("DELETE", "/v1/models/{owner}/{name}/versions/{version}")
    async def delete_version(self, seen: Seen, owner: str, name: str, version: str) -> Answer:
        model = self._version(owner, name, version)
        if owner != ACCOUNT["username"]:
            raise Refuse(self.problem(403, "You can only delete versions of models that you own"))
        model.removed_versions.add(version)
        return Answer(202)

    # -- deployments --------------------------------------------------------------------------------------------------

    @route("GET", "/v1/deployments")
    async def list_deployments(self, seen: Seen) -> Answer:
        return self.page(seen, list(self.deployments.values()), "deployments")

    @route("POST", "/v1/deployments")
    async def create_deployment(self, seen: Seen) -> Answer:
        names = {"hardware", "max_instances", "min_instances", "model", "name", "version"}
        body = self.body_of(seen, names, names)
        model = self.models.get(body["model"])
        if model is None or body["version"] != model.version:
            raise Refuse(self.problem(422, "- version: does not exist\n", "Input validation failed"))
        made = self._deploy(body["name"], body["model"], body["hardware"], body["min_instances"], body["max_instances"])
        return as_json(200, made)

    def _deployment(self, owner: str, name: str) -> dict[str, Any]:
        if f"{owner}/{name}" not in self.deployments:
            raise Refuse(self.problem(404, "The specified deployment does not exist"))
        return self.deployments[f"{owner}/{name}"]

    @route("GET", "/v1/deployments/{owner}/{name}")
    async def get_deployment(self, seen: Seen, owner: str, name: str) -> Answer:
        return as_json(200, self._deployment(owner, name))

    @route("PATCH", "/v1/deployments/{owner}/{name}")
    async def update_deployment(self, seen: Seen, owner: str, name: str) -> Answer:
        found = self._deployment(owner, name)
        body = self.body_of(seen, {"hardware", "max_instances", "min_instances", "version"}, set())
        old = found["current_release"]
        merged = old["configuration"] | {k: v for k, v in body.items() if k != "version"}
        made = self._deploy(
            name, old["model"], merged["hardware"], merged["min_instances"], merged["max_instances"], old["number"] + 1
        )
        return as_json(200, made)

    @route("DELETE", "/v1/deployments/{owner}/{name}")
    async def delete_deployment(self, seen: Seen, owner: str, name: str) -> Answer:
        self._deployment(owner, name)
        del self.deployments[f"{owner}/{name}"]
        return Answer(204)

    # -- trainings ----------------------------------------------------------------------------------------------------

    @route("POST", "/v1/models/{owner}/{name}/versions/{version}/trainings")
    async def train(self, seen: Seen, owner: str, name: str, version: str) -> Answer:
        model = self._version(owner, name, version)
        body = self.body_of(
            seen, {"destination", "input", "webhook", "webhook_events_filter"}, {"destination", "input"}
        )
        target = self.models.get(body["destination"])
        if target is None or target.owner != ACCOUNT["username"]:
            raise Refuse(
                self.problem(422, "- destination: must be an existing model of yours\n", "Input validation failed")
            )
        identity = f"zz4ibbonubfz7carwiefib{len(self.trainings):04d}"
        here = f"{self.base_url}/trainings/{identity}"
        record = {
            "id": identity, "model": model.key, "version": version, "input": body["input"], "logs": "", "error": None,
            "status": "starting", "created_at": _now(), "urls": {"cancel": f"{here}/cancel", "get": here},
            "destination": body["destination"],
        }  # fmt: skip
        self.trainings[identity] = record, Timeline([self.pace.queue, self.pace.image], manual=self.manual)
        return as_json(201, record)

    def _training(self, identity: str) -> dict[str, Any]:
        if identity not in self.trainings:
            raise Refuse(self.problem(404, "The specified training does not exist"))
        record, timeline = self.trainings[identity]
        if record["status"] != "canceled":
            record["status"] = ("starting", "processing", "succeeded")[timeline.position]
        if record["status"] == "succeeded":
            record |= {
                "output": {
                    "version": f"{record['destination']}:{record['version']}",
                    "weights": "https://files.vaikerai.com/weights.tar",
                }
            }
            record |= {"metrics": {"predict_time": 502.713876}, "completed_at": _now()}
        return record

    @route("GET", "/v1/trainings")
    async def list_trainings(self, seen: Seen) -> Answer:
        return self.page(seen, [self._training(key) for key in reversed(self.trainings)], "trainings")

    @route("GET", "/v1/trainings/{identity}")
    async def get_training(self, seen: Seen, identity: str) -> Answer:
        return as_json(200, self._training(identity))

    @route("POST", "/v1/trainings/{identity}/cancel")
    async def cancel_training(self, seen: Seen, identity: str) -> Answer:
        record = self._training(identity)
        if record["status"] in ("starting", "processing"):
            record["status"] = "canceled"
            self.trainings[identity][1].freeze()
        return as_json(200, record)

    # -- files (replicate preset only) --------------------------------------------------------------------------------

    @route("POST", "/v1/files")
    async def upload(self, seen: Seen) -> Answer:
        kind = seen.headers.get("content-type", "")
        if self.preset != "replicate":
            return self.no_route(seen)
        if not kind.startswith("multipart/form-data") or b'name="content"' not in seen.body:
            raise Refuse(self.problem(400, "Missing content"))
        digest = hashlib.sha256(seen.body).hexdigest()
        here = f"{self.base_url}/files/{digest[:24]}"
        record = {
            "id": digest[:24], "name": "file", "content_type": "application/octet-stream", "size": len(seen.body),
            "etag": digest[:8], "checksums": {"sha256": digest}, "metadata": {}, "created_at": _now(),
            "expires_at": None, "urls": {"get": here},
        }  # fmt: skip
        self.uploads[record["id"]] = record
        return as_json(201, json.loads(json.dumps(record)))

    @route("GET", "/v1/files")
    async def list_files(self, seen: Seen) -> Answer:
        return (
            self.page(seen, list(self.uploads.values()), "files") if self.preset == "replicate" else self.no_route(seen)
        )

    @route("GET", "/v1/files/{identity}")
    async def get_file(self, seen: Seen, identity: str) -> Answer:
        return as_json(200, self.uploads[identity]) if identity in self.uploads else self.no_route(seen)

    @route("DELETE", "/v1/files/{identity}")
    async def delete_file(self, seen: Seen, identity: str) -> Answer:
        return Answer(204) if self.uploads.pop(identity, None) else self.no_route(seen)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".018467Z"

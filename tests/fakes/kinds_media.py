"""Rows of the suite of kinds for what is no chat: each kind's double, what it has, how it says no."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from fakes.doubles import faults
from fakes.doubles.aime import AimeDouble
from fakes.doubles.bytez import BytezDouble
from fakes.doubles.faults import Fault
from fakes.doubles.novita import NovitaDouble
from fakes.doubles.server import Double
from fakes.doubles.vaikerai import VaikerDouble
from fakes.doubles.venice import VeniceDouble


@dataclass(frozen=True)
class Row:
    """One kind. `models`: our type of model → its name there (given the double). `refusals` as in `test_kinds`."""

    kind: str
    double: Callable[..., Double]
    models: Callable[[Any], dict[str, str]]
    create: str
    refusals: dict[str, tuple[Fault, int, str]]
    options: dict[str, str] = field(default_factory=dict)
    fails: Callable[[Any, str], None] | None = None  # makes the next job fail with these words
    cancels: str = ""  # the path of a cancel, where there is one
    files_inline: bool = False  # files come inside the answer, if it is held back long enough
    jobs: bool = True  # what is made is a job, which is followed until it ends
    one_by_one: bool = False  # a text is a request of its own
    name: str = ""

    @property
    def id(self) -> str:
        return self.name or self.kind


def vaikerai_models(double: VaikerDouble) -> dict[str, str]:
    def exact(key: str) -> str:
        return f"{key}:{double.models[key].version}"

    return {
        "image": exact("stability-ai/sdxl"),
        "inpaint": exact("stability-ai/sdxl"),
        "upscale": exact("nightmareai/real-esrgan"),
        "tts": exact("acme/speech"),
        "embedding": exact("acme/embedder"),
    }


def problem(status: int, detail: str, title: str = "") -> Fault:
    return faults.answer(status, {"title": title, "detail": detail, "status": status})


ROWS = [
    Row(
        "vaikerai",
        VaikerDouble,
        vaikerai_models,
        "/predictions$",
        {
            "401": (problem(401, "no valid token", "Unauthenticated"), 502, "upstream_auth_failed"),
            "402": (problem(402, "no credit", "Insufficient credit"), 503, "upstream_unavailable"),
            "404": (problem(404, "The specified model does not exist"), 502, "upstream_error"),
            "422": (problem(422, "- input.x", "Input validation failed"), 400, "invalid_request"),
            "429": (problem(429, "Request was throttled."), 429, "upstream_rate_limited"),
            "5xx": (problem(500, "oops"), 502, "upstream_error"),
            "html": (faults.html_502(), 502, "upstream_error"),
            "garbage": (faults.garbage_json(), 502, "upstream_error"),
            "empty": (faults.empty_200(), 502, "upstream_error"),
            "reset": (faults.reset(), 502, "upstream_error"),
        },
        fails=lambda double, words: double.will(fail=words),
        cancels="/cancel$",
    ),
]
# The same API with what the preset adds: answers that are held back, files inside them as data URLs.
ROWS.append(
    replace(
        ROWS[-1],
        name="replicate",
        double=lambda **more: VaikerDouble(preset="replicate", **more),
        options={"preset": '"replicate"', "prefer_wait_s": "1"},
        files_inline=True,
    )
)

# -- the other four -----------------------------------------------------------------------------------------------------

Said = tuple[int, Any]
Refusals = dict[str, tuple[Fault, int, str]]


def refusals(unauthorised: Said, broke: Said, missing: Said, busy: Said, down: Said) -> Refusals:
    """The usual ones, as (status, body) each."""
    return {
        "401": (faults.answer(*unauthorised), 502, "upstream_auth_failed"),
        "402": (faults.answer(*broke), 503, "upstream_unavailable"),
        "404": (faults.answer(*missing), 502, "upstream_error"),
        "429": (faults.answer(*busy), 429, "upstream_rate_limited"),
        "5xx": (faults.answer(*down), 502, "upstream_error"),
        "html": (faults.html_502(), 502, "upstream_error"),
        "garbage": (faults.garbage_json(), 502, "upstream_error"),
        "empty": (faults.empty_200(), 502, "upstream_error"),
        "reset": (faults.reset(), 502, "upstream_error"),
    }


def flat(status: int, reason: str) -> Said:
    return status, {"code": status, "reason": reason, "message": reason.lower().replace("_", " "), "metadata": {}}


ROWS.append(
    Row(
        "venice",
        VeniceDouble,
        lambda _: {
            "image": "venice-sd35",
            "inpaint": "flux-kontext",
            "upscale": "upscale-model",
            "tts": "tts-kokoro",
            "embedding": "text-embedding-bge-m3",
        },
        "/(images?|audio)/|/embeddings$",
        refusals(
            (401, {"error": "Authentication failed"}),
            (402, {"error": "Insufficient USD or Diem balance to complete request"}),
            (404, {"error": "Specified model not found"}),
            (429, {"error": "Rate limit exceeded"}),
            (500, {"error": "Inference processing failed"}),
        )
        | {
            "error in 200": (faults.answer(200, {"error": "Inference processing failed"}), 502, "upstream_error"),
            "full": (faults.answer(503, {"error": "The model is at capacity."}), 503, "upstream_unavailable"),
        },
        files_inline=True,
        jobs=False,
    )
)
ROWS.append(
    Row(
        "novita",
        NovitaDouble,
        lambda _: {
            "image": "dreamshaper_8_93211.safetensors",
            "inpaint": "dreamshaper_8_93211.safetensors",
            "upscale": "RealESRGAN_x4plus_anime_6B",
            "tts": "glm-tts",
            "embedding": "baai/bge-m3",
        },
        "/v3/async/|/v3/glm-tts|/embeddings$",
        refusals(
            flat(403, "INVALID_API_KEY"),
            flat(400, "BILLING_BALANCE_NOT_ENOUGH"),
            flat(404, "API_NOT_FOUND"),
            flat(429, "RATE_LIMIT_EXCEEDED"),
            flat(500, "CREATE_TASK_FAILED"),
        )
        | {
            "policy": (faults.answer(*flat(400, "ILLEGAL_PROMPT")), 400, "content_policy_violation"),
            "error in 200": (faults.answer(200, {"code": 7, "msg": "no", "data": None}), 502, "upstream_error"),
        },
        fails=lambda double, words: double.will(fail=words),
    )
)
BYTEZ = refusals(
    (401, {"error": "Unauthorized", "output": None}),
    (402, {"status": 402, "error": "Payment Required", "message": "You have run out of credits"}),
    (404, {"error": "Model x not found", "output": None}),
    (429, {"error": "Rate limit exceeded", "output": None}),
    (500, {"error": "Internal", "output": None}),
) | {
    "error in 200": (
        faults.answer(200, {"error": "CUDA out of memory", "output": None}),
        502,
        "upstream_error",
    )
}
ROWS.append(
    Row(
        "bytez",
        lambda **more: BytezDouble(plan=8, cdn=True, **more),
        lambda _: {
            "image": "dreamlike-art/dreamlike-photoreal-2.0",
            "tts": "suno/bark-small",
            "embedding": "nomic-ai/nomic-embed-text-v1.5",
        },
        "/models/v2/",
        BYTEZ,
        options={"concurrency": "3"},
        jobs=False,
        one_by_one=True,
    )
)
ROWS.append(
    replace(
        ROWS[-1],
        name="bytez-v1",
        create="/model/run$",
        options={"concurrency": "3", "api": '"v1"', "reads_per_s": "1000"},
        files_inline=True,
    )
)
ROWS.append(
    Row(
        "aime",
        lambda **more: AimeDouble(workers=4, **more),
        lambda _: {"image": "flux-dev", "tts": "tts_tortoise"},
        "^/(flux-dev|tts_tortoise)$",
        refusals(
            (401, {"success": False, "error": ["Key not valid"], "ep_version": 3}),
            (400, {"success": False, "error": "Job queue reached max length 20!"}),
            (402, {"success": False, "error": ["Client has no active request with this job id"], "ep_version": 3}),
            (429, {"success": False, "error": "slow down"}),
            (500, {"description": "Internal Server Error", "status": 500, "message": "oops"}),
        )
        | {
            "validation": (
                faults.answer(400, {"success": False, "error": ["seed is odd"]}),
                400,
                "invalid_request",
            )
        },
        fails=lambda double, words: double.will(fail=words),
        files_inline=True,
    )
)

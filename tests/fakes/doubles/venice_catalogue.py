"""Models, traits, mappings, styles and characters of the Venice double, in the shape of `GET /models`.

It owns a small catalogue in which each capability is missing somewhere, so that a test can find a model that refuses.
"""

from typing import Any

CREATED = 1727966436
VOICES = ["af_sky", "af_bella", "am_adam", "bf_emma", "bm_lewis"]
STYLES = ["3D Model", "Analog Film", "Anime", "Cinematic", "Comic Book", "Photographic", "Watercolor"]


def _price(*amounts: float) -> list[dict[str, float]]:
    return [{"usd": a, "vcu": a * 10, "diem": a} for a in amounts]


def _text(identity: str, context: int, *, traits: tuple[str, ...] = (), **can: Any) -> dict[str, Any]:
    names = ("FunctionCalling", "Reasoning", "ResponseSchema", "Vision", "WebSearch", "LogProbs")
    abilities: dict[str, Any] = {f"supports{name}": can.get(name, False) for name in names}
    abilities |= {"optimizedForCode": can.get("code", False), "quantization": "fp8"}
    cost = _price(0.7, 2.8)
    spec = {
        "name": identity.replace("-", " ").title(), "modelSource": "https://example.com",
        "offline": can.get("offline", False),
        "availableContextTokens": context, "traits": list(traits), "capabilities": abilities,
        "constraints": {"temperature": {"default": 0.8}, "top_p": {"default": 0.9}},
        "pricing": {"input": cost[0], "output": cost[1]},
    }  # fmt: skip
    return {
        "id": identity,
        "type": "text",
        "object": "model",
        "created": CREATED,
        "owned_by": "venice.ai",
        "model_spec": spec,
    }


def _image(identity: str, limit: int, steps: int, divisor: int, traits: tuple[str, ...] = ()) -> dict[str, Any]:
    cost = _price(0.01, 0.02, 0.08)
    spec = {
        "name": identity, "modelSource": "https://example.com", "offline": False, "traits": list(traits),
        "constraints": {
            "promptCharacterLimit": limit, "steps": {"default": min(20, steps), "max": steps}, "widthHeightDivisor": divisor,
        },
        "pricing": {"generation": cost[0], "upscale": {"2x": cost[1], "4x": cost[2]}},
    }  # fmt: skip
    return {
        "id": identity,
        "type": "image",
        "object": "model",
        "created": CREATED,
        "owned_by": "venice.ai",
        "model_spec": spec,
    }


def _other(identity: str, kind: str, **spec: Any) -> dict[str, Any]:
    cost = _price(0.15, 0.6, 0.02)
    pricing: dict[str, Any] = {"input": cost[0], "output": cost[1]}
    if kind in ("upscale", "inpaint"):
        pricing = {"generation": cost[0], "upscale": {"2x": cost[1], "4x": cost[2]}}
    shown = {"name": identity, "offline": False, "traits": [], "pricing": pricing} | spec
    return {
        "id": identity,
        "type": kind,
        "object": "model",
        "created": CREATED,
        "owned_by": "venice.ai",
        "model_spec": shown,
    }


def catalogue() -> dict[str, dict[str, Any]]:
    """Models by id."""
    rows = [
        _text("llama-3.3-70b", 65536, traits=("default", "function_calling_default"), FunctionCalling=True, ResponseSchema=True,
              WebSearch=True, LogProbs=True),
        _text("llama-3.2-3b", 131072, traits=("fastest",), FunctionCalling=True, WebSearch=True),
        _text("qwen-2.5-vl", 32768, traits=("default_vision",), Vision=True, WebSearch=True, ResponseSchema=True),
        _text("deepseek-r1-671b", 131072, traits=("default_reasoning", "most_intelligent"), Reasoning=True, WebSearch=True),
        _text("qwen-2.5-coder-32b", 32768, traits=("default_code",), code=True),
        _text("venice-uncensored", 32768, traits=("most_uncensored",), offline=True),
        _image("venice-sd35", 1500, 30, 16, ("default",)),
        _image("flux-dev", 2048, 30, 8, ("highest_quality",)),
        _image("flux-dev-tiny", 64, 30, 8),
        _other("text-embedding-bge-m3", "embedding"),
        _other("tts-kokoro", "tts", voices=VOICES, pricing={"input": _price(3.5)[0]}),
        _other("upscale-model", "upscale"),
        _other("flux-kontext", "inpaint"),
    ]  # fmt: skip
    return {row["id"]: row for row in rows}


COMPATIBILITY: dict[str, dict[str, str]] = {
    "text": {"gpt-4o": "llama-3.3-70b", "gpt-4o-mini": "llama-3.2-3b", "o1": "deepseek-r1-671b"},
    "image": {"dall-e-3": "flux-dev"},
    "embedding": {"text-embedding-ada-002": "text-embedding-bge-m3", "text-embedding-3-small": "text-embedding-bge-m3"},
}
CHARACTERS = [
    {
        "adult": False, "createdAt": "2024-12-20T21:28:08.934Z", "description": "A philosopher of the Way", "name": "Alan Watts",
        "shareUrl": "https://venice.ai/c/alan-watts", "slug": "alan-watts", "stats": {"imports": 112}, "tags": ["Philosophy"],
        "updatedAt": "2025-02-09T03:23:53.708Z", "webEnabled": True,
    },
    {
        "adult": True, "createdAt": "2024-12-21T10:00:00.000Z", "description": None, "name": "Nobody", "shareUrl": None,
        "slug": "nobody", "stats": {"imports": 0}, "tags": [], "updatedAt": "2024-12-21T10:00:00.000Z", "webEnabled": False,
    },
]  # fmt: skip

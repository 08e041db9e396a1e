"""What is served when there is no configuration file: the demo model on the local engine, offline and without a key, and
every hosted upstream whose usual environment variable is set.
"""

import copy
from collections.abc import Mapping
from typing import Any

from proxy.wire.speech import MODEL, VOICES

Row = dict[str, Any]

# Names that clients ask for out of habit. Offline they lead to what is here, and the answer's `model` says so; where OpenAI's
# key is, they lead to OpenAI.
HABITS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-5", "gpt-5-mini", "gpt-3.5-turbo")

EMBEDDING_HABITS = (
    "text-embedding-bge-m3",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "text-embedding-ada-002",
)

SPEECH_HABITS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")

EDIT_HABITS = ("gpt-image-1", "gpt-image-1-mini", "gpt-image-2", "dall-e-2")

IMAGE_HABITS = (*EDIT_HABITS, "dall-e-3")

# Nothing here can hear: these are OpenAI's or nobody's.
HEARING_HABITS = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe")

# Whole: Venice's clients read the price of a picture with those of its enlargements, or not at all.
_FREE: Row = {"generation_usd": 0.0, "upscale_2x_usd": 0.0, "upscale_4x_usd": 0.0}

_DEMO: Row = {
    "name": "Traghetto demo",
    "description": "A tiny model made for this endpoint. It answers a few questions about Traghetto; it is no assistant.",
    "targets": [{"upstream": "local", "model": "demo"}],
    "traits": ["default", "fastest", "default_code", "default_reasoning", "function_calling_default"],
    "capabilities": {
        "function_calling": True,
        "response_schema": True,
        "logprobs": True,
        "quantization": "not-available",
    },
    "pricing": {"input_usd": 0.0, "output_usd": 0.0},
    "owned_by": "traghetto",
}
_VECTORS: Row = {
    "name": "Traghetto demo, embeddings",
    "description": "Vectors of the demo model's hidden states. They show the route at work; for search, take a real model.",
    "type": "embedding",
    "targets": [{"upstream": "local", "model": "demo"}],
    "traits": ["default"],
    "pricing": {"input_usd": 0.0},
    "owned_by": "traghetto",
}
_TTS: Row = {
    "name": "Speech by espeak-ng",
    "description": "A formant synthesiser under the names of Kokoro's voices, mapped by language and gender; no Kokoro.",
    "type": "tts",
    "targets": [{"upstream": "offline", "model": MODEL}],
    "traits": ["default"],
    "voices": list(VOICES),
    "pricing": {"characters_usd": 0.0},
    "owned_by": "traghetto",
}
_IMAGE: Row = {
    "name": "Placeholder pictures",
    "description": "No model: a seeded drawing that says it is a placeholder and shows what was asked for.",
    "type": "image",
    "targets": [{"upstream": "offline", "model": "dev-placeholder"}],
    "traits": ["default"],
    "constraints": {"prompt_characters": 1500, "steps": {"default": 20, "max": 50}, "width_height_divisor": 8},
    "pricing": _FREE,
    "owned_by": "traghetto",
}
_EDIT: Row = {
    "name": "Placeholder edits",
    "description": "No model: the picture with a banner that says so and shows what was asked for.",
    "type": "inpaint",
    "targets": [{"upstream": "offline", "model": "dev-placeholder"}],
    "traits": ["default"],
    "pricing": _FREE,
    "owned_by": "traghetto",
}
_UPSCALE: Row = {
    "name": "Lanczos",
    "description": "A real enlargement by Lanczos resampling; no model.",
    "type": "upscale",
    "targets": [{"upstream": "offline", "model": "lanczos"}],
    "traits": ["default"],
    "pricing": _FREE,
    "owned_by": "traghetto",
}

_MODELS = {
    "demo": _DEMO,
    "demo-embedding": _VECTORS,
    MODEL: _TTS,
    "dev-placeholder": _IMAGE,
    "dev-placeholder-edit": _EDIT,
    "lanczos": _UPSCALE,
}


def tree(usual_keys: Mapping[str, tuple[str, dict[str, object]]], env: Mapping[str, str]) -> dict[str, Any]:
    """The configuration as a tree, as if read from a file."""
    upstreams: dict[str, Any] = {"local": {"kind": "llama"}, "offline": {"kind": "offline"}}
    for variable, (name, row) in usual_keys.items():
        if env.get(variable):
            upstreams[name] = {**row, "api_key": f"${{{variable}}}"}
    here = {
        "text": dict.fromkeys(HABITS, "demo"),
        "embedding": dict.fromkeys(EMBEDDING_HABITS, "demo-embedding"),
        "tts": dict.fromkeys(SPEECH_HABITS, MODEL),
        "inpaint": dict.fromkeys(EDIT_HABITS, "dev-placeholder-edit"),
        "image": dict.fromkeys(IMAGE_HABITS, "dev-placeholder"),
    }
    names = _theirs() if "openai" in upstreams else here
    names["embedding"]["demo"] = "demo-embedding"
    names["inpaint"]["dev-placeholder"] = "dev-placeholder-edit"
    return {"upstreams": upstreams, "models": copy.deepcopy(_MODELS), "compatibility": names}


def _theirs() -> dict[str, dict[str, str]]:
    """The habits of OpenAI's clients, each under its own name there."""
    habits = {
        "text": HABITS,
        "embedding": tuple(name for name in EMBEDDING_HABITS if name.startswith("text-embedding-3") or "ada" in name),
        "tts": SPEECH_HABITS,
        "inpaint": EDIT_HABITS,
        "image": IMAGE_HABITS,
        "asr": HEARING_HABITS,
    }
    return {type_: {name: f"openai/{name}" for name in names} for type_, names in habits.items()}

"""What is served when there is no configuration file: the demo model on the local engine, offline and without a key, and
every hosted upstream whose usual environment variable is set.
"""

from collections.abc import Mapping
from typing import Any

# Names that clients ask for out of habit. Offline they lead to the demo model; the answer's `model` says so.
HABITS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-5", "gpt-5-mini", "gpt-3.5-turbo")


def tree(usual_keys: Mapping[str, tuple[str, dict[str, object]]], env: Mapping[str, str]) -> dict[str, Any]:
    """The configuration as a tree, as if read from a file."""
    upstreams: dict[str, Any] = {"local": {"kind": "llama"}}
    for variable, (name, row) in usual_keys.items():
        if env.get(variable):
            upstreams[name] = {**row, "api_key": f"${{{variable}}}"}
    demo = {
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
    mapped = {} if "openai" in upstreams else dict.fromkeys(HABITS, "demo")
    return {"upstreams": upstreams, "models": {"demo": demo}, "compatibility": {"text": mapped}}

"""Out: one file or folder a dialect; a vendor that speaks a known dialect is a row of configuration, not a class.

KINDS names each kind's builder, imported when a configuration first uses it. A builder takes the upstream's name and its
options, and gives an Adapter.
"""

import importlib
from typing import Any, cast

from adapters.options import Options
from adapters.unbuilt import Unbuilt
from proxy.ports import Adapter

KINDS: dict[str, str] = {
    "openai": "adapters.openai_api.adapter:build",
    "llama": "adapters.llama.adapter:build",
    "echo": "adapters.echo:build",
    "offline": "adapters.offline.adapter:build",
    "venice": "adapters.venice.adapter:build",
    "novita": "adapters.novita.adapter:build",
    "bytez": "adapters.bytez.adapter:build",
    "aime": "adapters.aime.adapter:build",
    "vaikerai": "adapters.vaikerai.adapter:build",
}


def kind_of(options: Options) -> str:
    return str(type(options).__struct_config__.tag)


def build(name: str, options: Options) -> Adapter:
    """An upstream of the configuration → its Adapter. Opens no connection."""
    kind = kind_of(options)
    if kind not in KINDS:
        return cast("Adapter", Unbuilt(name, kind))
    module, _, function = KINDS[kind].partition(":")
    builder: Any = getattr(importlib.import_module(module), function)
    return cast("Adapter", builder(name, options))

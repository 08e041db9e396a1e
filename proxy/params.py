"""Per parameter: forward, translate, drop or refuse. One pure function over `Caps`, used by adapters and by dry runs."""

from collections.abc import Mapping

import msgspec

from proxy.ports import Caps

# Keys that are about the call, not about the model: every adapter handles them itself.
STRUCTURAL = frozenset({"model", "messages", "stream", "stream_options", "venice_parameters", "input", "prompt"})


class Sorted(msgspec.Struct):
    """`kept` maps the upstream's name of a parameter to its raw value."""

    kept: dict[str, msgspec.Raw]
    translated: dict[str, str]
    dropped: list[str]


def sort_out(fields: Mapping[str, msgspec.Raw], caps: Caps, drops: frozenset[str] = frozenset()) -> Sorted:
    """The request's top-level keys (but the structural ones) → what goes out, and what does not.

    `drops` are names this one upstream does not take, whatever its kind takes. Refused parameters never come here:
    `resolve` has left such targets out.
    """
    kept: dict[str, msgspec.Raw] = {}
    translated: dict[str, str] = {}
    dropped: list[str] = []
    for key, value in fields.items():
        if key in STRUCTURAL:
            continue
        if key in drops:
            dropped.append(key)
        elif key in caps.translates:
            translated[key] = caps.translates[key]
            kept[caps.translates[key]] = value
        elif key in caps.forwards or caps.open_ended:
            kept[key] = value
        else:
            dropped.append(key)
    return Sorted(kept, translated, dropped)

"""Models in memory over HTTP: what is asked and told, in the words of Bytez's model routes (load, status, instances, delete)."""

import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from proxy.ports import Instance

STATUS = {
    "waiting": "QUEUED",
    "loading": "LOADING",
    "ready": "RUNNING",
    "restarting": "RESTARTING",
    "draining": "DRAINING",
    "stopping": "STOPPING",
    "failed": "FAILED",
    "unloaded": "STOPPED",
}
Name = Annotated[str, Meta(min_length=1, max_length=1024)]


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """Of `status`."""

    model: Name


class Delete(msgspec.Struct, forbid_unknown_fields=True):
    """`wait`: answer when it is gone, else at once."""

    model: Name
    wait: bool = False


class Load(msgspec.Struct, forbid_unknown_fields=True):
    """`concurrency`: sequences at once; absent: as configured. `expirationPeriodSeconds` after its last call it goes; -1: never.

    `wait`: answer when it is loaded, else as soon as that has begun.
    """

    model: Name
    concurrency: Annotated[int, Meta(ge=1, le=256)] | None = None
    expirationPeriodSeconds: Annotated[int, Meta(ge=-1, le=10**9)] | None = None
    wait: bool = False


def card(instance: Instance, *, model: str, upstream: str) -> dict[str, Any]:
    """One instance. Times are UTC in ISO 8601, as Venice and Bytez write them; null is unknown or never."""
    keeps = instance.state not in ("unloaded", "failed", "waiting")
    seconds = int(instance.keep_s) if keeps else None
    out: dict[str, Any] = {
        "model": model,
        "status": STATUS.get(instance.state, instance.state.upper()),
        "concurrency": instance.concurrency or None,
        "inferences": instance.served,
        "running": instance.running,
        "expirationPeriodSeconds": seconds,
        "expirationPeriodMinutes": None if seconds is None or seconds < 0 else round(seconds / 60, 2),
        "expiresAt": stamp(instance.expires),
        "created": stamp(instance.created),
        "modified": stamp(instance.modified),
        "upstream": upstream,
        "progress": round(instance.progress, 3),
        "restarts": instance.restarts,
        "memoryBytes": instance.memory,
        "estimatedBytes": instance.estimated,
        "contextTokens": instance.context_tokens or None,
    }
    if instance.reason:
        out["message"] = instance.reason
    return out


def stamp(unix: float | None) -> str | None:
    """Seconds → `2024-05-28T00:12:18.738Z`."""
    if unix is None:
        return None
    at = datetime.datetime.fromtimestamp(unix, datetime.UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"

"""POST /webhooks/{upstream}: where upstreams report that a job of ours has changed.

No key of ours opens it: the report's own signature does, and the adapter checks it. What it says is not believed; whoever
waits for the job reads it again.
"""

from proxy.errors import NotFound
from proxy.ports import TakesReports
from routes._endpoint import Answer, Desk
from routes._inbound import Inbound

MAX_REPORT = 2 << 20  # bytes: a report carries the whole prediction, and strangers can send one
SIGNED = ("webhook-id", "webhook-timestamp", "webhook-signature")


async def reported(inbound: Inbound, desk: Desk) -> Answer:
    """Hand a report to its upstream's adapter; answered at once, since nobody waits for what it leads to."""
    adapter: object = desk.house.adapters.get(str(inbound.path_params.get("upstream", "")))
    if not isinstance(adapter, TakesReports):
        raise NotFound("No upstream of this name sends reports here.")
    body = await inbound.body(min(desk.max_body, MAX_REPORT))
    await adapter.report({name: inbound.header(name.encode()) or "" for name in SIGNED}, body)
    return Answer({"received": True})

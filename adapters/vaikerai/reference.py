"""How a target names its model: `owner/name`, `owner/name:hash`, a bare hash, `deployment:owner/name`. Pure."""

import re
from urllib.parse import quote

HASH = re.compile(r"[0-9a-f]{64}")


class Reference:
    """`name` is percent-encoded, "" for a bare hash; `text` is what the target says."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.deployment = text.startswith("deployment:")
        name, _, version = text.removeprefix("deployment:").partition(":")
        if HASH.fullmatch(name):
            name, version = "", name
        self.name = "/".join(quote(part, safe="") for part in name.split("/"))
        self.version = version

    @property
    def path(self) -> str:
        """Where a prediction is created."""
        if self.deployment:
            return f"/deployments/{self.name}/predictions"
        return "/predictions" if self.version else f"/models/{self.name}/predictions"

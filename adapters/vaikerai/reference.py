"""How a target names its model: `owner/name`, `owner/name:hash`, a bare hash, `deployment:owner/name`. Pure."""

import re
from urllib.parse import quote

from proxy.errors import ModelUnknown

HASH = re.compile(r"[0-9a-f]{64}")


class Reference:
    """`name` is percent-encoded, "" for a bare hash; `text` is what the target says. ModelUnknown for what is no name."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.deployment = text.startswith("deployment:")
        name, _, version = text.removeprefix("deployment:").partition(":")
        if HASH.fullmatch(name):
            name, version = "", name
        if name and not all(part.strip(".") for part in name.split("/")):  # a path must not lead elsewhere
            raise ModelUnknown(f"{text[:200]!r} is no name of a model.", param="model")
        self.name = "/".join(quote(part, safe="") for part in name.split("/"))
        self.version = version

    @property
    def path(self) -> str:
        """Where a prediction is created."""
        if self.deployment:
            return f"/deployments/{self.name}/predictions"
        return "/predictions" if self.version else f"/models/{self.name}/predictions"

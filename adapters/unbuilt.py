"""An upstream that the configuration names and that cannot be used: it keeps its place in the lists, with the reason."""

from typing import NoReturn

from proxy.call import Call, Target
from proxy.errors import Fault, UpstreamError
from proxy.ports import Caps, Reply


class Unbuilt:
    """Of a kind that this version does not speak yet."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.caps = Caps(operations=frozenset())

    @property
    def missing(self) -> str:
        return f"this version does not speak the kind {self.kind!r} yet"

    async def open(self, call: Call, target: Target) -> Reply:
        self._refuse()

    async def probe(self, target: Target | None = None) -> str:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UpstreamError(
            Fault.UNSUPPORTED, f"The upstream {self.name!r} cannot be used: {self.missing}.", accepted=False
        )

    async def aclose(self) -> None:
        return None

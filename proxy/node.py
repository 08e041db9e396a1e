"""An engine node: the local engine alone, served to other gateways. What it has instead of a configuration file and a key store.

Owns the tree of its configuration and the one key at its door. Refuses to know sockets and how models load. Invariant: an
address that others can reach needs a key.
"""

import hmac
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from proxy.call import Principal
from proxy.errors import ConfigError, KeyInvalid, NotSupported
from proxy.keyring import is_loopback

if TYPE_CHECKING:
    from proxy.keys.store import KeyStore

UPSTREAM = "local"
_PLAIN = re.compile(r"^[\w.:/-]+$", re.ASCII)


class Served(NamedTuple):
    """A model under its name; `reference` is a path, a file of models_dir, or `demo`."""

    name: str
    reference: str


class Address(NamedTuple):
    """Where to listen: a host and a port (0: any), or the path of a unix socket."""

    host: str = "127.0.0.1"
    port: int = 0
    path: str = ""


def parse_model(text: str) -> Served:
    """`NAME=REFERENCE`, or a reference that is called by its file's name. Raises ConfigError."""
    name, equals, reference = text.partition("=")
    if not equals:
        name, reference = PurePath(text).name.removesuffix(".gguf"), text
    if not reference or not _PLAIN.match(name):
        raise ConfigError(f"{text!r} is no model", expected="a GGUF file, demo, or NAME=FILE")
    return Served(name, reference)


def parse_address(text: str) -> Address:
    """`host:port`, `:port`, `[::1]:port`, `unix:/path`. Raises ConfigError."""
    if text.startswith("unix:") and len(text) > 5:
        return Address(path=text[5:])
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdigit() or int(port) > 65535 or (":" in host and not text.startswith("[")):
        raise ConfigError(f"cannot listen on {text!r}", expected="host:port or unix:/path")
    return Address(host or "0.0.0.0", int(port))


def tree(models: Iterable[tuple[Served, str]], engine: Mapping[str, Any], address: Address) -> dict[str, Any]:
    """The configuration of a node: its engine's options, and its models with their types. Nothing is kept on disk."""
    rows: dict[str, Any] = {}
    kinds: set[str] = set()
    for model, kind in models:
        if model.name in rows:
            raise ConfigError(f"two models are called {model.name!r}", expected="NAME=FILE with different names")
        row: dict[str, Any] = {"type": kind, "targets": [{"upstream": UPSTREAM, "model": model.reference}]}
        if kind not in kinds:
            row["traits"] = ["default"]
        kinds.add(kind)
        rows[model.name] = {**row, "owned_by": "traghetto", "pricing": {"input_usd": 0.0, "output_usd": 0.0}}
    return {
        "server": {"host": address.host, "port": address.port},
        "store": {"ledger": False},
        "upstreams": {UPSTREAM: {"kind": "llama", **engine}},
        "models": rows,
        "routing": {"retries": 0},
    }


class OneKey:
    """A keyring of one key, or of none where only this machine can ask."""

    def __init__(self, key: str, address: Address) -> None:
        if not key and not address.path and not is_loopback(address.host):
            raise ConfigError(
                f"listening on {address.host} without a key would let everybody in",
                expected="--key, or a loopback address",
            )
        self._key = key.encode()

    async def start(self) -> None:
        """Nothing to open."""

    async def aclose(self) -> None:
        """Nothing to close."""

    async def store(self) -> "KeyStore":
        raise NotSupported("An engine node has the key that it was started with, and no others.")

    @property
    def required(self) -> bool:
        return bool(self._key)

    async def look_again(self, secret: str) -> bool:
        del secret
        return False

    def known(self, header: bytes) -> Principal | None:
        del header
        return None

    def principal(self, secret: str) -> Principal:
        if not hmac.compare_digest(secret.encode("utf-8", "surrogatepass"), self._key):
            raise KeyInvalid("This API key is not valid.")
        return Principal(id="node", admin=True, tier="unlimited")

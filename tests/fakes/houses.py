"""A House from TOML, wired with the real adapters, without a server around it."""

from types import SimpleNamespace
from typing import Any

from proxy import config as configuration
from proxy import house
from proxy.accounts import Accounts
from proxy.metrics import Metrics
from proxy.pipeline import House

ECHO = """
[upstreams.near]
kind = "echo"
[upstreams.far]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
api_key = "${FAR_KEY:-}"
[models.parrot]
targets = [{upstream = "near", model = "p"}, {upstream = "far", model = "q", priority = 1}]
traits = ["default"]
context_tokens = 1000
pricing = {input_usd = 1.0, output_usd = 2.0}
[models.lonely]
targets = [{upstream = "far", model = "z"}]
"""


def read(toml: str = ECHO, env: dict[str, str] | None = None) -> configuration.Config:
    from adapters.options import KINDS

    return configuration.loads(toml, KINDS, env or {}, file="test.toml")


def built(toml: str = ECHO, env: dict[str, str] | None = None) -> House:
    """Opens nothing."""
    from adapters import build

    config = read(toml, env)
    stays = house.foundations(config)
    made = house.build(config, build, stays, file="test.toml")
    stays.accounts.rules = made.rules
    return made


def desk(toml: str = ECHO, env: dict[str, str] | None = None, *, keyring: Any = None, **more: Any) -> Any:
    """A Desk over such a House, where nobody is asked for a key unless `keyring` asks."""
    from routes._endpoint import Desk

    door = keyring or SimpleNamespace(required=False)
    made = built(toml, env)
    if "accounts" not in more:
        more["accounts"] = Accounts(made.config, door, made.rules)
    return Desk(house=made, keyring=door, metrics=Metrics(), max_body=1 << 20, keepalive_s=60, **more)

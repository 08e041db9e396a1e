"""The gateway in front of one double, with openai-python as its caller: what the suites over the kinds of upstream play on."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import openai

from fakes.gateway import Gateway, gateway

ROOMY = {"connect_s": 2, "first_byte_s": 5, "between_bytes_s": 5, "total_s": 20}


@dataclass
class Stage:
    """`row` says what the double is; None where there is only one."""

    row: Any
    double: Any
    gate: Gateway
    client: openai.OpenAI

    def creates(self) -> list[Any]:
        """Requests that began something at the upstream."""
        return [s for s in self.double.seen("POST", self.row.create) if not s.path.endswith(("/progress", "/cancel"))]


S = TypeVar("S", bound=Stage)


def toml_of(
    kind: str,
    double: Any,
    models: str,
    *,
    options: Mapping[str, str] | None = None,
    hosts: Mapping[str, str] | None = None,
    routing: str = "retries = 0",
    clocks: Mapping[str, float] = ROOMY,
) -> str:
    """An upstream `up` on the double, and `models`. `options` as TOML wants them; `hosts`: key → the double's port whose
    origin it names."""
    origins = {key: f'["{double.origin(port)}"]' for key, port in (hosts or {}).items()}
    more = "\n".join(f"{key} = {value}" for key, value in {**(options or {}), **origins}.items())
    return f"""
[upstreams.up]
kind = "{kind}"
base_url = "{double.base_url}"
api_key = "{double.key}"
timeout = {{{", ".join(f"{name} = {seconds}" for name, seconds in clocks.items())}}}
{more}

{models}
[routing]
{routing}
breaker = {{failures = 1000000}}
"""


def model(name: str, there: str, type_: str = "text") -> str:
    return f'[models.{name}]\ntype = "{type_}"\ntargets = [{{upstream = "up", model = "{there}"}}]\n'


@contextlib.contextmanager
def staged(made: type[S], row: Any, double: Any, toml: str) -> Iterator[S]:
    """With a double that runs. At the end: the key went nowhere that it should not."""
    with gateway(toml) as gate:
        with openai.OpenAI(base_url=gate.v1, api_key="x", max_retries=0, timeout=20) as client:
            yield made(row, double, gate, client)
        assert double.leaks == []

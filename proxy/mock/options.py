"""What the mock can be told before it starts: where it listens, what it accepts, how fast it is, what goes wrong.

Owns the options and their defaults. Knows no server. Invariant: the defaults are a strict, fast, faultless upstream.
"""

import msgspec

from proxy.mock.faults import Fault


class MockOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`port` 0 takes a free one; `unix` listens on a socket path instead.

    `models` and `embedding_models` are what the server has (`*` among them: any name); `api_key` is the one accepted in
    `auth_header` after `auth_prefix` (None: nobody is asked). `unknown_fields` false answers 400 to a body key that the
    API does not have. `ttft` and `pace` are seconds before the first and between further pieces of a stream. `faults`
    are drawn from, one a request, with probability `rate`; `recording` answers every chat request with that file of
    `recordings` (a folder). `max_body` is in bytes.
    """

    host: str = "127.0.0.1"
    port: int = 0
    unix: str | None = None
    prefix: str = "/v1"
    seed: int = 0
    models: tuple[str, ...] = ("mock-chat", "mock-org/mock-large")
    embedding_models: tuple[str, ...] = ("mock-embedding",)
    api_key: str | None = None
    auth_header: str = "authorization"
    auth_prefix: str = "Bearer "
    unknown_fields: bool = True
    ttft: float = 0.0
    pace: float = 0.0
    faults: tuple[Fault, ...] = ()
    rate: float = 1.0
    recordings: str | None = None
    recording: str | None = None
    max_body: int = 32 * 1024 * 1024

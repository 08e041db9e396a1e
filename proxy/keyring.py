"""Who a key belongs to, as the server's door asks it. Keys themselves are made and kept by `proxy.keys`.

Deny by default: a bind that others can reach, without a single key, refuses to start.
"""

import ipaddress

from proxy.call import ANYBODY, Principal
from proxy.config import Config
from proxy.errors import ConfigError, KeyInvalid


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address. A name counts if it is localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Keys:
    """No key exists yet: everybody on this machine may enter, unless the configuration requires keys."""

    def __init__(self, config: Config, host: str, file: str = "") -> None:
        self.required = config.auth.required is True
        if config.auth.required == "auto" and not is_loopback(host):
            raise ConfigError(
                f"listening on {host} without any API key would let everybody in",
                file=file,
                where="server.host",
                expected="a key (traghetto keys create), a loopback address, or auth.required = false",
            )

    def principal(self, secret: str) -> Principal:
        if not self.required:
            return ANYBODY
        del secret
        raise KeyInvalid("This API key is not known.")

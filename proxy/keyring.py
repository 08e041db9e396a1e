"""Who a key belongs to, as the server's door asks it. Keys themselves are made and kept by `proxy.keys`."""

from proxy.call import ANYBODY, Principal
from proxy.config import Config
from proxy.errors import KeyInvalid


class Keys:
    """No key exists yet: everybody may enter, unless the configuration requires keys."""

    def __init__(self, config: Config) -> None:
        self.required = config.auth.required is True

    def principal(self, secret: str) -> Principal:
        if not self.required:
            return ANYBODY
        del secret
        raise KeyInvalid("This API key is not known.")

"""The five clocks of an exchange, in seconds.

Owns their names and defaults; refuses to know who watches them. A value of 0 or `inf` means "never".
"""

import math

import msgspec


class Timeouts(msgspec.Struct, frozen=True):
    """`connect_s` covers TCP and TLS; `first_byte_s` runs from the request being written to the response head;

    `between_bytes_s` is the longest silence inside a body while we are reading it; `total_s` runs from the call of
    `send` to the end of the body, waiting for the pool included; `pool_s` is the wait for a free connection.
    """

    connect_s: float = 5.0
    first_byte_s: float = 60.0
    between_bytes_s: float = 60.0
    total_s: float = 600.0
    pool_s: float = 5.0


def span(seconds: float) -> float:
    """The length of a clock, with 0 and negatives read as "never"."""
    return seconds if seconds > 0 else math.inf

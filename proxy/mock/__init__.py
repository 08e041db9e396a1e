"""The evil upstream: an OpenAI-compatible server whose every byte, and every mistake, is decided by whoever runs it.

For the tests of this project and for `traghetto mock`. Shares no code with the adapters that it tests. A request passes
`answers` (who may ask what) → `scripted` (what is said) → `warp`, `frames`, `transcript` (what is wrong with it) →
`connection` (bytes on the wire), and is kept in the `journal`.
"""

from proxy.mock.faults import FAULTS, Fault, fault, listing, parse_fault
from proxy.mock.journal import Exchange, Journal
from proxy.mock.options import MockOptions
from proxy.mock.script import Script
from proxy.mock.server import MockServer, run

__all__ = [
    "FAULTS",
    "Exchange",
    "Fault",
    "Journal",
    "MockOptions",
    "MockServer",
    "Script",
    "fault",
    "listing",
    "parse_fault",
    "run",
]

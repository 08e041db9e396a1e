"""The stream contract as a checker: what a client may rely on, asked of any OpenAI-like server, answered with bytes.

`client` asks the `questions` over raw sockets, `http1` and `sse` take the answers apart, the `*_checks` judge them.
Everything but `client` is pure.
"""

from proxy.verify.check import Check, Verdict
from proxy.verify.report import Report
from proxy.verify.verification import CHECKS, verify

__all__ = ["CHECKS", "Check", "Report", "Verdict", "verify"]

"""Keys that the tests give to upstreams, and where they must not be seen: in what a test's code prints or logs."""

import re
from collections.abc import Iterable

# The doubles' own (`canary-KIND-key-…`, AIME's auth_key of a worker among them), and the other fakes'.
CANARY = re.compile(r"canary-[\w-]+-[0-9a-f]{4,}|upstream-secret-key|never-print-this-key")


def seen(sections: Iterable[tuple[str, str]]) -> list[str]:
    """Titles of those sections of a report that tell a key."""
    return [title for title, text in sections if CANARY.search(text)]

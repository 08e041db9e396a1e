"""One verification from start to end: choose checks, ask their questions, judge.

Owns the order. The asking (`client`) and the judging (`check`) know nothing of each other. Invariant: each question is
asked once, however many checks need its answer.
"""

import ssl
import time
from collections.abc import Iterable

import msgspec

from proxy.verify import chunk_checks, error_checks, frame_checks, head_checks, plain_checks, tool_checks
from proxy.verify.check import Check, judge, needed, selected
from proxy.verify.client import Client
from proxy.verify.questions import QUESTIONS
from proxy.verify.report import Report
from proxy.verify.seen import Seen, Skip

CHECKS: tuple[Check, ...] = (
    *head_checks.CHECKS,
    *frame_checks.CHECKS,
    *chunk_checks.CHECKS,
    *plain_checks.CHECKS,
    *tool_checks.CHECKS,
    *error_checks.CHECKS,
)


async def verify(
    url: str,
    key: str | None = None,
    model: str | None = None,
    only: Iterable[str] | None = None,
    *,
    embedding_model: str | None = None,
    patience: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> Report:
    """Ask the server at `url` (a base URL, up to `/v1`) and judge its answers.

    Without a `model` the first one that it lists is taken. `only` names checks, or groups by the part before the dot;
    `patience` is how many seconds of silence are waited out.
    Raises `ValueError` for a bad URL, an unknown check, or no model to ask for.
    """
    began = time.monotonic()
    chosen = selected(CHECKS, only)
    grounds = needed(chosen, CHECKS)
    client = Client(url, key, patience, tls)
    seen = Seen(model or await _first_model(client), key, embedding_model)
    await ask(client, seen, {name for item in grounds for name in item.asks})
    ids = {item.id for item in chosen}
    verdicts = [verdict for verdict in judge(grounds, seen) if verdict.id in ids]
    return Report(url, seen.model, verdicts, time.monotonic() - began)


async def ask(client: Client, seen: Seen, names: set[str]) -> None:
    """Put the questions of those names, in their order, and keep the answers in `seen`."""
    for name, question in QUESTIONS.items():
        if name not in names:
            continue
        try:
            asked = question(seen)
        except Skip as skip:
            seen.skipped[name] = str(skip)
            continue
        seen.answers[name] = await client.ask(asked)


async def _first_model(client: Client) -> str:
    seen = Seen("")
    await ask(client, seen, {"models"})
    try:
        rows = msgspec.json.decode(bytes(seen.answers["models"].body))["data"]
        return str(rows[0]["id"])
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError) as error:
        raise ValueError("the server lists no models: name one") from error

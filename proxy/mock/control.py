"""The side channel under `/__mock/`: scripts in, records out.

Owns its four resources. Is never journalled and never faulted. Invariant: it answers in JSON, also when it refuses.
"""

from typing import Any
from urllib.parse import parse_qs

import msgspec

from proxy.mock.faults import FAULTS
from proxy.mock.journal import Exchange, Journal
from proxy.mock.script import Queue, Script

PREFIX = "/__mock/"


async def control(method: str, target: str, body: bytes, queue: Queue, journal: Journal) -> tuple[int, bytes]:
    """Status and JSON body for a request of the side channel.

    `POST script` (one or a list) and `DELETE script`; `GET requests`, `DELETE requests`; `GET wait?number=N&mark=ended&
    seconds=S` (answers when the mark is there; 408 if it does not come); `POST release?number=N` (without a number:
    all); `GET faults`.
    """
    path, _, query = target.removeprefix(PREFIX).partition("?")
    asked = {key: values[0] for key, values in parse_qs(query).items()}
    try:
        status, answer = await _answer(f"{method} {path}", asked, body, queue, journal)
    except TimeoutError:
        status, answer = 408, {"error": "the mark did not come in time"}
    except (ValueError, msgspec.DecodeError) as error:
        status, answer = 400, {"error": str(error)}
    return status, msgspec.json.encode(answer)


async def _answer(what: str, asked: dict[str, str], body: bytes, queue: Queue, journal: Journal) -> tuple[int, Any]:
    match what:
        case "POST script":
            queue.add(_scripts(body))
            return 200, {"queued": len(queue)}
        case "DELETE script":
            queue.clear()
            return 200, {"queued": 0}
        case "GET requests":
            return 200, {
                "connections": journal.connections,
                "open": journal.open,
                "incomplete": journal.incomplete,
                "requests": [exchange.view() for exchange in journal.exchanges],
            }
        case "DELETE requests":
            journal.clear()
            return 200, {"requests": []}
        case "GET wait":
            number, seconds = int(asked.get("number", "1")), float(asked.get("seconds", "10"))
            exchange = await journal.wait_for(number, seconds)
            await exchange.wait(_mark(asked.get("mark", "ended")), seconds)
            return 200, exchange.view()
        case "POST release":
            for exchange in _chosen(asked.get("number"), journal):
                exchange.release()
            return 200, {}
        case "GET faults":
            return 200, {name: {"phase": s.phase, "text": s.text, "params": s.defaults} for name, s in FAULTS.items()}
    return 404, {"error": f"nothing here for {what}"}


def _scripts(body: bytes) -> list[Script]:
    return msgspec.json.decode(body if body.lstrip()[:1] == b"[" else b"[%b]" % body, type=list[Script])


def _mark(name: str) -> Any:
    if name not in ("arrived", "answering", "held", "ended"):
        raise ValueError(f"no mark {name!r}")
    return name


def _chosen(number: str | None, journal: Journal) -> list[Exchange]:
    return [item for item in journal.exchanges if number is None or item.number == int(number)]

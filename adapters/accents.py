"""What the vendors that nearly speak OpenAI's dialect share: its adapter, with their own body, headers and errors.

A subclass says what goes out (`_body`) and what a refusal means (`_failure`); the answer is read as any OpenAI-like one.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from adapters._http import HttpClient, HttpResponse, TransportError
from adapters.faults import retry_after_s, transport_fault
from adapters.openai_api import failures
from adapters.openai_api.adapter import MAX_ERROR, OpenAI
from adapters.options import OpenAIOptions, Remote
from proxy.call import Call, Target
from proxy.errors import UpstreamError
from proxy.params import STRUCTURAL, Sorted, sort_out
from proxy.ports import Caps
from proxy.wire.body import encode

_SHARED = Remote.__struct_fields__


def dialect(options: Remote) -> OpenAIOptions:
    """The options of an upstream of another kind, as those of the dialect."""
    return OpenAIOptions(**{name: getattr(options, name) for name in _SHARED}, developer_role=False)


class Accented(OpenAI):
    """OpenAI's dialect with another body and other errors."""

    def __init__(self, name: str, options: Remote, client: HttpClient, caps: Caps) -> None:
        super().__init__(name, dialect(options), client)
        self.caps = caps

    def preview(self, call: Call, target: Target) -> Sorted:
        """See `proxy.ports.Previews`; a subclass that says things in other words says which."""
        del target
        return sort_out(call.fields, self.caps)

    async def _refusal(self, response: HttpResponse) -> UpstreamError:
        try:
            said = await response.read(MAX_ERROR)
        except TransportError as error:
            raise transport_fault(error, self.name) from None
        finally:
            response.close()
        return self._failure(response, said)

    def _failure(self, response: HttpResponse, said: bytes) -> UpstreamError:
        """A refusal, its body read, → what it means."""
        return failures.from_status(response.status, said, retry_after_s(response), self.name)


def named(fields: Mapping[str, msgspec.Raw], sent: frozenset[str], done: frozenset[str] = frozenset()) -> Sorted:
    """For a preview: keys that are `sent` under their names, keys that are `done` here, and all the others, which are not."""
    kept = {key: value for key, value in fields.items() if key in sent}
    dropped = [key for key in fields if key not in sent and key not in done and key not in STRUCTURAL]
    return Sorted(kept, {}, dropped)


def told(given: Mapping[str, Any], dropped: list[str]) -> Sorted:
    """For a preview: what goes out, in the upstream's own words."""
    return Sorted({key: msgspec.Raw(encode(value)) for key, value in given.items()}, {}, dropped)


def object_in(body: bytes) -> dict[str, object]:
    """A JSON object, or an empty one for what is none."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

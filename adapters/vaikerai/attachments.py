"""Files that go in with a call: as data URLs while they are small enough for the API, uploaded above that where it can.

It knows no model. Invariant: what a caller points at by URL is handed on as it is and fetched by the upstream, never here.
"""

from adapters.vaikerai.api import Api
from proxy.errors import BadRequest, BodyTooLarge
from proxy.media.inspect import CONTENT_TYPES, sniff
from proxy.media.payload import Payload, data_url

MAX_INLINE = 256 * 1024  # characters of a data URL
MAX_UPLOAD = 100 << 20


async def placed(api: Api, given: str | Payload, *, param: str) -> str:
    """A file, or a caller's URL → what an input takes. Raises BadRequest and BodyTooLarge naming `param`."""
    if isinstance(given, str) and given.startswith(("http://", "https://")):
        return given
    if isinstance(given, str) and given.startswith("data:") and len(given) <= MAX_INLINE:
        Payload.from_text(given, field=param).read()
        return given
    if isinstance(given, str) and not given.startswith("data:"):
        raise BadRequest(f"{param} must be an http(s) URL or a data URL.", param=param)
    payload = Payload.from_text(given, field=param) if isinstance(given, str) else given
    type_ = CONTENT_TYPES.get(sniff(payload.peek(0, 16)) or "") or payload.declared or "application/octet-stream"
    if len(payload) * 4 // 3 + 64 <= MAX_INLINE:
        return data_url(type_, payload.read())
    if not api.replicate or len(payload) > MAX_UPLOAD:
        most = f"{MAX_UPLOAD >> 20} MiB" if api.replicate else f"{MAX_INLINE * 3 // 4 >> 10} KiB"
        said = f"{param}: the upstream {api.name!r} takes files of at most {most}; send a URL instead."
        raise BodyTooLarge(said, param=param)
    return await api.upload(payload.read(), type_)

"""Bytes that a caller sent, still wrapped as they came: raw, base64 or a data URL.

It decodes no more than is asked for, so that a header can be read out of 20 MiB of base64 without a copy of it, and it
knows nothing of image formats. Invariant: `peek` and `read` agree on every byte.
"""

import base64
import binascii
import re

import msgspec

from proxy.errors import BadRequest

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w-]+=[^;,]*)*)(;base64)?,", re.ASCII | re.IGNORECASE)
_ESCAPED = re.compile(rb"\\")
_UNUSUAL = re.compile(rb"[-_ \t\r\n]")
_STEP = 1 << 20  # bytes decoded at once: other threads get their turn in between
_LOOKED_AT = 64 << 10  # bytes of an encoded file that are looked through, and as many at its end
_URLSAFE = bytes.maketrans(b"-_", b"+/")
_BLANKS = b" \t\r\n"


class Payload:
    """One uploaded or embedded file. `declared` is the content type that came with it, lower case, or None; `filename` is
    the name it had where it came from, "" without one."""

    __slots__ = ("_encoded", "_raw", "_size", "declared", "field", "filename")

    def __init__(
        self,
        data: bytes | bytearray | memoryview,
        *,
        declared: str | None = None,
        field: str = "image",
        filename: str = "",
    ) -> None:
        self._raw: bytes | bytearray | memoryview | None = data
        self._encoded = memoryview(b"")
        self._size = len(data)
        self.declared = _essence(declared)
        self.field = field
        self.filename = filename

    @classmethod
    def from_text(cls, text: str | bytes | memoryview, *, field: str = "image") -> "Payload":
        """Base64 with or without padding, either alphabet, or a `data:` URL. BadRequest where it is neither.

        A view is kept as a view: nothing of what it looks at is copied before it is decoded.
        """
        try:
            encoded = memoryview(text.encode("ascii") if isinstance(text, str) else text)
        except UnicodeEncodeError:
            raise _not_base64(field) from None
        declared = None
        head = bytes(encoded[:256]).decode("latin-1")
        if head[:5].lower() == "data:":
            match = _DATA_URL.match(head)
            if match is None or not match[3]:
                raise BadRequest(f"{field}: expected a base64 data URL (data:image/png;base64,…).", param=field)
            declared, encoded = match[1], encoded[match.end() :]
        self = cls(b"", declared=declared, field=field)
        self._raw = None
        self._encoded = _plain(encoded)
        self._size = _decoded_size(self._encoded)
        if self._size == 0:
            raise BadRequest(f"{field}: expected base64 image data, got nothing.", param=field)
        return self

    @classmethod
    def from_json(cls, token: bytes | memoryview | msgspec.Raw, *, field: str = "image") -> "Payload":
        """`from_text` out of a JSON string that is still JSON. BadRequest where it is no string."""
        view = memoryview(token)
        if bytes(view[:1]) != b'"':
            raise BadRequest(f"Invalid request: '{field}': Expected a string.", param=field)
        if _has(_ESCAPED, view):  # some write a slash as \/
            return cls.from_text(msgspec.json.decode(token, type=str), field=field)
        return cls.from_text(view[1:-1], field=field)

    def __len__(self) -> int:
        """The size in bytes, once decoded."""
        return self._size

    def peek(self, start: int, size: int) -> bytes:
        """`size` bytes from `start`, fewer at the end. Costs in proportion to `size`, not to the whole."""
        stop = min(start + size, self._size)
        if start >= stop:
            return b""
        if self._raw is not None:
            return bytes(self._raw[start:stop])
        first = start // 3
        quads = self._encoded[first * 4 : -(-stop // 3) * 4]
        return self._decode(quads)[start - first * 3 : stop - first * 3]

    def read(self) -> bytes:
        """All of it. BadRequest where the base64 is damaged."""
        if self._raw is not None:
            return bytes(self._raw)
        steps = range(0, len(self._encoded), _STEP)
        data = b"".join([self._decode(self._encoded[at : at + _STEP]) for at in steps])
        if len(data) != self._size:  # padding at the end of a step
            raise _not_base64(self.field)
        return data

    @property
    def as_sent(self) -> memoryview:
        """The bytes as they came, encoded or not, without a copy: for what only compares."""
        return self._encoded if self._raw is None else memoryview(self._raw)

    def view(self) -> bytes | memoryview:
        """As `read`, but what came as bytes is not copied: for what only passes it on."""
        return self.read() if self._raw is None else memoryview(self._raw)

    def _decode(self, encoded: memoryview) -> bytes:
        missing = -len(encoded) % 4
        try:
            if missing:
                return binascii.a2b_base64(bytes(encoded) + b"=" * missing, strict_mode=True)
            return binascii.a2b_base64(encoded, strict_mode=True)
        except (binascii.Error, ValueError):
            raise _not_base64(self.field) from None


def data_url(content_type: str, data: bytes) -> str:
    return f"data:{content_type};base64,{base64.b64encode(data).decode('ascii')}"


def _essence(content_type: str | None) -> str | None:
    return content_type.split(";", 1)[0].strip().lower() or None if content_type else None


def _plain(encoded: memoryview) -> memoryview:
    """One alphabet, no blanks; a copy only where something has to go. Its padding stays, if it has the right one."""
    if _has(_UNUSUAL, encoded):
        encoded = memoryview(bytes(encoded).translate(_URLSAFE, _BLANKS))
    return encoded if len(encoded) % 4 == 0 else encoded[: len(encoded) - _padding(encoded)]


def _has(what: re.Pattern[bytes], encoded: memoryview) -> bool:
    """Whether it is near either end. Who breaks lines or has another alphabet does so from the beginning; what is strange
    in the middle only is no base64, and decoding says so. Looking through 32 MiB would hold everybody up."""
    return bool(what.search(encoded[:_LOOKED_AT]) or what.search(encoded[-_LOOKED_AT:]))


def _padding(encoded: memoryview) -> int:
    tail = bytes(encoded[-4:])
    return len(tail) - len(tail.rstrip(b"="))


def _decoded_size(encoded: memoryview) -> int:
    return (len(encoded) - _padding(encoded)) * 3 // 4


def _not_base64(field: str) -> BadRequest:
    return BadRequest(f"{field}: expected base64 (RFC 4648) or a base64 data URL.", param=field)

"""Bytes that a caller sent, still wrapped as they came: raw, base64 or a data URL.

It decodes no more than is asked for, so that a header can be read out of 20 MiB of base64 without a copy of it, and it
knows nothing of image formats. Invariant: `peek` and `read` agree on every byte.
"""

import base64
import binascii
import re

from proxy.errors import BadRequest

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w-]+=[^;,]*)*)(;base64)?,", re.ASCII | re.IGNORECASE)
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
        self._encoded = b""
        self._size = len(data)
        self.declared = _essence(declared)
        self.field = field
        self.filename = filename

    @classmethod
    def from_text(cls, text: str | bytes, *, field: str = "image") -> "Payload":
        """Base64 with or without padding, either alphabet, or a `data:` URL. BadRequest where it is neither."""
        declared = None
        if text[:5].lower() in ("data:", b"data:"):
            head = text[:256] if isinstance(text, str) else text[:256].decode("latin-1")
            match = _DATA_URL.match(head)
            if match is None or not match[3]:
                raise BadRequest(f"{field}: expected a base64 data URL (data:image/png;base64,…).", param=field)
            declared, text = match[1], text[match.end() :]
        try:
            encoded = text.encode("ascii") if isinstance(text, str) else bytes(text)
        except UnicodeEncodeError:
            raise _not_base64(field) from None
        self = cls(b"", declared=declared, field=field)
        self._raw = None
        self._encoded = _plain(encoded)
        self._size = _decoded_size(self._encoded)
        if self._size == 0:
            raise BadRequest(f"{field}: expected base64 image data, got nothing.", param=field)
        return self

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
        return self._decode(self._encoded)

    def view(self) -> bytes | memoryview:
        """As `read`, but what came as bytes is not copied: for what only passes it on."""
        return self.read() if self._raw is None else memoryview(self._raw)

    def _decode(self, encoded: bytes) -> bytes:
        try:
            return binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4), strict_mode=True)
        except binascii.Error:
            raise _not_base64(self.field) from None


def data_url(content_type: str, data: bytes) -> str:
    return f"data:{content_type};base64,{base64.b64encode(data).decode('ascii')}"


def _essence(content_type: str | None) -> str | None:
    return content_type.split(";", 1)[0].strip().lower() or None if content_type else None


def _plain(encoded: bytes) -> bytes:
    """One alphabet, no blanks, no padding; a copy only where something has to go."""
    if any(blank in encoded for blank in (b"\n", b"\r", b" ", b"\t")):
        encoded = encoded.translate(None, _BLANKS)
    if b"-" in encoded or b"_" in encoded:
        encoded = encoded.translate(_URLSAFE)
    return encoded.rstrip(b"=") if encoded.endswith(b"=") else encoded


def _decoded_size(encoded: bytes) -> int:
    return len(encoded) * 3 // 4


def _not_base64(field: str) -> BadRequest:
    return BadRequest(f"{field}: expected base64 (RFC 4648) or a base64 data URL.", param=field)

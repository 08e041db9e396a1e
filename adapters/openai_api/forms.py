"""multipart/form-data on its way out: texts and files → one body. RFC 7578, names escaped as browsers do.

It knows no route. Invariants: a file keeps its name and content type; nothing that
a caller named can begin another part or header.
"""

import os
from typing import NamedTuple

_SPECIAL = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


class Part(NamedTuple):
    """A text (`value` is one), or a file with a name."""

    name: str
    value: str | bytes | memoryview
    filename: str = ""
    content_type: str = ""


def form_body(parts: list[Part]) -> tuple[str, bytes]:
    """Content type and body."""
    boundary = f"traghetto-{os.urandom(16).hex()}"  # whoever sent the parts could not know it
    mark = b"--" + boundary.encode("ascii")
    pieces: list[bytes | memoryview] = []
    for part in parts:
        pieces += [mark, b"\r\n", _head(part), b"\r\n\r\n"]
        pieces += [part.value.encode() if isinstance(part.value, str) else part.value, b"\r\n"]
    pieces += [mark, b"--\r\n"]
    return f"multipart/form-data; boundary={boundary}", b"".join(pieces)


def _head(part: Part) -> bytes:
    line = f'Content-Disposition: form-data; name="{part.name.translate(_SPECIAL)}"'
    if isinstance(part.value, str):
        return line.encode()
    line += f'; filename="{part.filename.translate(_SPECIAL)}"'
    type_ = part.content_type if part.content_type.isascii() and part.content_type.isprintable() else ""
    return f"{line}\r\nContent-Type: {type_ or 'application/octet-stream'}".encode(errors="replace")

"""multipart/form-data, already in memory: parts as texts and files. RFC 7578, strictly, under limits.

It knows no route and no image. Invariants: a file is a view of the body, never a copy, and keeps its name and content
type; what is malformed is a BadRequest; the work is bounded by the size of the body and MAX_PARTS.
"""

from email.message import Message
from email.utils import collapse_rfc2231_value

from proxy.errors import BadRequest, MediaUnsupported
from proxy.media.payload import Payload

MAX_PARTS = 64
MAX_HEAD = 4096
MAX_TEXT = 64 << 10
MAX_NAME = 255  # characters of a file's name


class Form:
    """What was sent: `pairs` are the texts in order, `texts` the same by name (of a repeated one the last counts), `files`
    each name's in order."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []
        self.texts: dict[str, str] = {}
        self.files: dict[str, list[Payload]] = {}


def is_form(content_type: str | None) -> bool:
    return (content_type or "").partition(";")[0].strip().lower() == "multipart/form-data"


def form_of(body: bytes, content_type: str) -> Form:
    """Raises BadRequest for a body that is no such form, MediaUnsupported without a boundary."""
    boundary = _parameters("content-type", content_type).get("boundary", "")
    if not 1 <= len(boundary) <= 70 or not boundary.isascii():
        raise MediaUnsupported("The content type multipart/form-data needs a boundary of 1 to 70 characters.")
    mark = b"\r\n--" + boundary.encode("ascii")
    form = Form()
    at = 0 if body.startswith(mark[2:]) else body.find(mark)
    if at < 0:
        raise BadRequest("The form does not contain the boundary of its content type.")
    at += len(mark) - (2 if at == 0 else 0)
    view = memoryview(body)
    for _ in range(MAX_PARTS + 1):
        if body.startswith(b"--", at):
            return form
        start = body.find(b"\r\n", at, at + 64)
        end = body.find(mark, max(start, at))
        if start < 0 or end < 0 or body[at:start].strip(b" \t"):
            raise BadRequest("The form is cut short: its last boundary is missing.")
        _take(form, body, view, start + 2, end)
        at = end + len(mark)
    raise BadRequest(f"The form has more than {MAX_PARTS} parts.")


def _take(form: Form, body: bytes, view: memoryview, start: int, end: int) -> None:
    """One part: its head, an empty line, its content."""
    stop = body.find(b"\r\n\r\n", start, min(end, start + MAX_HEAD))
    if stop < 0:
        raise BadRequest(f"A part of the form has no head of at most {MAX_HEAD} bytes.")
    head: dict[str, str] = {}
    for line in body[start:stop].split(b"\r\n"):
        name, _, value = line.decode("utf-8", "replace").partition(":")
        head[name.strip().lower()] = value.strip()
    disposition = head.get("content-disposition", "")
    parameters = _parameters("content-disposition", disposition)
    name = parameters.get("name", "")
    if not disposition.lower().startswith("form-data") or not name:
        raise BadRequest("A part of the form has no name.")
    stop += 4
    if "filename" in parameters:  # a `filename*` is called so, too
        declared, called = head.get("content-type"), parameters["filename"][:MAX_NAME]
        file = Payload(view[stop:end], declared=declared, field=name, filename=called)
        form.files.setdefault(name, []).append(file)
        return
    if end - stop > MAX_TEXT and name != "image":
        raise BadRequest(f"'{name[:64]}': expected a text of at most {MAX_TEXT} bytes.", param=name[:64])
    try:
        text = body[stop:end].decode()
    except UnicodeDecodeError:
        raise BadRequest(f"'{name[:64]}': expected UTF-8.", param=name[:64]) from None
    form.pairs.append((name, text))
    form.texts[name] = text


def _parameters(name: str, value: str) -> dict[str, str]:
    message = Message()
    message[name] = value.replace("\r", " ").replace("\n", " ")
    found: dict[str, str] = {}
    for key, given in message.get_params([], header=name)[1:]:
        found[key.lower()] = given if isinstance(given, str) else collapse_rfc2231_value(given)
    return found

"""The words in which an operation is described: a Spec, its query parameters, its body, its answers.

It knows no route and no type. Invariant: describing costs nothing but memory; schemas are made when the document is.
"""

from typing import Any

import msgspec

Schema = dict[str, Any]

JSON = "application/json"
FORM = "multipart/form-data"
EVENTS = "text/event-stream"

BODY = (400, 413, 415)  # what any body may meet
INFERENCE = (402, 404, 409, 429, 500, 501, 502, 503, 504)
PACKED = "Content-Encoding"


class Query(msgspec.Struct, frozen=True):
    name: str
    schema: Schema
    says: str = ""
    required: bool = False


class Body(msgspec.Struct, frozen=True):
    """`of` is a JSON body's type under both prefixes, or `venice` is it under /api/v1.

    `known` are its keys there if it is closed; `always` closes it under /v1 too. `files`: it may be a form with these;
    `form_only`: it must be.
    """

    of: type
    venice: type | None = None
    known: frozenset[str] | None = None
    always: bool = False
    files: tuple[str, ...] = ()
    form_only: bool = False
    example: dict[str, Any] | None = None


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """One operation. `answer` is a type; `binary` are the content types that bytes may come in, `texts` those of texts.

    `errors` are statuses beside those that every route of its access has. `infers`: it is a Call, so that a dry run and
    the headers of one are told.
    """

    id: str
    summary: str
    tag: str
    body: Body | None = None
    query: tuple[Query, ...] = ()
    answer: type | None = None
    events: str = ""  # what comes in server-sent events, if anything does
    binary: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()  # shared parameters, by their names in the document
    errors: tuple[int, ...] = ()
    infers: bool = False
    status: int = 200

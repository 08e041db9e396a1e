"""The URL table and its Specs → one OpenAPI 3.1 document, both prefixes in full.

It knows how access, errors and headers are told; what a route is about is its Spec's. Invariant: every route of the table is
in it, and no other.
"""

from collections.abc import Iterator
from functools import cache
from http import HTTPStatus
from re import sub
from typing import Any

from proxy import __version__, idempotency
from proxy.call import Dialect
from routes import PREFIXES, TABLE
from routes._endpoint import DRY, Access, Route
from routes._errors import dialect_of
from routes._openapi import answers, schemas
from routes._openapi.operations import SPECS
from routes._openapi.spec import EVENTS, FORM, JSON, PACKED, Body, Spec

Schema = dict[str, Any]

ENVELOPES: dict[Dialect, type] = {
    Dialect.OPENAI: answers.OpenAIError,
    Dialect.VENICE: answers.VeniceError,
    Dialect.ANTHROPIC: answers.AnthropicError,
}
HEADERS: dict[str, Schema] = {
    "x-request-id": {"description": "The request's name, in logs too.", "schema": {"type": "string"}},
    "x-traghetto-route": {
        "description": "Who served: `upstream/model; attempt=1; reason=first`.",
        "schema": {"type": "string"},
    },
    "Idempotent-Replayed": {
        "description": "`true`: the answer of an earlier call with the same Idempotency-Key.",
        "schema": {"const": "true"},
    },
    "x-traghetto-dropped": {
        "description": "Parameters that the serving target cannot take.",
        "schema": {"type": "string"},
    },
    "x-venice-model-id": {"description": "The model that served.", "schema": {"type": "string"}},
    "x-venice-is-blurred": {"description": "Safe mode blurred it.", "schema": {"enum": ["true", "false"]}},
    "x-venice-is-content-violation": {
        "description": "It was refused for its content.",
        "schema": {"enum": ["true", "false"]},
    },
    PACKED: {"description": "As Accept-Encoding asked.", "schema": {"type": "string", "enum": ["gzip", "br"]}},
    "retry-after": {"description": "Seconds after which a retry may pass.", "schema": {"type": "string"}},
    "x-should-retry": {
        "description": "`false` where a retry would start the same work twice.",
        "schema": {"enum": ["true", "false"]},
    },
    "allow": {"description": "The methods that there are.", "schema": {"type": "string"}},
    "x-pagination-limit": {"schema": {"type": "string"}},
    "x-pagination-page": {"schema": {"type": "string"}},
    "x-pagination-total": {"schema": {"type": "string"}},
    "x-pagination-total-pages": {"schema": {"type": "string"}},
    "Content-Disposition": {"schema": {"type": "string"}},
}
PARAMETERS: dict[str, Schema] = {
    "accept": {
        "name": "Accept",
        "in": "header",
        "required": False,
        "description": "`text/csv` for a table.",
        "schema": {"type": "string"},
    },
    "idempotency_key": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "The same key and body within 24 hours: the same answer, and one charge.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": idempotency.KEY_MAX,
            "pattern": "^[!-~]([ -~]*[!-~])?$",
        },
    },
    "dry_run": {
        "name": "dry_run",
        "in": "query",
        "required": False,
        "description": "Answer what would be done, and call nobody.",
        "schema": {"type": "string", "enum": list(DRY), "default": "false"},
    },
    "accept_encoding": {
        "name": "Accept-Encoding",
        "in": "header",
        "required": False,
        "description": "gzip and br are honoured, but for streams.",
        "schema": {"type": "string"},
    },
}
ABOUT = """OpenAI's dialect under `/v1`, Venice's under `/api/v1`: the prefix chooses the shape of errors and headers, and how
unknown keys are met (`/v1` hands them on, `/api/v1` refuses them). A null field counts as left out. An error is an object
inside a stream under both prefixes."""


def mounted() -> Iterator[tuple[str, Route]]:
    """Every path as it is served, `{name:path}` written plainly."""
    for route in TABLE:
        for prefix in PREFIXES if route.prefixed else ("",):
            yield prefix + sub(r":\w+\}", "}", route.path), route


@cache
def document() -> Schema:
    """Made once; it depends on nothing that a configuration says."""
    types: dict[str, type] = {}
    paths: dict[str, Schema] = {}
    for path, route in mounted():
        spec = SPECS.get((route.method, route.path)) or _unsaid(route)
        paths.setdefault(path, {})[route.method.lower()] = _operation(path, route, spec, types)
    types.update({type_.__name__: type_ for type_ in (*ENVELOPES.values(), answers.DryRun)})
    return {
        "openapi": "3.1.0",
        "info": {"title": "Traghetto", "version": __version__, "description": ABOUT, "license": LICENSE},
        "servers": [{"url": "/"}],
        "security": [],
        "tags": [{"name": tag} for tag in dict.fromkeys(spec.tag for spec in SPECS.values())],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "responses": {f"{dialect}{status}": _error(dialect, status) for dialect in ENVELOPES for status in ERRORS},
            "schemas": _schemas(types),
        },
    }


LICENSE = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
ERRORS = (400, 401, 402, 403, 404, 409, 413, 415, 429, 500, 501, 502, 503, 504)


def _unsaid(route: Route) -> Spec:
    """A route that nobody has described yet is told all the same."""
    name = sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_")
    return Spec(id=name, summary="", tag="Operations", errors=(400, 404))


def _operation(path: str, route: Route, spec: Spec, types: dict[str, type]) -> Schema:
    dialect = dialect_of(path)
    venice = dialect is Dialect.VENICE
    told: Schema = {
        "operationId": spec.id if venice or not route.prefixed else f"{spec.id}V1",
        "summary": spec.summary,
        "tags": [spec.tag],
        "parameters": _parameters(route, spec),
    }
    if route.access is not Access.OPEN:
        told["security"] = [{}, {"bearer": []}, {"header": []}]
        told["description"] = (
            f"Needs {'an ADMIN' if route.access is Access.ADMIN else 'a'} key wherever keys are asked for."
        )
    if spec.body is not None:
        told["requestBody"] = _body(spec.body, types, venice=venice)
    responses: Schema = {str(spec.status): _success(spec, types, venice=venice)}
    for status in sorted({*_statuses(route), *spec.errors}):
        responses[str(status)] = {"$ref": f"#/components/responses/{dialect}{status}"}
    told["responses"] = responses
    return told


def _statuses(route: Route) -> tuple[int, ...]:
    """What any route of its access may answer. A crash is a 500 everywhere."""
    if route.access is Access.OPEN:
        return (500,)
    return (401, 403, 429, 500)


def _parameters(route: Route, spec: Spec) -> list[Schema]:
    found: list[Schema] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in (part.split(":")[0] for part in route.path.replace("}", "{").split("{")[1::2])
    ]
    for one in spec.query:
        told = {"name": one.name, "in": "query", "required": one.required, "schema": one.schema}
        found.append({**told, "description": one.says} if one.says else told)
    if PACKED in spec.headers:
        found.append({"$ref": "#/components/parameters/accept_encoding"})
    names = [*spec.asks, *(("dry_run", "idempotency_key") if spec.infers else ())]
    found += [{"$ref": f"#/components/parameters/{name}"} for name in names]
    return found


def _body(body: Body, types: dict[str, type], *, venice: bool) -> Schema:
    type_ = body.venice if venice and body.venice is not None else body.of
    types[type_.__name__] = type_
    name = type_.__name__
    if body.known is not None and not body.always and venice:
        name = venice_name(type_)
    content: Schema = {}
    if not body.form_only:
        content[JSON] = {"schema": schemas.reference(name)}
        if body.example is not None:
            content[JSON]["example"] = body.example
    if body.files:
        content[FORM] = {"schema": schemas.reference(f"{name}Form")}
    return {"required": True, "content": content}


def venice_name(type_: type) -> str:
    """What a body is called where it is closed."""
    return type_.__name__ if type_.__name__.startswith("Venice") else f"Venice{type_.__name__}"


def _success(spec: Spec, types: dict[str, type], *, venice: bool) -> Schema:
    content: Schema = {}
    json: list[Schema] = []
    if spec.answer is not None:
        types[spec.answer.__name__] = spec.answer
        json.append(schemas.reference(spec.answer.__name__))
    if spec.infers:
        json.append(schemas.reference(answers.DryRun.__name__))
    if json:
        content[JSON] = {"schema": json[0] if len(json) == 1 else {"anyOf": json}}
    for type_ in spec.binary:
        content[type_] = {"schema": schemas.BINARY}
    for type_ in spec.texts:
        content[type_] = {"schema": {"type": "string"}}
    if spec.events:
        # Without a type: some tools hold it against the whole body, some against each event.
        content[EVENTS] = {"schema": {"title": "events", "description": spec.events}}
    names = ["x-request-id", *spec.headers]
    if spec.infers:
        names += [
            "x-traghetto-route",
            "x-traghetto-dropped",
            "Idempotent-Replayed",
            *(["x-venice-model-id"] if venice else []),
        ]
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    told: Schema = {"description": HTTPStatus(spec.status).phrase, "headers": headers}
    return {**told, "content": content} if content else told


def _error(dialect: Dialect, status: int) -> Schema:
    names = ["x-request-id", *(["retry-after"] if status in (429, 503) else []), "x-should-retry"]
    return {
        "description": HTTPStatus(status).phrase,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {JSON: {"schema": schemas.reference(ENVELOPES[dialect].__name__)}},
    }


def _schemas(types: dict[str, type]) -> dict[str, Schema]:
    """Each type; and of bodies their closed and their form's shapes."""
    parts = schemas.components(types.values())
    for spec in SPECS.values():
        if spec.body is not None:
            parts.update(_shapes(spec.body, parts))
    return dict(sorted(parts.items()))


def _shapes(body: Body, parts: dict[str, Schema]) -> dict[str, Schema]:
    name = body.of.__name__
    if name not in parts:
        return {}  # described, and not mounted
    found: dict[str, Schema] = {}
    if body.known is not None:
        closed_name = name if body.always else venice_name(body.venice or body.of)
        found[closed_name] = schemas.closed(parts[(body.venice or body.of).__name__], body.known, closed_name)
    for each in ({name: parts[name], **found} if body.files else {}).items():
        found[f"{each[0]}Form"] = schemas.form(each[1], body.files)
    schemas.narrowed(found)
    return found

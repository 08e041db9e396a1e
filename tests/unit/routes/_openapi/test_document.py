"""Every route is in the document, described, under each of its prefixes; the document is valid and says who may."""

import re
from typing import Any

from openapi_spec_validator import validate

from routes import PREFIXES, TABLE
from routes._endpoint import Access
from routes._openapi.document import document, mounted
from routes._openapi.operations import SPECS


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, op) for path, item in document()["paths"].items() for method, op in item.items()]


def test_the_document_is_valid() -> None:
    validate(document())  # type: ignore[arg-type]


def test_every_route_is_in_it_and_nothing_else() -> None:
    wanted = {
        (route.method.lower(), re.sub(r":\w+\}", "}", prefix + route.path))
        for route in TABLE
        for prefix in (PREFIXES if route.prefixed else ("",))
    }
    assert {(method, path) for method, path, _ in operations()} == wanted
    assert len(list(mounted())) == len(wanted)


def test_every_route_is_described() -> None:
    """A new route brings its Spec; a Spec without its route is out of date."""
    routes = {(route.method, route.path) for route in TABLE}
    assert routes - SPECS.keys() == set()
    assert SPECS.keys() - routes == set()


def test_names_are_unique_and_tell_the_prefix() -> None:
    ids = [op["operationId"] for _, _, op in operations()]
    assert len(set(ids)) == len(ids)
    assert {"createChatCompletion", "createChatCompletionV1"} <= set(ids)


def test_access_is_told() -> None:
    access = {route.path: route.access for route in TABLE if route.method == "GET"}
    paths = document()["paths"]
    for path, item in paths.items():
        bare = path.removeprefix("/api").removeprefix("/v1")
        if "get" in item and bare in access:
            assert ("security" in item["get"]) == (access[bare] is not Access.OPEN), path
            assert ("401" in item["get"]["responses"]) == (access[bare] is not Access.OPEN), path


def test_errors_wear_their_prefix_s_envelope() -> None:
    parts = document()["components"]
    for path, envelope in (("/v1/embeddings", "OpenAIError"), ("/api/v1/embeddings", "VeniceError")):
        name = document()["paths"][path]["post"]["responses"]["400"]["$ref"].rpartition("/")[2]
        body = parts["responses"][name]["content"]["application/json"]["schema"]
        assert body["$ref"].endswith(envelope)


def test_every_reference_leads_somewhere() -> None:
    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            for each in node.values():
                yield from walk(each)
        elif isinstance(node, list):
            for each in node:
                yield from walk(each)

    for reference in set(walk(document())):
        found: Any = document()
        for step in reference.removeprefix("#/").split("/"):
            assert step in found, reference
            found = found[step]


def test_bodies_are_closed_where_unknown_keys_are_refused() -> None:
    parts = document()["components"]["schemas"]
    assert "additionalProperties" not in parts["ChatRequest"]
    assert parts["VeniceChatRequest"]["additionalProperties"] is False
    assert "functions" not in parts["VeniceChatRequest"]["properties"]
    assert parts["GenerateRequest"]["additionalProperties"] is False

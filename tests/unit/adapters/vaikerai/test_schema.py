"""A model's own schema, read."""

from typing import Any

import pytest

from adapters.vaikerai.schema import first, fitted, model_of, takes_list
from proxy.errors import BadRequest

REF = "#/components/schemas/"
DESCRIBED = {
    "openapi_schema": {
        "components": {
            "schemas": {
                "Input": {
                    "required": ["prompt"],
                    "properties": {
                        "prompt": {"type": "string"},
                        "ratio": {"allOf": [{"$ref": REF + "ratio"}], "default": "1:1"},
                        "seed": {"anyOf": [{"type": "null"}, {"type": "integer", "maximum": 9}]},
                        "images": {"type": "array", "items": {"$ref": REF + "uri"}},
                        "loop": {"$ref": REF + "loop"},
                        "odd": "not a rule",
                    },
                },
                "ratio": {"enum": ["1:1", "3:2"], "type": "string", "default": "3:2"},
                "uri": {"type": "string", "format": "uri"},
                "loop": {"allOf": [{"$ref": REF + "loop"}]},
            }
        }
    }
}


def test_references_are_followed() -> None:
    model = model_of(DESCRIBED)
    assert model is not None
    assert model.needs == {"prompt"}
    assert model.inputs["ratio"] == {"enum": ["1:1", "3:2"], "type": "string", "default": "1:1"}
    assert model.inputs["seed"] == {"type": "integer", "maximum": 9}
    assert model.inputs["images"]["items"] == {"type": "string", "format": "uri"}
    assert takes_list(model.inputs["images"])
    assert not takes_list(model.inputs["prompt"])
    assert model.inputs["loop"] == model.inputs["odd"] == {}
    assert first(model.inputs, ("size", "ratio", "seed")) == "ratio"
    assert first(model.inputs, ("size",)) is None


@pytest.mark.parametrize(
    "described",
    [{}, {"openapi_schema": None}, {"openapi_schema": {"components": {"schemas": {"Input": {"properties": []}}}}}],
)
def test_a_model_that_says_nothing(described: dict[str, Any]) -> None:
    assert model_of(described) is None


@pytest.mark.parametrize(
    ("value", "rule", "out"),
    [
        (3, {"type": "integer", "minimum": 3, "maximum": 3}, 3),
        (4.0, {"type": "integer"}, 4),
        (0.5, {"type": "number"}, 0.5),
        ("a", {"enum": ["a", "b"]}, "a"),
        (64, {"multipleOf": 16}, 64),
        (True, {"type": "boolean"}, True),
        ({"a": 1}, {}, {"a": 1}),
    ],
)
def test_what_fits(value: Any, rule: dict[str, Any], out: Any) -> None:
    got = fitted(value, rule, param="p", model="m")
    assert (got, type(got)) == (out, type(out))


@pytest.mark.parametrize(
    ("value", "rule", "said"),
    [
        (2, {"minimum": 3}, "p must be at least 3"),
        (4, {"maximum": 3}, "p must be at most 3"),
        (9, {"minimum": 1, "maximum": 3}, "p must be between 1 and 3"),
        (4.5, {"type": "integer"}, "of type integer"),
        (True, {"type": "integer"}, "of type integer"),
        ("1", {"type": "number"}, "of type number"),
        ("c", {"enum": ["a", "b"]}, "one of a, b"),
        (65, {"multipleOf": 16}, "a multiple of 16"),
    ],
)
def test_what_does_not_fit_names_the_callers_parameter(value: Any, rule: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said) as caught:
        fitted(value, rule, param="p", model="m")
    assert caught.value.param == "p"

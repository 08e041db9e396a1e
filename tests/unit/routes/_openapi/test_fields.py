"""Sentences and defaults are those of fields that there are."""

import msgspec

from routes._openapi import fields
from routes._openapi.operations import SPECS

TYPES = {spec.body.of.__name__: spec.body.of for spec in SPECS.values() if spec.body is not None}


def test_every_sentence_has_its_field() -> None:
    known = {name for type_ in TYPES.values() for name in type_.__struct_fields__}
    assert fields.SAYS.keys() - known == set()


def test_every_default_could_be_sent() -> None:
    """Each is a value that its field takes."""
    for name, defaults in fields.DEFAULTS.items():
        if name == "VeniceParameters":
            continue
        hints = {field.name: field.type for field in msgspec.structs.fields(TYPES[name])}
        for key, value in defaults.items():
            assert msgspec.convert(value, hints[key]) == value

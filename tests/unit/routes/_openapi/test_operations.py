"""The table of operations agrees with the code that it describes."""

from proxy.config import MODEL_TYPES
from proxy.media.audio_formats import FORMATS
from routes._openapi.operations import INFERS, SPECS
from routes.models import _LISTS


def test_calls_are_told_from_the_rest() -> None:
    """Every call may meet an upstream's failure, and can be tried dry."""
    for key, spec in SPECS.items():
        assert spec.infers == (key in INFERS), key
        assert (502 in spec.errors) == spec.infers, key


def test_lists_of_names_are_the_code_s() -> None:
    (models,) = SPECS["GET", "/models"].query
    assert set(models.schema["enum"]) == set(_LISTS)
    (traits,) = SPECS["GET", "/models/traits"].query
    assert set(traits.schema["enum"]) == set(MODEL_TYPES)
    assert set(SPECS["POST", "/audio/speech"].binary) == {row.content_type for row in FORMATS.values()}


def test_summaries_are_sentences() -> None:
    for key, spec in SPECS.items():
        assert spec.summary.endswith((".", "changes nothing.")), key
        assert spec.tag, key

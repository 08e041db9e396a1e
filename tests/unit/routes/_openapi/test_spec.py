"""A Spec says no more than it must."""

from routes._openapi.spec import BODY, INFERENCE, Body, Spec


def test_defaults() -> None:
    spec = Spec(id="x", summary="X.", tag="T")
    assert (spec.status, spec.infers, spec.body, spec.errors) == (200, False, None, ())
    assert not Body(dict).form_only
    assert not set(BODY) & set(INFERENCE)

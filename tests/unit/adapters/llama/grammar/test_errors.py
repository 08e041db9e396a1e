"""A refusal names the keyword and the place."""

from adapters.llama.grammar.errors import UnsupportedSchema


def test_message() -> None:
    error = UnsupportedSchema("not", "/properties/a", "it cannot be said")
    assert (error.keyword, error.path, error.reason) == ("not", "/properties/a", "it cannot be said")
    assert str(error) == "'not' at '/properties/a' is not supported for constrained output: it cannot be said"
    assert UnsupportedSchema("not", "", "x").path == "#"

"""Compilation and rendering map every failure to TemplateError."""

import pytest

from adapters.llama.chat.errors import TemplateError
from adapters.llama.chat.template import CompiledTemplate


def test_tokens_and_variables() -> None:
    template = CompiledTemplate("{{ bos_token }}{{ x }}{{ eos_token }}", bos="<s>", eos="</s>")
    assert template.render({"x": 1}) == "<s>1</s>"
    assert template.variables() == {"bos_token", "x", "eos_token"}


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("{% if %}", "does not compile: line 1"),
        ("{{ x | nosuch }}", "No filter named 'nosuch'"),
        ("{{ x.y.z }}", "failed: .* is undefined"),
        ("{{ none + 1 }}", "failed: TypeError"),
    ],
)
def test_failures(source: str, match: str) -> None:
    with pytest.raises(TemplateError, match=match):
        CompiledTemplate(source).render({})

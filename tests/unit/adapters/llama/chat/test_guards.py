"""The rewrite leaves results alone and leaves nothing that repeats without being counted."""

import pytest
from jinja2 import nodes

from adapters.llama.chat.errors import TemplateError
from adapters.llama.chat.sandbox import Sandbox

SANDBOX = Sandbox()


def _tree(source: str) -> nodes.Template:
    return SANDBOX._parse(source, None, None)


def test_every_loop_and_every_static_text_is_counted() -> None:
    tree = _tree("a{% for x in y %}b{% for z in x %}{{ z }}{% endfor %}{% endfor %}")
    for loop in tree.find_all(nodes.For):
        assert isinstance(loop.iter, nodes.Call)
        assert isinstance(loop.iter.node, nodes.EnvironmentAttribute)
        assert loop.iter.node.name == "ticked"
    assert list(tree.find_all(nodes.TemplateData)) == []


def test_concatenation_and_open_comparisons_go_through_the_environment() -> None:
    names = [n.name for n in _tree("{{ a ~ b }}{{ a == b }}{{ {a: 1} }}").find_all(nodes.EnvironmentAttribute)]
    assert names == ["joined", "compared", "keyed"]


def test_comparisons_with_constants_stay_native() -> None:
    tree = _tree("{{ a == 'x' }}{{ a in ['x', 'y'] }}{{ 'k' in a }}{{ {'k': a} }}")
    assert list(tree.find_all(nodes.EnvironmentAttribute)) == []


def test_autoescape_is_refused() -> None:
    with pytest.raises(TemplateError, match="autoescape in line 1"):
        _tree("{% autoescape true %}{% endautoescape %}")

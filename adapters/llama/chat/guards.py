"""Rewrites a parsed template so that it pays for what it does.

Owns the tree rewrite: loops iterate through a counter, every output (static text too) passes `finalize`, `~` and
comparisons of two unknown values go through the environment. Refuses to know the limits. Invariant: the rewrite changes
no result, and after it nothing in a template can repeat or grow without a call into the environment.
"""

from typing import TypeVar, cast

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from adapters.llama.chat.errors import TemplateError

_Scalar = (nodes.Const, nodes.TemplateData)
_Node = TypeVar("_Node", bound=nodes.Node)


def _through(name: str, *args: nodes.Expr) -> nodes.Call:
    """A call of the environment's method `name`."""
    return nodes.Call(nodes.EnvironmentAttribute(name), list(args), [], None, None)


def _harmless(node: nodes.Node) -> bool:
    """A value that cannot be a large tree: constants, and lists of constants."""
    if isinstance(node, nodes.List | nodes.Tuple):
        return all(isinstance(item, _Scalar) for item in node.items)
    return isinstance(node, _Scalar)


class Guard(NodeTransformer):
    """`Guard().visit(tree)`; raises TemplateError for what has no place in a chat template."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _through("ticked", cast("nodes.Expr", node.iter))
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        self.generic_visit(node)
        # as a constant expression the text passes `finalize`, where it is counted
        node.nodes = [
            nodes.Const(child.data, lineno=child.lineno) if isinstance(child, nodes.TemplateData) else child
            for child in node.nodes
        ]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return self._at(node, _through("joined", *node.nodes))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        sides = [node.expr, *(operand.expr for operand in node.ops)]
        if sum(not _harmless(side) for side in sides) < 2:
            return node
        args: list[nodes.Expr] = [node.expr]
        for operand in node.ops:
            args += [nodes.Const(operand.op), operand.expr]
        return self._at(node, _through("compared", *args))

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        if all(isinstance(pair.key, _Scalar) for pair in node.items):
            return node
        keys = nodes.List([pair.key for pair in node.items])
        values = nodes.List([pair.value for pair in node.items])
        return self._at(node, _through("keyed", keys, values))

    def visit_ScopedEvalContextModifier(self, node: nodes.ScopedEvalContextModifier) -> nodes.Node:
        raise TemplateError(f"the chat template uses autoescape in line {node.lineno}, which is not supported")

    def _at(self, old: nodes.Node, new: _Node) -> _Node:
        new.set_lineno(old.lineno)
        if old.environment is not None:
            new.set_environment(old.environment)
        return new

"""Grammars for constrained answers: JSON schemas and tool calls to GBNF.

Owns the translation, its exactness and its limits. Refuses to know llama.cpp's samplers and the wire. Invariant: what a
grammar lets through is JSON that is valid for the schema; what cannot be said exactly is refused by name.
"""

from adapters.llama.grammar.errors import UnsupportedSchema
from adapters.llama.grammar.gbnf import Limits
from adapters.llama.grammar.response import Gbnf, from_response_format, json_object
from adapters.llama.grammar.schema import compile_schema
from adapters.llama.grammar.tools import from_tools

__all__ = ["Gbnf", "Limits", "UnsupportedSchema", "compile_schema", "from_response_format", "from_tools", "json_object"]

"""The marker families in which models write tool calls.

Owns the table of markers and what may stand between two calls. Refuses to know how a template asks for them (chat) and
how a grammar forces them (grammar): both read this table, so that what is forced is what is parsed. Invariant: a family
is data; there is no code per model.
"""

import msgspec


class Family(msgspec.Struct, frozen=True):
    """How calls look: `open` marker (or none), `close` marker (or none), and whether a bare JSON answer is a call.

    `named_args` families may also write `name[ARGS]{...}` after the marker. `args_key` is the key that the model was
    taught for its arguments; both `arguments` and `parameters` are understood in any family.
    """

    name: str
    open: str = ""
    close: str = ""
    bare: bool = False
    named_args: bool = False
    args_key: str = "arguments"
    between: str = " \t\r\n"


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("hermes", open="<tool_call>", close="</tool_call>", between=" \t\r\n}]"),
        Family("llama3", open="<|python_tag|>", bare=True, args_key="parameters", between=" \t\r\n;,"),
        Family("mistral", open="[TOOL_CALLS]", named_args=True),
        Family("mistral_args", open="[TOOL_CALLS]", named_args=True),  # parsed alike; the grammar forces name[ARGS]{…}
        Family("generic", bare=True, between=" \t\r\n;,"),
    )
}

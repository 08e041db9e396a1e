"""What we say for models whose metadata says nothing.

Owns the default template (named, so that the model list can say that it is ours) and the system text that offers tools
to models whose template ignores them. Refuses to know when they are used. Invariant: the tool text asks for exactly the
form that the generic family parses.
"""

import json
from collections.abc import Sequence
from typing import Any

DEFAULT_NAME = "chatml"

DEFAULT_TEMPLATE = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- 'These functions may be called, one JSON schema a line:\\n' }}
    {%- for tool in tools %}
        {{- tool | tojson + '\\n' }}
    {%- endfor %}
    {{- 'To call one, write: <tool_call>{"name": NAME, "arguments": OBJECT}</tool_call><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'system' and loop.first %}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>' + message.content + '</tool_response><|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + (message.content or '') }}
        {%- for call in message.tool_calls or [] %}
            {{- '<tool_call>{"name": ' + call.function.name | tojson + ', "arguments": ' }}
            {{- call.function.arguments | tojson + '}</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def tool_text(tools: Sequence[dict[str, Any]], parallel: bool) -> str:
    """The system text that offers `tools` (OpenAI's shape) in the generic form."""
    lines = [json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools]
    several = (
        ' For several calls answer {"tool_calls": [{"name": NAME, "arguments": OBJECT}, …]}.'
        if parallel
        else " Make one call at a time."
    )
    return (
        "You can call the functions described by these JSON objects:\n"
        + "\n".join(lines)
        + '\nTo call one, answer with nothing but {"name": NAME, "arguments": OBJECT}, as JSON.'
        + several
        + " If no function is needed, answer in plain text."
    )

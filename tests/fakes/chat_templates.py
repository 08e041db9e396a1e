"""Small chat templates, one per habit that real models' templates have; written for the tests."""

# ruff: noqa: E501 - templates and transcripts read best on one line

PLAIN = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"

HERMES = """\
{%- if tools %}<system>{% for t in tools %}{{ t | tojson }}{% endfor %} use <tool_call></tool_call></>{% endif %}
{%- for m in messages %}
{%- if m.role == 'tool' %}<tool>{{ m.content }}</>
{%- else %}<{{ m.role }}>{{ m.content or '' }}
{%- for c in m.tool_calls or [] %}<tool_call>{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}</tool_call>{% endfor %}</>
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<assistant>{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}{% endif %}"""

LLAMA = """\
{%- for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>
{%- if m.tool_calls %}{"name": "{{ m.tool_calls[0].function.name }}", "parameters": {{ m.tool_calls[0].function.arguments | tojson }}}
{%- else %}{% if loop.first and tools is not none %}{{ tools | tojson }} "parameters"{% endif %}{{ m.content }}{% endif %}<|eot_id|>
{%- endfor %}<|start_header_id|>assistant<|end_header_id|>"""

MISTRAL = """\
{{- bos_token }}
{%- if messages[0].role == 'system' %}{% set rest = messages[1:] %}{% else %}{% set rest = messages %}{% endif %}
{%- set ns = namespace(turn=0) %}
{%- for m in rest %}
{%- if m.role in ('user', 'assistant') and not m.tool_calls %}
{%- if (m.role == 'user') != (ns.turn % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}
{%- set ns.turn = ns.turn + 1 %}
{%- endif %}
{%- if m.role == 'user' %}[INST]{% if loop.last and messages[0].role == 'system' %}{{ messages[0].content }} {% endif %}{{ m.content }}[/INST]
{%- elif m.tool_calls %}[TOOL_CALLS][{% for c in m.tool_calls %}{% if c.id | length != 9 %}{{ raise_exception('id') }}{% endif %}{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}, "id": "{{ c.id }}"}{% endfor %}]
{%- elif m.role == 'tool' %}[TOOL_RESULTS]{{ m.content }} {{ m.tool_call_id }}[/TOOL_RESULTS]
{%- else %}{{ m.content }}{{ eos_token }}{% endif %}
{%- endfor %}
{%- if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}{% endif %}"""

NO_SYSTEM = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}"

TYPED = "{% for m in messages %}<{{ m.role }}>{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}{% endfor %}"

STRING_ARGUMENTS = """\
{%- for m in messages %}<{{ m.role }}>{{ m.content if m.content is not none else '' }}
{%- for c in m.tool_calls or [] %}{{ c.function.name }}({{ c.function.arguments }}){% endfor %}{% endfor %}{{ tools }}"""

NEEDS_NULL = """\
{%- for m in messages %}
{%- if m.role == 'assistant' and m.content is none %}CALL {{ m.tool_calls[0].function.arguments | tojson }}
{%- else %}<{{ m.role }}>{{ m.content }}{% endif %}{% endfor %}"""

THINKS_INSIDE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant><think>\n"

TOOLS_MUST_BE_ABSENT = (
    "{% for t in tools %}{{ t | tojson }}{% endfor %}{% for m in messages %}{{ m.role }}:{{ m.content }}{% endfor %}"
)

DEVELOPER = "{% for m in messages %}{% if m.role == 'developer' %}[dev {{ m.content }}]{% else %}{{ m.content }}{% endif %}{% endfor %}"

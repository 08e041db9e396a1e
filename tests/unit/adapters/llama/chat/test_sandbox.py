"""Hostile templates end quickly with a TemplateError; honest ones do not notice the sandbox."""

import subprocess
import sys
import time

import pytest

from adapters.llama.chat.budget import Limits
from adapters.llama.chat.errors import TemplateError, TemplateRefused
from adapters.llama.chat.template import CompiledTemplate

MESSAGES = [{"role": "user", "content": " hi "}, {"role": "assistant", "content": "ho"}]


def _render(source: str, limits: Limits | None = None) -> str:
    return CompiledTemplate(source, limits=limits).render({"messages": MESSAGES})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% for m in messages %}{{ loop.index0 }}/{{ loop.length }}{{ m.role[0] }}{{ loop.last }} {% endfor %}",
         "0/2uFalse 1/2aTrue "),
        ("{% for m in messages if m.role == 'user' %}{{ m.content | trim }}{% else %}none{% endfor %}", "hi"),
        ("{% generation %}hi {{ messages | length }}{% endgeneration %}", "hi 2"),
        ("{% set ns = namespace(a=1) %}{% for x in range(3) %}{% set ns.a = ns.a + x %}{% endfor %}{{ ns.a }}", "4"),
        ("{% for a in [1, 2, 3] %}{% if a == 2 %}{% continue %}{% endif %}{{ a }}{% endfor %}", "13"),
        ("{% macro f(x) %}[{{ x }}]{% endmacro %}{{ f('a') ~ 1 ~ none }}", "[a]1None"),
        ("{{ '%s-%03d' % ('a', 3) }}{{ '{}:{:>4}'.format('x', 2) }}{{ '%(a)s' % {'a': 1} }}", "a-003x:   21"),
        ("{{ messages[0].content.replace('h', 'H') }}{{ ', '.join(['a', 'b']) }}{{ messages[0].get('z') }}", " Hi a, bNone"),
        ("{{ 'a,b'.split(',')[1] }}{{ messages[::-1][0].role }}{{ 'abc'[1:] }}{{ 7 // 2 }}{{ [1] + [2] }}",
         "bassistantbc3[1, 2]"),
        ("{{ {messages[0].role: 1} }}{{ messages[0].role == messages[1].role }}{{ 1 < 2 < 3 }}", "{'user': 1}FalseTrue"),
        ("{% for x in messages recursive %}{{ x.role[0] }}{% if x.kids %}{{ loop(x.kids) }}{% endif %}{% endfor %}", "ua"),
        ("  {% if true %}\nx\n  {% endif %}\ny", "x\ny"),
        ("{{ nope }}{{ messages[0].nope is defined }}{{ 'x' * 3 }}{{ strftime_now('%%') }}", "Falsexxx%"),
    ],
)  # fmt: skip
def test_honest(source: str, expected: str) -> None:
    assert _render(source) == expected


DOUBLE = "{% set ns = namespace(x=X) %}{% for i in range(64) %}{% set ns.x = Y %}{% endfor %}"
HOSTILE = [
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% for a in range(100000) %}{{ 'x' * 1000 }}{% endfor %}",
    "{% for i in range(100000) %}" + "x" * 400_000 + "{% endfor %}",
    "{% set y %}{% for i in range(99999) %}" + "x" * 400_000 + "{% endfor %}{% endset %}",
    "{% for a in range(10000000) %}{% endfor %}",
    "{{ 'x' * 1000000000 }}",
    "{{ [1] * 1000000000 }}",
    "{{ 'a'.center(1000000000) }}",
    "{{ 'a'.zfill(1000000000) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{w}}'.format(1, w=1000000000) }}",
    "{{ '{a}'.format_map({'a': 1}) }}",
    DOUBLE.replace("X", "'ab'").replace("Y", "ns.x ~ ns.x"),
    DOUBLE.replace("X", "'ab'").replace("Y", "ns.x + ns.x"),
    DOUBLE.replace("X", "[1]").replace("Y", "ns.x + ns.x"),
    DOUBLE.replace("X", "[1]").replace("Y", "[ns.x, ns.x]") + "{{ ns.x }}",
    DOUBLE.replace("X", "[1]").replace("Y", "[ns.x, ns.x]") + "{{ ns.x | tojson }}",
    DOUBLE.replace("X", "[1]").replace("Y", "[ns.x, ns.x]") + "{{ ns.x ~ '' }}",
    DOUBLE.replace("X", "(1,)").replace("Y", "(ns.x, ns.x)") + "{{ {ns.x: 1} }}",
    DOUBLE.replace("X", "(1,)").replace("Y", "(ns.x, ns.x)") + "{{ messages[0].get(ns.x) }}",
    DOUBLE.replace("X", "(1,)").replace("Y", "(ns.x, ns.x)") + "{{ messages[0][ns.x] }}",
    "{% set a = 'a' * 1000000 %}{{ a.replace('a', a) }}",
    "{% set a = 'a' * 1000000 %}{{ a.join(['', '', '', '', '', '', '', '', '', '', '']) }}",
    "{% set a = 'a ' * 4000000 %}{{ a.split() | length }}",
    "{% set a = 'a ' * 4000000 %}{{ a.split('a') | length }}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for x in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "{% set x = 2 ** 4000 %}{{ x * x }}",
    "{{ 10 ** 1000000 }}",
    "{{ (1).to_bytes(1000000000) }}",
    "{{ 'x'.encode('utf-8') }}",
    "{{ ''.__class__.__mro__ }}",
    "{{ messages.__class__ }}",
    "{{ messages[0]['__class__'] }}",
    "{{ messages | attr('__class__') }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update({'a': 1}) }}",
    "{{ self }}",
    "{{ namespace() }}",
    "{{ lipsum(n=100) }}",
    "{% include 'x' %}",
    "{% import 'os' as o %}",
    "{{ 1 / 0 }}",
    "{{ strftime_now('%99999999d') }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "+".join(["a"] * 20_000) + " }}",
    "{% if %}",
    "x" * (600 * 1024),
]


@pytest.mark.parametrize("source", HOSTILE, ids=lambda s: s[:40])
def test_hostile(source: str) -> None:
    begin = time.thread_time()
    with pytest.raises(TemplateError):
        _render(source)
    assert time.thread_time() - begin < 5


def test_the_clock_ends_what_no_count_does() -> None:
    source = "{% set a = 'a' * 4000000 %}{% for i in range(100000) %}{% if 'b' in a %}{% endif %}{% endfor %}"
    begin = time.thread_time()
    with pytest.raises(TemplateError, match=r"more than 0\.2 s"):
        _render(source, Limits(cpu_s=0.2))
    assert time.thread_time() - begin < 2


def test_ten_megabytes_are_refused_while_they_are_made() -> None:
    made = []

    def piece() -> str:
        made.append(1)
        return "x" * 1000

    template = CompiledTemplate(
        "{% for i in range(10000) %}{{ piece() }}{% endfor %}", limits=Limits(max_chars=100_000)
    )
    with pytest.raises(TemplateError, match="more than 100000 characters"):
        template.render({"piece": piece})
    assert len(made) == 101


def test_a_refusal_keeps_the_templates_words() -> None:
    with pytest.raises(TemplateRefused, match="roles must alternate"):
        _render("{{ raise_exception('roles must alternate') }}")


def test_renderings_in_threads_have_their_own_accounts() -> None:
    from concurrent.futures import ThreadPoolExecutor

    small = CompiledTemplate("{{ 'x' * 200 }}", limits=Limits(max_chars=100))
    large = CompiledTemplate("{% for i in range(200) %}{{ 'x' * 200 }}{% endfor %}")

    def outcome(template: CompiledTemplate) -> int:
        try:
            return len(template.render({}))
        except TemplateError:
            return -1

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(outcome, [small, large] * 20)) == [-1, 40_000] * 20


def test_endless_recursion_ends_early_whatever_the_interpreter_allows() -> None:
    """With a raised recursion limit the C stack would end first, and the process with it: run where that may happen."""
    program = (
        "import sys; sys.setrecursionlimit(1_000_000)\n"
        "from adapters.llama.chat.errors import TemplateError\nfrom adapters.llama.chat.template import CompiledTemplate\n"
        "text = '{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}'\n"
        "try:\n"
        "    CompiledTemplate(text, bos='', eos='').render({})\n"
        "except TemplateError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "nests more than" in done.stdout

"""The document as one page to be read: HTML and CSS, no script, nothing from elsewhere.

It knows OpenAPI and nothing of us. Invariant: every text is escaped.
"""

import json
from collections.abc import Iterator
from html import escape
from re import sub
from typing import Any

Schema = dict[str, Any]

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #0a6e8a; }
@media (prefers-color-scheme: dark) { :root { --accent: #62c5e0; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1rem; }
code { font: 13px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
h2 { margin: 2rem 0 .5rem; } h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .4rem 0; padding: 0 .8rem; }
summary { cursor: pointer; padding: .5rem 0; }
summary b { color: var(--accent); display: inline-block; min-width: 4.5rem; }
table { border-collapse: collapse; width: 100%; } td, th { border-top: 1px solid var(--line); padding: .3rem .5rem .3rem 0;
text-align: left; vertical-align: top; } th { font-weight: 600; } td:first-child { white-space: nowrap; }
pre { background: var(--soft); border-radius: 6px; overflow: auto; padding: .6rem; }
nav a { margin-right: 1rem; } a { color: var(--accent); } .quiet { opacity: .7; }
"""


def page(document: Schema) -> str:
    """HTML of an OpenAPI 3.1 document."""
    info = document["info"]
    title = f"{escape(info['title'])} {escape(info['version'])}"
    tags = [tag["name"] for tag in document["tags"]]
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>',
        f"<h1>{title}</h1><p>{_prose(info['description'])}</p>",
        '<p class="quiet">The same for machines: <a href="openapi.json">openapi.json</a></p><nav>',
        *(f'<a href="#tag-{escape(tag)}">{escape(tag)}</a>' for tag in tags),
        '<a href="#schemas">Schemas</a></nav>',
    ]
    for tag in tags:
        parts.append(f'<h2 id="tag-{escape(tag)}">{escape(tag)}</h2>')
        for path, item in document["paths"].items():
            for method, operation in item.items():
                if tag in operation["tags"]:
                    parts += _operation(method, path, operation, document)
    parts.append('<h2 id="schemas">Schemas</h2>')
    for name, schema in document["components"]["schemas"].items():
        parts.append(f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>')
        parts += _schema(schema)
        parts.append("</details>")
    return "".join([*parts, "</body></html>"])


def _operation(method: str, path: str, operation: Schema, document: Schema) -> Iterator[str]:
    name = f"<b>{method.upper()}</b> <code>{escape(path)}</code>"
    yield f'<details id="{escape(operation["operationId"])}"><summary>{name} {_prose(operation["summary"])}</summary>'
    if "description" in operation:
        yield f"<p>{_prose(operation['description'])}</p>"
    parameters = [_resolved(each, document) for each in operation["parameters"]]
    if parameters:
        yield "<h3>Parameters</h3><table>"
        for each in parameters:
            must = each["in"] + (", required" if each["required"] else "")
            yield _row(each["name"], must, {**each["schema"], "description": each.get("description", "")})
        yield "</table>"
    if "requestBody" in operation:
        yield "<h3>Body</h3>"
        for type_, media in operation["requestBody"]["content"].items():
            yield f"<p><code>{escape(type_)}</code>: {_type(media['schema'])}</p>"
            if "example" in media:
                yield f"<pre><code>{_json(media['example'])}</code></pre>"
    yield "<h3>Answers</h3><table>"
    for status, answer in operation["responses"].items():
        answer = _resolved(answer, document)
        bodies = "; ".join(_media(type_, media["schema"]) for type_, media in answer.get("content", {}).items())
        yield f"<tr><td>{escape(status)}</td><td>{escape(answer['description'])}</td><td>{bodies}</td></tr>"
    yield "</table></details>"


def _media(type_: str, schema: Schema) -> str:
    says = f" ({_prose(schema['description'])})" if "description" in schema else ""
    return f"<code>{escape(type_)}</code>: {_type(schema)}{says}"


def _resolved(each: Schema, document: Schema) -> Schema:
    """What a reference stands for."""
    found: Any = each
    if "$ref" in each:
        found = document
        for step in each["$ref"].removeprefix("#/").split("/"):
            found = found[step]
    return dict(found)


def _schema(schema: Schema) -> Iterator[str]:
    if "description" in schema:
        yield f"<p>{_prose(schema['description'])}</p>"
    for variant in schema.get("anyOf", ()):
        if "properties" in variant:
            yield f"<h3>{escape(variant.get('title', 'or'))}</h3>"
            yield from _schema(variant)
    if "properties" not in schema:
        if "anyOf" not in schema:
            yield f"<p>{_type(schema)}</p>"
        return
    yield "<table>"
    required = schema.get("required", ())
    for name, one in schema["properties"].items():
        yield _row(name, "required" if name in required else "", one)
    yield "</table>"
    if schema.get("additionalProperties") is False:
        yield '<p class="quiet">No other field.</p>'


def _row(name: str, must: str, schema: Schema) -> str:
    says = _prose(schema.get("description", ""))
    default = f" Default: <code>{_json(schema['default'])}</code>." if "default" in schema else ""
    cell = f"{_type(schema)}{default}" + (f"<br>{says}" if says else "")
    return f'<tr><td><code>{escape(name)}</code></td><td class="quiet">{must}</td><td>{cell}</td></tr>'


_LIMITS = {
    "minimum": "≥ {}", "exclusiveMinimum": "&gt; {}", "maximum": "≤ {}", "exclusiveMaximum": "&lt; {}",
    "minLength": "at least {} characters", "maxLength": "at most {} characters",
    "minItems": "at least {} items", "maxItems": "at most {} items", "pattern": "like <code>{}</code>",
}  # fmt: skip


def _type(schema: Schema) -> str:
    """A schema in one line."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return "one of " + ", ".join(f"<code>{_json(value)}</code>" for value in values)
    limits = [form.format(escape(str(schema[key]))) for key, form in _LIMITS.items() if key in schema]
    kind = schema.get("type") or schema.get("title", "anything")
    name = "file" if schema.get("format") == "binary" else escape(str(kind))
    if kind == "array":
        items = schema.get("items", {})
        name = f"array of ({_type(items)})" if "anyOf" in items else f"array of {_type(items)}"
    elif kind == "object" and schema.get("properties"):
        name = "object with " + ", ".join(f"<code>{escape(key)}</code>" for key in schema["properties"])
    return ", ".join([name, *limits])


def _json(value: Any) -> str:
    return escape(json.dumps(value, ensure_ascii=False, indent=2 if isinstance(value, dict) else None))


def _prose(text: str) -> str:
    """Escaped; what stands in backticks is code."""
    return sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))

"""The page is whole, escaped, and asks nobody for anything."""

import re
from html.parser import HTMLParser

from routes._openapi.document import document
from routes._openapi.page import page


class Reader(HTMLParser):
    """Names and targets of links, and every tag that is open."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag == "a":
            self.links.append(str(given["href"]))
        assert not {"src", "onclick"} & given.keys()
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def test_the_page_stands_alone() -> None:
    text = page(document())
    reader = read(text)
    assert not {"script", "link", "img", "iframe"} & reader.tags
    assert "http" not in re.sub(r"<code>.*?</code>", "", text)
    inner = [link[1:] for link in reader.links if link.startswith("#")]
    assert set(inner) <= set(reader.ids)
    assert [link for link in reader.links if not link.startswith("#")] == ["openapi.json"]
    assert len(set(reader.ids)) == len(reader.ids)


def test_every_operation_and_limit_is_there() -> None:
    text = page(document())
    for path in document()["paths"]:
        assert f"<code>{path}</code>" in text
    assert "at most 4096 characters" in text
    assert "one of <code>&quot;b64_json&quot;</code>, <code>&quot;url&quot;</code>" in text


def test_texts_are_escaped() -> None:
    bad = "<blink>`<blink>`&"
    operation = {"tags": ["T"], "operationId": "x", "summary": bad, "parameters": [], "responses": {}}
    hostile = {
        "info": {"title": bad, "version": "1", "description": bad},
        "tags": [{"name": "T"}],
        "paths": {"/" + bad: {"get": operation}},
        "components": {"schemas": {"S": {"type": bad, "description": bad}, "E": {"enum": [bad]}}},
    }
    text = page(hostile)
    assert "blink" not in read(text).tags
    assert text.count("&lt;blink&gt;") == 16

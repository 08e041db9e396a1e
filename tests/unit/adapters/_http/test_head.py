"""Request heads: what is written, and what cannot be smuggled into them."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._http.errors import TransportError
from adapters._http.head import HeadWriter, Origin, lines, origin_of, split_length, target

ORIGIN = Origin("http", "api.example", 80)


def writer(*headers: tuple[str, str], prefix: str = "/v1") -> HeadWriter:
    return HeadWriter(ORIGIN, prefix, headers)


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("http://api.example/v1", ("http", "api.example", 80), "api.example"),
        ("https://api.example", ("https", "api.example", 443), "api.example"),
        ("https://api.example:80", ("https", "api.example", 80), "api.example:80"),
        ("http://127.0.0.1:8080/", ("http", "127.0.0.1", 8080), "127.0.0.1:8080"),
        ("http://[::1]:8080/", ("http", "::1", 8080), "[::1]:8080"),
        ("https://bücher.example/", ("https", "xn--bcher-kva.example", 443), "xn--bcher-kva.example"),
    ],
)
def test_origins(url: str, origin: tuple[str, str, int], authority: str) -> None:
    """Scheme, ASCII host and port; the Host header leaves out the port that goes without saying."""
    got = origin_of(httpx.URL(url))
    assert (got.scheme, got.host, got.port) == origin
    assert got.authority == authority


@pytest.mark.parametrize("url", ["ftp://h/", "http://", "/v1", "https://user:pass@h/", "https://user@h/"])
def test_what_is_no_origin(url: str) -> None:
    """Not http, no host, or with a password that would end up in logs."""
    with pytest.raises(ValueError, match=r".+"):
        origin_of(httpx.URL(url))


def test_a_head() -> None:
    """Request line, host first, defaults, own headers, framing, blank line."""
    head = writer(("authorization", "Bearer k")).head(
        "POST", "/chat", "a=1", [("content-type", "application/json")], b"content-length: 2\r\n"
    )
    assert head == (
        b"POST /v1/chat?a=1 HTTP/1.1\r\n"
        b"host: api.example\r\n"
        b"accept-encoding: identity\r\n"
        b"authorization: Bearer k\r\n"
        b"content-type: application/json\r\n"
        b"content-length: 2\r\n"
        b"\r\n"
    )


def test_an_own_header_replaces_the_default_of_its_name() -> None:
    """Whatever its case, and the others stay."""
    head = writer(("X-Org", "a"), ("x-b", "b")).head("GET", "/", "", [("x-org", "mine"), ("HOST", "other")], b"")
    assert head.lower().count(b"x-org:") == 1
    assert head.lower().count(b"host:") == 1
    assert b"x-org: mine\r\n" in head
    assert b"x-b: b\r\n" in head
    assert b"HOST: other\r\n" in head


def test_a_clients_defaults_may_be_the_own_headers() -> None:
    """Host and accept-encoding included."""
    head = writer(("host", "h"), ("accept-encoding", "gzip")).head("GET", "/", "", (), b"")
    assert head == b"GET /v1/ HTTP/1.1\r\nhost: h\r\naccept-encoding: gzip\r\n\r\n"


@given(
    name=st.text(max_size=20),
    value=st.text(alphabet=st.characters(codec="utf-8"), max_size=40)
    | st.sampled_from(["a\r\nx: y", "a\nb", "a\rb", "a\0b", "\x7f", "tab\tok", "smile \N{GRINNING FACE}"]),
)
def test_no_header_can_end_its_line(name: str, value: str) -> None:
    """Whatever the name and the value, it is one line of theirs, or it is refused."""
    try:
        out = lines([(name, value)])
    except TransportError as error:
        refusal = (error.kind, error.sent)
    else:
        refusal = None
    if refusal is not None:
        assert refusal == ("request", False)
        return
    assert out.endswith(b"\r\n")
    assert b"\r" not in out[:-2]
    assert b"\n" not in out[:-2]
    assert b"\0" not in out
    assert out.startswith(name.encode("ascii") + b": ")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "é", "a\0", "(x)"])
def test_names_are_tokens(name: str) -> None:
    """RFC 9110's."""
    with pytest.raises(TransportError, match="request"):
        lines([(name, "x")])


@pytest.mark.parametrize(
    "name", ["Transfer-Encoding", "connection", "Keep-Alive", "upgrade", "TE", "trailer", "expect"]
)
def test_framing_is_ours(name: str) -> None:
    """A caller's framing beside ours would be request smuggling."""
    with pytest.raises(TransportError, match="belongs to the transport"):
        lines([(name, "x")])


def test_the_error_never_shows_a_value() -> None:
    """It may be a key with a line end at its end."""
    with pytest.raises(TransportError) as caught:
        lines([("authorization", "Bearer sk-secret\n")])
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("path", ["", "x", "/a b", "/a\r\nx: y", "/a#b", "/é", "/a\0", "http://h/"])
def test_paths_are_encoded_and_absolute(path: str) -> None:
    """What could end the request line, or is no path, is refused."""
    with pytest.raises(TransportError, match="request"):
        target(path)


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [("/a%2Fb", "", "/a%2Fb"), ("/a", "b=1", "/a?b=1"), ("/a?b=1", "c=2", "/a?b=1&c=2"), ("/a?b=1", "", "/a?b=1")],
)
def test_queries_are_appended(path: str, query: str, expected: str) -> None:
    """To a path that may have one already."""
    assert target(path, query) == expected


@pytest.mark.parametrize("method", ["", "get", "GET x", "G\r\n"])
def test_methods_are_words(method: str) -> None:
    """In capitals."""
    with pytest.raises(TransportError, match="method"):
        writer().head(method, "/", "", (), b"")


def test_a_callers_length_is_taken_out() -> None:
    """For the transport to write; two that agree are one."""
    assert split_length([("a", "b")]) == ([("a", "b")], None)
    assert split_length([("Content-Length", "5"), ("a", "b")]) == ([("a", "b")], 5)
    assert split_length([("content-length", "5"), ("Content-Length", "5")]) == ([], 5)


@pytest.mark.parametrize("value", ["", "-1", "+5", "5, 5", "0x5", "٥", "5 "])
def test_what_is_no_length(value: str) -> None:
    """Digits, ASCII ones."""
    with pytest.raises(TransportError, match="content-length"):
        split_length([("content-length", value)])


def test_two_lengths() -> None:
    """That differ."""
    with pytest.raises(TransportError, match="content-length"):
        split_length([("content-length", "5"), ("content-length", "6")])
    with pytest.raises(TransportError, match="every request"):
        writer(("content-length", "5"))
